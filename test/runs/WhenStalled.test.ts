import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberStatus from "effect/FiberStatus"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import { archiveJobKey } from "../../src/config/ReplicationJob.ts"
import type { Notification } from "../../src/notify/Notifier.ts"
import { History, type HistoryRun } from "../../src/runs/History.ts"
import type { ArchiveJobState } from "../../src/runs/JobState.ts"
import { Lock } from "../../src/runs/Lock.ts"
import type { RunEnd } from "../../src/runs/Run.ts"
import { Stall } from "../../src/runs/Stall.ts"
import { superviseRun } from "../../src/runs/superviseRun.ts"
import { memoryLock } from "../doubles/Lock.ts"
import { memoryNotifier } from "../doubles/Notifier.ts"
import { makeState } from "../support/program/state.ts"

const done = {}

const lockfile = "/run/zipper.lock"

/** A job that is stuck in the kernel after a minute: no interruption gets through to it. */
const stuck = Effect.uninterruptible(Effect.never)

const setUp = Effect.gen(function* () {
  const state = yield* makeState([archiveJobKey])
  const sent = yield* Ref.make<ReadonlyArray<Notification>>([])
  const left = yield* Ref.make("")
  const stall = Layer.succeed(Stall, {
    found: Effect.as(Effect.sleep("1 minute"), { program: "zipper", seconds: 60 }),
    leave: (why) => Effect.zipRight(Ref.set(left, why), Effect.never)
  })
  const layer = Layer.mergeAll(memoryLock(), state.layer, memoryNotifier(sent), stall)
  return { state, sent, left, layer }
})

const historyOf = (end: RunEnd<object>): HistoryRun => ({
  version: 1,
  kind: "archive",
  run: end.run,
  started_at_utc: end.started_at_utc,
  seconds: end.seconds,
  outcome: end.outcome,
  ...(end.error === undefined ? {} : { error: end.error }),
  archived: 0,
  unchanged: 0,
  failed: 0,
  bytes: 0,
  zip_bytes: 0,
  folders: []
})

const jobState: ArchiveJobState = {
  version: 1,
  kind: "archive",
  last_run: {
    run: "ab12cd",
    started_at_utc: "1970-01-01T00:00:00Z",
    seconds: 0,
    outcome: "failed",
    bytes: 0,
    failures: 0
  },
  folders: []
}

const run = <A extends object>(job: Effect.Effect<A>) =>
  superviseRun(
    {
      run: "ab12cd",
      whole: true,
      lockfile,
      pid: 1,
      job: archiveJobKey,
      stopped: () => "stopped by a signal",
      historyOf,
      nextState: () => jobState,
      succeeded: () => true,
      messages: {
        of: { job: archiveJobKey, task: "run" },
        reminder_hours: 24,
        failing: () => [],
        covers: () => true,
        reportOf: () => "",
        documentOf: () => undefined,
        ofFailure: (message) => ({ title: "failed", message }),
        ofKilled: () => undefined,
        ofSummary: () => ({ title: "all well", message: "" }),
        ofRecovery: () => undefined
      }
    },
    () => job
  )

const says = /zipper has hung in the kernel for 1 m 00 s.*zpool status/

describe("a run that hangs in the kernel", () => {
  it.effect("says so everywhere, and leaves with its lock", () =>
    Effect.gen(function* () {
      const { layer, left, sent, state } = yield* setUp
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.forkDaemon(run(stuck))
        yield* TestClock.adjust("59 seconds")
        assert.deepStrictEqual(yield* Ref.get(sent), [])
        yield* TestClock.adjust("1 second")
        assert.match(yield* Ref.get(left), says)
        assert.match((yield* Ref.get(sent))[0]?.message ?? "", says)
        assert.match((yield* Ref.get(state.pings)).at(-1) ?? "", /^fail: /)
        const [line] = yield* Ref.get(state.history)
        assert.match(line?.error ?? "", says)
        assert.strictEqual(line?.outcome, "failed")
        // What hangs may go on to write: the next run has to wait for that.
        assert.isTrue(FiberStatus.isSuspended(yield* fiber.status))
        const lock = yield* Lock
        assert.propertyVal(yield* Effect.flip(Effect.scoped(lock.acquire(lockfile))), "reason", "Held")
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect("sends its messages also when history is kept where it hangs", () =>
    Effect.gen(function* () {
      const { layer, left, sent, state } = yield* setUp
      const hanging = Layer.succeed(History, { end: () => stuck, runs: stuck })
      yield* Effect.gen(function* () {
        yield* Effect.forkDaemon(run(Effect.succeed(done)))
        yield* TestClock.adjust("60 seconds")
        assert.strictEqual(yield* Ref.get(left), "")
        yield* TestClock.adjust("6 seconds")
        assert.match(yield* Ref.get(left), says)
        assert.match((yield* Ref.get(sent))[0]?.message ?? "", says)
        assert.match((yield* Ref.get(state.pings)).at(-1) ?? "", /^fail: /)
      }).pipe(Effect.provide(hanging), Effect.provide(layer))
    })
  )

  it.effect("is not one that has ended", () =>
    Effect.gen(function* () {
      const { layer, left, sent } = yield* setUp
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(run(Effect.succeed(done)))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* Fiber.join(fiber), done)
        yield* TestClock.adjust("1 day")
        assert.strictEqual(yield* Ref.get(left), "")
        assert.deepStrictEqual(
          (yield* Ref.get(sent)).map(({ title }) => title),
          ["all well"]
        )
      }).pipe(Effect.provide(layer))
    })
  )
})
