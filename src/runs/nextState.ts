import type { Job } from "../config/ReplicationJob.ts"
import type { FolderName } from "../source/FolderName.ts"
import type { FolderRecord } from "../store/FolderState.ts"
import { isInstant } from "../text/Time.ts"
import { type FolderResult, type RunSummary, summarize as summarizeArchive } from "./ArchiveResult.ts"
import type { ArchiveRun, HistoryDataset, HistoryFolder, ReplicationRun } from "./History.ts"
import type { ArchiveJobState, JobState, ReplicationJobState, TrackedDataset, TrackedFolder } from "./JobState.ts"
import { type DatasetResult, type ReplicationSummary, summarize as summarizeReplication } from "./ReplicationResult.ts"
import { type RunEnd, shortened } from "./Run.ts"

/**
 * What a run leaves: its line of history, and the next state of its job. For a run that ended without a summary, `done` has the
 * results until then.
 */

type JobName = Pick<Job, "name" | "direction" | "remote">

/** The line of a run of the archive job. Folders that did not change are only counted. */
export const archiveHistory = (end: RunEnd<RunSummary>, done: ReadonlyArray<FolderResult>): ArchiveRun => {
  const { archived, bytes, failed, folders, unchanged, zip_bytes } =
    end.summary ??
    summarizeArchive({
      run: end.run,
      source: "",
      started_at_utc: end.started_at_utc,
      seconds: 0,
      folders: done
    })
  return {
    ...endHistory(end),
    kind: "archive",
    archived,
    unchanged,
    failed,
    bytes,
    zip_bytes,
    folders: folders.flatMap(folderHistory)
  }
}

/** The line of a run of a replication job. Datasets that were up to date or had no snapshot are only counted. */
export const replicationHistory = (
  job: JobName,
  end: RunEnd<ReplicationSummary>,
  done: ReadonlyArray<DatasetResult>
): ReplicationRun => {
  const {
    bytes,
    datasets,
    direction,
    failed,
    host,
    job: name,
    nothing_to_send,
    refused,
    sent,
    up_to_date
  } = end.summary ??
  summarizeReplication({
    job,
    run: end.run,
    started_at_utc: end.started_at_utc,
    seconds: 0,
    datasets: done
  })
  return {
    ...endHistory(end),
    kind: "replication",
    job: name,
    direction,
    host,
    sent,
    up_to_date,
    nothing_to_send,
    refused,
    failed,
    bytes,
    datasets: datasets.flatMap(datasetHistory)
  }
}

const folderHistory = (result: FolderResult): ReadonlyArray<HistoryFolder> => {
  switch (result.result) {
    case "archived":
      return [{ folder: result.folder, ...archivedFigures(result) }]
    case "unchanged":
      return []
    case "failed":
      return [{ folder: result.folder, result: "failed", error: shortened(result.error) }]
  }
}

const datasetHistory = (result: DatasetResult): ReadonlyArray<HistoryDataset> => {
  const { dataset, target } = result
  const names = { dataset, ...(target === null ? {} : { target }) }
  switch (result.result) {
    case "sent":
      return [{ ...names, ...sentFigures(result) }]
    case "up_to_date":
    case "nothing_to_send":
      return []
    case "refused":
    case "failed":
      return [{ ...names, result: result.result, bytes: result.bytes, error: shortened(result.error) }]
  }
}

const endHistory = ({ error, summary: _, ...end }: RunEnd<unknown>) => ({
  version: 1 as const,
  ...end,
  ...(error === undefined ? {} : { error: shortened(error) })
})

/** The state of the archive job. A folder that a whole run did not find is gone from the source, and is left out. */
export const nextArchiveState = (
  before: JobState | undefined,
  end: RunEnd<RunSummary>,
  options: { readonly whole: boolean; readonly done: ReadonlyArray<FolderResult> }
): ArchiveJobState => {
  const results = end.summary?.folders ?? options.done
  const earlier = before?.kind === "archive" ? before : undefined
  const known = new Map(earlier?.folders.map((folder) => [folder.folder, folder]))
  const kept = end.summary !== undefined && options.whole ? [] : known
  const worked = results
    .filter((result) => result.result !== "failed" || result.absent !== true)
    .map((result) => [result.folder, nextFolder(known.get(result.folder), result, end.started_at_utc)] as const)
  const figures = {
    bytes: results.reduce((sum, result) => sum + (result.result === "archived" ? result.bytes : 0), 0),
    failures: results.filter(({ result }) => result === "failed").length
  }
  return {
    ...nextJob(earlier, end, figures, options.whole),
    kind: "archive",
    folders: [...new Map([...kept, ...worked]).values()].sort((a, b) => (a.folder < b.folder ? -1 : 1))
  }
}

