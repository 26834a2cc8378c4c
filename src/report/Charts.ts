import { hourMillis } from "../text/Time.ts"
import type { Chart } from "./Chart.ts"
import { type RunItem, runsUntil, type TimedRun } from "./Jobs.ts"

/** One figure of one thing at one time (milliseconds since 1970). */
interface Figure {
  readonly at: number
  readonly label: string
  readonly value: number
}

/** What is drawn: `from` to `now`, in milliseconds since 1970. */
interface Period {
  readonly from: number
  readonly now: number
}

/** Labels of what is no folder and no dataset. */
const allCompressed = "archives"
const allUncompressed = "their files"
const wholeRun = "whole run"

/** The charts of the archive job; those that would be empty are left out. `all` are the runs of the whole history. */
export const archiveCharts = (all: ReadonlyArray<TimedRun>, period: Period): ReadonlyArray<Chart> => {
  const runs = runsUntil(period.now, all, "archive")
  const recent = runs.filter(({ ended }) => ended >= period.from)
  const { totals } = sizesOf(runs, period.from)
  const seconds = recent.map(({ ended: at, run }): Figure => ({ at, label: wholeRun, value: run.seconds }))
  return [
    stepsChart("total", [allCompressed, allUncompressed], totals, period),
    pointsChart("durations", [wholeRun], seconds, period),
    stackChart("written", itemFigures(recent, zipBytes), period)
  ].filter(hasValues)
}

/** The size of a folder's archive at moments that all lines share; null before its first one. */
export interface SizeLine {
  readonly name: string
  readonly from: number
  readonly values: ReadonlyArray<number | null>
}

const mostLines = 60
const moments = 91

