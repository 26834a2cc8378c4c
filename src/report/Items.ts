import { labelOf } from "../config/JobKey.ts"
import type { HistoryRun } from "../runs/History.ts"
import type { JobStanding } from "../runs/JobState.ts"
import type { Verified } from "../store/Verification.ts"
import {
  coverage,
  isWhole,
  jobOf,
  type KnownJob,
  type TimedArchive,
  type TimedReplication,
  type TimedRun,
  type Trouble,
  thinned,
  worse
} from "./Timeline.ts"

/** The size of an archive from one moment on. */
interface SizeAt {
  readonly at: number
  readonly zipBytes: number
}

/** What the history knows of one folder. Times in milliseconds since 1970. */
export interface FolderReport {
  readonly folder: string
  /** Its newest archive; undefined when none was made in all of the history. */
  readonly newest:
    | {
        readonly at: number
        readonly files: number
        /** Uncompressed. */
        readonly bytes: number
        readonly zipBytes: number
        readonly seconds: number
      }
    | undefined
  /** When it was last archived or found unchanged, as far as it is known. */
  readonly good: number | undefined
  /** Gone from the source. */
  readonly gone: boolean
  /** How often it was archived in the period. */
  readonly archives: number
  /** Sizes in the period, thinned. */
  readonly sizes: ReadonlyArray<SizeAt>
  readonly trouble: Trouble | undefined
  /** An archive was published, and its zip is not there. */
  readonly lost?: boolean
  /** What verify found of the archive that is there now; left out when it was not read back since it was published. */
  readonly verified?: Verified
}

interface KnownFolder {
  newest: FolderReport["newest"]
  archives: number
  readonly sizes: Array<SizeAt>
  trouble: Trouble | undefined
  /** The run it failed in last. */
  failedIn: TimedArchive | undefined
}

const mostFolders = 40

/** Each folder that the runs name, in order of name; `from` is where the period begins. */
export const foldersOf = (runs: ReadonlyArray<TimedArchive>, from: number): ReadonlyArray<FolderReport> => {
  const known = new Map<string, KnownFolder>()
  for (const timed of runs) {
    if (isWhole(timed)) settleFolders(known, timed)
    for (const entry of timed.run.folders) {
      const folder = known.get(entry.folder) ?? {
        newest: undefined,
        archives: 0,
        sizes: [],
        trouble: undefined,
        failedIn: undefined
      }
      known.set(entry.folder, folder)
      if (entry.result === "failed") {
        folder.trouble = worse(folder.trouble, timed.ended, entry)
        folder.failedIn = timed
        continue
      }
      folder.trouble = undefined
      folder.newest = {
        at: timed.ended,
        files: entry.files,
        bytes: entry.bytes,
        zipBytes: entry.zip_bytes,
        seconds: entry.seconds
      }
      if (timed.ended < from) continue
      folder.archives += 1
      folder.sizes.push({ at: timed.ended, zipBytes: entry.zip_bytes })
    }
  }
  return [...known.entries()]
    .map(([folder, { archives, newest, sizes, trouble }]) => ({
      folder,
      newest,
      good: newest?.at,
      gone: false,
      archives,
      sizes: thinned(sizes, mostFolders),
      trouble
    }))
    .sort((a, b) => (a.folder < b.folder ? -1 : 1))
}

/**
 * A folder that failed stays due, so that a later run of all folders names it again, unless it is gone from the source.
 * A run of chosen folders (`--folder`) says nothing of the others: it is told by how few it looked at.
 */
const settleFolders = (known: ReadonlyMap<string, KnownFolder>, timed: TimedArchive): void => {
  const named = new Set<string>(timed.run.folders.map(({ folder }) => folder))
  for (const [name, folder] of known) {
    const { failedIn } = folder
    if (folder.trouble === undefined || failedIn === undefined || named.has(name)) continue
    if (coverage(timed) >= coverage(failedIn) - failedIn.run.failed) folder.trouble = undefined
  }
}

