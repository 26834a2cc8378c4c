import type { HistoryRun } from "../History.ts"
import { labelOf } from "../JobKey.ts"
import type { JobStanding } from "../Standing.ts"
import type { FolderReport } from "./Folders.ts"
import { jobOf, type KnownJob } from "./Jobs.ts"
import type { ReplicaReport } from "./Replicas.ts"
import type { TimedRun, Trouble } from "./Timeline.ts"

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
