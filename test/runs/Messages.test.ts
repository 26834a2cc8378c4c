import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import { archiveJobKey } from "../../src/config/ReplicationJob.ts"
import { Notifier, NotifyError } from "../../src/notify/Notifier.ts"
import { isSameReason, recoveredOf } from "../../src/runs/Alerts.ts"
import { JobStateError } from "../../src/runs/JobState.ts"
import { deliver } from "../../src/runs/Messages.ts"
import { ArchiveError } from "../../src/zip/ZipError.ts"
import { memoryJobStates, noJobStates } from "../doubles/JobStates.ts"
import { makeKit } from "../support/program/job.ts"
import { capturedLog } from "../support/program/log.ts"

const of = { job: archiveJobKey, task: "run" } as const

/** Runs one after the other, and what came through of their messages. */
const setUp = Effect.gen(function* () {
  yield* TestClock.setTime(Date.UTC(2025, 0, 1, 12))
  const memory = yield* Ref.make(noJobStates)
  const sent: Array<string> = []
  const texts: Array<string> = []
  const log = capturedLog()
  const messenger = { down: false, rejects: "" }
  const notifier = Layer.succeed(Notifier, {
    send: ({ message, title }) => {
      if (messenger.down) {
        return new NotifyError({ reason: "Unreachable", message: "no route", transient: true })
      }
      if (messenger.rejects !== "" && title.startsWith(messenger.rejects)) {
        return new NotifyError({ reason: "Rejected", message: "too large", transient: false })
      }
      sent.push(title)
      texts.push(message)
      return Effect.void
    },
    probe: Effect.succeed("Gotify" as const)
  })
  /** A run in which these fail, each for its reason; it looked at `covered`, or at everything. */
  const run = (
    failing: Readonly<Record<string, string>>,
    options: { readonly covered?: ReadonlyArray<string>; readonly recovery?: boolean } = {}
  ) => {
    const items = Object.entries(failing).map(([name, reason]) => ({ name, reason }))
    const names = items.map(({ name }) => name).join(" ")
    return deliver(
      { of, reminder_hours: 24 },
      {
        failing: items,
        covers: (name) => options.covered?.includes(name) ?? true,
        outcome: items.length > 0 ? "failed" : "ok"
      },
      {
        failure: items.length === 0 ? undefined : { title: `failed: ${names}`, message: "m" },
        recovery: (before, after) => {
          const recovered = recoveredOf(before, after)
            ?.items.map(({ name }) => name)
            .join(" ")
          return options.recovery === true && recovered !== undefined
            ? { title: `works: ${recovered}`, message: "m" }
            : undefined
        }
      }
    ).pipe(Effect.provide(Layer.mergeAll(notifier, memoryJobStates(memory), log.layer)))
  }
  const hour = (n = 1) => TestClock.adjust(`${n} hours`)
  /** What is sent by the runs from now on. */
  const fresh = () => sent.splice(0)
  return { run, hour, fresh, texts, messenger, memory, log }
})

