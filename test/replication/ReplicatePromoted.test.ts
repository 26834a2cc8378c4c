import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { addSnapshot, promote } from "../doubles/replication/world.ts"
import { makeKit, short } from "../support/replication/replication.ts"

/** tank/b, a clone of tank/a@2, is promoted after both were replicated; then both get a snapshot. */
const promoted = (ofOrigin: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const kit = yield* makeKit()
    kit.source("tank", ["1"])
    const a = kit.source("tank/a", ofOrigin)
    kit.source("tank/a/child", ["1"])
    const b = kit.source("tank/b", ["b1"])
    assert.strictEqual((yield* kit.run()).failed, 0)
    promote(b, a, "2")
    addSnapshot(kit.memory, a, "4")
    addSnapshot(kit.memory, b, "b2")
    return kit
  })

describe("a clone that was promoted at the source", () => {
  it.effect("names the snapshots that never reach its replica, and both replicas go on", () =>
    Effect.gen(function* () {
      const kit = yield* promoted(["1", "2", "3"])
      for (const options of [{ dryRun: true }, {}, {}]) {
        kit.lines.length = 0
        const summary = yield* kit.run(options)
        assert.strictEqual(summary.failed + summary.refused, 0)
        const text =
          "2 snapshots that were in the replica of tank/a (@1, @2) are older than what backup/nas/tank/b on this host began with and never reach it: the dataset seems to have been a clone of tank/a that was promoted; backup/nas/tank/a has them, so keep that one, or move backup/nas/tank/b out of the way (there: zfs rename 'backup/nas/tank/b' 'backup/nas/tank/b-old' && zfs inherit -r zipper:send 'backup/nas/tank/b-old') and the next run starts anew with them"
        assert.deepStrictEqual(summary.remarks, [text])
        // It is so at every run, and nothing has to be done about it.
        assert.include(kit.lines, `INFO tank/b: ${text}`)
        assert.deepStrictEqual(
          kit.lines.filter((line) => line.startsWith("WARN")),
          []
        )
      }
      assert.deepStrictEqual(kit.names("backup/nas/tank/a"), ["1", "2", "3", "4"])
      assert.deepStrictEqual(kit.names("backup/nas/tank/b"), ["b1", "b2"])
    })
  )

  it.effect("is not taken for a copy that comes back where it lies below its origin", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const origin = kit.source("tank", ["1", "2"])
      const clone = kit.source("tank/clone", ["c1"])
      yield* kit.run()
      promote(clone, origin, "1")
      addSnapshot(kit.memory, clone, "c2")
      yield* kit.run()
      assert.notInclude(kit.lines.join("\n"), "leave it out with --exclude")
    })
  )

  it.effect("an origin without later snapshots cannot go on: what happened and the way back are said", () =>
    Effect.gen(function* () {
      const kit = yield* promoted(["1", "2"])
      addSnapshot(kit.memory, kit.source("tank/a/new", []), "1")
      for (const options of [{ dryRun: true }, {}]) {
        const summary = yield* kit.run(options)
        assert.strictEqual(
          summary.remarks[0],
          "tank/b on nas has the snapshots of backup/nas/tank/a now, and this dataset none of them: a clone of it was promoted (there: zfs promote 'tank/a' takes them back), one is a copy of the other, or they changed names (give their replicas the same names)"
        )
        assert.match(JSON.stringify(summary.datasets), /have no snapshot in common/)
        assert.deepStrictEqual(
          short(summary.datasets).filter((text) => text.startsWith("tank/a")),
          ["tank/a refused", "tank/a/child up_to_date", "tank/a/new sent"]
        )
      }
    })
  )

  it.effect("a replica that was moved out of the way, as the messages say, is sent anew with all below it", () =>
    Effect.gen(function* () {
      const kit = yield* promoted(["1", "2"])
      const { datasets } = kit.memory.target
      for (const name of ["a", "a/child", "b"]) {
        const [from, to] = [`backup/nas/tank/${name}`, `backup/nas/tank/${name.replace(/^./, "$&-old")}`]
        const replica = datasets.get(from)
        assert.isDefined(replica)
        datasets.delete(from)
        datasets.set(to, Object.assign(replica, { name: to, mode: undefined }))
      }
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), [
        ...["tank up_to_date", "tank/a sent", "tank/a/child sent", "tank/b sent"]
      ])
      assert.deepStrictEqual(kit.names("backup/nas/tank/b"), ["1", "2", "b1", "b2"])
    })
  )

  it.effect("is told from snapshots that were thinned out at the replica", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", ["1", "2"])
      const copy = kit.source("tank/copy", [])
      copy.snapshots = tank.snapshots
      yield* kit.run()
      const replica = kit.memory.target.datasets.get("backup/nas/tank/copy")
      assert.isDefined(replica)
      replica.snapshots = replica.snapshots.slice(1)
      assert.deepStrictEqual((yield* kit.run()).remarks, [])
    })
  )
})
