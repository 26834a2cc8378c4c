import { duration } from "../Units.ts"
import type { SourceDataset } from "./State.ts"

const day = 86_400
/** How many of the newest snapshots tell how often they are taken. */
const looked = 10

/** A dataset that used to get snapshots and does not any more. Seconds. */
interface Stale {
  readonly dataset: string
  readonly age: number
  /** The longest time that there was between two of its latest snapshots. */
  readonly usual: number
}

/**
 * Datasets whose newest snapshot is a day older than three times what there was at most between two of the latest: their replicas
 * are up to date and get nothing new. `now`: seconds since 1970. Of fewer than three snapshots nothing can be told.
 */
export const staleOf = (sources: ReadonlyArray<SourceDataset>, now: number): ReadonlyArray<Stale> =>
  sources.flatMap(({ name, snapshots }) => {
    const latest = snapshots
      .map(({ creation }) => creation)
      .toSorted((a, b) => a - b)
      .slice(-looked)
    const newest = latest.at(-1)
    if (newest === undefined || latest.length < 3) return []
    const usual = Math.max(
      ...latest.slice(1).map((creation, index) => creation - (latest[index] ?? creation))
    )
    const age = now - newest
    return age > day + 3 * usual ? [{ dataset: name, age, usual }] : []
  })

/** One sentence for all of them; undefined for none. */
export const staleRemark = (stale: ReadonlyArray<Stale>, label: string): string | undefined => {
  const [first] = stale.toSorted((a, b) => b.age - a.age)
  if (first === undefined) return undefined
  const others =
    stale.length === 1
      ? ""
      : ` (and ${stale.length - 1} more ${stale.length === 2 ? "does" : "do"} not either)`
  return `${first.dataset} on ${label} got no snapshot for ${duration(first.age * 1000)}, and one every ${duration(first.usual * 1000)} at least before${others}: is something still taking snapshots there? Its replica is no newer`
}
