import { setTimeout } from "node:timers/promises"
import * as Effect from "effect/Effect"
import { Output } from "../../../src/cli/output.ts"
import * as progressBar from "../../../src/cli/progressBar.ts"
import { Progress } from "../../../src/system/Progress.ts"

/**
 * A process that shows progress bars: a run and three folders, with lines of the log between. Argument: "quiet", "crash" (the
 * work dies), "exit" (the process ends in the middle) or nothing.
 */
const mode = process.argv[2]

const mebi = 1024 * 1024

const folder = Effect.fnUntraced(function* (name: string, steps: number) {
  const show = yield* (yield* Progress).start(name)
  for (let step = 0; step <= steps; step += 1) {
    show({
      done: step * mebi,
      total: steps * mebi,
      label: `${name} ${step % 2 === 0 ? "reading" : "checking"}`
    })
    yield* Effect.promise(() => setTimeout(100))
    if (step % 3 === 1) {
      yield* Effect.logInfo(`${name} is at ${step}`)
      yield* Effect.logError(`${name} has trouble at ${step}`)
    }
    if (mode === "crash" && step === 4) yield* Effect.die(new Error("the work died"))
    if (mode === "exit" && step === 4) process.exit(3)
  }
}, Effect.scoped)

const work = Effect.gen(function* () {
  const show = yield* (yield* Progress).start("run")
  show({ done: 0, total: 100 * mebi, label: "0 of 3 folders" })
  yield* Effect.all([folder("tank/a", 10), folder("tank/b", 7), folder("tank/c", 4)], { concurrency: 3 })
  show({ done: 100 * mebi, total: 100 * mebi })
}).pipe(Effect.scoped, Effect.zipRight(Effect.logInfo("done")))

await Effect.runPromise(
  work.pipe(
    Effect.catchAllDefect((defect) => Effect.logError(String(defect))),
    Effect.provide(progressBar.layer),
    Effect.provide(Output.layer({ quiet: mode === "quiet", debug: false, ascii: true, json: false }))
  )
)
