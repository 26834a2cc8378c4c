import * as Schema from "effect/Schema"
import { SnapshotRef } from "./Source.ts"

/**
 * `<target>/.zipper/cursor.json`: how far the job has come. Every change up to `base` is either published or
 * has a failure record, so the next run only asks what changed since.
 */
export const Cursor = Schema.Struct({
  version: Schema.Literal(1),
  /** The configured source folder that the cursor belongs to; another one makes it void. */
  source_path: Schema.String,
  /** The base of the next `zfs diff`. */
  base: SnapshotRef,
  /** Older snapshots that retention keeps (`snapshot_keep`), newest first. */
  kept: Schema.Array(SnapshotRef),
  run: Schema.String,
  advanced_at_utc: Schema.String
})
export type Cursor = typeof Cursor.Type
