import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { timeRuns } from "../../src/report/Jobs.ts"
import { describeSpace, spaceOf, spaceProblem } from "../../src/report/Space.ts"
import type { HistoryRun } from "../../src/runs/History.ts"
import { archivedFolder, archiveRun } from "../support/program/reportHistory.ts"

const hour = 3_600_000
const day = 24 * hour
const now = Date.UTC(2026, 10, 21, 12)
const mib = 1024 ** 2

const spaceAfter = (free: number, runs: ReadonlyArray<HistoryRun>) => spaceOf(free, timeRuns(runs).runs, now)

/** A run a day for so many days, of folders of the sizes that `sizes` gives, by the number of the day. */
const daily = (days: number, sizes: (day: number) => ReadonlyArray<number>): ReadonlyArray<HistoryRun> =>
  Array.from({ length: days }, (_, index) =>
    archiveRun(now - (days - 1 - index) * day - hour, {
      unchanged: 0,
      folders: sizes(index).map((zip, folder) => archivedFolder(`F00${folder}`, zip))
    })
  )

const amounts = FastCheck.integer({ min: 1, max: 1_000_000 })

describe("how long the target lasts", () => {
  it.prop(
    "is the free space by the growth of both generations, however many folders share it",
    [FastCheck.integer({ min: 0, max: 2 ** 50 }), FastCheck.array(amounts, { minLength: 1, maxLength: 9 })],
    ([free, growths]) => {
      const runs = daily(60, (index) => growths.map((growth) => 5_000_000 + growth * index))
      const perDay = 2 * growths.reduce((sum, growth) => sum + growth, 0)
      assert.approximately(spaceAfter(free, runs).left ?? Number.NaN, free / perDay, 1e-6 * (1 + free / perDay))
    }
  )

  it.prop(
    "does not depend on how much is written, and no growth or less says nothing",
    [amounts, FastCheck.integer({ min: 0, max: 500 }), FastCheck.integer({ min: 1, max: 12 })],
    ([size, shrinks, times]) => {
      const runs = daily(40, (index) => [size + 20_000 - shrinks * index])
      const often = runs.flatMap((run) => Array.from({ length: times }, () => run))
      assert.strictEqual(spaceAfter(100 * mib, often).left, undefined)
      const grows = daily(40, (index) => [size + index])
      assert.isDefined(spaceAfter(100 * mib, grows).left)
    }
  )

  it.prop("is longer with more room", [amounts, amounts], ([a, b]) => {
    const runs = daily(30, (index) => [1000 + index])
    const left = (free: number) => spaceAfter(free, runs).left ?? Number.NaN
    assert.isTrue(left(a + b) > left(a))
  })

  it("is not known from two weeks or less", () => {
    const growing = (index: number) => [mib * (index + 1)]
    assert.strictEqual(spaceAfter(mib, daily(14, growing)).growth, undefined)
    assert.isDefined(spaceAfter(mib, daily(15, growing)).growth)
    assert.strictEqual(describeSpace(spaceAfter(mib, []), false), "1.0 MiB are free")
  })

  it("leaves out what a new folder brought with it, and what came before the last four weeks", () => {
    const runs = daily(60, (index) => (index < 50 ? [Math.min(index, 20) * mib] : [20 * mib, 900 * mib]))
    assert.strictEqual(spaceAfter(mib, runs).growth?.bytes, 0)
  })

  it("is said in words, and needs a look when that is within 60 days", () => {
    const runs = daily(60, (index) => [(100 + index) * mib])
    const text = (free: number, snapshots = false) => describeSpace(spaceAfter(free, runs), snapshots)
    const problem = (free: number) => spaceProblem(spaceAfter(free, runs), false)
    const grown = "and its archives grew by 56.0 MiB in the last 28 days"
    assert.strictEqual(text(80.5 * mib), `80.5 MiB are free, ${grown}: full in 40 days at this rate`)
    assert.strictEqual(
      text(80.5 * mib, true),
      `80.5 MiB are free, ${grown}: full in 40 days at this rate, or sooner: its snapshots (target_snapshots) keep what is replaced`
    )
    assert.strictEqual(text(mib), `1.0 MiB are free, ${grown}: full in less than a day at this rate`)
    assert.strictEqual(text(2 * mib), `2.0 MiB are free, ${grown}: full in 1 day at this rate`)
    assert.match(text(20_000 * mib), /full in 27 years at this rate$/)
    assert.strictEqual(problem(120 * mib), text(120 * mib))
    assert.strictEqual(problem(121 * mib), undefined)
    assert.strictEqual(spaceProblem(spaceAfter(0, []), false), "no space is left, so nothing more can be written")
  })
})
