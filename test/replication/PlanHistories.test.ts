import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { type Plan, plan } from "../../src/replication/Plan.ts"
import { endOf } from "../../src/replication/Stream.ts"
import type { Snapshot } from "../../src/zfs/Dataset.ts"
import { history, worldAfter } from "../support/replication/zfsHistory.ts"
import type { ModelWorld } from "../support/replication/zfsModel.ts"
import { isThorough } from "../support/thorough.ts"

const make = (world: ModelWorld, rollback = false): Plan =>
  plan(world.sourceState, world.targetState, { mode: "plain", rollback })

/** What of a target could be lost. */
const contents = ({ target }: ModelWorld) =>
  target === undefined ? undefined : { snapshots: target.snapshots, written: target.written, partial: target.partial }

const guids = (snapshots: ReadonlyArray<Snapshot>) => snapshots.map(({ guid }) => guid)

/** Plans and carries out until a plan asks for nothing more. */
const converge = (world: ModelWorld, rollback: boolean): { last: Plan; rounds: ReadonlyArray<Plan> } => {
  const rounds: Array<Plan> = []
  for (;;) {
    const next = make(world, rollback)
    if (!["Full", "Incremental", "Resume"].includes(next._tag)) return { last: next, rounds }
    assert.isBelow(rounds.length, 5, "it never comes to an end")
    rounds.push(next)
    world.carryOut(next)
  }
}

const runs = { numRuns: isThorough ? 1500 : 300 }

