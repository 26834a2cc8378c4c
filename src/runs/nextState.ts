import * as Struct from "effect/Struct"
import type { Job } from "../config/ReplicationJob.ts"
import type { FolderName } from "../source/FolderName.ts"
import type { FolderRecord } from "../store/FolderState.ts"
import { isInstant } from "../text/Time.ts"
import { type FolderResult, type RunSummary, summarize as summarizeArchive } from "./ArchiveResult.ts"
import type { ArchiveRun, HistoryDataset, HistoryFolder, ReplicationRun } from "./History.ts"
import type { ArchiveJobState, JobState, ReplicationJobState, TrackedDataset, TrackedFolder } from "./JobState.ts"
import {
  type DatasetResult,
  namesOfJob,
  type ReplicationSummary,
  summarize as summarizeReplication
} from "./ReplicationResult.ts"
import { type RunEnd, shortened } from "./Run.ts"

/** What a run leaves: a line of history and the next state. `done`: the results of a run that ended without a summary. */

type JobName = Pick<Job, "name" | "direction" | "remote">

/** The line of a run of the archive job. Folders that did not change are only counted. */
export const archiveHistory = (end: RunEnd<RunSummary>, done: ReadonlyArray<FolderResult>): ArchiveRun => {
  const summary = archiveSummary(end, done)
  return {
    ...endHistory(end),
    kind: "archive",
    ...Struct.pick(summary, "archived", "unchanged", "failed", "bytes", "zip_bytes"),
    folders: summary.folders.flatMap((result): ReadonlyArray<HistoryFolder> => {
      const { folder } = result
      if (result.result === "archived") return [{ folder, ...archivedFigures(result) }]
      return result.result === "failed" ? [{ folder, result: "failed", error: shortened(result.error) }] : []
    })
  }
}

/** The summary of a run, or of what it had done when it ended without one. */
export const archiveSummary = (end: RunEnd<RunSummary>, done: ReadonlyArray<FolderResult>): RunSummary =>
  end.summary ?? summarizeArchive({ ...unfinished(end), source: "", folders: done })

const unfinished = ({ error, ...end }: RunEnd<unknown>) => ({
  ...Struct.pick(end, "run", "started_at_utc", "seconds"),
  ...(error === undefined ? {} : { errors: [error] as const })
})

const archivedFigures = Struct.pick("result", "files", "bytes", "zip_bytes", "seconds")

/** The line of a run of a replication job. Datasets that were up to date or had no snapshot are only counted. */
export const replicationHistory = (
  job: JobName,
  end: RunEnd<ReplicationSummary>,
  done: ReadonlyArray<DatasetResult>
): ReplicationRun => {
  const summary = replicationSummary(end, job, done)
  return {
    ...endHistory(end),
    kind: "replication",
    ...Struct.pick(summary, "job", "direction", "host"),
    ...Struct.pick(summary, "sent", "up_to_date", "nothing_to_send", "refused", "failed", "bytes"),
    datasets: summary.datasets.flatMap((result): ReadonlyArray<HistoryDataset> => {
      const { dataset, target } = result
      const names = { dataset, ...(target === null ? {} : { target }) }
      if (result.result === "sent") return [{ ...names, ...sentFigures(result) }]
      return result.result === "refused" || result.result === "failed"
        ? [{ ...names, result: result.result, bytes: result.bytes, error: shortened(result.error) }]
        : []
    })
  }
}

/** As archiveSummary. */
export const replicationSummary = (
  end: RunEnd<ReplicationSummary>,
  job: JobName,
  datasets: ReadonlyArray<DatasetResult>
): ReplicationSummary => end.summary ?? summarizeReplication({ ...unfinished(end), job, datasets })

const sentFigures = Struct.pick("result", "bytes", "seconds")

const endHistory = ({ error, summary: _, ...end }: RunEnd<unknown>) => ({
  version: 1 as const,
  ...end,
  ...(error === undefined ? {} : { error: shortened(error) })
})

/** The state of the archive job. A folder that a whole run did not find is gone from the source, and is left out. */
export const nextArchiveState = (
  before: JobState | undefined,
  end: RunEnd<RunSummary>,
  { done, whole }: { readonly whole: boolean; readonly done: ReadonlyArray<FolderResult> }
): ArchiveJobState => {
  const { bytes, failed, folders, target_snapshots } = archiveSummary(end, done)
  const earlier = before?.kind === "archive" ? before : undefined
  const known = new Map(earlier?.folders.map((folder) => [folder.folder, folder]))
  const kept = end.summary !== undefined && whole ? [] : known
  const worked = folders
    .filter((result) => result.result !== "failed" || result.absent !== true)
    .map((result) => [result.folder, nextFolder(known.get(result.folder), result, end.started_at_utc)] as const)
  const next = new Map([...kept, ...worked])
  const left = (earlier?.folders ?? []).flatMap(({ folder, last_success_utc: success }) =>
    success === undefined ? [] : [{ folder, since_utc: end.started_at_utc }]
  )
  const gone = [...(earlier?.gone ?? []), ...left].filter(({ folder }) => !next.has(folder)).slice(-mostGone)
  return {
    ...nextJob(earlier, end, { bytes, failures: failed + (target_snapshots?.error === undefined ? 0 : 1) }, whole),
    kind: "archive",
    ...nextHistory(earlier, end, target_snapshots),
    folders: [...next.values()].sort((a, b) => (a.folder < b.folder ? -1 : 1)),
    ...(gone.length === 0 ? {} : { gone })
  }
}

