import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import type { Job } from "../../src/config/ReplicationJob.ts"
import { type Reader, runPrune } from "../../src/replication/Prune.ts"
import { survey } from "../../src/replication/Survey.ts"
import { exitStatusOf, type PruneDocument, totals } from "../../src/runs/PruneResult.ts"
import { PreflightError } from "../../src/runs/Run.ts"
import { allowTable } from "../doubles/replication/end.ts"
import {
  addDataset,
  addSnapshot,
  makeReplicationMemory,
  removeSnapshot,
  zfsError
} from "../doubles/replication/world.ts"
import { job, letTimePass, makeKit, servicesOf } from "../support/replication/replication.ts"

const aDay = 86_400

/** A job with a source that has a snapshot a day, all of them replicated, and prune over it. */
const makePruneKit = (
  days: number,
  asked: { readonly datasets?: Job["datasets"]; readonly host?: string; readonly held?: string } = {}
) =>
  Effect.gen(function* () {
    const kit = yield* makeKit({}, asked.held === undefined ? [] : [asked.held])
    const tank = addDataset(kit.memory, "source", "tank")
    for (let day = 1; day <= days; day += 1) addSnapshot(kit.memory, tank, `d${day}`, { creation: day * aDay })
    yield* kit.run()
    const replica = kit.memory.target.datasets.get("backup/nas/tank")
    assert.isDefined(replica)
    const begin = (
      dryRun: boolean,
      readers: ReadonlyArray<Reader>,
      onUnfinished: (summary: PruneDocument) => Effect.Effect<void> = () => Effect.void
    ) =>
      runPrune(
        {
          ...job,
          datasets: asked.datasets ?? job.datasets,
          remote: { ...job.remote, host: asked.host ?? job.remote.host }
        },
        { hourly: 0, daily: 2, weekly: 0, monthly: 0 },
        {
          run: "ab12cd",
          retries: 1,
          lockfile: "/l",
          host: "backup",
          named: true,
          notify_on: ["failure"],
          reminder_hours: 24,
          readers,
          onUnfinished
        }
      ).pipe(Effect.provide(Layer.merge(servicesOf(kit.memory, dryRun), kit.around)))
    const prune = (dryRun = false, readers: ReadonlyArray<Reader> = []) => letTimePass(begin(dryRun, readers))
    return { ...kit, tank, replica, begin, prune }
  })

const hold = (dataset: { snapshots: ReadonlyArray<{ readonly name: string }> }, name: string, how: object) => {
  Object.assign(dataset, {
    snapshots: dataset.snapshots.map((snapshot) => (snapshot.name === name ? { ...snapshot, ...how } : snapshot))
  })
}

