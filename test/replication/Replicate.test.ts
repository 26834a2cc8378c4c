import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { exitStatusOf, totals } from "../../src/runs/ReplicationResult.ts"
import { addDataset, addSnapshot, removeSnapshot, zfsError } from "../doubles/replication/world.ts"
import { errorOf, makeKit, replicatedOnce, short } from "../support/replication/replication.ts"

const lost = () => zfsError("Unreachable", "nas: Connection reset by peer", true)
const vanished = () => zfsError("Vanished", "cannot open 'tank@1': dataset does not exist")

describe("replicate", () => {
  it.effect("sends all there is the first time, then what is new, then nothing", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", ["1", "2"])
      kit.source("tank/a b", ["0", "x"])
      const first = yield* kit.run()
      assert.deepStrictEqual(short(first.datasets), ["tank sent", "tank/a b sent"])
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["1", "2"])
      assert.deepStrictEqual(kit.names("backup/nas/tank/a b"), ["0", "x"])
      assert.strictEqual(totals(first), "2 sent, 0 up to date, 0 refused, 0 failed; 400 B, 0.0 s")
      assert.strictEqual(exitStatusOf(first), 0)

      addSnapshot(kit.memory, tank, "3", { bytes: 50 })
      const second = yield* kit.run()
      assert.deepStrictEqual(short(second.datasets), ["tank sent", "tank/a b up_to_date"])
      const [result] = second.datasets
      assert.deepInclude(result, { how: "incremental", snapshots: 1, bytes: 50 })

      const calls = kit.memory.calls.length
      const third = yield* kit.run()
      assert.deepStrictEqual([third.sent, third.up_to_date, third.bytes], [0, 2, 0])
      assert.isFalse(kit.memory.calls.slice(calls).some((call) => call.startsWith("send")))
    })
  )

  it.effect("makes missing parents from the top down, unmountable, and never the pool", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ datasets: ["tank/x/y"], destination: "backup/replicas" })
      kit.source("tank/x/y", ["1"])
      yield* kit.run()
      assert.deepStrictEqual(
        kit.memory.calls.filter((call) => call.startsWith("createParent")),
        ["replicas", "replicas/nas", "replicas/nas/tank", "replicas/nas/tank/x"].map(
          (name) => `createParent backup/${name}`
        )
      )
      for (const [name, { properties }] of kit.memory.target.datasets) {
        if (name !== "backup") assert.strictEqual(properties.get("canmount"), "off", name)
      }
    })
  )

  it.effect("a parent without snapshots is a warning; its children go on, and it follows when it has some", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", [])
      kit.source("tank/a", ["1"])
      const first = yield* kit.run()
      assert.deepStrictEqual(short(first.datasets), ["tank nothing_to_send", "tank/a sent"])
      assert.include(kit.lines, "WARN tank: it has no snapshot: nothing to send")
      assert.strictEqual(exitStatusOf(first), 0)

      addSnapshot(kit.memory, tank, "1")
      assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank sent", "tank/a up_to_date"])
      assert.deepStrictEqual(kit.names("backup/nas/tank/a"), ["1"])
    })
  )

  it.effect("refuses a target that went its own way, names what would be lost, and goes on with the rest", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      const a = kit.source("tank/a", ["1"])
      kit.source("tank/a/child", ["1"])
      kit.source("tank/b", ["1"])
      yield* kit.run()
      const replica = kit.memory.target.datasets.get("backup/nas/tank/a")
      assert.isDefined(replica)
      addSnapshot(kit.memory, replica, "mine", { written: 4096 })
      replica.written = 4096
      addSnapshot(kit.memory, a, "2")

      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), [
        "tank up_to_date",
        "tank/a refused",
        "tank/a/child up_to_date",
        "tank/b up_to_date"
      ])
      assert.strictEqual(exitStatusOf(summary), 4)
      assert.include(errorOf(summary.datasets, "tank/a"), "@mine")
      assert.include(errorOf(summary.datasets, "tank/a"), "4.0 KiB")
      assert.deepStrictEqual(kit.names("backup/nas/tank/a"), ["1", "mine"])
      assert.deepInclude(summary.datasets[1], {
        result: "refused",
        would_lose: { snapshots: ["mine"], bytes: 4096 }
      })
      const [message] = yield* Ref.get(kit.sent)
      assert.strictEqual(message?.title, "zipper: pull-nas: 1 of 4 datasets were not replicated on backup")

      const rolled = yield* kit.run({ rollback: true })
      assert.strictEqual(exitStatusOf(rolled), 0)
      assert.deepInclude(rolled.datasets[1], {
        result: "sent",
        rolled_back: { to: "1", snapshots: ["mine"], bytes: 4096 }
      })
      // What is destroyed is told even when quiet: there may be no log.
      assert.isTrue(kit.lines.some((line) => /^ERROR tank\/a: .*is to go back to @1 .*lose @mine/.test(line)))
      assert.deepStrictEqual(kit.names("backup/nas/tank/a"), ["1", "2"])
    })
  )

  it.effect("does not roll back over a held snapshot, whatever it is told", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const { replica, tank } = yield* replicatedOnce(kit)
      addSnapshot(kit.memory, replica, "mine", { holds: 1, written: 4096 })
      addSnapshot(kit.memory, tank, "2")
      const summary = yield* kit.run({ rollback: true })
      assert.deepStrictEqual(short(summary.datasets), ["tank failed"])
      assert.include(errorOf(summary.datasets, "tank"), "@mine")
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["1", "mine"])
    })
  )

  it.effect("keeps what only the target has", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", ["1", "2", "3"])
      yield* kit.run()
      removeSnapshot(tank, "1")
      removeSnapshot(tank, "2")
      addSnapshot(kit.memory, tank, "4")
      yield* kit.run()
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["1", "2", "3", "4"])
    })
  )

  it.effect("resumes a stream wherever it is cut, and ends where an uncut one does", () =>
    Effect.gen(function* () {
      for (let at = 0; at <= 60; at += 1) {
        const kit = yield* makeKit()
        const tank = addDataset(kit.memory, "source", "tank")
        for (const name of ["1", "2", "3"]) addSnapshot(kit.memory, tank, name, { bytes: 20 })
        // Full, then -I: cut the first, or let it pass and cut the second.
        kit.memory.cuts.push(...(at < 20 ? [at] : [Number.POSITIVE_INFINITY, at - 20]))
        const summary = yield* kit.run()
        assert.deepStrictEqual(short(summary.datasets), ["tank sent"], `cut at ${at}`)
        assert.deepStrictEqual(kit.names("backup/nas/tank"), ["1", "2", "3"], `cut at ${at}`)
        assert.strictEqual(summary.bytes, 60, `cut at ${at}: nothing is sent twice`)
        assert.strictEqual((yield* kit.run()).up_to_date, 1)
      }
    })
  )

  it.effect("what one run could not finish the next one resumes", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1", "2"])
      kit.memory.cuts.push(30)
      assert.strictEqual((yield* kit.run({ retries: 0 })).failed, 1)
      const second = yield* kit.run()
      assert.deepInclude(second.datasets[0], { how: "resumed", snapshots: 2, bytes: 170 })
    })
  )

  it.effect("drops what a cut stream left when its snapshot is gone, says so, and starts anew", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", ["1", "2"])
      kit.memory.cuts.push(30)
      yield* kit.run({ retries: 0 })
      removeSnapshot(tank, "1")
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank sent"])
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["2"])
      assert.isTrue(
        kit.lines.some((line) =>
          line.startsWith("WARN tank: what backup/nas/tank has of a stream that was cut cannot go on")
        )
      )
    })
  )

  it.effect("plans again when snapshots vanish after they were listed", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", ["1", "2", "3"])
      const going = ["1", "2"]
      kit.memory.before = (operation) => {
        const name = operation === "send tank" ? going.shift() : undefined
        if (name !== undefined) removeSnapshot(tank, name)
      }
      const summary = yield* kit.run({ retries: 0 })
      assert.deepStrictEqual(short(summary.datasets), ["tank sent"])
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["3"])
    })
  )

  it.effect("snapshots that vanish for ever are a failure in the end", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      kit.memory.failures.set("send tank", Array.from({ length: 99 }, vanished))
      const summary = yield* kit.run()
      assert.include(errorOf(summary.datasets, "tank"), "planned 6 times")
      assert.lengthOf(kit.memory.failures.get("send tank") ?? [], 99 - 6)
    })
  )

  it.effect("a dataset that vanishes is a failure of its own", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      kit.source("tank/a", ["1"])
      kit.memory.before = (operation) => {
        if (operation === "send tank") kit.memory.source.datasets.delete("tank/a")
      }
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank sent", "tank/a failed"])
      assert.include(errorOf(summary.datasets, "tank/a"), "gone from nas")
    })
  )

  it.effect("a target that is written to at the last moment is refused, not overwritten", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", ["1"])
      yield* kit.run()
      addSnapshot(kit.memory, tank, "2")
      kit.memory.before = (operation) => {
        const replica = kit.memory.target.datasets.get("backup/nas/tank")
        if (operation === "send tank" && replica !== undefined) replica.written = 512
      }
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank refused"])
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["1"])
    })
  )

  it.effect("tries again what may pass, with pauses, no more often than told, and nothing else", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      kit.memory.failures.set("send tank", [lost(), lost(), lost()])
      const passed = yield* kit.run()
      assert.strictEqual(passed.sent, 1)
      assert.isAbove(passed.seconds, 3, "there were no pauses")

      const other = yield* makeKit()
      other.source("tank", ["1"])
      other.memory.failures.set("send tank", Array.from({ length: 9 }, lost))
      assert.strictEqual((yield* other.run()).failed, 1)
      assert.lengthOf(other.memory.failures.get("send tank") ?? [], 9 - 4)

      const third = yield* makeKit()
      third.source("tank", ["1"])
      third.memory.failures.set("send tank", [zfsError("NoSpace", "out of space"), lost()])
      assert.strictEqual((yield* third.run()).failed, 1)
      assert.lengthOf(third.memory.failures.get("send tank") ?? [], 1)
    })
  )

  it.effect("once an end is out of reach the others are tried once each, until it is back", () =>
    Effect.gen(function* () {
      const datasets = ["tank/a", "tank/b", "tank/c", "tank/d"] as const
      const kit = yield* makeKit({ datasets })
      for (const name of datasets) kit.source(name, ["1"])
      kit.memory.failures.set("send tank/a", Array.from({ length: 9 }, lost))
      kit.memory.failures.set("send tank/b", Array.from({ length: 9 }, lost))
      kit.memory.failures.set("send tank/d", [lost()])
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank/a failed", "tank/b failed", "tank/c sent", "tank/d sent"])
      assert.lengthOf(kit.memory.failures.get("send tank/b") ?? [], 9 - 1)
    })
  )

  it.effect("a receiver that says yes and has nothing is caught", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1", "2"])
      kit.memory.after = (operation) => {
        const replica = kit.memory.target.datasets.get("backup/nas/tank")
        if (operation === "send tank" && replica?.snapshots.length === 2) removeSnapshot(replica, "2")
      }
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank failed"])
      assert.include(errorOf(summary.datasets, "tank"), "ends at @1")
    })
  )

  it.effect("warns of a replica that could be mounted, but not of a volume", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      addSnapshot(kit.memory, addDataset(kit.memory, "source", "tank/v", { kind: "volume" }), "1")
      kit.memory.after = (operation) => {
        if (operation.startsWith("send")) {
          kit.memory.target.datasets.get("backup/nas/tank")?.properties.set("canmount", "on")
        }
      }
      const summary = yield* kit.run()
      assert.strictEqual(summary.sent, 2)
      const warnings = kit.lines.filter((line) => line.includes("canmount"))
      assert.lengthOf(warnings, 1)
      assert.include(warnings[0], "WARN tank: backup/nas/tank has canmount=on")
      assert.include(warnings[0], "on this host: zfs set canmount=off 'backup/nas/tank'")
    })
  )

  it.effect("a source that gets new snapshots all the time does not keep it for ever", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", ["1"])
      let n = 1
      kit.memory.after = (operation) => {
        if (operation !== "send tank") return
        n += 1
        addSnapshot(kit.memory, tank, String(n))
      }
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank sent"])
      assert.isBelow(n, 20)
    })
  )

  it.effect("a defect in one dataset is that dataset's failure", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ datasets: ["tank/a", "tank/b"] })
      kit.source("tank/a", ["1"])
      kit.source("tank/b", ["1"])
      kit.memory.before = (operation) => {
        if (operation === "send tank/a") throw new Error("a bug")
      }
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank/a failed", "tank/b sent"])
      assert.include(errorOf(summary.datasets, "tank/a"), "internal error: a bug")
    })
  )

  it.effect("the way of sending is fixed for a target", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", ["1"])
      yield* kit.run()
      addSnapshot(kit.memory, tank, "2")
      const replica = kit.memory.target.datasets.get("backup/nas/tank")
      assert.strictEqual(replica?.mode, "plain")
      if (replica !== undefined) replica.mode = "raw"
      const summary = yield* kit.run()
      assert.include(errorOf(summary.datasets, "tank"), "raw")
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["1"])
    })
  )

  it.effect("counts what was sent of a dataset that failed, and names the end that has to be mended", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      Object.assign(kit.memory.target, { label: "me@offsite" })
      const tank = kit.source("tank", ["1"])
      kit.memory.cuts.push(30)
      const cut = yield* kit.run({ retries: 0 })
      assert.deepStrictEqual([cut.failed, cut.bytes], [1, 30])
      yield* kit.run()
      const replica = kit.memory.target.datasets.get("backup/nas/tank")
      assert.isDefined(replica)
      addSnapshot(kit.memory, replica, "mine", { written: 4096 })
      addSnapshot(kit.memory, tank, "2")
      const refused = yield* kit.run()
      assert.match(errorOf(refused.datasets, "tank"), /^on me@offsite: .*\(there: zfs rename 'backup\/nas\/tank'/)
      assert.isTrue(
        (yield* Ref.get(kit.sent)).some(({ message }) => message.includes("on me@offsite: backup/nas/tank"))
      )
    })
  )
})
