import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import { runVerifyReplicas } from "../../src/replication/VerifyReplicas.ts"
import { PreflightError } from "../../src/runs/Run.ts"
import { exitStatusOf, totals } from "../../src/runs/VerifyReplicasResult.ts"
import { allowTable } from "../doubles/replication/end.ts"
import { addSnapshot, removeSnapshot, zfsError } from "../doubles/replication/world.ts"
import { job, letTimePass, makeKit, servicesOf } from "../support/replication/replication.ts"

/** Two datasets, replicated twice: the second run began long after their snapshots were taken. */
const makeVerifyKit = (held: ReadonlyArray<string> = []) =>
  Effect.gen(function* () {
    const kit = yield* makeKit({}, held)
    const [tank, a] = [kit.source("tank", []), kit.source("tank/a", [])]
    for (const dataset of [tank, a]) {
      for (const name of ["1", "2"]) addSnapshot(kit.memory, dataset, name, { creation: 0, bytes: 100 })
    }
    yield* kit.run()
    yield* kit.run()
    const replica = kit.memory.target.datasets.get("backup/nas/tank/a")
    if (replica === undefined) return yield* Effect.dieMessage("there is no replica")
    const verify = (read = false, given: Partial<typeof job> = {}) =>
      runVerifyReplicas(
        { ...job, ...given },
        {
          ...{ run: "ab12cd", retries: 1, lockfile: "/l", host: "backup", notify_on: ["failure", "recovery"] },
          ...{ reminder_hours: 24, read }
        }
      ).pipe(Effect.provide(Layer.merge(servicesOf(kit.memory), kit.around)), letTimePass)
    const findings = Effect.map(Effect.suspend(verify), ({ replicas }) =>
      replicas.flatMap((each) => each.findings).join("\n")
    )
    const titles = Effect.map(Ref.get(kit.sent), (all) => all.map(({ title }) => title))
    return { ...kit, tank, a, replica, verify, findings, titles }
  })

const unreachable = () => zfsError("Unreachable", "cannot reach nas: no route to host")

