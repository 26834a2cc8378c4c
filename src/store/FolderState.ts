import * as Schema from "effect/Schema"
import { FolderName } from "../source/FolderName.ts"
import { Md5, Sha256 } from "../system/Hasher.ts"
import { optional } from "../text/Document.ts"
import { Instant } from "../text/Time.ts"

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
  files: Schema.NonNegativeInt,
  bytes: Schema.NonNegativeInt,
  zip_size: Schema.NonNegativeInt,
  zip_md5: Md5,
  zip_sha256: Sha256,
  /** Places in the folder that were mounts of their own, as in the manifest. */
  mounts: optional(Schema.Array(Schema.String)),
  /** Places in the folder that were accepted although a btrfs snapshot shows only an empty folder in place of a subvolume. */
  hollow: optional(Schema.Array(Schema.String)),
  /** The rules that it was made by, as source/Exclude saves them, and how much they left out. */
  exclude: optional(Schema.Array(Schema.String)),
  exclude_caches: optional(Schema.Literal(true)),
  excluded: optional(Schema.NonNegativeInt),
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
  failures: Schema.NonNegativeInt,
  error: Schema.String
})
export type FolderFailure = typeof FolderFailure.Type

/** What is known of a folder before it is listed: archive/Changes decides by it whether the folder is due. */
export interface FolderRecord {
  readonly state: FolderState | undefined
  /** Size of `ABCD.zip` as it lies there now; undefined when there is none. */
  readonly zipSize: number | undefined
  /** Name of a file that belongs beside the current archive and is missing or empty. */
  readonly incomplete?: string | undefined
  /** By verify; the archive job adds it, the store never does. */
  readonly damaged?: true
  /** There is no zip, and the index says that one was published. */
  readonly lost?: true
  /** Something else than a file has the name of its zip. */
  readonly taken?: true
  /** Its folder in the target cannot be looked at. */
  readonly unknown?: true
  readonly failure: FolderFailure | undefined
}

const identity = {
  zip_sha256: optional(Schema.String),
  /** FolderState.archived_at_utc, of a current archive. */
  archived_at_utc: optional(Schema.String)
}
export type ArchiveIdentity = Pick<Verified, keyof typeof identity>

export const identityOfState = (state: FolderState | undefined): ArchiveIdentity =>
  state === undefined ? {} : { zip_sha256: state.zip_sha256, archived_at_utc: state.archived_at_utc }

export const Verified = Schema.Struct({
  ...identity,
  verified_at_utc: Instant,
  result: Schema.Literal("good", "foreign", "damaged", "missing", "unsettled"),
  problem: optional(Schema.String)
})
export type Verified = typeof Verified.Type

/** `<state folder>/verified/ABCD.json`: the last results of `verify`. They say nothing of an archive that is published later. */
export const FolderVerification = Schema.Struct({
  version: Schema.Literal(1),
  folder: FolderName,
  current: optional(Verified),
  previous: optional(Verified)
})
export type FolderVerification = typeof FolderVerification.Type

const isSame = (a: ArchiveIdentity, b: ArchiveIdentity): boolean =>
  a.zip_sha256 === b.zip_sha256 && a.archived_at_utc === b.archived_at_utc

export const isBad = ({ result }: Pick<Verified, "result">): boolean => result === "damaged" || result === "missing"

/** The first finding, to go after "ABCD.zip is damaged, as verify found: ": it may begin with these words itself. */
export const findingOf = (zip: string, problem: string | null | undefined): string =>
  (problem ?? "no finding was recorded").replace(`${zip} is damaged: `, "").replace(`${zip} at `, "at ")

/** An unsettled result does not replace a bad one, unless another archive is current, which only a digest shows. */
export const withResult = (
  before: FolderVerification | undefined,
  folder: FolderName,
  which: "current" | "previous",
  found: Verified
): FolderVerification => {
  const known = before?.[which]
  if (known === undefined) return { ...before, version: 1, folder, [which]: found }
  const isKnown = found.zip_sha256 !== undefined
  const stays = found.result === "unsettled" && isBad(known) && (!isKnown || isSame(known, found))
  const rotated =
    which === "current" && isKnown && known.zip_sha256 !== undefined && known.zip_sha256 !== found.zip_sha256
  return { ...before, version: 1, folder, ...(rotated ? { previous: known } : {}), [which]: stays ? known : found }
}

/** The record with what verify found of its archive, if that is damaged. */
export const withDamage = (record: FolderRecord, known: FolderVerification | undefined): FolderRecord => {
  const found = ofCurrent(known, identityOfState(record.state))
  return found !== undefined && isBad(found) ? { ...record, damaged: true } : record
}

/** The result for the archive that is current now; undefined when verify has not read it since it was published. */
export const ofCurrent = (known: FolderVerification | undefined, now: ArchiveIdentity): Verified | undefined =>
  known?.current !== undefined && isSame(known.current, now) ? known.current : undefined

/** The result for the archive before the current one, by its digest: it may be from when that one was current. */
export const ofPrevious = (known: FolderVerification | undefined, sha256: string | undefined): Verified | undefined =>
  sha256 === undefined ? undefined : [known?.previous, known?.current].find((result) => result?.zip_sha256 === sha256)
