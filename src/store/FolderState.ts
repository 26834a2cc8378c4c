import * as Schema from "effect/Schema"
import { FolderName } from "../source/FolderName.ts"
import { Md5, Sha256 } from "../system/Hasher.ts"
import { optional } from "../text/Document.ts"

const Count = Schema.Number.pipe(Schema.int(), Schema.nonNegative())

/** `<target>/ABCD/.state.json`: what the current archive is and what it was made from. Older states lack the optional keys. */
export const FolderState = Schema.Struct({
  version: Schema.Literal(1),
  folder: FolderName,
  manifest_sha256: Sha256,
  stamps_sha256: optional(Sha256),
  /** Manifest.isUnsettled was true at listing: the next comparison of manifests proves nothing. */
  unsettled: optional(Schema.Literal(true)),
  /** The folder holds files with several names, so `zfs diff` alone cannot be trusted for it. */
  hard_links: Schema.Boolean,
  snapshot: Schema.String,
  archived_at_utc: Schema.String,
  files: Count,
  bytes: Count,
  zip_size: Count,
  zip_md5: Md5,
  zip_sha256: Sha256,
  /** Places in the folder that were mounts of their own, as in the manifest. */
  mounts: optional(Schema.Array(Schema.String)),
  /** Places in the folder that were accepted although a btrfs snapshot shows only an empty folder in place of a subvolume. */
  hollow: optional(Schema.Array(Schema.String)),
  /** SHA-256 of the text of `metadata.json`, and of `metadata.prev.json` where there is one, as published together with this. */
  metadata_sha256: optional(Sha256),
  prev_metadata_sha256: optional(Sha256)
})
export type FolderState = typeof FolderState.Type

/** `<target>/.zipper/failures/ABCD.json`: the folder's last attempt failed; it is due until one succeeds. */
export const FolderFailure = Schema.Struct({
  version: Schema.Literal(1),
  folder: FolderName,
  run: Schema.String,
  failed_at_utc: Schema.String,
  failures: Count,
  error: Schema.String
})
export type FolderFailure = typeof FolderFailure.Type

export interface FolderRecord {
  readonly state: FolderState | undefined
  /** Size of `ABCD.zip` as it lies there now; undefined when there is none. */
  readonly zipSize: number | undefined
  /** Name of a file that belongs beside the current archive and is missing or empty. */
  readonly incomplete?: string | undefined
  readonly damaged?: true
  /** There is no zip, and the index says that one was published. */
  readonly lost?: true
  readonly failure: FolderFailure | undefined
}
