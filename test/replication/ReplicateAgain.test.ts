import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ZfsError } from "../../src/zfs/ZfsCommand.ts"
import { addDataset, addSnapshot, zfsError } from "../doubles/replication/world.ts"
import { errorOf, makeKit, replicatedOnce, short } from "../support/replication/replication.ts"

const sends = (calls: ReadonlyArray<string>) => calls.filter((call) => call.startsWith("send "))

describe("replicate, when it has to go on or look again", () => {
  it.effect("goes on with a stream onto a placeholder, which takes the same force as its beginning", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      addDataset(kit.memory, "target", "backup/nas", { canmount: "off", placeholder: true })
      addDataset(kit.memory, "target", "backup/nas/tank", { canmount: "off", placeholder: true })
      kit.source("tank", ["1", "2"])
      kit.memory.cuts.push(30)
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank sent"])
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["1", "2"])
      assert.strictEqual(summary.bytes, 200, "nothing is sent twice")
    })
  )

  it.effect("never sends the rest of another dataset's stream, and throws it away neither", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ datasets: ["tank/public"] })
      kit.source("tank/public", ["1", "2"])
      const secret = kit.source("tank/secret", ["s"])
      kit.memory.cuts.push(30)
      yield* kit.run({ retries: 0 })
      const [[token, cut] = []] = [...kit.memory.tokens]
      const [to] = secret.snapshots
      assert.isDefined(token)
      assert.isDefined(cut)
      assert.isDefined(to)
      kit.memory.tokens.set(token, { ...cut, source: "tank/secret", to })
      const before = sends(kit.memory.calls).length
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank/public failed"])
      assert.isTrue(kit.lines.some((line) => /half a stream of tank\/secret@s.*zfs receive -A/.test(line)))
      assert.lengthOf(sends(kit.memory.calls), before)
      assert.isDefined(kit.memory.target.datasets.get("backup/nas/tank/public")?.partial)
    })
  )

  it.effect("never sends the rest of a stream that is raw when it should not be, or is not when it should", () =>
    Effect.gen(function* () {
      for (const mode of ["raw", "plain"] as const) {
        const kit = yield* makeKit({ mode })
        kit.source("tank", ["1", "2"], { encrypted: true })
        kit.memory.cuts.push(30)
        yield* kit.run({ retries: 0 })
        const replica = kit.memory.target.datasets.get("backup/nas/tank")
        const [[token, cut] = []] = [...kit.memory.tokens]
        assert.isDefined(replica)
        assert.isDefined(token)
        assert.isDefined(cut)
        // Somebody else's, who left no mark.
        kit.memory.tokens.set(token, { ...cut, raw: mode !== "raw" })
        replica.mode = undefined
        const before = sends(kit.memory.calls).length
        assert.match(
          errorOf((yield* kit.run()).datasets, "tank"),
          mode === "raw" ? /not raw, and this job sends raw/ : /half a raw stream.*sends plain/
        )
        assert.lengthOf(sends(kit.memory.calls), before)
        kit.memory.tokens.set(token, cut)
        assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank sent"])
      }
    })
  )

  it.effect("plans again where the target got a snapshot during a receive, which zfs says in other words", () =>
    Effect.gen(function* () {
      for (const isOwn of [true, false]) {
        const kit = yield* makeKit()
        const { replica, tank } = yield* replicatedOnce(kit)
        addSnapshot(kit.memory, tank, "2")
        const said = "cannot receive: kernel modules must be upgraded to receive this stream"
        kit.memory.failures.set("send tank", [zfsError("Other", said)])
        kit.memory.before = (operation) => {
          if (isOwn && operation === "send tank" && replica.snapshots.length === 1) {
            addSnapshot(kit.memory, replica, "own")
          }
        }
        const { datasets } = yield* kit.run()
        assert.deepStrictEqual(short(datasets), [`tank ${isOwn ? "sent" : "failed"}`])
        assert.deepStrictEqual(kit.names("backup/nas/tank"), isOwn ? ["1", "own", "2"] : ["1"])
        const again = `INFO tank: planning again, since something has changed meanwhile: ${said} (backup/nas/tank@own was taken there meanwhile)`
        assert.strictEqual(kit.lines.includes(again), isOwn)
      }
    })
  )

  it.effect("--rollback destroys what the first plan listed, and not what somebody makes meanwhile", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const { replica, tank } = yield* replicatedOnce(kit)
      addSnapshot(kit.memory, replica, "mine", { written: 4096 })
      addSnapshot(kit.memory, tank, "2")
      let once = true
      kit.memory.before = (operation) => {
        if (!once || !operation.startsWith("rollback ")) return
        once = false
        addSnapshot(kit.memory, replica, "hourly", { written: 4096 })
      }
      const summary = yield* kit.run({ rollback: true })
      assert.deepStrictEqual(short(summary.datasets), ["tank refused"])
      assert.include(kit.names("backup/nas/tank") ?? [], "hourly")
    })
  )

  it.effect("--rollback that fails half-way tells what is gone", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const { replica, tank } = yield* replicatedOnce(kit)
      for (const name of ["mine", "busy"]) addSnapshot(kit.memory, replica, name, { written: 4096 })
      addSnapshot(kit.memory, tank, "2")
      const busy = new ZfsError({
        reason: "Busy",
        message: "cannot destroy: dataset is busy",
        transient: false
      })
      kit.memory.failures.set("rollback backup/nas/tank", [busy])
      kit.memory.before = (operation) => {
        if (!operation.startsWith("rollback ")) return
        replica.snapshots = replica.snapshots.filter(({ name }) => name !== "busy")
      }
      const { datasets: results } = yield* kit.run({ rollback: true })
      assert.deepStrictEqual(short(results), ["tank failed"])
      const lost = results[0]?.rolled_back
      assert.deepStrictEqual([lost?.to, lost?.snapshots], ["1", ["busy"]])
    })
  )
})
