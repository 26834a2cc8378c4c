import * as Schema from "effect/Schema"

/** A snapshot in a file: see SnapshotRef. */
export const SnapshotRecord = Schema.Struct({
  name: Schema.String,
  guids: Schema.Record({ key: Schema.String, value: Schema.String.pipe(Schema.pattern(/^[0-9]+$/)) })
})
export type SnapshotRecord = typeof SnapshotRecord.Type

/**
 * `<target>/.zipper/cursor.json`: how far the job has come. Every change up to `base` is either published or
 * has a failure record, so the next run only asks what changed since.
 */
export const Cursor = Schema.Struct({
  version: Schema.Literal(1),
  /** The configured source folder that the cursor belongs to; another one makes it void. */
  source_path: Schema.String,
  /** The base of the next `zfs diff`. */
  base: SnapshotRecord,
  /** Older snapshots that retention keeps (`snapshot_keep`), newest first. */
  kept: Schema.Array(SnapshotRecord),
  run: Schema.String,
  advanced_at_utc: Schema.String
})
export type Cursor = typeof Cursor.Type
