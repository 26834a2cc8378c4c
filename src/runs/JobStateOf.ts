import type { Job } from "../config/ReplicationJob.ts"
import type { FolderName } from "../source/FolderName.ts"
import type { FolderRecord } from "../store/FolderState.ts"
import { isInstant } from "../text/Time.ts"
import type { FolderResult, RunSummary } from "./ArchiveResult.ts"
import type {
  ArchiveStanding,
  DatasetStanding,
  FolderStanding,
  JobStanding,
  LastRun,
  ReplicationStanding
} from "./JobState.ts"
import type { DatasetResult, ReplicationSummary } from "./ReplicationResult.ts"
import { type RunEnd, shortened } from "./Run.ts"

/** What a run left of how things stood before it. */

interface Figures {
  readonly bytes: number
  readonly failures: number
}

const jobAfter = (
  before: JobStanding | undefined,
  end: RunEnd<unknown>,
  { bytes, failures }: Figures,
  whole: boolean
) => {
  const success = end.outcome === "ok" && whole ? end.startedAt : before?.last_success_utc
  const stuck =
    end.outcome === "not_started"
      ? (before?.not_started_since_utc ?? end.startedAt)
      : end.summary === undefined
        ? before?.not_started_since_utc
        : undefined
  const last: LastRun = {
    run: end.run,
    started_at_utc: end.startedAt,
    seconds: end.seconds,
    outcome: end.outcome,
    bytes,
    failures,
    ...(end.error === undefined ? {} : { error: shortened(end.error) })
  }
  return {
    version: 1 as const,
    // A run of chosen folders says nothing about the others.
    last_run: whole ? last : (before?.last_run ?? last),
    ...(success === undefined ? {} : { last_success_utc: success }),
    ...(stuck === undefined ? {} : { not_started_since_utc: stuck })
  }
}

/**
 * The archive job after a run. Folders that a whole run (not one of chosen folders) did not find are left out: they
 * are gone from the source. Of a run that did not come to its end there is what was `done` until then.
 */
export const afterArchive = (
  before: ArchiveStanding | undefined,
  end: RunEnd<RunSummary>,
  options: { readonly whole: boolean; readonly done: ReadonlyArray<FolderResult> }
): ArchiveStanding => {
  const { summary } = end
  const results = summary?.results ?? options.done
  const known = new Map(before?.folders.map((folder) => [folder.folder, folder]))
  const worked = new Map(
    results.flatMap((result) =>
      result._tag === "Failed" && result.absent === true
        ? []
        : [[result.folder, folderAfter(known.get(result.folder), result, end.startedAt)] as const]
    )
  )
  const kept = summary !== undefined && options.whole ? [] : known
  const figures = {
    bytes: results.reduce((sum, result) => sum + (result._tag === "Archived" ? result.bytes : 0), 0),
    failures: results.filter(({ _tag }) => _tag === "Failed").length
  }
  return {
    ...jobAfter(before, end, figures, options.whole),
    kind: "archive",
    folders: [...new Map([...kept, ...worked]).values()].sort((a, b) => (a.folder < b.folder ? -1 : 1))
  }
}

const folderAfter = (
  before: FolderStanding | undefined,
  result: FolderResult,
  startedAt: string
): FolderStanding => {
  const { error: _, ...kept } = before ?? {}
  const now = { ...kept, folder: result.folder, last_attempt_utc: startedAt }
  switch (result._tag) {
    case "Archived":
      return {
        ...now,
        result: "archived",
        last_success_utc: startedAt,
        ...(result.archivedAt === undefined ? {} : { archived_at_utc: result.archivedAt }),
        files: result.files,
        bytes: result.bytes,
        zip_bytes: result.zipSize,
        seconds: Math.max(0, result.millis) / 1000
      }
    case "Unchanged":
      return {
        ...now,
        result: "unchanged",
        last_success_utc: startedAt,
        archived_at_utc: result.state.archived_at_utc,
        // The run that archived it may have been killed before it could write these down.
        files: result.state.files,
        bytes: result.state.bytes,
        zip_bytes: result.state.zip_size
      }
    case "Failed":
      return { ...now, result: "failed", error: shortened(result.error) }
  }
}

