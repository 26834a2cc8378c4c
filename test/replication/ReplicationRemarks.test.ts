import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { shortDigest } from "../../src/config/ReplicationJob.ts"
import { bookmarkName } from "../../src/replication/Bookmarks.ts"
import { staleOf } from "../../src/replication/Remarks.ts"
import { exitStatusOf } from "../../src/runs/ReplicationResult.ts"
import { addDataset, addSnapshot } from "../doubles/replication/world.ts"
import { errorOf, makeKit, short } from "../support/replication/replication.ts"

const warnings = (lines: ReadonlyArray<string>) => lines.filter((line) => line.startsWith("WARN "))

describe("what of a replication is not all well though nothing failed", () => {
  it.effect("a source that is gone from below what the job names, until the replica is no more of ours", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      for (const name of ["tank", "tank/a", "tank/b"]) kit.source(name, ["1"])
      yield* kit.run({ notify_on: ["success"] })
      assert.deepStrictEqual(warnings(kit.lines), [])
      kit.memory.source.datasets.delete("tank/b")
      const summary = yield* kit.run({ notify_on: ["success"] })
      assert.deepStrictEqual(short(summary.datasets), ["tank up_to_date", "tank/a up_to_date"])
      assert.strictEqual(exitStatusOf(summary), 0)
      const [said] = warnings(kit.lines)
      assert.match(said ?? "", /backup\/nas\/tank\/b on this host: the source is gone from nas/)
      const sent = yield* Ref.get(kit.sent)
      assert.include(sent[0]?.title ?? "", "all well")
      assert.notInclude(sent[1]?.title ?? "", "all well")
      assert.match(sent[1]?.message ?? "", /the source is gone/)
      const replica = kit.memory.target.datasets.get("backup/nas/tank/b")
      assert.isDefined(replica)
      if (replica !== undefined) replica.mode = undefined
      assert.deepStrictEqual((yield* kit.run()).remarks, [])
    })
  )

  it.effect("a replica in another place of that pool, where the dataset is sent in full once more", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      // By its former name, the host was called old.
      const moved = (name: string) => {
        const source = kit.source(name, ["1"])
        const [first] = source.snapshots
        const replica = addDataset(kit.memory, "target", `backup/old/${name}`)
        replica.mode = "plain"
        replica.snapshots = source.snapshots
        assert.isDefined(first)
        const place = shortDigest(`${kit.memory.target.datasets.get("backup")?.guid}/old/${name}`, 12)
        source.bookmarks = [{ ...first, name: bookmarkName(place, first.guid) }]
      }
      for (const name of ["tank", "tank/a"]) moved(name)
      const text =
        "all of it is sent to backup/nas/tank, though backup/old/tank on this host is a replica of it: if only the name of the host, destination or dataset changed, rename that one before the first run (there: zfs rename -p 'backup/old/tank' 'backup/nas/tank'), and only what is new is sent"
      assert.deepStrictEqual((yield* kit.run({ dryRun: true })).remarks, [text])
      assert.include(warnings(kit.lines), `WARN tank: ${text}`)
      const summary = yield* kit.run()
      assert.deepStrictEqual([short(summary.datasets), summary.remarks], [["tank sent", "tank/a sent"], [text]])
      assert.deepStrictEqual((yield* kit.run()).remarks, [])
    })
  )

  it.effect("no replica of another dataset that is where its own was", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const source = kit.source("tank", ["1"])
      const [first] = source.snapshots
      assert.isDefined(first)
      const other = addDataset(kit.memory, "target", "backup/old/tank")
      other.mode = "plain"
      other.snapshots = kit.source("other", ["9"]).snapshots
      const place = shortDigest(`${kit.memory.target.datasets.get("backup")?.guid}/old/tank`, 12)
      source.bookmarks = [{ ...first, name: bookmarkName(place, first.guid) }]
      assert.deepStrictEqual((yield* kit.run({ dryRun: true })).remarks, [])
    })
  )

  it.effect("what the job names and is gone fails, and is said once", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ datasets: ["tank/a", "tank/b"] })
      for (const name of ["tank/a", "tank/b", "tank/b/c"]) kit.source(name, ["1"])
      yield* kit.run()
      for (const name of ["tank/b", "tank/b/c"]) kit.memory.source.datasets.delete(name)
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank/b failed", "tank/a up_to_date"])
      assert.deepStrictEqual(summary.remarks, [])
    })
  )

  it.effect("what the job names and nothing of which has a snapshot fails; what only holds others does not", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ datasets: ["tank/a", "tank/b"] })
      kit.source("tank/a", [])
      kit.source("tank/a/c", ["1"])
      const bare = kit.source("tank/b", [])
      kit.source("tank/b/c", [])
      for (const dryRun of [true, false]) {
        const summary = yield* kit.run({ dryRun })
        assert.deepStrictEqual(short(summary.datasets), [
          "tank/a nothing_to_send",
          "tank/a/c sent",
          "tank/b failed",
          "tank/b/c nothing_to_send"
        ])
        assert.match(errorOf(summary.datasets, "tank/b"), /neither it nor anything below it has a snapshot/)
      }
      addSnapshot(kit.memory, bare, "1")
      yield* kit.run({ notify_on: ["success"] })
      const sent = yield* Ref.get(kit.sent)
      assert.notInclude(sent.at(-1)?.title ?? "", "all well")
      assert.match(sent.at(-1)?.message ?? "", /\*\*tank\/b\/c\*\*: it has no snapshot/)
    })
  )

  it.effect("what is named and left out at once", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ datasets: ["tank/a", "tank/b"], exclude: ["b"] })
      for (const name of ["tank/a", "tank/b"]) kit.source(name, ["1"])
      yield* kit.run()
      assert.deepStrictEqual(warnings(kit.lines), [
        "WARN tank/b is left out (--exclude b), though it is named: nothing of it is replicated"
      ])
    })
  )

  it.effect("snapshots that are not taken any more", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", [])
      // The clock of the test begins at 1970 and goes on for an hour with each run.
      const hour = 3600
      for (const [index, name] of ["1", "2", "3"].entries()) {
        addSnapshot(kit.memory, tank, name, { creation: (index - 40) * hour })
      }
      const summary = yield* kit.run({ notify_on: ["success"] })
      assert.match(
        summary.remarks[0] ?? "",
        /^tank on nas got no snapshot for 1 d 14 h, and one every 1 h 00 m at least before: is something still/
      )
      assert.notInclude((yield* Ref.get(kit.sent))[0]?.title ?? "", "all well")
      addSnapshot(kit.memory, tank, "4", { creation: 0 })
      kit.lines.length = 0
      yield* kit.run()
      assert.deepStrictEqual(warnings(kit.lines).slice(0, 1), [])
    })
  )

  it("goes by the longest time between the latest, and by nothing where there are few", () => {
    const day = 86_400
    const source = (...days: ReadonlyArray<number>) => ({
      name: "tank",
      kind: "filesystem" as const,
      guid: "1",
      encrypted: false,
      key: undefined,
      bookmarks: [],
      snapshots: days.map((at) => ({
        name: String(at),
        guid: String(at),
        createtxg: BigInt(at),
        creation: at * day,
        holds: 0,
        clones: []
      }))
    })
    const stale = (now: number, ...days: ReadonlyArray<number>) => staleOf([source(...days)], now * day).length
    assert.strictEqual(stale(100, 1, 2), 0)
    assert.strictEqual(stale(7, 1, 2, 3), 0)
    assert.strictEqual(stale(7.1, 1, 2, 3), 1)
    // Weekly ones, and others now and then.
    assert.strictEqual(stale(36, 1, 8, 14), 0)
    assert.strictEqual(stale(37, 1, 8, 14), 1)
    // What is kept of long ago is thinned out.
    const thinned = [1, 100, 200, ...Array.from({ length: 10 }, (_, index) => 300 + index)]
    assert.strictEqual(stale(314, ...thinned), 1)
    // A clock that was ahead.
    assert.strictEqual(stale(3, 1, 2, 99), 0)
  })
})
