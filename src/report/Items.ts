import { jobLabel } from "../config/JobKey.ts"
import type { HistoryDataset, HistoryFolder, HistoryRun } from "../runs/History.ts"
import type { ArchiveJobState, JobState, ReplicationJobState } from "../runs/JobState.ts"
import type { Verified } from "../store/Verification.ts"
import {
  coverage,
  isArchive,
  isWhole,
  jobOf,
  type KnownJob,
  type TimedArchive,
  type TimedReplication,
  type TimedRun
} from "./Jobs.ts"

/*
 * What the report says of single folders and datasets. The job state, written at the end of each run, says what holds now:
 * which of them there are, their last success, whether they are in trouble. The history, which only counts what was in order,
 * says since when, how often and how large; and it stands in for a job state that is missing or older than its last line.
 */

/** One folder or dataset. Times in milliseconds since 1970. */
interface ItemReport<Entry> {
  readonly job: string
  readonly name: string
  /** Of a dataset. */
  readonly target: string | undefined
  /** Its newest archive, or what was last sent of it; undefined when the history has none. */
  readonly newest: { readonly at: number; readonly entry: Entry } | undefined
  /** When it was last archived or sent, or found up to date. */
  readonly good: number | undefined
  /** Gone from the source, or none of the job's any more. */
  readonly gone: boolean
  /** How often it was archived or tried in the period, and the bytes of that in all. */
  readonly times: number
  readonly bytes: number
  /** Sizes of the archives, or of what was sent, in the period, thinned. */
  readonly sizes: ReadonlyArray<SizeAt>
  readonly trouble: Trouble | undefined
}

export interface FolderReport extends ItemReport<ArchivedFolder> {
  /** An archive was published, and its zip is not there. */
  readonly lost?: boolean
  /** What verify found of the archive that is there now; left out when it was not read back since it was published. */
  readonly verified?: Verified
}

export type ReplicaReport = ItemReport<HistoryDataset>

type ArchivedFolder = Extract<HistoryFolder, { readonly result: "archived" }>

interface SizeAt {
  readonly at: number
  readonly bytes: number
}

/** Trouble that has not ended: when it began, how often it came since, and its last error. */
export interface Trouble {
  readonly since: number
  readonly last: number
  readonly times: number
  readonly result: "failed" | "refused"
  readonly error: string
}

/** Each folder that the runs of the archive job or its state name, by name; the period begins at `from`. */
export const foldersOf = (
  runs: ReadonlyArray<TimedArchive>,
  state: ArchiveJobState | undefined,
  from: number
): ReadonlyArray<FolderReport> =>
  itemsOf("archive", runs, state, from, ({ run }) =>
    run.folders.map((folder) =>
      folder.result === "failed"
        ? { name: folder.folder, failure: folder }
        : { name: folder.folder, success: folder, size: folder.zip_bytes }
    )
  )

/** Each dataset that the runs of one job or its state name, by name. */
export const replicasOf = (
  job: string,
  runs: ReadonlyArray<TimedReplication>,
  state: ReplicationJobState | undefined,
  from: number
): ReadonlyArray<ReplicaReport> =>
  itemsOf(job, runs, state, from, ({ run }) =>
    run.datasets.map((dataset) => {
      const { bytes: size, dataset: name, error, result, target } = dataset
      return result === "sent"
        ? { name, target, size, success: dataset }
        : { name, target, size, failure: { result, error: error ?? result } }
    })
  )

/** What a run did to one item: it has either a success or a failure. */
interface Attempt<Entry> {
  readonly name: string
  readonly target?: string | undefined
  readonly success?: Entry
  readonly failure?: Pick<Trouble, "error" | "result">
  /** Bytes of a new archive, or sent. */
  readonly size?: number
}

/** An item while the runs are gone through. */
interface Tracked<Entry> {
  target: string | undefined
  newest: ItemReport<Entry>["newest"]
  good: number | undefined
  gone: boolean
  readonly sizes: Array<SizeAt>
  trouble: Trouble | undefined
  /** How many other folders the run had looked at in which it failed last. */
  others: number
}

const mostSizes = 40

