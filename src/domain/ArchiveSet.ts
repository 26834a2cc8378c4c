import { type FileIdentity, isSameFile } from "./ArchiveIndex.ts"
import { parse } from "./ChecksumFile.ts"
import type { FolderName } from "./FolderName.ts"
import type { FolderState } from "./FolderState.ts"
import { names } from "./PublishPlan.ts"
import type { ArchiveIdentity } from "./Verification.ts"

/** The archive that is current, or the one before it. */
export type Which = "current" | "previous"

/** Something that is wrong with an archive or with a file beside it. */
export interface SetFinding {
  /** Name of the file in its folder, such as `ABCD.zip.md5`. */
  readonly file: string
  /** The entry of the zip that it is about, as a person reads it: harmless, in quotes. */
  readonly entry?: string
  /** To be read after the name of the file and the entry: "its CRC-32 is wrong". */
  readonly problem: string
}

/** One of a folder's two archives with the files that belong to it, as they lay there when it was opened. */
export interface ArchiveSet {
  readonly folder: FolderName
  readonly which: Which
  /** Absolute path of the zip. */
  readonly zip: string
  /** The zip; undefined when it is missing, or something else is in its place. */
  readonly file: FileIdentity | undefined
  /** Texts of the checksum files and of the metadata; undefined when missing, or when `obstacles` has them. */
  readonly md5: string | undefined
  readonly sha256: string | undefined
  readonly metadata: string | undefined
  /** `.state.json`, which describes the current archive; undefined when it is missing or cannot be understood. */
  readonly state: FolderState | undefined
  /**
   * Files of the set that are there and cannot be read: a symlink, no UTF-8 text, no permission, a bad sector. And a state
   * that is missing, where it is on record that there was one.
   */
  readonly obstacles: ReadonlyArray<SetFinding>
  /** A publication of the folder is under way, or was interrupted and waits for the next run. */
  readonly interrupted: boolean
}

/** Names of the files that make up a set. */
export const namesOf = (folder: FolderName, which: Which) => {
  const n = names(folder)
  return which === "current"
    ? { zip: n.zip, md5: n.md5, sha256: n.sha256, metadata: n.metadata }
    : { zip: n.prevZip, md5: n.prevMd5, sha256: n.prevSha256, metadata: n.prevMetadata }
}

/** Whether nobody has published, repaired or removed anything between the one look and the other. */
export const isSameSet = (a: ArchiveSet, b: ArchiveSet | undefined): boolean =>
  b !== undefined &&
  (a.file === undefined ? b.file === undefined : b.file !== undefined && isSameFile(a.file, b.file)) &&
  a.md5 === b.md5 &&
  a.sha256 === b.sha256 &&
  a.metadata === b.metadata &&
  a.interrupted === b.interrupted &&
  JSON.stringify([a.state, a.obstacles]) === JSON.stringify([b.state, b.obstacles])

/** Which archive it is, as far as its own files say; undefined when there is none. */
export const identityOf = (set: ArchiveSet | undefined): ArchiveIdentity => {
  if (set?.which === "current" && set.state !== undefined) {
    const { archived_at_utc, zip_sha256 } = set.state
    return { archived_at_utc, zip_sha256 }
  }
  const digest = set?.sha256 === undefined ? undefined : parse(set.sha256)?.digest
  return set?.which === "current" || digest === undefined ? {} : { zip_sha256: digest }
}