/**
 * What is known of a folder, with what its own files say: they are written while a run is at work, and are newer
 * when it was killed. Whether they are is told by the archive and not by times: the clock may have been set in
 * between. Undefined when nothing was ever tried.
 */
export const withRecord = (
  folder: FolderName,
  standing: FolderStanding | undefined,
  record: FolderRecord | undefined
): FolderStanding | undefined => {
  const state = record?.state
  const failure = record?.failure
  const made = state?.archived_at_utc
  const seen = standing?.archived_at_utc
  const isNew =
    made !== undefined && (seen === undefined ? made > (standing?.last_attempt_utc ?? "") : made !== seen)
  const success = isNew ? made : (standing?.last_success_utc ?? made)
  const figures =
    state === undefined
      ? {}
      : { files: state.files, bytes: state.bytes, zip_bytes: record?.zipSize ?? state.zip_size }
  const common = {
    ...standing,
    folder,
    ...figures,
    ...(made === undefined ? {} : { archived_at_utc: made }),
    ...(success === undefined ? {} : { last_success_utc: success })
  }
  if (failure !== undefined) {
    // It goes with the next success: no attempt came later.
    const at = isInstant(failure.failed_at_utc) ? failure.failed_at_utc : (standing?.last_attempt_utc ?? "")
    return { ...common, result: "failed", last_attempt_utc: at, error: shortened(failure.error) }
  }
  if (isNew) {
    const { error: _, ...well } = common
    return { ...well, result: "archived", last_attempt_utc: made }
  }
  return standing === undefined ? undefined : { ...standing, ...common }
}

/**
 * A replication job after a run. Datasets that it did not find are left out: they are none of its own any more. Of a
 * run that did not come to its end there is what was `done` until then.
 */
export const afterReplication = (
  last: ReplicationStanding | undefined,
  end: RunEnd<ReplicationSummary>,
  job: Pick<Job, "name" | "direction" | "remote">,
  done: ReadonlyArray<DatasetResult>
): ReplicationStanding => {
  const { summary } = end
  // What a job of this name did to another host is nothing that this one has.
  const before = last?.host === job.remote.host && last.direction === job.direction ? last : undefined
  const known = new Map(before?.datasets.map((dataset) => [dataset.dataset, dataset]))
  const worked = (summary?.results ?? done).map((result) =>
    datasetAfter(known.get(result.dataset), result, end.startedAt)
  )
  const kept =
    summary === undefined
      ? [...known.values()].filter(({ dataset }) => !worked.some((other) => other.dataset === dataset))
      : []
  return {
    ...jobAfter(
      before,
      end,
      { bytes: summary?.bytes ?? 0, failures: (summary?.failed ?? 0) + (summary?.refused ?? 0) },
      true
    ),
    kind: "replication",
    job: job.name,
    direction: job.direction,
    host: job.remote.host,
    datasets: [...worked, ...kept]
  }
}

const datasetAfter = (
  before: DatasetStanding | undefined,
  result: DatasetResult,
  startedAt: string
): DatasetStanding => {
  const target = result.target ?? before?.target
  // Another place has no replica yet, whatever the old one has.
  const moved = before?.target !== undefined && before.target !== target
  const { error: _, ...kept } = (moved ? undefined : before) ?? {}
  const now = {
    ...kept,
    dataset: result.dataset,
    ...(target === undefined ? {} : { target }),
    last_attempt_utc: startedAt
  }
  switch (result._tag) {
    case "Sent":
      return {
        ...now,
        result: "sent",
        last_success_utc: startedAt,
        bytes: result.bytes,
        seconds: Math.max(0, result.millis) / 1000
      }
    case "UpToDate":
      return { ...now, result: "up_to_date", last_success_utc: startedAt }
    case "NothingToSend":
      return { ...now, result: "nothing_to_send" }
    case "Refused":
      return { ...now, result: "refused", error: shortened(result.reason) }
    case "Failed":
      return { ...now, result: "failed", error: shortened(result.error) }
  }
}
