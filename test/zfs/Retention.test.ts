import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"

import type { Snapshot } from "../../src/zfs/Dataset.ts"
import { applyRetention, type Choice, type Retention } from "../../src/zfs/Retention.ts"

const choose = (
  snapshots: ReadonlyArray<Snapshot>,
  retention: Retention,
  newestCommon: string | undefined = undefined
): Choice =>
  Either.getOrThrow(
    applyRetention(snapshots, retention, {
      newestCommon: new Set(newestCommon === undefined ? [] : [newestCommon])
    })
  )

const guids = (snapshots: ReadonlyArray<Snapshot>) => snapshots.map(({ guid }) => guid)
const kept = ({ keep }: Choice) => guids(keep.map(({ snapshot }) => snapshot))

const none: Retention = { hourly: 0, daily: 0, weekly: 0, monthly: 0 }
const count = FastCheck.nat(5)
const retention: FastCheck.Arbitrary<Retention> = FastCheck.record({
  hourly: count,
  daily: count,
  weekly: count,
  monthly: count
}).filter((each) => Object.values(each).some((n) => n > 0))

/** Seconds between one snapshot and the next: none, minutes, hours, days, weeks. */
const step = FastCheck.oneof(
  FastCheck.constant(0),
  FastCheck.nat(3600),
  FastCheck.nat(100_000),
  FastCheck.nat(2_000_000)
)

const snapshots = (clock: FastCheck.Arbitrary<number> = step): FastCheck.Arbitrary<ReadonlyArray<Snapshot>> =>
  FastCheck.array(
    FastCheck.record({
      step: clock,
      name: FastCheck.constantFrom("0", "daily", "a"),
      holds: FastCheck.constantFrom(0, 0, 0, 0, 1),
      clones: FastCheck.constantFrom([], [], [], ["backup/clone"])
    }),
    { maxLength: 30 }
  ).map((all) => {
    let creation = 1_700_000_000
    return all.map(({ step: by, ...rest }, index) => {
      creation += by
      return { ...rest, guid: `g${index}`, createtxg: BigInt(index + 5), creation }
    })
  })

const at = (guid: string, when: string, more: Partial<Snapshot> = {}): Snapshot => ({
  guid,
  name: guid,
  createtxg: BigInt(guid),
  creation: Date.parse(when) / 1000,
  holds: 0,
  clones: [],
  ...more
})

