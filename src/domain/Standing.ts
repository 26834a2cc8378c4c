import * as Schema from "effect/Schema"
import { FolderName } from "./FolderName.ts"
import { Outcome, Seconds } from "./History.ts"
import { Instant } from "./Instant.ts"
import { archiveKey, type JobKey } from "./JobKey.ts"

/**
 * How things stand, job by job: `<state folder>/standing/JOB.json`, replaced at the end of each run. The last success and
 * the last attempt are kept apart. Times are UTC, `2025-01-01T12:00:00Z`.
 */

const Count = Schema.Number.pipe(Schema.int(), Schema.nonNegative())
const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

/** A job's last run, as a whole. */
export const LastRun = Schema.Struct({
  run: Schema.String,
  started_at_utc: Instant,
  seconds: Seconds,
  outcome: Outcome,
  error: optional(Schema.String),
  /** Uncompressed bytes archived, or bytes sent. */
  bytes: Count,
  /** Folders or datasets that failed or were refused. */
  failures: Count
})
export type LastRun = typeof LastRun.Type

const job = {
  version: Schema.Literal(1),
  last_run: LastRun,
  /** When the last run began in which all went well. */
  last_success_utc: optional(Instant),
  /** Since when no run of it could begin, if the last ones could not. */
  not_started_since_utc: optional(Instant)
}

const item = {
  /** A folder: archived, or found unchanged. A dataset: sent, or up to date. */
  last_success_utc: optional(Instant),
  last_attempt_utc: Instant,
  /** Of the last attempt. */
  error: optional(Schema.String)
}

/** A folder at the end of the last run that looked at it. */
export const FolderStanding = Schema.Struct({
  folder: FolderName,
  ...item,
  result: Schema.Literal("archived", "unchanged", "failed"),
  /**
   * Of the archive that there was then, as the folder's own state has it: an archive with another one is newer than
   * this, whatever the clock said.
   */
  archived_at_utc: optional(Schema.String),
  /** Of the last time that it was archived. */
  files: optional(Count),
  bytes: optional(Count),
  zip_bytes: optional(Count),
  seconds: optional(Seconds)
})
export type FolderStanding = typeof FolderStanding.Type

/** A dataset at the end of the last run that looked at it. */
export const DatasetStanding = Schema.Struct({
  dataset: Schema.String,
  target: optional(Schema.String),
  ...item,
  result: Schema.Literal("sent", "up_to_date", "nothing_to_send", "refused", "failed"),
  /** Of the last time that something was sent. */
  bytes: optional(Count),
  seconds: optional(Seconds)
})
export type DatasetStanding = typeof DatasetStanding.Type

export const ArchiveStanding = Schema.Struct({
  ...job,
  kind: Schema.Literal("archive"),
  folders: Schema.Array(FolderStanding)
})
export type ArchiveStanding = typeof ArchiveStanding.Type

export const ReplicationStanding = Schema.Struct({
  ...job,
  kind: Schema.Literal("replication"),
  /** Its name in the configuration. */
  job: Schema.String,
  direction: Schema.Literal("pull", "push"),
  host: Schema.String,
  datasets: Schema.Array(DatasetStanding)
})
export type ReplicationStanding = typeof ReplicationStanding.Type

/** One job's file. */
export const JobStanding = Schema.Union(ArchiveStanding, ReplicationStanding)
export type JobStanding = typeof JobStanding.Type

/** `<state folder>/standing/JOB.running`: a run is at work, or was killed. */
export const RunMarker = Schema.Struct({
  version: Schema.Literal(1),
  run: Schema.String,
  pid: Count,
  started_at_utc: Instant,
  lockfile: Schema.String
})
export type RunMarker = typeof RunMarker.Type

/** The job that a standing is of. */
export const keyOf = (standing: JobStanding): JobKey =>
  standing.kind === "archive" ? archiveKey : { kind: "replication", name: standing.job }
