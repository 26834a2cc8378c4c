import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { checkReplication } from "../../src/check/Check.ts"
import { addDataset, addSnapshot, unloadKey, zfsError } from "../doubles/replication/world.ts"
import { job, letTimePass, makeKit, servicesOf } from "../support/replication/replication.ts"

type Kit = Effect.Effect.Success<ReturnType<typeof makeKit>>

const check = (kit: Kit, datasets: typeof job.datasets = job.datasets) =>
  checkReplication({ ...job, datasets }).pipe(
    Effect.provide(servicesOf(kit.memory, true)),
    Effect.provide(kit.around),
    letTimePass
  )

describe("the check of a replication job", () => {
  it.effect("says what there is to replicate, and changes nothing", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      kit.source("tank/bare", [])
      const findings = yield* check(kit)
      assert.deepStrictEqual(
        findings.map(({ status, subject }) => [subject, status]),
        [
          ["replication pull-nas", "ok"],
          ["replication pull-nas", "warning"]
        ]
      )
      assert.match(findings[0]?.detail ?? "", /pull of 2 datasets/)
      assert.match(findings[1]?.detail ?? "", /1 dataset without a snapshot/)
      assert.deepStrictEqual([...kit.memory.target.datasets.keys()], ["backup"])
    })
  )

  it.effect("names what is too long for the target", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1", "x".repeat(240)])
      kit.source(`tank/${"y".repeat(240)}`, ["1"])
      const problems = (yield* check(kit)).filter(({ status }) => status === "problem").map(({ detail }) => detail)
      assert.lengthOf(problems, 2)
      assert.match(problems[0] ?? "", /^tank\/y{240}: it would be written to .* longer than 255 characters$/)
      assert.match(problems[1] ?? "", /^tank: with @x{240}, a name at backup\/nas\/tank would be longer/)
    })
  )

  it.effect("says what a run would refuse or fail at, and what needs a look", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      kit.source("tank/old", ["1"])
      const changed = kit.source("tank/changed", ["1"])
      kit.source("bare", [])
      yield* kit.run()
      const replica = kit.memory.target.datasets.get("backup/nas/tank/changed")
      assert.isDefined(replica)
      if (replica !== undefined) replica.written = 4096
      addSnapshot(kit.memory, changed, "2")
      kit.memory.source.datasets.delete("tank/old")
      const findings = (yield* check(kit, ["tank", "bare"])).filter(({ status }) => status !== "ok")
      assert.deepStrictEqual(
        findings.map(({ detail, status }) => [status, detail.slice(0, 50)]),
        [
          ["problem", "bare: neither it nor anything below it has a snaps"],
          ["problem", "tank/changed: backup/nas/tank/changed has changed "],
          ["warning", "backup/nas/tank/old on this host: the source is go"],
          ["warning", "1 dataset without a snapshot: nothing of it is sen"]
        ]
      )
    })
  )

  it.effect("names what is not there, and what is not allowed", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      kit.memory.source.account = { user: "bob", groups: ["bob"], root: false }
      const problems = (yield* check(kit, ["tank", "tonk"])).filter(({ status }) => status === "problem")
      assert.lengthOf(problems, 2)
      assert.match(problems[0]?.detail ?? "", /^tonk: no pool tonk is imported on nas/)
      assert.match(problems[1]?.detail ?? "", /zfs allow -u bob send,hold 'tank'/)
    })
  )

  it.effect("names a pool that no stream can be received into", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      const problems = Effect.map(check(kit), (found) =>
        found.flatMap(({ detail, status }) => (status === "problem" ? [detail] : []))
      )
      kit.memory.target.pools.set("backup", { readOnly: true })
      assert.deepStrictEqual(yield* problems, [
        "the pool backup is imported read-only; there: zpool export backup && zpool import backup"
      ])
      kit.memory.target.pools.set("backup", { state: "SUSPENDED" })
      assert.deepStrictEqual(yield* problems, ["the pool backup is SUSPENDED; there: zpool status -v backup"])
      kit.memory.target.pools.set("backup", { state: "DEGRADED" })
      kit.memory.source.pools.set("tank", { readOnly: true })
      assert.deepStrictEqual(yield* problems, [], "such pools send and receive")
    })
  )

  it.effect("says when a host does not answer, without trying for long", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.memory.failures.set("account sender", [zfsError("Unreachable", "cannot reach nas", true)])
      const findings = yield* check(kit)
      assert.deepStrictEqual(findings, [
        { subject: "replication pull-nas", status: "problem", detail: "cannot reach nas" }
      ])
    })
  )

  it.effect("names the key that a stream needs", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      addDataset(kit.memory, "target", "backup", { encrypted: true })
      unloadKey(kit.memory, "target", "backup")
      const problems = (yield* check(kit)).filter(({ status }) => status === "problem")
      assert.match(problems[0]?.detail ?? "", /^tank: backup\/nas\/tank cannot be written.* zfs load-key 'backup'/)
    })
  )
})
