import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitStatusOf } from "../../src/runs/ReplicationResult.ts"
import { addDataset, addSnapshot, changeKey, joinKey, opens } from "../doubles/replication/world.ts"
import { errorOf, makeKit, short } from "../support/replication/replication.ts"

const replica = "backup/nas/tank"
const child = `${replica}/child`

/** An encrypted tree that was sent raw once: each replica is opened by a key of its own. */
const sentOnce = Effect.gen(function* () {
  const kit = yield* makeKit({ mode: "raw" })
  const tank = kit.source("tank", ["1"], { encrypted: true })
  const below = kit.source("tank/child", ["1"], { encrypted: true })
  yield* kit.run()
  const again = (snapshot: string) => {
    for (const dataset of [tank, below]) addSnapshot(kit.memory, dataset, snapshot)
  }
  const warnings = () => kit.lines.filter((line) => line.startsWith("WARN "))
  kit.lines.length = 0
  return { ...kit, again, warnings, opened: (name: string) => opens(kit.memory, "target", name) }
})

describe("replicate raw, and the keys of the replicas", () => {
  it.effect("brings a key that was changed at the source along, and says so until then", () =>
    Effect.gen(function* () {
      const kit = yield* sentOnce
      yield* kit.run()
      assert.deepStrictEqual(kit.warnings(), [])
      changeKey(kit.memory, "source", "tank")
      assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank up_to_date", "tank/child up_to_date"])
      assert.lengthOf(kit.warnings(), 2)
      assert.match(
        kit.warnings()[0] ?? "",
        /^WARN tank: the key of tank is not the one that backup\/nas\/tank on this host has.*still opens with its old key or passphrase, until a new snapshot/
      )
      kit.again("2")
      for (const dryRun of [true, false]) {
        kit.lines.length = 0
        yield* kit.run({ dryRun })
        assert.match(kit.warnings()[0] ?? "", /gets that of the source with this stream/)
      }
      for (const name of [replica, child]) assert.isTrue(kit.opened(name))
      kit.lines.length = 0
      yield* kit.run()
      assert.deepStrictEqual(kit.warnings(), [])
    })
  )

  it.effect("sends nothing to a replica that was joined to another key, until it has one of its own again", () =>
    Effect.gen(function* () {
      const kit = yield* sentOnce
      joinKey(kit.memory, "target", child)
      yield* kit.run()
      assert.match(kit.warnings()[0] ?? "", /child on this host is opened by .*: the next snapshot will not be/)
      changeKey(kit.memory, "source", "tank/child")
      kit.again("2")
      for (const dryRun of [true, false]) {
        const summary = yield* kit.run({ dryRun })
        assert.deepStrictEqual(short(summary.datasets), ["tank sent", "tank/child refused"])
        assert.match(errorOf(summary.datasets, "tank/child"), /child is opened by the key of backup\/nas\/tank /)
        assert.strictEqual(exitStatusOf(summary), 4)
      }
      assert.deepStrictEqual(kit.names(child), ["1"])
      assert.isTrue(kit.opened(child))
      changeKey(kit.memory, "target", child)
      assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank up_to_date", "tank/child sent"])
      assert.isTrue(kit.opened(child))
    })
  )

  it.effect("does not change a key that opens something else at the target", () =>
    Effect.gen(function* () {
      const kit = yield* sentOnce
      const local = addDataset(kit.memory, "target", `${replica}/local`, { encrypted: true })
      assert.strictEqual(local.key?.root, replica)
      kit.again("2")
      assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank sent", "tank/child sent"])
      changeKey(kit.memory, "source", "tank")
      kit.again("3")
      const summary = yield* kit.run()
      assert.strictEqual(short(summary.datasets)[0], "tank refused")
      assert.match(errorOf(summary.datasets, "tank"), /backup\/nas\/tank\/local is opened by the one that it has/)
      assert.isTrue(kit.opened(local.name))
    })
  )

  it.effect("does not call a replica up to date that no key opens, and mends it where it can", () =>
    Effect.gen(function* () {
      const kit = yield* sentOnce
      joinKey(kit.memory, "target", child)
      // What a stream to the parent did while nothing kept it from that.
      changeKey(kit.memory, "source", "tank")
      const [root, sourceRoot] = [kit.memory.target.datasets.get(replica), kit.memory.source.datasets.get("tank")]
      assert.isDefined(root)
      if (root !== undefined) root.key = sourceRoot?.key && { root: replica, salt: sourceRoot.key.salt }
      assert.isFalse(kit.opened(child))
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank up_to_date", "tank/child failed"])
      assert.match(errorOf(summary.datasets, "tank/child"), /^no key opens backup\/nas\/tank\/child/)
      kit.again("2")
      assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank sent", "tank/child sent"])
      assert.isTrue(kit.opened(child))
    })
  )
})
