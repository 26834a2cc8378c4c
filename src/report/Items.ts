import { type JobState, trackedItems } from "../runs/JobState.ts"
import type { Verified } from "../store/FolderState.ts"
import type { RunItem, TimedRun } from "./Jobs.ts"

/**
 * One folder or dataset. The job state says what holds now: whether it is there, its last success, its trouble. The history, which
 * only counts what was in order, says since when, how often and how large. It stands in for a job state that is missing (a target
 * of an old version has none) or older than its last line: failures must show. Times in milliseconds since 1970.
 */
export interface ItemReport {
  readonly job: string
  readonly name: string
  readonly target: string | undefined
  /** Its newest archive, or what was last sent of it; undefined when the history has none. */
  readonly newest: { readonly at: number; readonly entry: RunItem } | undefined
  /** When it was last archived or sent, or found up to date. */
  readonly good: number | undefined
  /** When its current archive was made. */
  readonly archived: number | undefined
  /** The source or the job does not have it any more; `goneSince`: where that is known. */
  readonly gone: boolean
  readonly goneSince: number | undefined
  /** How often it was archived or tried in the period, and the bytes of that in all. */
  readonly times: number
  readonly bytes: number
  /** Sizes of the archives, or of what was sent, in the period, thinned. */
  readonly sizes: ReadonlyArray<{ readonly at: number; readonly bytes: number }>
  readonly trouble: Trouble | undefined
  /** An archive was published, and its zip is not there. */
  readonly lost?: boolean
  /** What verify found of the current archive; left out when it was not read back since it was published. */
  readonly verified?: Verified | undefined
  /** When verify looked at the replica, and whether it is not good. */
  readonly looked?: { readonly at: number; readonly isBad: boolean } | undefined
}

/** Trouble that has not ended: when it began, how often it came since, and its last error. */
interface Trouble {
  readonly since: number
  readonly times: number
  readonly result: "failed" | "refused"
  readonly error: string
}

/** Each folder or dataset that the runs of a job or its state name, by name; `runs` are of all jobs, the period begins at `from`. */
export const itemsOf = (
  job: string,
  runs: ReadonlyArray<TimedRun>,
  state: JobState | undefined,
  from: number
): ReadonlyArray<ItemReport> => {
  const known = new Map<string, Tracked>()
  for (const timed of runs) {
    if (timed.job !== job) continue
    for (const item of timed.items) addAttempt(trackedIn(known, item.name), item, timed, from)
    if (timed.run.outcome === "ok" || timed.run.outcome === "failed") settle(known, timed)
  }
  if (state !== undefined) applyState(known, state)
  return [...known]
    .map(([name, { others: _, run: __, sizes, ...item }]) => ({
      job,
      name,
      ...item,
      times: sizes.length,
      bytes: sizes.reduce((sum, { bytes }) => sum + bytes, 0),
      sizes: thin(sizes, mostSizes)
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

class Tracked {
  target: string | undefined
  newest: ItemReport["newest"]
  good: number | undefined
  archived: number | undefined
  gone = false
  goneSince: number | undefined
  readonly sizes: Array<ItemReport["sizes"][number]> = []
  trouble: Trouble | undefined
  run: TimedRun | undefined
  /** How many other folders the run covered in which it failed last. */
  others = 0
}

const trackedIn = (known: Map<string, Tracked>, name: string): Tracked => {
  const item = known.get(name) ?? new Tracked()
  known.set(name, item)
  return item
}

const addAttempt = (item: Tracked, entry: RunItem, timed: TimedRun, from: number): void => {
  const at = timed.ended
  const { error, result, target } = entry
  item.run = timed
  item.target = target ?? item.target
  if (result === "failed" || result === "refused") {
    const { since, times } = item.trouble ?? { since: at, times: 0 }
    item.trouble = { since, times: times + 1, result, error: error ?? result }
    item.others = timed.covered - timed.run.failed
  } else {
    item.newest = { at, entry }
    item.good = at
    item.archived = at
    item.trouble = undefined
  }
  const size = entry.zip_bytes ?? entry.bytes
  if (size !== undefined && at >= from) item.sizes.push({ at, bytes: size })
}

/**
 * What a whole run does not name was in order. A folder that failed stays due, so a later run of all folders names it again unless
 * it is gone; a run of chosen folders (`--folder`), which is known by how few it covered, says nothing of the others.
 */
const settle = (known: ReadonlyMap<string, Tracked>, timed: TimedRun): void => {
  for (const item of known.values()) {
    if (item.run === timed || timed.covered < item.others) continue
    item.trouble = undefined
    if (timed.run.kind === "replication") item.good = timed.ended
  }
}

/** Since when an item is in trouble, and how often it was, is for the history to say. */
const applyState = (known: Map<string, Tracked>, state: JobState): void => {
  const items = new Map(trackedItems(state).map((item) => [item.name, item]))
  for (const { folder, since_utc } of state.kind === "archive" ? (state.gone ?? []) : []) {
    trackedIn(known, folder).goneSince = Date.parse(since_utc)
  }
  for (const [name, item] of known) {
    if (items.has(name)) continue
    item.gone = true
    item.trouble = undefined
  }
  for (const [name, found] of items) {
    const { error = "no reason was recorded", last_attempt_utc, last_success_utc: success, result } = found
    const item = trackedIn(known, name)
    if ("target" in found) item.target = found.target
    if (success !== undefined) item.good = Date.parse(success)
    const made = Date.parse(found.archived_at_utc ?? "")
    if (Number.isFinite(made)) item.archived = made
    const at = Date.parse(last_attempt_utc)
    const isFailing = result === "failed" || result === "refused"
    item.trouble = isFailing ? (item.trouble ?? { since: at, times: 1, result, error }) : undefined
  }
}

const mostSizes = 40

const thin = <A>(values: ReadonlyArray<A>, most: number): ReadonlyArray<A> => {
  if (values.length <= most) return values
  const stride = (values.length - 1) / (most - 1)
  const chosen = new Set(Array.from({ length: most }, (_, index) => Math.round(index * stride)))
  return values.filter((_, index) => chosen.has(index))
}
