import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberStatus from "effect/FiberStatus"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import { archiveJobKey } from "../../src/config/ReplicationJob.ts"
import { Notifier } from "../../src/notify/Notifier.ts"
import { Ping } from "../../src/notify/Ping.ts"
import { History, type HistoryRun } from "../../src/runs/History.ts"
import { JobStateError, JobStates } from "../../src/runs/JobState.ts"
import { LockError } from "../../src/runs/Lock.ts"
import { Metrics } from "../../src/runs/Metrics.ts"
import { makeWorkList } from "../../src/runs/Run.ts"
import { superviseRun } from "../../src/runs/superviseRun.ts"
import { memoryLock } from "../doubles/Lock.ts"
import { zfsError } from "../doubles/replication/world.ts"
import { folder, makeKit } from "../support/program/job.ts"
import { archiveState, full, historyOf, noMarker, titles, tree, unreadable } from "../support/program/supervised.ts"
import { makeKit as makeReplicationKit } from "../support/replication/replication.ts"

describe("a run that is stopped, killed or cannot write", () => {
  it.effect("a run that is stopped is written down with what it did until then", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree(), {
        before: (name) => (name === "EFGH" ? Effect.never : Effect.void)
      })
      yield* TestClock.adjust("1 hour")
      const fiber = yield* Effect.fork(kit.run({}, { max_workers: 1 }))
      yield* TestClock.adjust("30 seconds")
      const { markers } = yield* Ref.get(kit.state.jobStates)
      assert.deepInclude(markers.get("archive"), {
        run: "ab12cd",
        pid: 4711,
        lockfile: "/var/run/zipper.lock"
      })
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      const [run] = yield* historyOf(kit.state)
      assert.deepInclude(run, { outcome: "interrupted", seconds: 30, archived: 1 })
      assert(run?.kind === "archive")
      const [only] = run.folders
      assert(only?.result === "archived")
      assert.deepInclude(only, { folder: folder("ABCD"), files: 1 })
      const state = yield* archiveState(kit.state)
      assert.deepStrictEqual(
        state.folders.map(({ folder: name, result }) => [String(name), result]),
        [["ABCD", "archived"]]
      )
      assert.deepStrictEqual(yield* Ref.get(kit.state.pings), [
        "start",
        "fail: stopped by a signal before it was done\nrun ab12cd"
      ])
      assert.strictEqual((yield* Ref.get(kit.state.jobStates)).markers.size, 0)
      assert.isTrue((yield* Ref.get(kit.store)).published.has(folder("ABCD")))
      const line = "ERROR stopped by a signal: EFGH was not archived; its archive is as it was; 1 folder was done"
      assert.include(kit.lines, line)
      assert.strictEqual(`ERROR ${run.error}`, line)
      assert.deepStrictEqual(yield* titles(kit.sent), [])
    })
  )

  it("stopped in its first folder, it says that none was done", () => {
    const list = makeWorkList({ noun: "folder", done: "archived", kept: ["it is as it was", "they are as they were"] })
    list.begin(["ABCD", "EFGH"])
    const words = "stopped by a signal: ABCD, EFGH were not archived; they are as they were; no folder was done"
    assert.strictEqual(list.stopped(), words)
  })

  it.effect("so is one that ends by a mistake of ours", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree(), {
        zfs: {
          evidence: () => {
            throw new Error("oops")
          }
        }
      })
      const exit = yield* Effect.exit(kit.run())
      assert.isTrue(Exit.isFailure(exit))
      assert.deepInclude((yield* historyOf(kit.state))[0], {
        outcome: "failed",
        error: "internal error: oops (please report)"
      })
      assert.deepStrictEqual(yield* titles(kit.sent), ["zipper: nothing was archived on nas"])
      assert.lengthOf(yield* Ref.get(kit.state.pings), 2)
    })
  )

  it.effect("what cannot be written is a warning and changes no result", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      const error = new JobStateError({ message: "the state folder is read-only" })
      yield* Ref.update(kit.state.jobStates, (memory) => ({ ...memory, error }))
      assert.strictEqual((yield* kit.run()).archived, 2)
      assert.include(kit.lines, "WARN the state folder is read-only")
    })
  )

  it.effect("a replication that is stopped keeps what it had done", () =>
    Effect.gen(function* () {
      const kit = yield* makeReplicationKit()
      kit.source("tank", ["1"])
      kit.source("tank/a", ["1"])
      const lost = zfsError("Unreachable", "connection reset", true)
      kit.memory.failures.set(
        "send tank/a",
        Array.from({ length: 20 }, () => lost)
      )
      const fiber = yield* Effect.fork(kit.unhurried({ retries: 20 }))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.interrupt(fiber)
      const found = (yield* Ref.get(kit.state.jobStates)).states.get("replication-pull-nas")
      assert(found?.kind === "replication")
      assert.deepStrictEqual(
        found.datasets.map(({ dataset, result }) => [dataset, result]),
        [["tank", "sent"]]
      )
      assert.strictEqual(found.last_run.outcome, "interrupted")
      const kept = "what was received stays, and the next run goes on there"
      assert.include(kit.lines, `ERROR stopped by a signal: tank/a was not replicated; ${kept}; 1 dataset was done`)
    })
  )

  it.effect("writes the line of history of a run that was killed, once", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      const dead = { ...noMarker, run: "dead01", started_at_utc: "1970-01-01T00:00:00Z" }
      yield* Ref.update(kit.state.jobStates, (memory) => ({
        ...memory,
        markers: new Map([["archive", dead]])
      }))
      yield* TestClock.adjust("1 hour")
      yield* kit.run()
      yield* kit.run()
      const history = yield* historyOf(kit.state)
      assert.deepStrictEqual(
        history.map(({ outcome, run, started_at_utc }) => [run, started_at_utc, outcome]),
        [
          ["dead01", "1970-01-01T00:00:00Z", "interrupted"],
          ["ab12cd", "1970-01-01T01:00:00Z", "ok"],
          ["ab12cd", "1970-01-01T01:00:00Z", "ok"]
        ]
      )
      assert.match(history[0]?.error ?? "", /it was killed, or the machine went down/)
      assert.deepStrictEqual(yield* titles(kit.sent), ["zipper: a run was killed on nas"])
    })
  )

  it.effect("keeps the message about a killed run until it is sent, and does not wait long for that", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree(), { beforeSending: Effect.never })
      const dead = { ...noMarker, run: "dead01", started_at_utc: "1970-01-01T00:00:00Z" }
      yield* Ref.update(kit.state.jobStates, (memory) => ({ ...memory, markers: new Map([["archive", dead]]) }))
      const kept = Effect.map(Ref.get(kit.state.jobStates), ({ alerts }) =>
        alerts.get("archive")?.undelivered.map(({ title }) => title)
      )
      const stopped = yield* Effect.forkDaemon(kit.run())
      yield* TestClock.adjust("1 second")
      yield* Effect.zipRight(Effect.forkDaemon(Fiber.interrupt(stopped)), TestClock.adjust("1 minute"))
      assert.deepStrictEqual(yield* kept, ["zipper: a run was killed on nas"])
      yield* Ref.update(kit.state.jobStates, (memory) => ({ ...memory, markers: new Map([["archive", dead]]) }))
      yield* Effect.forkDaemon(kit.run())
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual((yield* Ref.get(kit.store)).published.size, 2, "the work waits for the message")
    })
  )

  it.effect("tells once of runs that are killed one after the other", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree(), { before: () => Effect.never })
      for (const run of ["dead01", "dead02"]) {
        const dead = { ...noMarker, run, started_at_utc: `1970-01-01T0${run.at(-1)}:00:00Z` }
        yield* Ref.update(kit.state.jobStates, (memory) => ({
          ...memory,
          markers: new Map([["archive", dead]])
        }))
        const fiber = yield* Effect.fork(kit.run())
        yield* TestClock.adjust("30 seconds")
        yield* Fiber.interrupt(fiber)
      }
      const dead = (yield* historyOf(kit.state)).filter(({ error = "" }) => error.includes("killed"))
      assert.lengthOf(dead, 2)
      assert.deepStrictEqual(yield* titles(kit.sent), ["zipper: a run was killed on nas"])
    })
  )

  it.effect("that cannot use its lock is the last one that is known of, and leaves what others wrote", () =>
    Effect.gen(function* () {
      const error = new LockError({ reason: "Unusable", path: "/l", message: "cannot use the lock file /l" })
      const kit = yield* makeKit(tree(), {
        usesLock: (path) => (path === "/l" ? Effect.fail(error) : Effect.void)
      })
      yield* kit.run()
      const before = yield* archiveState(kit.state)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* Effect.flip(kit.run({}, { lockfile_path: "/l" }))).message, error.message)
      const { aside, states } = yield* Ref.get(kit.state.jobStates)
      assert.deepStrictEqual(states.get("archive"), before)
      assert.deepInclude(aside.get("archive")?.last_run, {
        started_at_utc: "1970-01-01T01:00:00Z",
        outcome: "not_started",
        error: error.message
      })
      assert.include(
        (yield* Ref.get(kit.state.metrics)).at(-1),
        'zipper_last_run_outcome{job="archive",outcome="not_started"} 1'
      )
    })
  )

  it.effect("with its state away, tells the monitor nothing of other jobs", () =>
    Effect.gen(function* () {
      const kit = yield* makeReplicationKit()
      kit.source("tank", ["1"])
      const error = new JobStateError({ message: "no such file or directory", away: true })
      yield* Ref.update(kit.state.jobStates, (memory) => ({ ...memory, error }))
      const before = [
        "# HELP zipper_last_success_timestamp_seconds When it began.",
        "# TYPE zipper_last_success_timestamp_seconds gauge",
        'zipper_last_success_timestamp_seconds{job="archive",folder="ABCD"} 7'
      ]
      yield* Ref.set(kit.state.metrics, [`${before.join("\n")}\n`])
      yield* kit.run()
      const told = (yield* Ref.get(kit.state.metrics)).at(-1)
      assert.include(told, 'zipper_last_success_timestamp_seconds{job="archive",folder="ABCD"} 7\n')
    })
  )

  const on = { notify_on: ["failure", "recovery"] as const }

  it.effect("does not write over what it could not read", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      kit.archiver.failures["EFGH"] = [unreadable]
      yield* kit.run({}, on)
      const before = yield* archiveState(kit.state)
      const unknown = new JobStateError({ message: "standing/archive.json: input/output error" })
      yield* Ref.update(kit.state.jobStates, (memory) => ({ ...memory, unreadable: unknown }))
      yield* TestClock.adjust("1 hour")
      yield* kit.run({}, on)
      const { unreadable: _, ...memory } = yield* Ref.get(kit.state.jobStates)
      assert.deepStrictEqual(memory.states.get("archive"), before)
      assert.strictEqual(memory.aside.get("archive")?.last_run.started_at_utc, "1970-01-01T01:00:00Z")
      yield* Ref.set(kit.state.jobStates, memory)
      yield* kit.run({}, on)
      assert.strictEqual((yield* Ref.get(kit.state.jobStates)).aside.size, 0)
      assert.deepStrictEqual((yield* titles(kit.sent)).slice(1), ["zipper: 1 folder recovered on nas"])
    })
  )

  it.effect("tells of a recovery when it could be written down, and the monitor at once", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      kit.archiver.failures["ABCD"] = [unreadable]
      yield* kit.run({}, on)
      const error = new JobStateError({ message: "no space left on the device" })
      yield* Ref.update(kit.state.jobStates, (memory) => ({ ...memory, error }))
      yield* kit.run({}, on)
      yield* kit.run({}, on)
      assert.lengthOf(yield* titles(kit.sent), 1)
      assert.include(
        (yield* Ref.get(kit.state.metrics)).at(-1),
        'zipper_last_attempt_failed{job="archive",folder="ABCD"} 0'
      )
      yield* Ref.update(kit.state.jobStates, (memory) => ({ ...memory, error: undefined }))
      yield* kit.run({}, on)
      yield* kit.run({}, on)
      assert.deepStrictEqual((yield* titles(kit.sent)).slice(1), ["zipper: 1 folder recovered on nas"])
    })
  )

  it.effect("remembers that it could not begin where the target is away, and what the monitor knew stays", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      yield* kit.run({}, on)
      const { states } = yield* Ref.get(kit.state.jobStates)
      // The state is in the target, and gone with it.
      const error = new JobStateError({ message: "the target is empty", noPlace: true })
      yield* Ref.update(kit.state.jobStates, (memory) => ({ ...memory, states: new Map(), error }))
      yield* Ref.update(kit.store, (store) => ({ ...store, preflight: full }))
      yield* Effect.flip(kit.run({}, on))
      const told = (yield* Ref.get(kit.state.metrics)).at(-1)
      assert.include(told, 'zipper_last_success_timestamp_seconds{job="archive",folder="ABCD"} 0\n')
      assert.include(told, 'zipper_last_run_outcome{job="archive",outcome="not_started"} 1\n')
      assert.include(told, 'zipper_last_run_outcome{job="archive",outcome="ok"} 0\n')
      yield* Ref.update(kit.state.jobStates, (memory) => ({ ...memory, states, error: undefined }))
      yield* Ref.update(kit.store, (store) => ({ ...store, preflight: { free: 1, stagesInTmp: true } }))
      yield* kit.run({}, on)
      yield* kit.run({}, on)
      assert.deepStrictEqual((yield* titles(kit.sent)).slice(1), ["zipper: the job works again on nas"])
    })
  )

  const about = {
    run: "ab12cd",
    whole: true,
    pid: 1,
    lockfile: "/var/run/zipper.lock",
    job: undefined,
    nextState: () => assert.fail("no state here"),
    succeeded: () => true,
    messages: {
      of: { job: archiveJobKey, task: "run" as const },
      reminder_hours: 24,
      failing: () => [],
      covers: () => true,
      reportOf: () => "",
      documentOf: () => undefined,
      ofFailure: () => undefined,
      ofKilled: () => undefined,
      ofSummary: () => ({ title: "all well", message: "" }),
      ofRecovery: () => undefined
    }
  }

  /** Nobody answers: neither who is pinged nor who takes messages. */
  const hanging = Layer.mergeAll(
    memoryLock(),
    JobStates.layerNone,
    Metrics.layerNone,
    Layer.succeed(History, {
      end: () => Effect.void,
      runs: Effect.succeed({ runs: [], unreadable: 0 })
    }),
    Layer.succeed(Ping, { start: Effect.never, success: Effect.never, fail: () => Effect.never }),
    Layer.succeed(Notifier, { send: () => Effect.never, probe: Effect.succeed("Gotify" as const) })
  )
  const line: HistoryRun = {
    version: 1,
    kind: "archive",
    run: "ab12cd",
    started_at_utc: "1970-01-01T00:00:00Z",
    seconds: 0,
    outcome: "ok",
    archived: 0,
    unchanged: 0,
    failed: 0,
    bytes: 0,
    zip_bytes: 0,
    folders: []
  }

  it.effect.each([
    ["at work", Effect.never],
    ["done, and only telling of it", Effect.succeed({})]
  ] as const)("stopped by a signal when it is %s, it waits no longer than five seconds", ([, job]) =>
    Effect.gen(function* () {
      const run = superviseRun({ ...about, stopped: () => "stopped by a signal", historyOf: () => line }, () => job)
      const fiber = yield* Effect.fork(Effect.provide(run, hanging))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interruptFork(fiber)
      yield* TestClock.adjust("4 seconds")
      assert.isNull(yield* fiber.status.pipe(Effect.map((status) => (FiberStatus.isDone(status) ? status : null))))
      yield* TestClock.adjust("6 seconds")
      assert.isTrue(FiberStatus.isDone(yield* fiber.status))
    })
  )
})