describe("messages about failures", () => {
  it.effect("come when something begins to fail, once a day while it does, and not every hour", () =>
    Effect.gen(function* () {
      const { fresh, hour, run, texts } = yield* setUp
      for (let n = 0; n < 24; n += 1) {
        yield* run({ ABCD: `no space left: ${n} bytes of 12.${n} GiB free` })
        assert.deepStrictEqual(fresh(), n === 0 ? ["failed: ABCD"] : [], `after ${n} h`)
        yield* hour()
      }
      yield* run({ ABCD: "no space left: 24 bytes of 1 TiB free" })
      assert.deepStrictEqual(fresh(), ["failed: ABCD"])
      assert.include(texts.at(-1), "Failing since 2025-01-01T12:00:00Z; reminded every 24 h.")
      yield* hour()
      yield* run({ ABCD: "no space left: 24 bytes of 1 TiB free" })
      assert.deepStrictEqual(fresh(), [])
    })
  )

  it.effect("come at once when another thing fails, or for another reason, or again", () =>
    Effect.gen(function* () {
      const { fresh, hour, run } = yield* setUp
      const steps: ReadonlyArray<readonly [Readonly<Record<string, string>>, ReadonlyArray<string>]> = [
        [{ ABCD: "full" }, ["failed: ABCD"]],
        [{ ABCD: "full", EFGH: "full" }, ["failed: ABCD EFGH"]],
        [{ ABCD: "full", EFGH: "full" }, []],
        [{ ABCD: "full", EFGH: "permission denied (EACCES)" }, ["failed: ABCD EFGH"]],
        [{ ABCD: "full" }, []],
        [{}, []],
        [{ ABCD: "full" }, ["failed: ABCD"]]
      ]
      for (const [failing, expected] of steps) {
        yield* run(failing)
        assert.deepStrictEqual(fresh(), expected)
        yield* hour()
      }
    })
  )

  it.effect("know nothing of what a run of chosen folders did not look at", () =>
    Effect.gen(function* () {
      const { fresh, run } = yield* setUp
      yield* run({ ABCD: "full" })
      yield* run({}, { covered: ["EFGH"] })
      yield* run({ ABCD: "full" })
      assert.deepStrictEqual(fresh(), ["failed: ABCD"])
    })
  )

  it.effect("that were not delivered are not told: they come with the next run, and are shown till then", () =>
    Effect.gen(function* () {
      const { fresh, hour, log, memory, messenger, run, texts } = yield* setUp
      messenger.down = true
      assert.strictEqual(yield* run({ ABCD: "full" }), "no route")
      assert.deepStrictEqual(log.lines, [
        "Error: a message could not be delivered, and is tried again after the next run: no route"
      ])
      const undelivered = Effect.map(Ref.get(memory), ({ alerts }) => alerts.get("archive")?.undelivered)
      assert.deepStrictEqual(
        (yield* undelivered)?.map(({ at_utc, error, title }) => [at_utc, title, error]),
        [["2025-01-01T12:00:00Z", "failed: ABCD", "no route"]]
      )
      yield* hour()
      messenger.down = false
      assert.isUndefined(yield* run({ ABCD: "full" }))
      assert.deepStrictEqual(fresh(), ["failed: ABCD"])
      assert.deepStrictEqual(yield* undelivered, [])
      yield* run({ ABCD: "full" })
      assert.deepStrictEqual(fresh(), [])
      messenger.down = true
      yield* run({}, { recovery: true })
      yield* hour()
      messenger.down = false
      yield* run({}, { recovery: true })
      assert.deepStrictEqual(fresh(), ["works: ABCD"])
      assert.include(texts.at(-1), "This message is of 2025-01-01T13:00:00Z; it could not be delivered then.")
      yield* run({}, { recovery: true })
      assert.deepStrictEqual(fresh(), [])
    })
  )

  it.effect("that the server will never take do not keep others from being sent", () =>
    Effect.gen(function* () {
      const { fresh, hour, memory, messenger, run } = yield* setUp
      yield* run({ ABCD: "full" })
      messenger.rejects = "works"
      assert.strictEqual(yield* run({}, { recovery: true }), "too large")
      assert.deepStrictEqual(fresh(), ["failed: ABCD"])
      yield* hour()
      assert.strictEqual(yield* run({ EFGH: "full" }), "too large")
      assert.deepStrictEqual(fresh(), ["failed: EFGH"])
      const { alerts } = yield* Ref.get(memory)
      assert.deepStrictEqual(
        alerts.get("archive")?.undelivered.map(({ title }) => title),
        ["works: ABCD"]
      )
    })
  )

  it.effect("that the server refuses are given up after a week, unless they are of a failure", () =>
    Effect.gen(function* () {
      const { hour, log, memory, messenger, run } = yield* setUp
      const left = Effect.map(Ref.get(memory), ({ alerts }) => alerts.get("archive")?.undelivered.length)
      yield* run({ ABCD: "full" })
      messenger.rejects = "works"
      yield* run({}, { recovery: true })
      yield* hour(24 * 7)
      assert.strictEqual(yield* run({}), "too large")
      yield* hour()
      assert.isUndefined(yield* run({}))
      assert.include(log.lines.at(-1), 'Error: a message of 2025-01-01T12:00:00Z is given up: "works: ABCD": too large')
      assert.strictEqual(yield* left, 0)
      messenger.rejects = "failed"
      yield* run({ ABCD: "full" })
      yield* hour(24 * 8)
      assert.strictEqual(yield* run({}), "too large")
      assert.strictEqual(yield* left, 1)
    })
  )

  it.effect("of which the record cannot be read do not replace it, and what is lost is said", () =>
    Effect.gen(function* () {
      const { log, memory, messenger, run } = yield* setUp
      messenger.down = true
      yield* run({ ABCD: "full" })
      const before = (yield* Ref.get(memory)).alerts
      const broken = new JobStateError({ message: "cannot read what was told of earlier failures: I/O error (EIO)" })
      yield* Ref.update(memory, (all) => ({ ...all, alertsUnreadable: broken }))
      log.lines.splice(0)
      yield* run({ EFGH: "full" })
      assert.deepStrictEqual((yield* Ref.get(memory)).alerts, before)
      assert.deepStrictEqual(log.lines, [
        `Warning: ${broken.message}`,
        "Error: a message could not be delivered, and could not be written down, so it is not tried again: no route"
      ])
    })
  )

  it.effect("that cannot be written down are not said to be tried again", () =>
    Effect.gen(function* () {
      const { log, memory, messenger, run } = yield* setUp
      messenger.down = true
      const broken = new JobStateError({ message: "cannot write down what was told: no space left" })
      yield* Ref.update(memory, (all) => ({ ...all, alertsUnwritable: broken }))
      yield* run({ ABCD: "full" })
      assert.deepStrictEqual(log.lines, [
        `Warning: ${broken.message}`,
        "Error: a message could not be delivered, and could not be written down, so it is not tried again: no route"
      ])
    })
  )

  it("take a reason for the same when only figures and ids differ", () => {
    assert.isTrue(isSameReason("run ab12cd: 1.2 GiB of 3,000 left at 12:00:01", "run 12ab3f: 900 MiB of 7 left at 9:1"))
    assert.isFalse(isSameReason("cannot read a.txt (EIO)", "cannot read a.txt (EACCES)"))
    assert.isFalse(isSameReason("cannot read added", "cannot read decade"))
  })

  it.effect("of hourly runs are one", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ABCD: { "a.txt": { content: "one" } } })
      const titles = Effect.map(Ref.get(kit.sent), (all) => all.map(({ title }) => title))
      const unreadable = { reason: "Unreadable", path: "a", message: "EACCES", transient: false } as const
      kit.archiver.failures["ABCD"] = [1, 2, 3].map(() => new ArchiveError(unreadable))
      for (let n = 0; n < 3; n += 1) {
        yield* kit.run()
        yield* TestClock.adjust("1 hour")
      }
      assert.deepStrictEqual(yield* titles, ["zipper: 1 of 1 folders failed on nas"])
    })
  )
})