/** The state of a replication job. A dataset that a run with a summary did not find no longer belongs to it, and is left out. */
export const nextReplicationState = (
  before: JobState | undefined,
  end: RunEnd<ReplicationSummary>,
  job: JobName,
  done: ReadonlyArray<DatasetResult>
): ReplicationJobState => {
  const { summary } = end
  // A job of this name with another host or direction has nothing to do with this one.
  const earlier =
    before?.kind === "replication" && before.host === job.remote.host && before.direction === job.direction
      ? before
      : undefined
  const known = new Map(earlier?.datasets.map((dataset) => [dataset.dataset, dataset]))
  const worked = (summary?.datasets ?? done).map((result) =>
    nextDataset(known.get(result.dataset), result, end.started_at_utc)
  )
  const named = new Set(worked.map(({ dataset }) => dataset))
  const kept = summary === undefined ? [...known.values()].filter(({ dataset }) => !named.has(dataset)) : []
  const figures = {
    bytes: summary?.bytes ?? 0,
    failures: (summary?.failed ?? 0) + (summary?.refused ?? 0)
  }
  return {
    ...nextJob(earlier, end, figures, true),
    kind: "replication",
    job: job.name,
    direction: job.direction,
    host: job.remote.host,
    datasets: [...worked, ...kept]
  }
}

/**
 * The state of a folder, with what the folder's own files say: a run writes those while it works, so they are newer if it was
 * killed. Whether they are newer is decided by the archive, not by times: the clock may have been set. Undefined when nothing
 * was ever tried.
 */
export const withRecord = (
  folder: FolderName,
  standing: TrackedFolder | undefined,
  record: FolderRecord | undefined
): TrackedFolder | undefined => {
  const state = record?.state
  const failure = record?.failure
  const made = state?.archived_at_utc
  const seen = standing?.archived_at_utc
  const isNew = made !== undefined && (seen === undefined ? made > (standing?.last_attempt_utc ?? "") : made !== seen)
  const success = isNew ? made : (standing?.last_success_utc ?? made)
  const figures =
    state === undefined ? {} : { files: state.files, bytes: state.bytes, zip_bytes: record?.zipSize ?? state.zip_size }
  const common = {
    ...standing,
    folder,
    ...figures,
    ...(made === undefined ? {} : { archived_at_utc: made }),
    ...(success === undefined ? {} : { last_success_utc: success })
  }
  if (failure !== undefined) {
    // The next success removes the failure record, so no attempt came later.
    const at = isInstant(failure.failed_at_utc) ? failure.failed_at_utc : (standing?.last_attempt_utc ?? "")
    return { ...common, result: "failed", last_attempt_utc: at, error: shortened(failure.error) }
  }
  if (isNew) {
    const { error: _, ...well } = common
    return { ...well, result: "archived", last_attempt_utc: made }
  }
  return standing === undefined ? undefined : { ...standing, ...common }
}

const nextJob = (
  before: JobState | undefined,
  end: RunEnd<unknown>,
  { bytes, failures }: { readonly bytes: number; readonly failures: number },
  whole: boolean
) => {
  const success = end.outcome === "ok" && whole ? end.started_at_utc : before?.last_success_utc
  const stuck =
    end.outcome === "not_started"
      ? (before?.not_started_since_utc ?? end.started_at_utc)
      : end.summary === undefined
        ? before?.not_started_since_utc
        : undefined
  const { version, ...line } = endHistory(end)
  const last = { ...line, bytes, failures }
  return {
    version,
    // A run of chosen folders says nothing about the others.
    last_run: whole ? last : (before?.last_run ?? last),
    ...(success === undefined ? {} : { last_success_utc: success }),
    ...(stuck === undefined ? {} : { not_started_since_utc: stuck })
  }
}

const nextFolder = (before: TrackedFolder | undefined, result: FolderResult, startedAt: string): TrackedFolder => {
  const { error: _, ...kept } = before ?? {}
  const attempt = { ...kept, folder: result.folder, last_attempt_utc: startedAt }
  switch (result.result) {
    case "archived":
      return {
        ...attempt,
        ...archivedFigures(result),
        last_success_utc: startedAt,
        ...(result.archived_at_utc === undefined ? {} : { archived_at_utc: result.archived_at_utc })
      }
    case "unchanged": {
      // The run that archived it may have been killed before it could write these.
      const { archived_at_utc, bytes, files, zip_size: zip_bytes } = result.state
      const success = { result: "unchanged" as const, last_success_utc: startedAt }
      return { ...attempt, ...success, archived_at_utc, files, bytes, zip_bytes }
    }
    case "failed":
      return { ...attempt, result: "failed", error: shortened(result.error) }
  }
}

const nextDataset = (before: TrackedDataset | undefined, result: DatasetResult, startedAt: string): TrackedDataset => {
  const target = result.target ?? before?.target
  // Another target has no replica yet.
  const moved = before?.target !== undefined && before.target !== target
  const { error: _, ...kept } = (moved ? undefined : before) ?? {}
  const attempt = {
    ...kept,
    dataset: result.dataset,
    ...(target === undefined ? {} : { target }),
    last_attempt_utc: startedAt
  }
  switch (result.result) {
    case "sent":
      return { ...attempt, ...sentFigures(result), last_success_utc: startedAt }
    case "up_to_date":
      return { ...attempt, result: "up_to_date", last_success_utc: startedAt }
    case "nothing_to_send":
      return { ...attempt, result: "nothing_to_send" }
    case "refused":
    case "failed":
      return { ...attempt, result: result.result, error: shortened(result.error) }
  }
}

/** The figures that history and state keep of a folder. */
const archivedFigures = ({
  bytes,
  files,
  result,
  seconds,
  zip_bytes
}: FolderResult & { readonly result: "archived" }) => ({ result, files, bytes, zip_bytes, seconds })

const sentFigures = ({ bytes, result, seconds }: DatasetResult & { readonly result: "sent" }) => ({
  result,
  bytes,
  seconds
})