/** What the history knows of one dataset of a replication job. Times in milliseconds since 1970. */
export interface ReplicaReport {
  readonly job: string
  readonly dataset: string
  readonly target: string | undefined
  /** When something was last sent without an error. */
  readonly sent: { readonly at: number; readonly bytes: number } | undefined
  /** The last run that brought it up to date or found it so; undefined when there was none. */
  readonly good: number | undefined
  /** None of the job's any more. */
  readonly gone: boolean
  /** Sent in the period. */
  readonly bytes: number
  /** What was sent in the period, run by run, thinned. */
  readonly sizes: ReadonlyArray<{ readonly at: number; readonly bytes: number }>
  readonly trouble: Trouble | undefined
}

interface KnownReplica {
  target: string | undefined
  sent: ReplicaReport["sent"]
  good: number | undefined
  bytes: number
  readonly sizes: Array<{ readonly at: number; readonly bytes: number }>
  trouble: Trouble | undefined
}

const mostReplicas = 40

/** Each dataset that the runs of one job name, in order of name; `from` is where the period begins. */
export const replicasOf = (
  job: string,
  runs: ReadonlyArray<TimedReplication>,
  from: number
): ReadonlyArray<ReplicaReport> => {
  const known = new Map<string, KnownReplica>()
  for (const timed of runs) {
    for (const entry of timed.run.datasets) {
      const dataset = known.get(entry.dataset) ?? unknown()
      known.set(entry.dataset, dataset)
      dataset.target = entry.target ?? dataset.target
      if (entry.result === "sent") {
        dataset.sent = { at: timed.ended, bytes: entry.bytes }
        dataset.good = timed.ended
        dataset.trouble = undefined
      } else {
        const error = entry.error ?? (entry.result === "refused" ? "refused" : "failed")
        dataset.trouble = worse(dataset.trouble, timed.ended, { result: entry.result, error })
      }
      if (timed.ended < from) continue
      dataset.bytes += entry.bytes
      dataset.sizes.push({ at: timed.ended, bytes: entry.bytes })
    }
    // A run names every dataset in trouble; those that it does not name were up to date.
    if (isWhole(timed)) settleReplicas(known, timed)
  }
  return [...known.entries()]
    .map(([dataset, { sizes, ...rest }]) => ({
      job,
      dataset,
      ...rest,
      gone: false,
      sizes: thinned(sizes, mostReplicas)
    }))
    .sort((a, b) => (a.dataset < b.dataset ? -1 : 1))
}

const unknown = (): KnownReplica => ({
  target: undefined,
  sent: undefined,
  good: undefined,
  bytes: 0,
  sizes: [],
  trouble: undefined
})

const settleReplicas = (known: ReadonlyMap<string, KnownReplica>, timed: TimedReplication): void => {
  const named = new Set(timed.run.datasets.map(({ dataset }) => dataset))
  for (const [name, dataset] of known) {
    if (named.has(name)) continue
    dataset.trouble = undefined
    dataset.good = timed.ended
  }
}

/*
 * What was written down of how things stood after the last run knows more than the history, which only counts what was in order:
 * folders that were found unchanged, and those that are gone. It is passed over when the history has a later run:
 * one on a later line, whatever the clock said. Only of a run that has no line, the time tells.
 */

const current = (
  standing: JobStanding | undefined,
  runs: ReadonlyArray<TimedRun>
): JobStanding | undefined => {
  const last = runs.at(-1)
  if (standing === undefined || last === undefined) return standing
  const { run, started_at_utc: started } = standing.last_run
  const line = runs.findLastIndex((each) => each.run.run === run && each.run.started_at_utc === started)
  const isLatest = line < 0 ? Date.parse(started) >= last.started : knowsOf(standing, runs.slice(line + 1))
  return isLatest ? standing : undefined
}

/** Later runs of chosen folders leave what they did there, and the last run as it was. */
const knowsOf = (standing: JobStanding, later: ReadonlyArray<TimedRun>): boolean => {
  if (standing.kind !== "archive") return later.length === 0
  const starts = new Set(later.map(({ run }) => run.started_at_utc))
  const known = new Set<string>(
    standing.folders.flatMap((item) => (starts.has(item.last_attempt_utc) ? [item.folder] : []))
  )
  return later.every(
    ({ run }) => run.kind === "archive" && run.folders.every(({ folder }) => known.has(folder))
  )
}

/**
 * The last runs of jobs that failed and have no line in the history, because the target was full or read-only then. They tell how a
 * job stands, and nothing of its folders and datasets.
 */