const mostGone = 500

const nextHistory = (
  before: ArchiveJobState | undefined,
  { summary }: RunEnd<unknown>,
  update: RunSummary["target_snapshots"]
): Pick<ArchiveJobState, "target_snapshots"> => {
  if (update === undefined)
    return summary === undefined && before !== undefined ? Struct.pick(before, "target_snapshots") : {}
  const { destroyed: _, taken: __, ...now } = update
  // Where they could not be listed, those of the last time are likely to be there.
  const known =
    update.error === undefined || update.count > 0 ? now : { ...now, ...before?.target_snapshots, error: update.error }
  return { target_snapshots: known }
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
      const figures = { archived_at_utc, files, bytes, zip_bytes }
      return { ...attempt, result: "unchanged", last_success_utc: startedAt, ...figures }
    }
    case "failed":
      return { ...attempt, result: "failed", error: shortened(result.error) }
  }
}

/** The state of a replication job. A dataset that a run with a summary did not find no longer belongs to it, and is left out. */
export const nextReplicationState = (
  before: JobState | undefined,
  end: RunEnd<ReplicationSummary>,
  job: JobName,
  done: ReadonlyArray<DatasetResult>
): ReplicationJobState => {
  const { bytes, datasets, failed, refused } = replicationSummary(end, job, done)
  const names = namesOfJob(job)
  // A job of this name with another host or direction has nothing to do with this one.
  const isSame = before?.kind === "replication" && before.host === names.host && before.direction === names.direction
  const earlier = isSame ? before : undefined
  const known = new Map(earlier?.datasets.map((dataset) => [dataset.dataset, dataset]))
  const worked = datasets.map((result) => nextDataset(known.get(result.dataset), result, end.started_at_utc))
  const named = new Set(worked.map(({ dataset }) => dataset))
  const kept = end.summary === undefined ? [...known.values()].filter(({ dataset }) => !named.has(dataset)) : []
  return {
    ...nextJob(earlier, end, { bytes, failures: failed + refused }, true),
    kind: "replication",
    ...names,
    datasets: [...worked, ...kept]
  }
}

const nextDataset = (before: TrackedDataset | undefined, result: DatasetResult, startedAt: string): TrackedDataset => {
  const target = result.target ?? before?.target
  // Another target has no replica yet.
  const moved = before?.target !== undefined && before.target !== target
  const { error: _, ...kept } = (moved ? undefined : before) ?? {}
  const names = { dataset: result.dataset, ...(target === undefined ? {} : { target }) }
  const attempt = { ...kept, ...names, last_attempt_utc: startedAt }
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

const nextJob = (
  before: JobState | undefined,
  end: RunEnd<unknown>,
  figures: Pick<JobState["last_run"], "bytes" | "failures">,
  whole: boolean
) => {
  const success = end.outcome === "ok" && whole ? end.started_at_utc : before?.last_success_utc
  const earlier = before?.not_started_since_utc
  const stuck =
    end.outcome === "not_started" ? (earlier ?? end.started_at_utc) : end.summary === undefined ? earlier : undefined
  const { version, ...line } = endHistory(end)
  const last = { ...line, ...figures }
  return {
    version,
    // A run of chosen folders says nothing about the others.
    last_run: whole ? last : (before?.last_run ?? last),
    ...(success === undefined ? {} : { last_success_utc: success }),
    ...(stuck === undefined ? {} : { not_started_since_utc: stuck })
  }
}

/** The state of a folder by its own files too: their archive is newer if a run was killed. Undefined if it was never tried. */
export const withRecord = (
  folder: FolderName,
  known: TrackedFolder | undefined,
  record: FolderRecord | undefined
): TrackedFolder | undefined => {
  const { failure, state, zipSize } = record ?? {}
  const made = state?.archived_at_utc
  const seen = known?.archived_at_utc
  const isNew = made !== undefined && (seen === undefined ? made > (known?.last_attempt_utc ?? "") : made !== seen)
  const success = isNew ? made : (known?.last_success_utc ?? made)
  const figures =
    state === undefined ? {} : { files: state.files, bytes: state.bytes, zip_bytes: zipSize ?? state.zip_size }
  const common = {
    ...known,
    folder,
    ...figures,
    ...(made === undefined ? {} : { archived_at_utc: made }),
    ...(success === undefined ? {} : { last_success_utc: success })
  }
  if (failure !== undefined) {
    // The next success removes the failure record, so no attempt came later.
    const at = isInstant(failure.failed_at_utc) ? failure.failed_at_utc : (known?.last_attempt_utc ?? "")
    return { ...common, result: "failed", last_attempt_utc: at, error: shortened(failure.error) }
  }
  if (isNew) {
    const { error: _, ...well } = common
    return { ...well, result: "archived", last_attempt_utc: made }
  }
  return known === undefined ? undefined : { ...known, ...common }
}