describe("verify --job", () => {
  it.effect("finds replicas good that have all that was there at the last run, and remembers that", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      addSnapshot(kit.memory, kit.a, "3", { creation: 100_000_000 })
      const earlier = kit.memory.calls.length
      const found = yield* kit.verify()
      assert.strictEqual(totals(found), "2 good, 0 bad; 0.0 s")
      assert.strictEqual(exitStatusOf(found), 0)
      assert.deepStrictEqual(found.pools, [{ pool: "backup", findings: [] }])
      const { replicas } = yield* Ref.get(kit.state.jobStates)
      assert.strictEqual(replicas?.get("replication-pull-nas")?.good, 2)
      assert.isFalse(kit.memory.calls.slice(earlier).some((call) => /^(readBlocks|destroy|rollback)/.test(call)))
    })
  )

  it.effect("finds a replica that lags, was changed, waits for half a stream, or is not there", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      removeSnapshot(kit.replica, "2")
      Object.assign(kit.replica, { written: 0 })
      assert.match(yield* kit.findings, /^lags: it ends at @1; 1 snapshot from before the last run is missing: @2$/)
      assert.deepStrictEqual(yield* kit.titles, ["zipper: pull-nas: 1 of 2 replicas is not good on backup"])

      kit.memory.target.datasets.delete("backup/nas/tank/a")
      assert.match(yield* kit.findings, /^there is no replica, and @2 was there at the last run$/)

      yield* kit.run()
      assert.strictEqual(yield* kit.findings, "")
      assert.match((yield* kit.titles).join("\n"), /1 replica recovered/)

      const replica = kit.memory.target.datasets.get("backup/nas/tank/a")
      assert.isDefined(replica)
      Object.assign(replica ?? {}, { written: 4096, partial: { token: "t", from: undefined, fresh: false } })
      const changed = yield* kit.findings
      assert.match(changed, /4\.0 KiB were written to .*zfs rollback 'backup\/nas\/tank\/a@2'/)
      assert.match(changed, /a stream was cut; the next run sends the rest/)
    })
  )

  it.effect("finds a base that is lost, and datasets that the job names and neither end has", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      for (const name of ["1", "2"]) removeSnapshot(kit.a, name)
      Object.assign(kit.a, { bookmarks: [] })
      addSnapshot(kit.memory, kit.a, "3", { creation: 100_000_000 })
      assert.match(yield* kit.findings, /have no snapshot in common/)
      kit.memory.source.datasets.clear()
      const gone = yield* kit.verify()
      assert.strictEqual(exitStatusOf(gone), 1)
      assert.match(gone.source_error ?? "", /no pool tank is imported on nas/)
    })
  )

  it.effect("a replica whose source was destroyed is no failure by itself, and is looked at all the same", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      kit.memory.source.datasets.delete("tank/a")
      const found = yield* kit.verify()
      assert.deepStrictEqual(found.replicas.map(({ result }) => result).sort(), ["good", "orphan"])
      assert.strictEqual(exitStatusOf(found), 0)
      Object.assign(kit.replica, { written: 4096 })
      assert.match(yield* kit.findings, /were written/)
    })
  )

  it.effect("reads on the host of the replicas; what cannot be read stays bad until it can", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      const good = yield* kit.verify(true)
      assert.deepStrictEqual([good.bytes, good.good], [200, 2])
      const reads = kit.memory.calls.filter((call) => call.startsWith("readBlocks"))
      assert.deepStrictEqual(
        reads,
        ["backup/nas/tank@2", "backup/nas/tank/a@2"].map((each) => `readBlocks receiver ${each}`)
      )

      const [newest] = kit.replica.snapshots.slice(-1)
      assert.isDefined(newest)
      kit.replica.snapshots = [...kit.replica.snapshots.slice(0, -1), { ...newest, bytes: 0 }]
      const silent = yield* kit.verify(true)
      assert.deepStrictEqual([silent.good, silent.bad, exitStatusOf(silent)], [1, 1, 1])
      kit.replica.snapshots = [...kit.replica.snapshots.slice(0, -1), newest]

      const broken = zfsError("Unreadable", "cannot read backup/nas/tank/a@2: Input/output error")
      kit.memory.failures.set("readBlocks receiver backup/nas/tank/a@2", [broken])
      kit.memory.target.pools.set("backup", { errors: ["backup/nas/tank/a@2:/docs/x"] })
      const bad = yield* kit.verify(true)
      assert.deepStrictEqual(
        bad.replicas.map(({ result }) => result),
        ["good", "bad"]
      )
      const [, replica] = bad.replicas
      assert.match(
        replica?.findings.join() ?? "",
        /Input\/output error; the pool backup cannot read .*docs\/x; there, zpool scrub/
      )
      assert.strictEqual(exitStatusOf(bad), 1)

      kit.memory.target.pools.clear()
      assert.match(yield* kit.findings, /Input\/output error.*--read reads it again/)
      assert.strictEqual(exitStatusOf(yield* kit.verify(true)), 0)
      assert.strictEqual(yield* kit.findings, "")
    })
  )

  it.effect("looks again at what is newest when a snapshot goes while it is read", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      kit.memory.before = (operation) => {
        if (operation === "readBlocks receiver backup/nas/tank/a@2") removeSnapshot(kit.replica, "2")
      }
      yield* kit.verify(true)
      assert.include(kit.memory.calls, "readBlocks receiver backup/nas/tank/a@1")
    })
  )

  it.effect("needs the right to send where the replicas are, for --read alone", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      kit.memory.target.account = { user: "bob", groups: [], root: false }
      yield* kit.verify()
      const error = yield* Effect.flip(kit.verify(true))
      assert.instanceOf(error, PreflightError)
      assert.match(error.message, /bob may not send, hold on backup\S*; .*zfs allow -u bob send,hold 'backup/)
      kit.memory.target.allow.set("backup/nas/tank", allowTable("backup/nas/tank", "bob", ["send", "hold"]))
      yield* kit.verify(true)
    })
  )

  it.effect("says what cannot be known without the source, and looks at the rest", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      kit.memory.failures.set("account sender", [unreachable(), unreachable()])
      const found = yield* kit.verify()
      assert.match(found.source_error ?? "", /no route to host/)
      assert.deepStrictEqual([found.good, found.bad, found.unknown], [0, 0, 2])
      assert.strictEqual(exitStatusOf(found), 1)
      assert.match((yield* kit.titles).join("\n"), /the source could not be asked on backup/)
      Object.assign(kit.replica, { written: 4096 })
      kit.memory.failures.set("account sender", [unreachable(), unreachable()])
      assert.strictEqual((yield* kit.verify()).bad, 1)
    })
  )

  it.effect("does not begin when the host of the replicas does not answer, or a run is at work", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      const gone = [unreachable(), unreachable()]
      kit.memory.failures.set("account receiver", gone)
      kit.memory.failures.set("tree receiver", gone)
      assert.instanceOf(yield* Effect.flip(kit.verify()), PreflightError)
      const locked = yield* makeVerifyKit(["/l"])
      assert.strictEqual((yield* Effect.flip(locked.verify()))._tag, "LockError")
    })
  )

  it.effect("finds what is wrong with the pool; a scrub that is late is only a warning", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      kit.memory.target.pools.set("backup", { scan: undefined })
      const late = yield* kit.verify()
      assert.strictEqual(exitStatusOf(late), 0)
      assert.match(late.pools[0]?.remark ?? "", /^the pool backup was never scrubbed/)
      kit.memory.target.pools.set("backup", { state: "DEGRADED", devices: ["sdb FAULTED"] })
      const sick = yield* kit.verify()
      assert.match(sick.pools[0]?.findings.join() ?? "", /^the pool backup is DEGRADED \(sdb FAULTED\)/)
      assert.strictEqual(exitStatusOf(sick), 1)
      assert.match((yield* kit.titles).join("\n"), /the pool backup has errors on backup/)
      kit.memory.failures.set("pool receiver backup", [zfsError("Other", "cannot see how the pool backup is")])
      assert.strictEqual(exitStatusOf(yield* kit.verify()), 1)
    })
  )

  it.effect("finds datasets bad that have no place at the target", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      const long = `tank/${"x".repeat(245)}`
      kit.source(long, ["1"])
      const found = yield* kit.verify()
      assert.deepStrictEqual([found.good, found.bad, exitStatusOf(found)], [2, 1, 1])
      const unplaced = found.replicas.find(({ dataset }) => dataset === long)
      assert.isNull(unplaced?.target)
      assert.match(unplaced?.findings.join() ?? "", /^it would be written to .*, which /)
    })
  )

  it.effect("looks at the replica of a dataset that the job names and the source has not", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      kit.memory.source.datasets.clear()
      kit.source("tank/b", ["1"])
      Object.assign(kit.memory.target.datasets.get("backup/nas/tank") ?? {}, { written: 4096 })
      const [row, ...others] = (yield* kit.verify(true)).replicas.filter(({ dataset }) => dataset === "tank")
      assert.deepStrictEqual(others, [])
      assert.match(
        row?.findings.join("\n") ?? "",
        /^the job names tank: there is no such dataset on nas\n4\.0 KiB were/
      )
      assert.strictEqual(row?.last_read?.bytes, 100)
    })
  )

  it.effect("does not remember a read that a lost connection ended, and keeps the one before", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      const before = (yield* kit.verify(true)).replicas.map(({ last_read }) => last_read)
      kit.memory.failures.set("readBlocks receiver backup/nas/tank/a@2", [unreachable(), unreachable()])
      const lost = yield* kit.verify(true)
      assert.match(lost.replicas[1]?.findings.join() ?? "", /^cannot reach nas: no route to host$/)
      assert.deepStrictEqual(lost.replicas[1]?.last_read, before[1])
      assert.strictEqual(exitStatusOf(lost), 1)
      assert.strictEqual(yield* kit.findings, "")
    })
  )

  it.effect("has nothing against a dataset that no run knows yet", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      addSnapshot(kit.memory, kit.source("pool", []), "1", { creation: 0 })
      const found = yield* kit.verify(false, { datasets: ["tank", "pool"] })
      assert.strictEqual(totals(found), "2 good, 0 bad, 1 not there yet; 0.0 s")
      assert.strictEqual(exitStatusOf(found), 0)
    })
  )

  it.effect("finds that a replica lags though the state of its runs is lost, as a whole or for this dataset", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      addSnapshot(kit.memory, kit.a, "3", { creation: 0 })
      const { states } = yield* Ref.get(kit.state.jobStates)
      const state = states.get("replication-pull-nas")
      assert(state?.kind === "replication")
      const datasets = state.datasets.filter(({ dataset }) => dataset !== "tank/a")
      yield* TestClock.adjust("1 day")
      for (const left of [new Map([["replication-pull-nas", { ...state, datasets }]]), new Map()]) {
        yield* Ref.update(kit.state.jobStates, (all) => ({ ...all, states: left }))
        assert.match(yield* kit.findings, /lags: it ends at @2; 1 snapshot from before the last run is missing: @3/)
      }
    })
  )

  it.effect("names the host of a replica whose source is gone or does not answer", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      Object.assign(kit.memory.target, { label: "vault" })
      Object.assign(kit.replica, { written: 4096 })
      kit.memory.source.datasets.delete("tank/a")
      assert.match(yield* kit.findings, /^on vault: 4\.0 KiB were written to .*, there: zfs rollback/)
      kit.memory.failures.set("account sender", [unreachable(), unreachable()])
      assert.match(yield* kit.findings, /^on vault: 4\.0 KiB were written/)
    })
  )

  it.effect("does not begin where the job is wrong, and does not call that a source that could not be asked", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      const error = yield* Effect.flip(kit.verify(false, { exclude: ["tank", "tank/*"] }))
      assert.instanceOf(error, PreflightError)
      assert.match(error.message, /^every dataset is left out by --exclude/)
      assert.notMatch(kit.lines.join("\n"), /could not be asked/)
    })
  )

  it.effect("remembers what was read before a signal stopped it", () =>
    Effect.gen(function* () {
      const kit = yield* makeVerifyKit()
      kit.memory.delays.set("readBlocks receiver backup/nas/tank/a@2", 86_400_000)
      const fiber = yield* Effect.fork(kit.verify(true))
      yield* TestClock.adjust("3 hours")
      yield* Fiber.interrupt(fiber)
      const { replicas } = yield* Ref.get(kit.state.jobStates)
      const found = replicas?.get("replication-pull-nas")
      assert.deepStrictEqual(
        found?.replicas.map(({ last_read }) => last_read?.bytes),
        [100, undefined]
      )
      assert.strictEqual(found?.read, false)
      assert.match(kit.lines.join("\n"), /stopped by a signal: only replicas read to their end are remembered/)
    })
  )
})