describe("plan, over random histories of both ends", () => {
  it.prop(
    "without rollback loses nothing of the target, and zfs accepts every plan",
    [history],
    ([events]) => {
      const world = worldAfter(events)
      const before = contents(world)
      const { last } = converge(world, false)
      const now = contents(world)
      if (before === undefined || now === undefined) {
        assert.isTrue(before === undefined || before.snapshots.length === 0)
        return
      }
      assert.deepStrictEqual(now.snapshots.slice(0, before.snapshots.length), before.snapshots)
      if (before.snapshots.length > 0) assert.isTrue(now.written >= before.written)
      if (last._tag === "Diverged") {
        assert.isTrue(last.loss.snapshots.length > 0 || last.loss.written > 0, "nothing would be lost")
      }
    },
    { fastCheck: runs }
  )

  it.prop(
    "with rollback loses exactly what the plan lists",
    [history],
    ([events]) => {
      const world = worldAfter(events)
      const before = contents(world)
      const listed = new Set(
        converge(world, true).rounds.flatMap((each) =>
          each._tag === "Incremental" ? guids(each.rollback?.destroys ?? []) : []
        )
      )
      const now = new Set(guids(contents(world)?.snapshots ?? []))
      for (const { clones, guid, holds } of before?.snapshots ?? []) {
        assert.strictEqual(now.has(guid), !listed.has(guid), guid)
        if (listed.has(guid)) assert.isTrue(holds === 0 && clones.length === 0, "held or cloned")
      }
    },
    { fastCheck: runs }
  )

  it.prop(
    "ends with all that the source has after the latest common snapshot, and then is empty",
    [history, FastCheck.boolean()],
    ([events, rollback]) => {
      const world = worldAfter(events)
      const first = make(world, rollback)
      const { last, rounds } = converge(world, rollback)
      if (last._tag === "UpToDate" || last._tag === "NothingToSend") {
        assert.deepStrictEqual(make(world, !rollback), last)
      }
      if (last._tag === "UpToDate") {
        const owned = world.target?.snapshots ?? []
        const known = new Map(
          [...world.source.bookmarks, ...world.source.snapshots].map((each) => [each.guid, each.createtxg])
        )
        const common = owned.findLast(({ guid }) => known.has(guid))
        assert.strictEqual(common?.name, last.at)
        const base = known.get(common?.guid ?? "") ?? 0n
        assert.isFalse(world.source.snapshots.some(({ createtxg }) => createtxg > base))
      }
      // A dead token may be all that there was to do.
      if (rounds.length > 0 && first._tag !== "Resume" && last._tag === "UpToDate") {
        const newest = world.source.snapshots.at(-1)
        assert.strictEqual(world.target?.snapshots.at(-1)?.guid, newest?.guid)
        assert.strictEqual(world.target?.written, 0)
      }
      if (first._tag === "Full") {
        assert.deepStrictEqual(guids(world.target?.snapshots ?? []), guids(world.source.snapshots))
      }
    },
    { fastCheck: runs }
  )

  it.prop(
    "comes to the same end wherever the connection was lost",
    [history, FastCheck.array(FastCheck.nat(2), { maxLength: 6 })],
    ([events, cuts]) => {
      const whole = worldAfter(events)
      const cut = worldAfter(events)
      const expected = converge(whole, false).last
      for (const each of cuts) cut.carryOut(make(cut), each)
      assert.deepStrictEqual(converge(cut, false).last, expected)
      assert.deepStrictEqual(guids(cut.target?.snapshots ?? []), guids(whole.target?.snapshots ?? []))
    },
    { fastCheck: runs }
  )

  it.prop(
    "a refusal says what would be lost or what to do, and with rollback goes only where there is a way back",
    [history],
    ([events]) => {
      const world = worldAfter(events)
      const refused = make(world)
      const allowed = make(world, true)
      if (refused._tag !== "Diverged") {
        assert.deepStrictEqual(allowed, refused)
        return
      }
      const { back, snapshots, written } = refused.loss
      const { made, mode, snapshots: owned = [] } = world.targetState ?? {}
      assert.strictEqual(written, world.target?.written)
      if (back === undefined) {
        assert.deepStrictEqual(snapshots, owned)
        assert.deepStrictEqual(allowed, refused)
      } else {
        assert.deepStrictEqual(
          snapshots,
          owned.filter(({ createtxg }) => createtxg > back.createtxg)
        )
        if (allowed._tag === "Incremental") {
          assert.deepStrictEqual(allowed.rollback, { to: back, destroys: snapshots, written })
        } else assert.isTrue(allowed._tag === "Blocked" || (allowed._tag === "Resume" && allowed.dead !== undefined))
      }
      for (const { name } of snapshots.slice(0, 10)) assert.include(refused.reason, `@${name}`)
      // A parent that a stream began to fill has its mark, and may be a replica.
      const remedy =
        made && mode === undefined && back === undefined
          ? "zfs destroy 'backup/nas/tank/data@"
          : "zfs rename 'backup/nas/tank/data'"
      assert.include(refused.reason, remedy)
    },
    { fastCheck: runs }
  )

  it.prop(
    "does not go by names, clocks, or the order of lists",
    [history, FastCheck.boolean(), FastCheck.func(FastCheck.integer())],
    ([events, rollback, clock]) => {
      const world = worldAfter(events)
      const source = world.sourceState
      const target = world.targetState
      const original = plan(source, target, { mode: "plain", rollback })
      const change = <A extends { readonly guid: string }>(each: A): A => ({
        ...each,
        name: `s${each.guid}`,
        creation: clock(each.guid)
      })
      const renamed = plan(
        {
          ...source,
          snapshots: source.snapshots.map(change).toReversed(),
          bookmarks: source.bookmarks.map(change).toReversed()
        },
        target && { ...target, snapshots: target.snapshots.map(change).toReversed() },
        { mode: "plain", rollback }
      )
      // Names matter to zfs when two on one dataset would be the same.
      const isOther = (one: Snapshot) => (other: Snapshot) => one.name === other.name && one.guid !== other.guid
      if (target?.snapshots.some((own) => source.snapshots.some(isOther(own)))) return
      assert.deepStrictEqual(shape(renamed), shape(original))
    },
    { fastCheck: runs }
  )
})

/** A plan without names and clocks. */
const shape = (of: Plan): unknown => {
  switch (of._tag) {
    case "Full":
      return [of._tag, of.streams.map((each) => [each._tag, endOf(each)])]
    case "Incremental":
      return [
        of._tag,
        of.streams.map((each) => [each._tag, endOf(each)]),
        of.rollback && [of.rollback.to.guid, guids(of.rollback.destroys), of.rollback.written]
      ]
    case "Diverged":
      return [of._tag, of.loss.back?.guid, guids(of.loss.snapshots), of.loss.written]
    default:
      return of._tag
  }
}