/** Those of the largest archives, by name, from where the history or the period begins up to now. */
export const sizeLines = (all: ReadonlyArray<TimedRun>, period: Period): ReadonlyArray<SizeLine> => {
  const runs = runsUntil(period.now, all, "archive")
  const { folders } = sizesOf(runs, period.from)
  const from = Math.max(period.from, runs[0]?.ended ?? period.now)
  const times = Array.from({ length: moments }, (_, n) => from + ((period.now - from) * n) / (moments - 1))
  return largest(folders, "last", mostLines)
    .map((name) => ({ name, from, values: valuesAt(ofLabel(folders, name), times) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

export const replicationCharts = (all: ReadonlyArray<TimedRun>, period: Period): ReadonlyArray<Chart> => {
  const recent = runsUntil(period.now, all, "replication").filter(({ ended }) => ended >= period.from)
  const seconds = recent.map(({ ended: at, job: label, run }): Figure => ({ at, label, value: run.seconds }))
  return [
    stackChart("sent", itemFigures(recent, bytesOf), period),
    pointsChart("replication-durations", largest(seconds, "last"), seconds, period)
  ].filter(hasValues)
}

const zipBytes = (item: RunItem): number | undefined => item.zip_bytes
const bytesOf = (item: RunItem): number | undefined => item.bytes

const itemFigures = (
  runs: ReadonlyArray<TimedRun>,
  valueOf: (item: RunItem) => number | undefined
): ReadonlyArray<Figure> =>
  runs.flatMap(({ ended: at, items }) =>
    items.flatMap((item) => {
      const value = valueOf(item)
      return value === undefined ? [] : [{ at, label: item.name, value }]
    })
  )

const hasValues = ({ series, times }: Chart): boolean =>
  times.length > 0 && series.some(({ values }) => values.some((value) => value !== null && value > 0))

/**
 * Sizes of the newest archives: of each folder, and of all together. A folder that is named for the first time after a run which
 * counted more folders than had been named until then was there all along: its first known size counts from the beginning.
 */
const sizesOf = (
  runs: ReadonlyArray<TimedRun>,
  from: number
): { readonly folders: ReadonlyArray<Figure>; readonly totals: ReadonlyArray<Figure> } => {
  const current = new Map(sizesBefore(runs))
  const folders: Array<Figure> = []
  const totals: Array<Figure> = []
  let begun = false
  for (const { ended, items } of runs) {
    const at = Math.max(ended, from)
    if (ended >= from && !begun) {
      begun = true
      for (const [label, item] of current) folders.push({ at, label, value: zipBytes(item) ?? 0 })
    }
    for (const item of items.filter(isArchived)) {
      current.set(item.name, item)
      if (begun) folders.push({ at, label: item.name, value: zipBytes(item) ?? 0 })
    }
    if (!begun || current.size === 0) continue
    const total = (valueOf: (item: RunItem) => number | undefined) =>
      [...current.values()].reduce((sum, item) => sum + (valueOf(item) ?? 0), 0)
    totals.push({ at, label: allCompressed, value: total(zipBytes) })
    totals.push({ at, label: allUncompressed, value: total(bytesOf) })
  }
  return { folders, totals }
}

const sizesBefore = (runs: ReadonlyArray<TimedRun>): ReadonlyMap<string, RunItem> => {
  const named = new Set<string>()
  const sizes = new Map<string, RunItem>()
  let unnamed = 0
  for (const { covered, items } of runs) {
    let found = 0
    for (const item of items) {
      if (named.has(item.name)) continue
      named.add(item.name)
      if (!isArchived(item) || found >= unnamed) continue
      found += 1
      sizes.set(item.name, item)
    }
    unnamed = Math.max(unnamed - found, covered - named.size, 0)
  }
  return sizes
}

const isArchived = ({ result }: RunItem): boolean => result === "archived"

const steps = [1, 2, 3, 6, 12, 24, 48, 168, 672, 8064].map((hours) => hours * hourMillis)

/** The shortest step of a length that people count in, with which the period has at most `most` of them. */
const stepFor = ({ from, now }: Period, most: number): number =>
  steps.find((step) => (now - from) / step <= most) ?? Math.ceil((now - from) / most)

const mostPoints = 500
const mostBars = 92

/** Those figures that are drawn one by one: the others become one line together, or are left out. */
const mostSeries = 6

/** When the figures were taken, in order, each time once; where there are too many, the ends of steps that cover them. */
const timesOf = (
  figures: ReadonlyArray<Figure>,
  period: Period
): { readonly times: ReadonlyArray<number>; readonly step: number } => {
  const all = [...new Set(figures.map(({ at }) => at))].sort((a, b) => a - b)
  if (all.length <= mostPoints) return { times: all, step: 0 }
  const step = stepFor(period, mostPoints)
  return { times: [...new Set(all.map((at) => endOf(at, step, period)))], step }
}

const endOf = (at: number, step: number, { now }: Period): number =>
  step === 0 ? at : Math.max(at, Math.min(Math.ceil(at / step) * step, now))

const seconds = (millis: number): number => Math.round(millis / 1000)

const makeChart = (
  id: string,
  kind: Chart["kind"],
  times: ReadonlyArray<number>,
  step: number,
  series: Chart["series"]
): Chart => ({
  id,
  unit: kind === "points" ? "seconds" : "bytes",
  kind,
  times: times.map(seconds),
  step: step / 1000,
  series
})

type DrawLines = (id: string, labels: ReadonlyArray<string>, figures: ReadonlyArray<Figure>, period: Period) => Chart

/** Values that hold until the next: the last one of each step counts. The line is drawn up to `now`. */
const stepsChart: DrawLines = (id, labels, figures, period) => {
  const { step, times } = timesOf(figures, period)
  const upToNow = times.length === 0 ? [] : [...times.filter((at) => at < period.now), period.now]
  const series = labels.map((label) => ({ label, values: valuesAt(ofLabel(figures, label), upToNow) }))
  return makeChart(id, "steps", upToNow, step, series)
}

const ofLabel = (figures: ReadonlyArray<Figure>, label: string) => figures.filter((figure) => figure.label === label)

const valuesAt = (figures: ReadonlyArray<Figure>, times: ReadonlyArray<number>): ReadonlyArray<number | null> => {
  let next = 0
  let value: number | null = null
  return times.map((time) => {
    for (let figure = figures[next]; figure !== undefined && figure.at <= time; figure = figures[next]) {
      value = figure.value
      next += 1
    }
    return value
  })
}

/** Values that each stand for themselves: the highest one of each step counts. */
const pointsChart: DrawLines = (id, labels, figures, period) => {
  const { step, times } = timesOf(figures, period)
  const index = new Map(times.map((at, position) => [at, position]))
  const series = labels.map((label) => {
    const values: Array<number | null> = times.map(() => null)
    for (const { at, value } of ofLabel(figures, label)) {
      const position = index.get(endOf(at, step, period))
      if (position !== undefined) values[position] = Math.max(values[position] ?? 0, value)
    }
    return { label, values }
  })
  return makeChart(id, "points", times, step, series)
}

/** Sums of each step of the period, on top of each other: those of the largest, and one of all the others. */
const stackChart = (id: string, figures: ReadonlyArray<Figure>, { now }: Period): Chart => {
  const first = figures.reduce((least, { at }) => Math.min(least, at), now)
  const step = stepFor({ from: first, now }, mostBars)
  const begin = Math.floor(first / step) * step
  const count = figures.length === 0 ? 0 : Math.floor((now - begin) / step) + 1
  const sums = (label: string, chosen: ReadonlyArray<Figure>) => {
    const values = Array.from({ length: count }, () => 0)
    for (const { at, value } of chosen) {
      const position = Math.floor((at - begin) / step)
      values[position] = (values[position] ?? 0) + value
    }
    return { label, values }
  }
  const named = largest(figures, "sum")
  const others = figures.filter(({ label }) => !named.includes(label))
  const times = Array.from({ length: count }, (_, index) => begin + index * step)
  return makeChart(id, "stack", times, step, [
    ...named.map((label) => sums(label, ofLabel(figures, label))),
    ...(others.length === 0 ? [] : [sums("all others", others)])
  ])
}

/** Names of the things with the highest figures, the highest first: by what they come to, or by their last one. */
const largest = (
  figures: ReadonlyArray<Figure>,
  by: "sum" | "last",
  most: number = mostSeries
): ReadonlyArray<string> => {
  const weights = new Map<string, number>()
  for (const { label, value } of figures) {
    weights.set(label, by === "sum" ? (weights.get(label) ?? 0) + value : value)
  }
  return [...weights.entries()]
    .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    .slice(0, most)
    .map(([label]) => label)
}
