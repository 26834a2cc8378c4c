import { setTimeout } from "node:timers/promises"
import * as Effect from "effect/Effect"
import { Output } from "../../src/cli/Output.ts"
import * as progressBar from "../../src/cli/progressBar.ts"
import { Progress } from "../../src/services/Progress.ts"

/** A process that shows a progress bar, with a line of the log in the middle. Argument: "quiet" or nothing. */
const quiet = process.argv[2] === "quiet"

const mebi = 1024 * 1024

const work = Effect.gen(function* () {
  const show = yield* (yield* Progress).start("tank/data")
  for (const done of [0, 10, 20]) {
    show({ done: done * mebi, total: 40 * mebi })
    yield* Effect.promise(() => setTimeout(350))
    if (done === 10) yield* Effect.logInfo("a line of the log")
  }
}).pipe(Effect.scoped, Effect.zipRight(Effect.logInfo("done")))

await Effect.runPromise(
  work.pipe(
    Effect.provide(progressBar.layer),
    Effect.provide(Output.layer({ quiet, debug: false, ascii: true, json: false }))
  )
)
