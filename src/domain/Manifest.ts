import { createHash } from "node:crypto"
import type { FolderName } from "./FolderName.ts"
import type { RawPath } from "./RawPath.ts"

/** One file or directory of a folder, as the snapshot shows it. */
export interface ManifestEntry {
  /** Relative to the folder, in bytes. */
  readonly path: RawPath
  /** The name it gets in the archive: UTF-8 text with `/` between parts, no slash at the end (see EntryName). */
  readonly name: string
  readonly kind: "file" | "directory"
  /** Bytes; 0 for a directory. */
  readonly size: number
  /** Nanoseconds since 1970; may be negative. */
  readonly mtimeNs: bigint
  /** `st_mode`, file type included (16 bits). */
  readonly mode: number
}

/** What is in a folder: the list that its archive is made from and checked against. */
export interface Manifest {
  readonly folder: FolderName
  /** In byte order of `path`, so a directory stands before what it holds. The folder itself is not an entry. */
  readonly entries: ReadonlyArray<ManifestEntry>
  readonly files: number
  readonly directories: number
  /** Sum of the files' sizes. */
  readonly bytes: number
  /** Symlinks, devices, sockets and fifos that were passed over. */
  readonly skipped: number
  /** A file has more than one name: `zfs diff` reports such a file under one of them only. */
  readonly hardLinks: boolean
  /** Those whose names are not UTF-8, with the names they get in the archive. */
  readonly escaped?: ReadonlyArray<{ readonly path: RawPath; readonly name: string }>
  /** See {@link hashEntries}. */
  readonly hash: string
}

/**
 * SHA-256 (hex) over kind, size, mtime and path of every entry in byte order of path: equal for equal
 * folders, different as soon as a name, a size, a time in nanoseconds or a kind differs.
 */
export const hashEntries = (entries: ReadonlyArray<ManifestEntry>): string => {
  const hash = createHash("sha256")
  for (const entry of entries) {
    hash.update(
      `${entry.kind === "file" ? "f" : "d"} ${entry.size} ${entry.mtimeNs} ${entry.path}\0`,
      "latin1"
    )
  }
  return hash.digest("hex")
}

/** Order of manifests and archives: by the bytes of the path. */
export const byPath = (a: { readonly path: RawPath }, b: { readonly path: RawPath }): number =>
  a.path < b.path ? -1 : a.path > b.path ? 1 : 0