describe("prune", () => {
  it.effect("keeps what the retention says, and again the same", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(5)
      const summary = yield* kit.prune()
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["d4", "d5"])
      assert.strictEqual(totals(summary), "3 destroyed, 2 kept, 0 failed in 1 replica; 0.0 s")
      assert.deepStrictEqual(summary.replicas, [
        {
          dataset: "tank",
          target: "backup/nas/tank",
          result: "pruned",
          destroyed: ["d1", "d2", "d3"],
          kept: 2
        }
      ])
      assert.lengthOf(kit.tank.snapshots, 5, "the source is not touched")
      assert.strictEqual((yield* kit.prune()).destroyed, 0)
    })
  )

  it.effect("spares the newest common, held and cloned ones", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(6)
      for (const name of ["d4", "d5", "d6"]) removeSnapshot(kit.tank, name)
      kit.tank.bookmarks = []
      hold(kit.replica, "d1", { holds: 1 })
      hold(kit.replica, "d2", { clones: ["backup/clone"] })
      yield* kit.prune()
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["d1", "d2", "d3", "d5", "d6"])
      assert.include(kit.lines, "INFO tank: keeping backup/nas/tank@d1: held")
      assert.include(kit.lines, "INFO tank: keeping backup/nas/tank@d2: cloned")
    })
  )

  it.effect(
    "spares the newest that the source still has, also where a bookmark of a newer one is enough to go on",
    () =>
      Effect.gen(function* () {
        const kit = yield* makePruneKit(6)
        assert.isNotEmpty(kit.tank.bookmarks)
        for (const name of ["d4", "d5", "d6"]) removeSnapshot(kit.tank, name)
        yield* kit.prune()
        assert.deepStrictEqual(kit.names("backup/nas/tank"), ["d3", "d5", "d6"])
      })
  )

  it.effect("a bookmark counts as common", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(6)
      const base = kit.tank.snapshots[2]
      assert.isDefined(base)
      kit.tank.bookmarks = [{ name: "b", guid: base.guid, createtxg: base.createtxg }]
      kit.tank.snapshots = []
      yield* kit.prune()
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["d3", "d5", "d6"])
    })
  )

  it.effect("destroys nothing of a replica that has nothing in common with its source, or whose source is gone", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(5, { datasets: ["tank", "pool"] })
      addDataset(kit.memory, "source", "pool")
      kit.tank.snapshots = []
      kit.tank.bookmarks = []
      const stranger = yield* kit.prune()
      assert.deepStrictEqual(
        [stranger.replicas.map(({ result }) => result), exitStatusOf(stranger)],
        [["left_alone"], 0]
      )
      assert.isTrue(
        kit.lines.some((line) => line.startsWith("WARN tank: backup/nas/tank: it has no snapshot in common"))
      )
      kit.memory.source.datasets.delete("tank")
      const orphan = yield* kit.prune()
      assert.deepStrictEqual(orphan.replicas, [
        {
          dataset: null,
          target: "backup/nas/tank",
          result: "left_alone",
          reason: "no pool tank is imported on nas (there: zpool import tank): nothing of it is destroyed",
          destroyed: []
        }
      ])
      kit.memory.source.datasets.delete("pool")
      assert.match((yield* Effect.flip(kit.prune())).message, /^no pool tank is imported on nas/)
      assert.lengthOf(kit.replica.snapshots, 5)
    })
  )

  it.effect("destroys nothing when the source does not answer, or a permission is missing", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(5)
      kit.memory.failures.set("account sender", [zfsError("Unreachable", "no route to host")])
      assert.strictEqual((yield* Effect.flip(kit.prune()))._tag, "PreflightError")
      kit.memory.target.account = { user: "bob", groups: [], root: false }
      kit.memory.target.allow.set("backup", allowTable("backup", "bob", ["mount"]))
      assert.include(
        (yield* Effect.flip(kit.prune())).message,
        "as root on this host: zfs allow -u bob destroy 'backup/nas/tank'"
      )
      assert.lengthOf(kit.replica.snapshots, 5)
    })
  )

  it.effect("one that cannot be destroyed stops no other", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(5)
      kit.memory.failures.set("destroy backup/nas/tank@d2", [zfsError("Other", "I/O error")])
      const summary = yield* kit.prune()
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["d2", "d4", "d5"])
      assert.strictEqual(exitStatusOf(summary), 1)
    })
  )

  it.effect("stopped by a signal, it gives what was destroyed until then", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(5)
      kit.memory.failures.set("destroy backup/nas/tank@d2", [zfsError("Busy", "dataset is busy", true)])
      const unfinished: Array<PruneDocument> = []
      const run = yield* Effect.fork(kit.begin(false, [], (done) => Effect.sync(() => unfinished.push(done))))
      // It waits for its second attempt then.
      yield* TestClock.adjust("100 millis")
      yield* Fiber.interrupt(run)
      assert.deepStrictEqual(
        unfinished.map(({ destroyed, errors, kept, replicas }) => ({
          destroyed,
          errors,
          kept,
          names: replicas.map((replica) => replica.destroyed)
        })),
        [{ destroyed: 1, errors: ["stopped by a signal before it was done"], kept: 4, names: [["d1"]] }]
      )
    })
  )

  it.effect("a dataset that neither end has is a failure, the others are pruned", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(5, { datasets: ["tank", "tonk"] })
      const summary = yield* kit.prune()
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["d4", "d5"])
      assert.strictEqual(exitStatusOf(summary), 1)
      const error =
        "no pool tonk is imported on nas (there: zpool import tonk), and no replica backup/nas/tonk on this host"
      assert.include(kit.lines, `ERROR tonk: ${error}`)
      assert.strictEqual(summary.not_found, 1)
      assert.deepStrictEqual(summary.replicas.at(-1), {
        dataset: "tonk",
        target: "backup/nas/tonk",
        result: "not_found",
        error,
        destroyed: []
      })
      const [message] = yield* Ref.get(kit.sent)
      assert.strictEqual(message?.title, "zipper: pull-nas: 1 dataset not found on backup")
    })
  )

  it.effect("warns of a dataset that has no replica, and fails when there is none at all", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(5)
      kit.source("tank/new", ["1"])
      kit.source("tank/bare", [])
      const summary = yield* kit.prune()
      assert.strictEqual(exitStatusOf(summary), 0)
      assert.deepStrictEqual(
        kit.lines.filter((line) => line.startsWith("WARN")),
        [
          "WARN tank/new: there is no replica of it on this host: nothing is at backup/nas/tank/new, or it has no snapshot"
        ]
      )
      assert.include(totals(summary), ", 1 dataset without a replica;")
      assert.strictEqual(summary.replicas.at(-1)?.result, "no_replica")

      const astray = yield* makePruneKit(5, { host: "nas2" })
      const nothing = yield* astray.prune()
      assert.deepStrictEqual([nothing.not_found, exitStatusOf(nothing)], [1, 1])
      assert.isTrue(astray.lines.some((line) => line.includes("nothing is at backup/nas2/tank")))
    })
  )

  it.effect("keeps what those need who read from the replicas, and destroys nothing if one does not answer", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(5)
      const offsite = makeReplicationMemory()
      // The two worlds share the host in the middle.
      for (const [name, dataset] of kit.memory.target.datasets) offsite.source.datasets.set(name, dataset)
      addDataset(offsite, "target", "vault")
      const sent = addDataset(offsite, "target", "vault/backup/nas/tank")
      sent.snapshots = kit.replica.snapshots.slice(0, 2)
      const push: Job = {
        ...job,
        name: "offsite",
        direction: "push",
        destination: "vault",
        datasets: ["backup/nas"]
      }
      const reader: Reader = {
        job: push.name,
        lockfile: "/push",
        ask: Effect.provide(survey(push, 0), Layer.merge(servicesOf(offsite), kit.around))
      }
      offsite.failures.set("tree receiver", [zfsError("Unreachable", "no route to vault")])
      const error = yield* Effect.flip(kit.prune(false, [reader]))
      assert.strictEqual(error._tag, "PreflightError")
      assert.match(error.message, /^the job offsite .* nothing is destroyed: no route to vault$/)
      assert.lengthOf(kit.replica.snapshots, 5)

      yield* kit.prune(false, [reader])
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["d2", "d4", "d5"])

      // Half of the first stream may be there, and it can only go on with the snapshot that it is of.
      sent.snapshots = []
      yield* kit.prune(false, [reader])
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["d2", "d4", "d5"])
      offsite.target.datasets.delete(sent.name)
      yield* kit.prune(false, [reader])
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["d2", "d4", "d5"])
    })
  )

  it.effect("destroys nothing while a pool is away that one who reads from the replicas writes to", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(5)
      const offsite = makeReplicationMemory()
      for (const [name, dataset] of kit.memory.target.datasets) offsite.source.datasets.set(name, dataset)
      addDataset(offsite, "source", "other")
      addDataset(offsite, "target", "other")
      const push: Job = { ...job, direction: "push", destination: undefined, datasets: ["backup/nas", "other"] }
      const ask = Effect.provide(survey(push, 0), Layer.merge(servicesOf(offsite), kit.around))
      const error = yield* Effect.flip(kit.prune(false, [{ job: "offsite", lockfile: "/push", ask }]))
      assert.match(error.message, /nothing is destroyed: backup\/nas: no pool backup is imported on this host/)
      assert.lengthOf(kit.replica.snapshots, 5)
    })
  )

  it.effect("destroys nothing while one who reads from the replicas is at work", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(5, { held: "/push" })
      const reader: Reader = { job: "offsite", lockfile: "/push", ask: Effect.dieMessage("not asked") }
      const error = yield* Effect.flip(kit.prune(false, [reader]))
      assert.strictEqual(error._tag, "LockError")
      assert.match(error.message, /^the job offsite sends these replicas on: another run holds \/push/)
      assert.lengthOf(kit.replica.snapshots, 5)
      // Its own, too, may be named by hand.
      const own = yield* makePruneKit(5)
      const asked: Reader = {
        ...reader,
        lockfile: "/l",
        ask: Effect.fail(new PreflightError({ message: "no" }))
      }
      assert.strictEqual((yield* Effect.flip(own.prune(false, [asked])))._tag, "PreflightError")
    })
  )

  it.effect("a dry run destroys nothing and says what would go", () =>
    Effect.gen(function* () {
      const kit = yield* makePruneKit(4)
      const summary = yield* kit.prune(true)
      assert.lengthOf(kit.replica.snapshots, 4)
      assert.include(kit.lines, "INFO tank: would destroy backup/nas/tank@d1")
      assert.include(totals(summary), "2 would be destroyed, 2 kept")
    })
  )
})
