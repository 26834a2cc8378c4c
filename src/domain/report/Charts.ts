import type { Chart } from "./Chart.ts"
import { jobOf } from "./Jobs.ts"
import { type Figure, largest, type Period, pointsChart, stackChart, stepsChart } from "./Series.ts"
import { coverage, type TimedArchive, type TimedReplication } from "./Timeline.ts"

/** Labels of what is no folder and no dataset. */
const allCompressed = "archives"
const allUncompressed = "their files"
const wholeRun = "whole run"

/** The charts of the archive job; those that would be empty are left out. `runs` are of the whole history. */
export const archiveCharts = (runs: ReadonlyArray<TimedArchive>, period: Period): ReadonlyArray<Chart> => {
  const recent = runs.filter(({ ended }) => ended >= period.from)
  const { folders, totals } = sizesOf(runs, period.from)
  const written = recent.flatMap(({ ended: at, run }) =>
    run.folders.flatMap(
      (folder): ReadonlyArray<Figure> =>
        folder.result === "archived" ? [{ at, label: folder.folder, value: folder.zip_bytes }] : []
    )
  )
  const seconds = recent.flatMap(({ ended: at, run }) =>
    run.folders.flatMap(
      (folder): ReadonlyArray<Figure> =>
        folder.result === "archived" ? [{ at, label: folder.folder, value: folder.seconds }] : []
    )
  )
  const whole = recent.map(({ ended: at, run }): Figure => ({ at, label: wholeRun, value: run.seconds }))
  return [
    stepsChart("total", [allCompressed, allUncompressed], totals, period),
    stepsChart("folders", largest(folders, "last"), folders, period),
    pointsChart("durations", [wholeRun, ...largest(seconds, "last", 4)], [...whole, ...seconds], period),
    stackChart("written", written, period)
  ].filter(drawable)
}

/** The charts of replication. */
export const replicationCharts = (
  runs: ReadonlyArray<TimedReplication>,
  period: Period
): ReadonlyArray<Chart> => {
  const recent = runs.filter(({ ended }) => ended >= period.from)
  const sent = recent.flatMap(({ ended: at, run }) =>
    run.datasets.map((dataset): Figure => ({ at, label: dataset.dataset, value: dataset.bytes }))
  )
  const seconds = recent.map(
    (timed): Figure => ({ at: timed.ended, label: jobOf(timed), value: timed.run.seconds })
  )
  return [
    stackChart("sent", sent, period),
    pointsChart("replication-durations", largest(seconds, "last"), seconds, period)
  ].filter(drawable)
}

const drawable = ({ series, times }: Chart): boolean =>
  times.length > 0 && series.some(({ values }) => values.some((value) => value !== null && value > 0))

/**
 * Sizes of the newest archives: of each folder, and of all together. A folder that is named for the first time after a run which
 * counted more folders than had been named until then was there all along: its first known size counts from the beginning.
 */
const sizesOf = (
  runs: ReadonlyArray<TimedArchive>,
  from: number
): { readonly folders: ReadonlyArray<Figure>; readonly totals: ReadonlyArray<Figure> } => {
  const current = new Map(before(runs))
  const folders: Array<Figure> = []
  const totals: Array<Figure> = []
  let begun = false
  for (const { ended, run } of runs) {
    const at = Math.max(ended, from)
    if (ended >= from && !begun) {
      begun = true
      for (const [label, { zipBytes }] of current) folders.push({ at, label, value: zipBytes })
    }
    for (const folder of run.folders) {
      if (folder.result !== "archived") continue
      current.set(folder.folder, { zipBytes: folder.zip_bytes, bytes: folder.bytes })
      if (begun) folders.push({ at, label: folder.folder, value: folder.zip_bytes })
    }
    if (!begun || current.size === 0) continue
    const sizes = [...current.values()]
    totals.push({ at, label: allCompressed, value: sizes.reduce((sum, { zipBytes }) => sum + zipBytes, 0) })
    totals.push({ at, label: allUncompressed, value: sizes.reduce((sum, { bytes }) => sum + bytes, 0) })
  }
  return { folders, totals }
}

interface Size {
  readonly zipBytes: number
  readonly bytes: number
}

/** First known sizes of the folders that were there before the history began. */
const before = (runs: ReadonlyArray<TimedArchive>): ReadonlyMap<string, Size> => {
  const named = new Set<string>()
  const sizes = new Map<string, Size>()
  let unnamed = 0
  for (const timed of runs) {
    let found = 0
    for (const folder of timed.run.folders) {
      if (named.has(folder.folder)) continue
      named.add(folder.folder)
      if (folder.result !== "archived" || found >= unnamed) continue
      found += 1
      sizes.set(folder.folder, { zipBytes: folder.zip_bytes, bytes: folder.bytes })
    }
    unnamed = Math.max(unnamed - found, coverage(timed) - named.size, 0)
  }
  return sizes
}
