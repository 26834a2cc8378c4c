import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import { exitStatusOf, type ReplicationSummary } from "../../src/runs/ReplicationResult.ts"
import { addDataset, addSnapshot, zfsError } from "../doubles/replication/world.ts"
import { errorOf, makeKit, short } from "../support/replication/replication.ts"

const lost = () => zfsError("Unreachable", "nas: Connection reset by peer", true)

describe("a dataset that is not replicated", () => {
  it.effect("does not send a dataset that was renamed in full without a word, and goes on once its replica is", () =>
    Effect.gen(function* () {
      for (const datasets of [["tank"], ["tank/new", "tank/other"]] as const) {
        const kit = yield* makeKit({ datasets })
        const { datasets: sources } = kit.memory.source
        const move = (from: string, to: string, there: typeof sources) => {
          for (const [name, dataset] of there) {
            if (name !== from && !name.startsWith(`${from}/`)) continue
            there.delete(name)
            there.set(to + name.slice(from.length), { ...dataset, name: to + name.slice(from.length) })
          }
        }
        kit.source("tank", [])
        kit.source("tank/new", ["1", "2"])
        kit.source("tank/new/child", ["1"])
        kit.source("tank/other", ["1"])
        yield* kit.run()
        move("backup/nas/tank/new", "backup/nas/tank/old", kit.memory.target.datasets)
        for (const options of [{ dryRun: true }, {}]) {
          const summary = yield* kit.run(options)
          assert.strictEqual(summary.failed, 2)
          assert.deepStrictEqual(summary.remarks, [])
          assert.strictEqual(
            errorOf(summary.datasets, "tank/new"),
            "it seems to have been renamed: backup/nas/tank/old on this host has snapshots of it, and its own source is gone; rename that one (there: zfs rename 'backup/nas/tank/old' 'backup/nas/tank/new') and run again; to send all of it once more instead, have that one be no replica any more (there: zfs inherit zipper:send 'backup/nas/tank/old')"
          )
        }
        const old = kit.memory.target.datasets.get("backup/nas/tank/old")
        assert.isDefined(old)
        const { mode } = old
        old.mode = undefined
        assert.strictEqual(
          (yield* kit.run({ dryRun: true })).datasets.find((of) => of.dataset === "tank/new")?.result,
          "sent"
        )
        old.mode = mode
        move("backup/nas/tank/old", "backup/nas/tank/new", kit.memory.target.datasets)
        assert.strictEqual((yield* kit.run()).failed, 0)
      }
    })
  )

  it.effect("sends what has snapshots in common with another dataset's replica as ever", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", ["1"])
      yield* kit.run()
      const copy = kit.source("tank/copy", [])
      copy.snapshots = tank.snapshots
      assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank up_to_date", "tank/copy sent"])
    })
  )

  it.effect("a failed dataset stops its children only, and they say why", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      for (const name of ["tank", "tank/a", "tank/a/1", "tank/a/1/x", "tank/aa", "tank/b"]) kit.source(name, ["1"])
      kit.memory.failures.set("send tank/a", [zfsError("NoSpace", "out of space")])
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), [
        "tank sent",
        "tank/a failed",
        "tank/a/1 failed",
        "tank/a/1/x failed",
        "tank/aa sent",
        "tank/b sent"
      ])
      assert.strictEqual(errorOf(summary.datasets, "tank/a/1/x"), "not tried: its parent tank/a failed")
      assert.strictEqual(exitStatusOf(summary), 1)
      assert.include(kit.lines, "ERROR tank/a: out of space")
    })
  )

  it.effect("a failed dataset does not stop children that can be received all the same", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const [tank, a] = [kit.source("tank", ["1"]), kit.source("tank/a", ["1"])]
      const old = kit.source("tank/a/old", ["1"])
      yield* kit.run()
      for (const each of [tank, a, old]) addSnapshot(kit.memory, each, "2")
      kit.source("tank/a/new", ["1"])
      kit.memory.failures.set("send tank/a", [zfsError("NoSpace", "out of space")])
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), [
        "tank sent",
        "tank/a failed",
        "tank/a/new sent",
        "tank/a/old sent"
      ])
    })
  )

  it.effect("nothing is received below half of a first stream, which may be thrown away with all below it", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      for (const name of ["tank", "tank/a", "tank/a/b"]) kit.source(name, ["1", "2"])
      kit.memory.cuts.push(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 30)
      const half = yield* kit.run({ retries: 0 })
      assert.deepStrictEqual(short(half.datasets), ["tank sent", "tank/a failed", "tank/a/b failed"])
      assert.strictEqual(errorOf(half.datasets, "tank/a/b"), "not tried: its parent tank/a failed")
      kit.memory.failures.set("resumable", [zfsError("Other", "it is not known")])
      const again = yield* kit.run({ retries: 0 })
      assert.deepStrictEqual(short(again.datasets), ["tank up_to_date", "tank/a failed", "tank/a/b failed"])
      assert.strictEqual((yield* kit.run()).failed, 0)
    })
  )

  it.effect("nothing is received below a volume that is where the parent's replica should be", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      for (const name of ["tank", "tank/a", "tank/a/b"]) kit.source(name, ["1"])
      for (const name of ["backup/nas", "backup/nas/tank"]) {
        addDataset(kit.memory, "target", name, { canmount: "off", placeholder: true })
      }
      addDataset(kit.memory, "target", "backup/nas/tank/a", { kind: "volume" })
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank sent", "tank/a failed", "tank/a/b failed"])
      assert.strictEqual(errorOf(summary.datasets, "tank/a/b"), "not tried: its parent tank/a failed")
    })
  )

  it.effect("goes below a parent of which the first snapshot has come, and the next one has not", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      for (const name of ["tank", "tank/a"]) kit.source(name, ["1", "2"])
      kit.memory.cuts.push(Number.POSITIVE_INFINITY, 30)
      const summary = yield* kit.run({ retries: 0 })
      assert.deepStrictEqual(short(summary.datasets), ["tank failed", "tank/a sent"])
    })
  )

  it.effect(
    "a dataset whose name is too long at the target fails by itself; one that is named is a mistake in the job",
    () =>
      Effect.gen(function* () {
        const kit = yield* makeKit()
        const long = `tank/${"x".repeat(240)}`
        kit.source("tank", ["1"])
        kit.source(long, ["1"])
        const summary = yield* kit.run()
        assert.deepStrictEqual(short(summary.datasets), [`${long} failed`, "tank sent"])
        assert.strictEqual(exitStatusOf(summary), 1)
        const target = `backup/nas/${long}`
        assert.strictEqual(
          errorOf(summary.datasets, long),
          `it would be written to ${JSON.stringify(target)}, which is longer than 255 characters`
        )
        const alone = yield* makeKit({ datasets: [long] })
        alone.source(long, ["1"])
        const error = yield* Effect.flip(alone.run())
        assert.match(error.message, /^tank\/x{240}: it would be written to .* is longer than 255 characters$/)
      })
  )

  it.effect("a snapshot whose name is too long at the target fails its dataset by name, once it is to be sent", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const long = "x".repeat(239)
      const [tank, a] = [kit.source("tank", ["1", long]), kit.source("tank/a", ["1", long.slice(2)])]
      const first = yield* kit.run()
      assert.deepStrictEqual(short(first.datasets), ["tank sent", "tank/a sent"])
      addSnapshot(kit.memory, a, long.slice(1))
      addSnapshot(kit.memory, a, "2")
      addSnapshot(kit.memory, tank, "2")
      for (const options of [{}, { dryRun: true }, { rollback: true }]) {
        const summary = yield* kit.run(options)
        assert.strictEqual(summary.failed, 1)
        assert.strictEqual(
          errorOf(summary.datasets, "tank/a"),
          `with @${long.slice(1)}, a name at backup/nas/tank/a would be longer than 255 characters; at the source, destroy it or give it a shorter name: zfs rename 'tank/a@${long.slice(1)}' 'tank/a@…'`
        )
      }
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["1", long, "2"])
    })
  )

  it.effect("a root that is not there fails by name, and the others go on", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ datasets: ["pool/gone", "usb/a", "tank"] })
      kit.source("pool", [])
      kit.source("tank", ["1"])
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["pool/gone failed", "usb/a failed", "tank sent"])
      assert.strictEqual(errorOf(summary.datasets, "pool/gone"), "there is no such dataset on nas")
      const away = "no pool usb is imported on nas (there: zpool import usb)"
      assert.strictEqual(errorOf(summary.datasets, "usb/a"), away)
      assert.strictEqual(exitStatusOf(summary), 1)
    })
  )

  it.effect("a pool that is away at the target fails its datasets, and the others go on", () =>
    Effect.gen(function* () {
      const datasets = ["tank/a", "tank/b"] as const
      const kit = yield* makeKit({ direction: "push", destination: undefined, stripPrefix: "tank", datasets })
      for (const name of datasets) kit.source(name, ["1"])
      kit.source("tank/b/x", ["1"])
      addDataset(kit.memory, "target", "a")
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.datasets), ["tank/b failed", "tank/b/x failed", "tank/a refused"])
      const away = "no pool b is imported on this host (there: zpool import b)"
      assert.strictEqual(errorOf(summary.datasets, "tank/b/x"), away)
      assert.deepInclude(summary.datasets[1], { target: "b/x" })
    })
  )

  it.effect("a pool of the source that goes away during the run is called that", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      kit.memory.before = (operation) => {
        if (operation === "read sender tank") kit.memory.source.datasets.clear()
      }
      const summary = yield* kit.run()
      assert.match(errorOf(summary.datasets, "tank"), /^no pool tank is imported on nas/)
    })
  )

  it.effect("notes also what is not there or not tried, for a run that is stopped later", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ datasets: ["gone", "tank"] })
      for (const name of ["tank", "tank/a", "tank/a/1", "tank/b"]) kit.source(name, ["1"])
      kit.memory.failures.set("send tank/a", [zfsError("NoSpace", "out of space")])
      kit.memory.failures.set("send tank/b", [lost()])
      const unfinished: Array<ReplicationSummary> = []
      const run = yield* Effect.fork(kit.run({ onUnfinished: (done) => Effect.sync(() => unfinished.push(done)) }))
      // It waits for its second attempt then.
      yield* TestClock.adjust("100 millis")
      yield* Fiber.interrupt(run)
      assert.deepStrictEqual(
        unfinished.map(({ datasets, errors, failed, sent }) => ({ datasets: short(datasets), errors, failed, sent })),
        [
          {
            datasets: ["gone failed", "tank sent", "tank/a failed", "tank/a/1 failed"],
            errors: ["stopped by a signal before it was done"],
            failed: 3,
            sent: 1
          }
        ]
      )
      const known = [...(yield* Ref.get(kit.state.jobStates)).states.values()][0]
      assert.deepStrictEqual(
        known?.kind === "replication" ? known.datasets.map(({ dataset, result }) => `${dataset} ${result}`) : [],
        ["gone failed", "tank sent", "tank/a failed", "tank/a/1 failed"]
      )
    })
  )
})
