import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import { addSnapshot, zfsError } from "../doubles/replication/world.ts"
import { makeKit } from "../support/program/job.ts"
import { archiveState, full, historyOf, titles, tree, unreadable } from "../support/program/supervised.ts"
import { makeKit as makeReplicationKit } from "../support/replication/replication.ts"

describe("a run that is supervised", () => {
  it.effect("leaves a line of history, the state, metrics and pings, and no mark", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2025, 0, 1, 12))
      const kit = yield* makeKit(tree())
      yield* kit.run()
      const [run] = yield* historyOf(kit.state)
      assert.deepInclude(run, {
        version: 1,
        kind: "archive",
        run: "ab12cd",
        started_at_utc: "2025-01-01T12:00:00Z",
        outcome: "ok",
        archived: 2,
        failed: 0
      })
      const { folders, last_run, last_success_utc } = yield* archiveState(kit.state)
      assert.deepInclude(last_run, { outcome: "ok", failures: 0 })
      assert.strictEqual(last_success_utc, "2025-01-01T12:00:00Z")
      assert.deepStrictEqual(
        folders.map(({ folder: name, last_success_utc: at, result }) => [name, result, at]),
        [
          ["ABCD", "archived", "2025-01-01T12:00:00Z"],
          ["EFGH", "archived", "2025-01-01T12:00:00Z"]
        ]
      )
      assert.deepStrictEqual(yield* Ref.get(kit.state.pings), ["start", "success"])
      assert.strictEqual((yield* Ref.get(kit.state.jobStates)).markers.size, 0)
      const [metrics] = yield* Ref.get(kit.state.metrics)
      assert.include(
        metrics,
        `zipper_last_success_timestamp_seconds{job="archive",folder="ABCD"} ${Date.UTC(2025, 0, 1, 12) / 1000}\n`
      )
    })
  )

  it.effect("keeps last success and last attempt apart, and tells once of a folder that works again", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      const run = () => Effect.zipRight(TestClock.adjust("1 hour"), kit.run({}, { notify_on: ["failure", "recovery"] }))
      yield* run()
      kit.archiver.failures["ABCD"] = [unreadable]
      kit.tree["ABCD"] = { "a.txt": { content: "three" } }
      yield* run()
      const [abcd, efgh] = (yield* archiveState(kit.state)).folders
      assert.deepInclude(abcd, {
        result: "failed",
        last_success_utc: "1970-01-01T01:00:00Z",
        last_attempt_utc: "1970-01-01T02:00:00Z",
        error: unreadable.message,
        files: 1
      })
      assert.deepInclude(efgh, { result: "unchanged", last_success_utc: "1970-01-01T02:00:00Z" })
      assert.deepStrictEqual((yield* Ref.get(kit.state.pings)).slice(2), [
        "start",
        `fail: ABCD: ${unreadable.message}\n0 archived, 1 unchanged, 1 failed; 0.0 s\nrun ab12cd`
      ])
      yield* run()
      yield* run()
      assert.deepStrictEqual(yield* titles(kit.sent), [
        "zipper: 1 of 2 folders failed on nas",
        "zipper: 1 folder recovered on nas"
      ])
      assert.include(
        (yield* Ref.get(kit.sent))[1]?.message,
        "**ABCD** works again; the last time before was 1970-01-01T01"
      )
      const [again] = (yield* archiveState(kit.state)).folders
      assert.notProperty(again, "error")
    })
  )

  it.effect("has the figures of what was archived by a run that was killed before it could write them", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      yield* kit.run()
      const { folders } = yield* archiveState(kit.state)
      yield* Ref.update(kit.state.jobStates, (memory) => ({ ...memory, states: new Map() }))
      yield* kit.run()
      const again = (yield* archiveState(kit.state)).folders
      assert.deepStrictEqual(
        again.map(({ bytes, files, result, zip_bytes }) => ({ bytes, files, result, zip_bytes })),
        folders.map(({ bytes, files, zip_bytes }) => ({
          bytes,
          files,
          result: "unchanged" as const,
          zip_bytes
        }))
      )
      assert.isAbove(again[0]?.zip_bytes ?? 0, 0)
    })
  )

  it.effect("says nothing of a recovery unless asked to", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      kit.archiver.failures["ABCD"] = [unreadable]
      yield* kit.run()
      yield* kit.run()
      assert.deepStrictEqual(yield* titles(kit.sent), ["zipper: 1 of 2 folders failed on nas"])
    })
  )

  it.effect("a run that could not begin is one, and the first that can is told of", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      const on = { notify_on: ["failure", "recovery"] as const }
      yield* kit.run({}, on)
      yield* TestClock.adjust("1 hour")
      yield* Ref.update(kit.store, (store) => ({ ...store, preflight: full }))
      yield* Effect.flip(kit.run({}, on))
      yield* TestClock.adjust("1 hour")
      yield* Effect.flip(kit.run({}, on))
      const state = yield* archiveState(kit.state)
      assert.deepInclude(state, { not_started_since_utc: "1970-01-01T01:00:00Z" })
      assert.deepInclude(state.last_run, { outcome: "not_started", error: full.message })
      assert.strictEqual(state.folders[0]?.last_success_utc, "1970-01-01T00:00:00Z")
      assert.deepInclude((yield* historyOf(kit.state))[1], { outcome: "not_started", error: full.message })
      assert.strictEqual((yield* Ref.get(kit.state.pings)).at(-1), `fail: ${full.message}\nrun ab12cd`)
      yield* Ref.update(kit.store, (store) => ({ ...store, preflight: { free: 1, stagesInTmp: true } }))
      yield* kit.run({}, on)
      yield* kit.run({}, on)
      assert.deepStrictEqual((yield* titles(kit.sent)).slice(1), ["zipper: the job works again on nas"])
      assert.notProperty(yield* archiveState(kit.state), "not_started_since_utc")
    })
  )

  it.effect("one that finds the lock held leaves nothing", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree(), { held: ["/var/run/zipper.lock"] })
      assert.strictEqual((yield* Effect.flip(kit.run()))._tag, "LockError")
      assert.deepStrictEqual(yield* historyOf(kit.state), [])
      assert.deepStrictEqual(yield* Ref.get(kit.state.pings), [])
      assert.deepStrictEqual(yield* Ref.get(kit.sent), [])
      const { markers, states } = yield* Ref.get(kit.state.jobStates)
      assert.strictEqual(markers.size + states.size, 0)
    })
  )

  it.effect("folders that a whole run did not find are forgotten, those that it was not asked for are not", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      yield* kit.run()
      yield* kit.run({ folders: ["ABCD"] })
      assert.lengthOf((yield* archiveState(kit.state)).folders, 2)
      delete kit.tree["EFGH"]
      yield* kit.run()
      assert.deepStrictEqual(
        (yield* archiveState(kit.state)).folders.map((each) => String(each.folder)),
        ["ABCD"]
      )
    })
  )

  it.effect("a name that was mistyped is not taken for a folder", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      yield* kit.run({ folders: ["ABCD", "ABDC"] })
      const names = (yield* archiveState(kit.state)).folders.map((each) => String(each.folder))
      assert.deepStrictEqual(names, ["ABCD"])
    })
  )

  it.effect("a replication does the same, dataset by dataset", () =>
    Effect.gen(function* () {
      const kit = yield* makeReplicationKit()
      const tank = kit.source("tank", ["1"])
      kit.source("tank/a", ["1"])
      const run = () => kit.run({ notify_on: ["recovery"], retries: 0 })
      yield* run()
      addSnapshot(kit.memory, tank, "2")
      kit.memory.failures.set("send tank", [zfsError("Other", "out of swap")])
      yield* run()
      const found = (yield* Ref.get(kit.state.jobStates)).states.get("replication-pull-nas")
      assert(found?.kind === "replication")
      assert.deepInclude(found, { job: "pull-nas", direction: "pull", host: "nas" })
      assert.deepStrictEqual(
        found.datasets.map(({ dataset, last_success_utc, result }) => [dataset, result, last_success_utc]),
        [
          ["tank", "failed", "1970-01-01T00:00:00Z"],
          ["tank/a", "up_to_date", "1970-01-01T01:00:00Z"]
        ]
      )
      yield* run()
      yield* run()
      assert.deepStrictEqual(yield* titles(kit.sent), ["zipper: pull-nas: 1 dataset recovered on backup"])
      const history = yield* historyOf(kit.state)
      assert.deepStrictEqual(
        history.map(({ outcome }) => outcome),
        ["ok", "failed", "ok", "ok"]
      )
      assert.lengthOf(yield* Ref.get(kit.state.pings), 8)
    })
  )

  it.effect("a replication that is in no configuration has a line of history and no state", () =>
    Effect.gen(function* () {
      const kit = yield* makeReplicationKit()
      kit.source("tank", ["1"])
      yield* kit.run({ named: false })
      assert.lengthOf(yield* historyOf(kit.state), 1)
      assert.strictEqual((yield* Ref.get(kit.state.jobStates)).states.size, 0)
    })
  )

  it.effect("of chosen folders, it says nothing of the job as a whole", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      kit.archiver.failures["EFGH"] = [unreadable]
      yield* kit.run()
      const { last_run } = yield* archiveState(kit.state)
      yield* kit.run({ folders: ["ABCD"] })
      assert.deepStrictEqual((yield* archiveState(kit.state)).last_run, last_run)
      assert.lengthOf(yield* Ref.get(kit.state.pings), 2)
      assert.lengthOf(yield* historyOf(kit.state), 2)
    })
  )
})
