import * as Schema from "effect/Schema"
import { FolderName } from "./FolderName.ts"
import { Instant } from "./Instant.ts"

/**
 * What `<state folder>/history.jsonl` holds: one JSON document a line for each run that did or tried something, in
 * the order in which they ended. A run that found the lock held, and a dry run, leave none.
 */

const Count = Schema.Number.pipe(Schema.int(), Schema.nonNegative())
/** Some thousand years (a clock may be set from 1970 to now meanwhile): a number beyond all dates, in a damaged line, is no time. */
export const Seconds = Schema.Number.pipe(Schema.between(0, 1e11))
const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

/** How a run ended: all well; something failed or was refused; it could not begin; stopped by a signal. */
export const Outcome = Schema.Literal("ok", "failed", "not_started", "interrupted")
export type Outcome = typeof Outcome.Type

const common = {
  version: Schema.Literal(1),
  /** Short id of the run, as in the log. */
  run: Schema.String,
  /** `2025-01-01T12:00:00Z`. */
  started_at_utc: Instant,
  seconds: Seconds,
  outcome: Outcome,
  /** Why it could not begin, or broke off as a whole. */
  error: optional(Schema.String)
}

/** One folder that a run worked on; unchanged ones are only counted. */
export const HistoryFolder = Schema.Union(
  Schema.Struct({
    folder: FolderName,
    result: Schema.Literal("archived"),
    files: Count,
    /** Uncompressed. */
    bytes: Count,
    zip_bytes: Count,
    seconds: Seconds
  }),
  Schema.Struct({ folder: FolderName, result: Schema.Literal("failed"), error: Schema.String })
)
export type HistoryFolder = typeof HistoryFolder.Type

/** A run of the archive job. */
export const ArchiveRun = Schema.Struct({
  ...common,
  kind: Schema.Literal("archive"),
  archived: Count,
  unchanged: Count,
  failed: Count,
  bytes: Count,
  zip_bytes: Count,
  folders: Schema.Array(HistoryFolder)
})
export type ArchiveRun = typeof ArchiveRun.Type

/** One dataset that a run worked on; those that were up to date are only counted. */
export const HistoryDataset = Schema.Struct({
  dataset: Schema.String,
  target: optional(Schema.String),
  result: Schema.Literal("sent", "refused", "failed"),
  /** Sent, also when it failed after all. */
  bytes: Count,
  seconds: optional(Seconds),
  error: optional(Schema.String)
})
export type HistoryDataset = typeof HistoryDataset.Type

/** A run of a replication job. */
export const ReplicationRun = Schema.Struct({
  ...common,
  kind: Schema.Literal("replication"),
  job: Schema.String,
  direction: Schema.Literal("pull", "push"),
  host: Schema.String,
  sent: Count,
  up_to_date: Count,
  nothing_to_send: Count,
  refused: Count,
  failed: Count,
  bytes: Count,
  datasets: Schema.Array(HistoryDataset)
})
export type ReplicationRun = typeof ReplicationRun.Type

/** One line of the history. */
export const HistoryRun = Schema.Union(ArchiveRun, ReplicationRun)
export type HistoryRun = typeof HistoryRun.Type
