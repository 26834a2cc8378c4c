import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import { Receiver } from "../../src/replication/Receiver.ts"
import { addDataset, addSnapshot, type ReplicationMemory, removeSnapshot } from "../doubles/replication/world.ts"
import { makeKit, replicatedOnce, servicesOf } from "../support/replication/replication.ts"

const names = ["tank", "tank/a", "tank/a/x", "tank/b"]

/** Things that happen to the two ends between runs. */
const happening = FastCheck.record({
  dataset: FastCheck.constantFrom(...names),
  what: FastCheck.constantFrom(
    "snapshot",
    "snapshot",
    "snapshot",
    "destroy",
    "bookmark",
    "write at the source",
    "write at the target",
    "snapshot at the target",
    "hold at the target",
    "run",
    "cut run"
  ),
  amount: FastCheck.integer({ min: 1, max: 250 })
})

const happen = (memory: ReplicationMemory, what: string, name: string, amount: number): void => {
  const source = memory.source.datasets.get(name)
  const target = memory.target.datasets.get(`backup/nas/${name}`)
  const oldest = source?.snapshots[0]
  const newest = source?.snapshots.at(-1)
  if (source !== undefined && what === "snapshot") addSnapshot(memory, source, `s${memory.next}`, { bytes: amount })
  if (source !== undefined && oldest !== undefined && what === "destroy") removeSnapshot(source, oldest.name)
  if (source !== undefined && newest !== undefined && what === "bookmark") {
    source.bookmarks = [
      ...source.bookmarks,
      { name: `b${memory.next}`, guid: newest.guid, createtxg: newest.createtxg }
    ]
  }
  if (source !== undefined && what === "write at the source") source.written += amount
  if (target === undefined || target.partial !== undefined) return
  if (what === "write at the target") target.written += amount
  if (what === "snapshot at the target" && target.snapshots.length > 0) addSnapshot(memory, target, `t${memory.next}`)
  if (what === "hold at the target") {
    target.snapshots = target.snapshots.map((snapshot) => ({ ...snapshot, holds: 1 }))
  }
}

const worldOf = ({ marks, source, target, tokens }: ReplicationMemory) =>
  structuredClone({ source: source.datasets, target: target.datasets, tokens, marks })

/** Operations that change something on either end. */
const changing = /^(send|createParent|abort|rollback|destroy|destroyParent|rename|prepare|grant|snapshot|bookmark) /