const itemsOf = <Run extends TimedRun, Entry>(
  job: string,
  runs: ReadonlyArray<Run>,
  state: JobState | undefined,
  from: number,
  attemptsOf: (run: Run) => ReadonlyArray<Attempt<Entry>>
): ReadonlyArray<ItemReport<Entry>> => {
  const known = new Map<string, Tracked<Entry>>()
  for (const timed of runs) {
    const attempts = attemptsOf(timed)
    for (const attempt of attempts) track(itemIn(known, attempt.name), timed, attempt, from)
    if (isWhole(timed)) settle(known, timed, new Set(attempts.map(({ name }) => name)))
  }
  const now = current(state, runs)
  if (now !== undefined) applyState(known, now)
  return [...known]
    .map(([name, { others: _, sizes, ...item }]) => ({
      job,
      name,
      ...item,
      times: sizes.length,
      bytes: sizes.reduce((sum, { bytes }) => sum + bytes, 0),
      sizes: thin(sizes, mostSizes)
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

const itemIn = <Entry>(known: Map<string, Tracked<Entry>>, name: string): Tracked<Entry> => {
  const item = known.get(name) ?? {
    target: undefined,
    newest: undefined,
    good: undefined,
    gone: false,
    sizes: [],
    trouble: undefined,
    others: 0
  }
  known.set(name, item)
  return item
}

const track = <Entry>(
  item: Tracked<Entry>,
  timed: TimedRun,
  { failure, size, success, target }: Attempt<Entry>,
  from: number
): void => {
  const at = timed.ended
  item.target = target ?? item.target
  if (success !== undefined) {
    item.newest = { at, entry: success }
    item.good = at
    item.trouble = undefined
  }
  if (failure !== undefined) {
    const { error, result } = failure
    const { since, times } = item.trouble ?? { since: at, times: 0 }
    item.trouble = { since, last: at, times: times + 1, error, result }
    item.others = isArchive(timed) ? coverage(timed) - timed.run.failed : 0
  }
  if (size !== undefined && at >= from) item.sizes.push({ at, bytes: size })
}

/**
 * What a whole run does not name was in order. A folder that failed stays due, so a later run of all folders names it again unless
 * it is gone; a run of chosen folders (`--folder`), which is known by how few it looked at, says nothing of the others.
 */
const settle = <Entry>(
  known: ReadonlyMap<string, Tracked<Entry>>,
  timed: TimedRun,
  named: ReadonlySet<string>
): void => {
  for (const [name, item] of known) {
    if (named.has(name) || (isArchive(timed) && coverage(timed) < item.others)) continue
    item.trouble = undefined
    if (!isArchive(timed)) item.good = timed.ended
  }
}

const applyState = <Entry>(known: Map<string, Tracked<Entry>>, state: JobState): void => {
  const items = new Map<string, StateItem>(
    state.kind === "archive"
      ? state.folders.map((item) => [item.folder, item])
      : state.datasets.map((item) => [item.dataset, item])
  )
  for (const [name, item] of known) {
    if (items.has(name)) continue
    item.gone = true
    item.trouble = undefined
  }
  for (const [name, found] of items) {
    const item = itemIn(known, name)
    item.target = found.target ?? item.target
    item.good = timeOf(found.last_success_utc) ?? item.good
    item.trouble = troubleOf(found, item.trouble)
  }
}

/** A folder or dataset of the job state. */
interface StateItem {
  readonly target?: string
  readonly result: string
  readonly last_success_utc?: string
  readonly last_attempt_utc: string
  readonly error?: string
}

/** Since when, and how often, is for the history to say. */
const troubleOf = (
  { error = "no reason was recorded", last_attempt_utc, result }: StateItem,
  known: Trouble | undefined
): Trouble | undefined => {
  if (result !== "failed" && result !== "refused") return undefined
  const at = timeOf(last_attempt_utc) ?? known?.last
  return at === undefined ? known : (known ?? { since: at, last: at, times: 1, result, error })
}

const timeOf = (text: string | undefined): number | undefined => {
  const at = text === undefined ? Number.NaN : Date.parse(text)
  return Number.isNaN(at) ? undefined : at
}

/** At most `most` of them, the first and the last among them, evenly taken. */
const thin = <A>(values: ReadonlyArray<A>, most: number): ReadonlyArray<A> => {
  if (values.length <= most) return values
  const stride = (values.length - 1) / (most - 1)
  return Array.from({ length: most }, (_, index) => values[Math.round(index * stride)]).filter(
    (value) => value !== undefined
  )
}

/**
 * The job state, unless the history has a later run: one on a later line, whatever the clock said. Only for a run that has no line
 * the time decides.
 */
const current = (state: JobState | undefined, runs: ReadonlyArray<TimedRun>): JobState | undefined => {
  const last = runs.at(-1)
  if (state === undefined || last === undefined) return state
  const { run, started_at_utc: started } = state.last_run
  const line = runs.findLastIndex((each) => each.run.run === run && each.run.started_at_utc === started)
  const isLatest = line < 0 ? Date.parse(started) >= last.started : knowsOf(state, runs.slice(line + 1))
  return isLatest ? state : undefined
}

/** Later runs of chosen folders leave what they did there, and the last run as it was. */
const knowsOf = (state: JobState, later: ReadonlyArray<TimedRun>): boolean => {
  if (state.kind !== "archive") return later.length === 0
  const starts = new Set(later.map(({ run }) => run.started_at_utc))
  const known = new Set<string>(
    state.folders.flatMap((item) => (starts.has(item.last_attempt_utc) ? [item.folder] : []))
  )
  return later.every(({ run }) => run.kind === "archive" && run.folders.every(({ folder }) => known.has(folder)))
}

/**
 * The last runs of jobs that failed and have no line in the history, because the target was full or read-only then. They show the
 * state of a job, and nothing of its folders and datasets.
 */
export const unwritten = (known: ReadonlyArray<KnownJob>, runs: ReadonlyArray<TimedRun>): ReadonlyArray<HistoryRun> =>
  known.flatMap(({ key, standing: state }) => {
    const own = runs.filter((run) => jobOf(run) === jobLabel(key))
    const now = current(state, own)
    if (now === undefined || now.last_run.outcome === "ok") return []
    const { run, started_at_utc } = now.last_run
    const isWritten = own.some((each) => each.run.run === run && each.run.started_at_utc === started_at_utc)
    return isWritten ? [] : [runOf(now)]
  })

const runOf = (state: JobState): HistoryRun => {
  const { failures: failed, ...last } = state.last_run
  const common = { version: 1, ...last, failed } as const
  if (state.kind === "archive") {
    return { ...common, kind: "archive", archived: 0, unchanged: 0, zip_bytes: 0, folders: [] }
  }
  const { direction, host, job } = state
  const counts = { sent: 0, up_to_date: 0, nothing_to_send: 0, refused: 0 }
  return { ...common, kind: "replication", job, direction, host, ...counts, datasets: [] }
}