describe("Retention", () => {
  it("keeps the newest of each period, in UTC, weeks from Monday", () => {
    const monday = at("2", "2024-12-30T00:00:00Z") // of the week that is the first of 2025
    const newest = at("8", "2025-01-06T01:59:59Z")
    const all = [
      at("1", "2024-12-29T23:59:59Z"), // Sunday
      monday,
      at("3", "2024-12-31T23:00:00Z"),
      at("4", "2025-01-01T00:10:00Z"),
      at("5", "2025-01-01T00:50:00Z"),
      at("6", "2025-01-05T12:00:00Z"), // Sunday
      at("7", "2025-01-06T01:00:00Z"), // Monday
      newest
    ]
    assert.deepStrictEqual(kept(choose(all, { ...none, hourly: 3 })), ["5", "6", "8"])
    assert.deepStrictEqual(kept(choose([at("1", "2025-01-06T00:59:59Z"), ...all.slice(-2)], { ...none, hourly: 2 })), [
      "1",
      "8"
    ])
    assert.deepStrictEqual(kept(choose(all, { ...none, daily: 4 })), ["3", "5", "6", "8"])
    assert.deepStrictEqual(kept(choose(all, { ...none, weekly: 9 })), ["1", "6", "8"])
    assert.deepStrictEqual(kept(choose(all, { ...none, monthly: 2 })), ["3", "8"])
    assert.deepStrictEqual(choose(all, { ...none, weekly: 1, monthly: 1 }, "2").keep, [
      { snapshot: monday, reasons: ["newest common"] },
      { snapshot: newest, reasons: ["newest", "weekly", "monthly"] }
    ])
  })

  it("counts only periods that have a snapshot, also before 1970", () => {
    const all = [at("1", "1969-12-28T00:00:00Z"), at("2", "1969-12-29T00:00:00Z"), at("3", "2025-06-01T00:00:00Z")]
    assert.deepStrictEqual(kept(choose(all, { ...none, weekly: 2 })), ["2", "3"])
    assert.deepStrictEqual(kept(choose(all, { ...none, weekly: 3 })), ["1", "2", "3"])
  })

  it("takes the later one of two in a second", () => {
    const all = [at("2", "2025-01-01T00:00:00Z"), at("1", "2025-01-01T00:00:00Z")]
    assert.deepStrictEqual(guids(choose(all, { ...none, hourly: 2 }).destroy), ["1"])
  })

  it("is not led astray by snapshots of days on which the clock was wrong", () => {
    for (const year of ["2099", "1970"]) {
      const astray = [1, 2, 3].map((day) => at(String(day), `${year}-01-0${day}T12:00:00Z`))
      const real = [4, 5, 6].map((day) => at(String(day), `2025-01-0${day}T12:00:00Z`))
      assert.deepStrictEqual(kept(choose([...astray, ...real], { ...none, daily: 3 })), ["4", "5", "6"])
      assert.deepStrictEqual(
        kept(choose([...real.map((each) => ({ ...each, createtxg: 0n })), ...astray], { ...none, daily: 2 })),
        ["2", "3"],
        `${year}: they are the latest as long as there is none after them`
      )
    }
  })

  it("refuses to keep nothing", () => {
    assert.match(String(Either.getLeft(applyRetention([], none, { newestCommon: new Set() }))), /keeps nothing/)
  })

  it.prop(
    "never destroys the newest, the newest common, a held or a cloned one, and gives each snapshot one fate",
    [snapshots(), retention, FastCheck.nat(30)],
    ([all, rule, common]) => {
      const choice = choose(all, rule, `g${common}`)
      assert.sameMembers([...kept(choice), ...guids(choice.destroy)], guids(all))
      for (const { clones, guid, holds } of choice.destroy) {
        assert.isTrue(holds === 0 && clones.length === 0 && guid !== `g${common}` && guid !== all.at(-1)?.guid)
      }
      for (const list of [guids(choice.destroy), kept(choice)]) {
        assert.deepStrictEqual(
          list,
          guids(all).filter((guid) => list.includes(guid))
        )
      }
    }
  )

  it.prop(
    "keeps no more than the counts for each period, and as many as there are",
    [snapshots(), retention],
    ([all, rule]) => {
      const { keep } = choose(all, rule)
      for (const reason of ["hourly", "daily", "weekly", "monthly"] as const) {
        const own = keep.filter(({ reasons }) => reasons.includes(reason)).length
        assert.isAtMost(own, rule[reason])
        if (all.length > 0 && rule[reason] > 0) assert.isAtLeast(own, 1)
      }
      for (const { reasons, snapshot } of keep) {
        assert.isAbove(reasons.length, 0, snapshot.guid)
        assert.strictEqual(reasons.includes("held"), snapshot.holds > 0)
      }
    }
  )

  it.prop(
    "destroys nothing more when asked again, even if clocks went backwards",
    [snapshots(FastCheck.integer({ min: -200_000, max: 200_000 })), retention],
    ([all, rule]) => {
      const { keep } = choose(all, rule)
      assert.deepStrictEqual(
        choose(
          keep.map(({ snapshot }) => snapshot),
          rule
        ),
        { keep, destroy: [] }
      )
    }
  )

  it.prop(
    "keeps the same for a period whether it was pruned in between or not",
    [snapshots(), retention, FastCheck.nat(30)],
    ([all, rule, when]) => {
      const before = choose(all.slice(0, when), rule).keep.map(({ snapshot }) => snapshot)
      const byPeriod = (choice: Choice) =>
        choice.keep.flatMap(({ reasons, snapshot }) =>
          reasons.filter((reason) => /ly$/.test(reason)).map((reason) => `${reason} ${snapshot.guid}`)
        )
      assert.deepStrictEqual(byPeriod(choose([...before, ...all.slice(when)], rule)), byPeriod(choose(all, rule)))
    }
  )

  it.prop(
    "keeps at least as much with higher counts, and does not go by names or the order of the list",
    [snapshots(), retention, retention],
    ([all, rule, more]) => {
      const choice = choose(all, rule)
      const higher = {
        hourly: rule.hourly + more.hourly,
        daily: rule.daily + more.daily,
        weekly: rule.weekly + more.weekly,
        monthly: rule.monthly + more.monthly
      }
      assert.includeMembers(kept(choose(all, higher)), kept(choice))
      const renamed = all.map((each) => ({ ...each, name: each.guid })).toReversed()
      assert.deepStrictEqual(kept(choose(renamed, rule)), kept(choice))
    }
  )
})