describe("a dry run", () => {
  it.effect.prop(
    "changes nothing, and says what the real run then does",
    {
      history: FastCheck.array(happening, { maxLength: 30 }),
      rollback: FastCheck.boolean(),
      snapshot: FastCheck.boolean()
    },
    ({ history, rollback, snapshot }) =>
      Effect.gen(function* () {
        const sourceRetention = snapshot ? { hourly: 1, daily: 0, weekly: 0, monthly: 0 } : undefined
        const kit = yield* makeKit({ snapshot, sourceRetention })
        const { memory } = kit
        for (const name of names) addDataset(memory, "source", name)
        for (const { amount, dataset, what } of history) {
          happen(memory, what, dataset, amount)
          if (what === "cut run") memory.cuts.push(amount)
          if (what.endsWith("run")) yield* Effect.either(kit.run({ retries: 0 }))
          memory.cuts.length = 0
        }
        const before = worldOf(memory)
        const calls = memory.calls.length
        const dryRun = yield* Effect.either(kit.run({ dryRun: true, rollback }))
        assert.deepStrictEqual(worldOf(memory), before)
        assert.deepStrictEqual(
          memory.calls.slice(calls).filter((call) => changing.test(call)),
          []
        )

        const real = yield* Effect.either(kit.run({ rollback }))
        assert.strictEqual(dryRun._tag, real._tag)
        if (Either.isRight(dryRun) && Either.isRight(real)) {
          const told = dryRun.right.datasets.map((result) =>
            result.result === "sent" ? { ...result, dry_run: false } : result
          )
          assert.deepStrictEqual(told, real.right.datasets)
          const again = yield* kit.run({ rollback })
          if (!snapshot) assert.strictEqual(again.sent, 0, "a run after it still found something to send")
        }
      }),
    { fastCheck: { numRuns: 40 }, timeout: 180_000 }
  )

  it.effect("says each step with its size, and that it is one", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ datasets: ["tank/a"] })
      kit.source("tank/a", ["1", "2", "3"])
      const summary = yield* kit.run({ dryRun: true })
      assert.deepInclude(summary.datasets[0], { result: "sent", dry_run: true })
      assert.deepStrictEqual(
        kit.lines.filter((line) => line.includes("would")),
        [
          "INFO tank/a: would make backup/nas (canmount=off)",
          "INFO tank/a: would make backup/nas/tank (canmount=off)",
          "INFO tank/a: would send all of @1 to backup/nas/tank/a: 1 snapshot, 100 B",
          "INFO tank/a: would send from @1 to @3 to backup/nas/tank/a: 2 snapshots, 200 B",
          "INFO tank/a: would send 3 snapshots, 300 B to backup/nas/tank/a (full)",
          "INFO 1 would be sent, 0 up to date, 0 refused, 0 failed; 300 B, 0.0 s"
        ]
      )
    })
  )

  it.effect("shows a rollback, and what would be thrown away", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const { replica, tank } = yield* replicatedOnce(kit)
      addSnapshot(kit.memory, replica, "mine", { written: 4096 })
      addSnapshot(kit.memory, tank, "2")
      yield* kit.run({ dryRun: true, rollback: true })
      assert.include(kit.lines, "INFO tank: would take backup/nas/tank back to @1, destroying @mine")
      assert.deepStrictEqual(kit.names("backup/nas/tank"), ["1", "mine"])
    })
  )

  it.effect("the receiver shows what would then be there", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const { memory } = kit
      const tank = kit.source("tank", ["1"])
      kit.source("tank/a", ["1"])
      memory.cuts.push(Number.POSITIVE_INFINITY, 30)
      yield* kit.run({ retries: 0 })
      const replica = memory.target.datasets.get("backup/nas/tank")
      assert.isDefined(replica)
      const mine = addSnapshot(memory, replica, "mine")
      replica.written = 10
      const to = replica.snapshots[0]
      assert.isDefined(to)
      const before = worldOf(memory)
      yield* Effect.gen(function* () {
        const receiver = yield* Receiver
        yield* receiver.rollback("backup/nas/tank", { to, destroys: [mine], written: 10 })
        const back = yield* receiver.read("backup/nas/tank")
        assert.deepStrictEqual([back?.snapshots.map(({ name }) => name), back?.written], [["1"], 0])
        yield* receiver.destroySnapshot("backup/nas/tank", to)
        assert.deepStrictEqual((yield* receiver.read("backup/nas/tank"))?.snapshots, [])
        // A dataset that came with the cut stream goes with it.
        yield* receiver.abort("backup/nas/tank/a")
        assert.isUndefined(yield* receiver.read("backup/nas/tank/a"))
        yield* receiver.createParent("backup/new")
        yield* receiver.prepare("backup/ready", { canmount: "off" })
        assert.deepStrictEqual([...(yield* receiver.tree(["backup"])).keys()].sort(), [
          "backup",
          "backup/nas",
          "backup/nas/tank",
          "backup/new",
          "backup/ready"
        ])
        assert.deepStrictEqual([...(yield* receiver.tree(["backup/nas/tank"])).keys()], ["backup/nas/tank"])
        yield* receiver.grant("bob", ["receive"], "backup")
      }).pipe(Effect.provide([servicesOf(memory, true), kit.around]))
      assert.deepStrictEqual(worldOf(memory), before)
      assert.lengthOf(tank.snapshots, 1)
    })
  )

  it.effect("finishes a stream that was cut, and goes on from there", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1", "2"])
      kit.memory.cuts.push(30)
      yield* kit.run({ retries: 0 })
      yield* kit.run({ dryRun: true })
      assert.deepStrictEqual(
        kit.lines.filter((line) => line.includes("would send")),
        [
          "INFO tank: would send the rest of @1 to backup/nas/tank: 1 snapshot, 70 B",
          "INFO tank: would send from @1 to @2 to backup/nas/tank: 1 snapshot, 100 B",
          "INFO tank: would send 2 snapshots, 170 B to backup/nas/tank (resumed)"
        ]
      )
    })
  )

  it.effect("drops a dead token and goes on as the real run would", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", ["1", "2"])
      kit.memory.cuts.push(30)
      yield* kit.run({ retries: 0 })
      removeSnapshot(tank, "1")
      yield* kit.run({ dryRun: true })
      assert.include(kit.lines, "INFO tank: would throw away what backup/nas/tank has of a stream that was cut")
      assert.include(kit.lines, "INFO tank: would send all of @2 to backup/nas/tank: 1 snapshot, 100 B")
    })
  )
})
