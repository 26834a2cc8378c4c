import type { Job } from "../config/ReplicationJob.ts"
import { type FolderResult, type RunSummary, summarize } from "./ArchiveResult.ts"
import type { ArchiveRun, HistoryDataset, HistoryFolder, ReplicationRun } from "./History.ts"
import type { DatasetResult, ReplicationSummary } from "./ReplicationResult.ts"
import * as Replication from "./ReplicationResult.ts"
import { type RunEnd, shortened } from "./Run.ts"

const common = (end: RunEnd<unknown>) => ({
  version: 1 as const,
  run: end.run,
  started_at_utc: end.startedAt,
  seconds: end.seconds,
  outcome: end.outcome,
  ...(end.error === undefined ? {} : { error: shortened(end.error) })
})

/** The line of a run of the archive job. Of one that did not come to its end there is what was `done` until then. */
export const ofArchive = (end: RunEnd<RunSummary>, done: ReadonlyArray<FolderResult>): ArchiveRun => {
  const { archived, bytes, failed, results, unchanged, zipBytes } =
    end.summary ??
    summarize({ run: end.run, source: "", startedAt: end.startedAt, seconds: 0, results: done })
  return {
    ...common(end),
    kind: "archive",
    archived,
    unchanged,
    failed,
    bytes,
    zip_bytes: zipBytes,
    folders: results.flatMap(folderOf)
  }
}

const folderOf = (result: FolderResult): ReadonlyArray<HistoryFolder> => {
  switch (result._tag) {
    case "Archived":
      return [
        {
          folder: result.folder,
          result: "archived",
          files: result.files,
          bytes: result.bytes,
          zip_bytes: result.zipSize,
          seconds: Math.max(0, result.millis) / 1000
        }
      ]
    case "Unchanged":
      return []
    case "Failed":
      return [{ folder: result.folder, result: "failed", error: shortened(result.error) }]
  }
}

/** The line of a run of a replication job; `done` as above. */
export const ofReplication = (
  job: Pick<Job, "name" | "direction" | "remote">,
  end: RunEnd<ReplicationSummary>,
  done: ReadonlyArray<DatasetResult>
): ReplicationRun => {
  const { bytes, failed, nothingToSend, refused, results, sent, upToDate } =
    end.summary ??
    Replication.summarize({ job, run: end.run, startedAt: end.startedAt, seconds: 0, results: done })
  return {
    ...common(end),
    kind: "replication",
    job: job.name,
    direction: job.direction,
    host: job.remote.host,
    sent,
    up_to_date: upToDate,
    nothing_to_send: nothingToSend,
    refused,
    failed,
    bytes,
    datasets: results.flatMap(datasetOf)
  }
}

const datasetOf = (result: DatasetResult): ReadonlyArray<HistoryDataset> => {
  const names = {
    dataset: result.dataset,
    ...(result.target === undefined ? {} : { target: result.target })
  }
  switch (result._tag) {
    case "Sent":
      return [{ ...names, result: "sent", bytes: result.bytes, seconds: Math.max(0, result.millis) / 1000 }]
    case "UpToDate":
    case "NothingToSend":
      return []
    case "Refused":
      return [{ ...names, result: "refused", bytes: result.bytes, error: shortened(result.reason) }]
    case "Failed":
      return [{ ...names, result: "failed", bytes: result.bytes, error: shortened(result.error) }]
  }
}