export const unwritten = (
  known: ReadonlyArray<KnownJob>,
  runs: ReadonlyArray<TimedRun>
): ReadonlyArray<HistoryRun> =>
  known.flatMap(({ key, standing }) => {
    const own = runs.filter((run) => jobOf(run) === labelOf(key))
    const now = current(standing, own)
    if (now === undefined || now.last_run.outcome === "ok") return []
    const { run, started_at_utc } = now.last_run
    const isWritten = own.some((each) => each.run.run === run && each.run.started_at_utc === started_at_utc)
    return isWritten ? [] : [runOf(now)]
  })

const runOf = (standing: JobStanding): HistoryRun => {
  const { failures: failed, ...last } = standing.last_run
  const common = { version: 1, ...last, failed } as const
  if (standing.kind === "archive") {
    return { ...common, kind: "archive", archived: 0, unchanged: 0, zip_bytes: 0, folders: [] }
  }
  const { direction, host, job } = standing
  const counts = { sent: 0, up_to_date: 0, nothing_to_send: 0, refused: 0 }
  return { ...common, kind: "replication", job, direction, host, ...counts, datasets: [] }
}

const timeOf = (text: string | undefined): number | undefined => {
  const at = text === undefined ? Number.NaN : Date.parse(text)
  return Number.isNaN(at) ? undefined : at
}

interface Item {
  readonly result: string
  readonly last_attempt_utc: string
  readonly error?: string
}

/** Since when, and how often, is for the history to say. */
const troubleOf = (
  { error = "no reason was recorded", last_attempt_utc, result }: Item,
  known: Trouble | undefined
): Trouble | undefined => {
  if (result !== "failed" && result !== "refused") return undefined
  const at = timeOf(last_attempt_utc) ?? known?.last
  return at === undefined ? known : (known ?? { since: at, last: at, times: 1, result, error })
}

/** Folders as they stand: those of the history, and those that have been in order ever since it began. `runs`: of the archive job. */
export const foldersNow = (
  folders: ReadonlyArray<FolderReport>,
  standing: JobStanding | undefined,
  runs: ReadonlyArray<TimedRun>
): ReadonlyArray<FolderReport> => {
  const now = current(standing, runs)
  if (now?.kind !== "archive") return folders
  const known = new Map(folders.map((folder) => [folder.folder, folder]))
  const standings = new Set<string>(now.folders.map(({ folder }) => folder))
  return [
    ...folders
      .filter(({ folder }) => !standings.has(folder))
      .map((folder) => ({ ...folder, gone: true, trouble: undefined })),
    ...now.folders.map((item): FolderReport => {
      const folder = known.get(item.folder) ?? { ...unknownFolder, folder: item.folder }
      return {
        ...folder,
        good: timeOf(item.last_success_utc) ?? folder.good,
        trouble: troubleOf(item, folder.trouble)
      }
    })
  ].sort((a, b) => (a.folder < b.folder ? -1 : 1))
}

const unknownFolder = {
  newest: undefined,
  good: undefined,
  gone: false,
  archives: 0,
  sizes: [],
  trouble: undefined
}

/** Datasets of one job as they stand. `runs`: its own. */
export const replicasNow = (
  job: string,
  replicas: ReadonlyArray<ReplicaReport>,
  standing: JobStanding | undefined,
  runs: ReadonlyArray<TimedRun>
): ReadonlyArray<ReplicaReport> => {
  const now = current(standing, runs)
  if (now?.kind !== "replication") return replicas
  const known = new Map(replicas.map((replica) => [replica.dataset, replica]))
  const standings = new Set(now.datasets.map(({ dataset }) => dataset))
  return [
    ...replicas
      .filter(({ dataset }) => !standings.has(dataset))
      .map((replica) => ({ ...replica, gone: true, trouble: undefined })),
    ...now.datasets.map((item): ReplicaReport => {
      const replica = known.get(item.dataset) ?? { ...unknownReplica, job, dataset: item.dataset }
      return {
        ...replica,
        target: item.target ?? replica.target,
        good: timeOf(item.last_success_utc) ?? replica.good,
        trouble: troubleOf(item, replica.trouble)
      }
    })
  ].sort((a, b) => (a.dataset < b.dataset ? -1 : 1))
}

const unknownReplica = {
  target: undefined,
  sent: undefined,
  good: undefined,
  gone: false,
  bytes: 0,
  sizes: [],
  trouble: undefined
}
