import type { RawPath } from "../text/RawPath.ts"
import type { FolderName } from "./FolderName.ts"
import type { LeftOut } from "./LeftOut.ts"

export interface ManifestEntry {
  readonly path: RawPath
  /** In the archive: UTF-8 text without a slash at the end (see EntryName). */
  readonly name: string
  readonly kind: "file" | "directory"
  readonly size: number
  readonly mtimeNs: bigint
  /** `st_mode`, 16 bits. */
  readonly mode: number
}

/** The entries from 0 on; each may be made when it is asked for. */
export interface Entries extends Iterable<ManifestEntry> {
  readonly length: number
  readonly at: (index: number) => ManifestEntry | undefined
  readonly slice: (from: number, to: number) => ReadonlyArray<ManifestEntry>
}

/** Tells a file or directory from any other one that takes its place. `ino` and `ctimeNs` as 64 bits with a sign. */
export interface Identity {
  readonly dev: bigint
  readonly ino: bigint
  readonly ctimeNs: bigint
  readonly mtimeNs: bigint
}

/** The content of a folder, which its archive is made from and checked against. Absent fields are not known. */
export interface Manifest {
  readonly folder: FolderName
  /** In byte order of `path`, without the folder itself. May be made at the first use, as `escaped` and `stamps` may. */
  readonly entries: Entries
  readonly files: number
  readonly directories: number
  readonly bytes: number
  readonly skipped: number
  readonly leftOut?: LeftOut
  /** A file has more than one name: `zfs diff` reports such a file under one of them only. */
  readonly hardLinks: boolean
  readonly escaped?: ReadonlyArray<{ readonly path: RawPath; readonly name: string }>
  /** SHA-256 (hex) over kind, mode, size, mtime and path of the folder itself (its path is empty) and of every entry. */
  readonly hash: string
  /** Inode and ctime of each entry, in pairs: they change with a file even where size and mtime stay. */
  readonly stamps?: BigInt64Array
  /** `st_dev` of each entry, as an index of the list. */
  readonly devices?: { readonly list: ReadonlyArray<bigint>; readonly of: Uint32Array }
  readonly stampsHash?: string
  readonly latest?: LatestTimes
  /** Places in the folder that are mounts of their own, see {@link places} in SourceView. */
  readonly mounts?: ReadonlyArray<string>
  /** Likewise, where a btrfs snapshot shows an empty folder instead of a nested subvolume. */
  readonly hollow?: ReadonlyArray<string>
  /** Likewise, where exclude_caches leaves only the tag. */
  readonly caches?: ReadonlyArray<string>
}

export interface LatestTimes {
  readonly ctimeNs: bigint
  readonly mtimeNs: bigint
}

/** Of the entry, which is the one at `index`; undefined where the manifest has no inodes or devices. */
export const identityOf = (
  { devices, stamps }: Pick<Manifest, "devices" | "stamps">,
  { mtimeNs }: Pick<ManifestEntry, "mtimeNs">,
  index: number
): Identity | undefined => {
  const dev = devices?.list[devices.of[index] ?? -1]
  const ino = stamps?.[2 * index]
  const ctimeNs = stamps?.[2 * index + 1]
  return dev === undefined || ino === undefined || ctimeNs === undefined ? undefined : { dev, ino, ctimeNs, mtimeNs }
}

/** `ctime` compares inodes and ctimes as well; `mtime`, where they are not stable, misses a write that keeps size and mtime. */
export type Compare = "ctime" | "mtime"

/** The part before the path in an entry's line of the digest, which ends with a NUL. */
export const lineHead = (kind: ManifestEntry["kind"], mode: number, size: number, mtimeNs: bigint): string =>
  `${kind === "file" ? "f" : "d"} ${mode} ${size} ${mtimeNs} `

export const folderLine = ({ mode, mtimeNs }: Pick<ManifestEntry, "mode" | "mtimeNs">): string =>
  `${lineHead("directory", mode, 0, mtimeNs)}\0`
