import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberStatus from "effect/FiberStatus"
import * as TestClock from "effect/TestClock"
import { makeTransfer } from "../../src/replication/Transfer.ts"
import type { PipeStage } from "../../src/system/Process.ts"
import { local } from "../../src/zfs/Endpoint.ts"
import { capturedLog } from "../support/program/log.ts"
import { nas, scripted, snapshot } from "../support/replication/replicationEnds.ts"

/** A stream that goes on for ever, of which its sender says these things, one every five minutes. */
const streaming = (say: (round: number) => string | undefined) => {
  const { process } = scripted(() => ({}))
  const ends = { interrupted: 0 }
  const pipe = ([sender]: ReadonlyArray<PipeStage>) =>
    Effect.gen(function* () {
      for (let round = 0; ; round++) {
        const line = say(round)
        if (line !== undefined) sender?.onStderr?.(line)
        yield* Effect.sleep("5 minutes")
      }
    }).pipe(Effect.onInterrupt(() => Effect.sync(() => ends.interrupted++)))
  const settings = { source: nas, target: local, compress: "none", bandwidth: undefined } as const
  const sent = makeTransfer({ ...process, pipe }, settings).send({
    source: "src/a",
    target: "dst/a",
    kind: "filesystem",
    stream: { _tag: "Full", to: snapshot("1"), force: false },
    mode: "plain",
    format: "plain",
    onProgress: () => {}
  })
  return { ends, sent }
}

const progress = (bytes: number) => `04:52:27\t${bytes}\tsrc/a@1`

describe("a stream in which nothing moves", () => {
  it.effect.each([
    ["says so", (round: number) => progress(Math.min(round, 2) * 100)],
    ["is done", (round: number) => (round < 3 ? progress(round * 100) : undefined)]
  ] as const)("is warned of, and ended after hours, when its sender %s", ([, say]) =>
    Effect.gen(function* () {
      const { ends, sent } = streaming(say)
      const log = capturedLog()
      const fiber = yield* Effect.fork(Effect.provide(Effect.flip(sent), log.layer))
      yield* TestClock.adjust("19 minutes")
      assert.deepStrictEqual(log.lines, [])
      yield* TestClock.adjust("2 minutes")
      assert.match(log.lines.join("\n"), /nothing has been sent for 10 m 00 s; see on both hosts/)
      yield* TestClock.adjust("4 hours")
      const error = yield* Fiber.join(fiber)
      assert.match(error.message, /nothing has been sent for 4 h 00 m, so the stream was ended/)
      assert.isFalse(error.transient)
      assert.strictEqual(ends.interrupted, 1)
    })
  )

  it.effect.each([
    ["moves a little now and then", (round: number) => progress(Math.floor(round / 40))],
    ["does not tell how far it is", () => undefined]
  ] as const)("is not one that %s", ([, say]) =>
    Effect.gen(function* () {
      const { sent } = streaming(say)
      const fiber = yield* Effect.fork(sent)
      yield* TestClock.adjust("6 hours")
      assert.isFalse(FiberStatus.isDone(yield* fiber.status))
      yield* Fiber.interrupt(fiber)
    })
  )
})
