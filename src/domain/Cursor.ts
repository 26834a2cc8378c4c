import * as Schema from "effect/Schema"
import { Sha256 } from "./FolderState.ts"
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
  /**
   * SHA-256 of each folder's published archive when the cursor was written. What a diff from `base` says holds for that archive only:
   * an older one (put back from a backup) or a newer one (a run of chosen folders, a killed run) is compared closely. Older cursors know none.
   */
  archives: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Sha256 }), {
    exact: true,
    default: () => ({})
  }),
  run: Schema.String,
  advanced_at_utc: Schema.String
})
export type Cursor = typeof Cursor.Type
