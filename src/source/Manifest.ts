import type { RawPath } from "../text/RawPath.ts"
import type { FolderName } from "./FolderName.ts"
import type { LeftOut } from "./LeftOut.ts"

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

/**
 * What tells a file or directory from any other one that comes to stand at its path while the source is read. `ino` and
 * `ctimeNs` as 64 bits with a sign.
 */
export interface Identity {
  readonly dev: bigint
  readonly ino: bigint
  readonly ctimeNs: bigint
  readonly mtimeNs: bigint
}

/** What is in a folder: the list that its archive is made from and checked against. */
export interface Manifest {
  readonly folder: FolderName
  /** In byte order of `path`, without the folder itself. May be made when first asked for, as `escaped` and `stamps` may. */
  readonly entries: ReadonlyArray<ManifestEntry>
  readonly files: number
  readonly directories: number
  /** Sum of the files' sizes. */
  readonly bytes: number
  /** Symlinks, devices, sockets and fifos that were passed over. */
  readonly skipped: number
  /** The same by kind. Absent where it is not known. */
  readonly leftOut?: LeftOut
  /** A file has more than one name: `zfs diff` reports such a file under one of them only. */
  readonly hardLinks: boolean
  /** Those whose names are not UTF-8, with the names they get in the archive. */
  readonly escaped?: ReadonlyArray<{ readonly path: RawPath; readonly name: string }>
  /**
   * SHA-256 (hex) over kind, mode, size, mtime and path of the folder itself (its path is empty) and of every entry in byte order of
   * path: different as soon as a name, a mode, a size, a time in nanoseconds or a kind differs.
   */
  readonly hash: string
  /**
   * Inode and ctime (nanoseconds since 1970) of each entry, in pairs, in the order of `entries`: what shows that
   * a file was touched even where size and mtime are the same. Absent where they are not known.
   */
  readonly stamps?: BigInt64Array
  /** `st_dev` of each entry, as a place in the list of all of them. Absent where they are not known. */
  readonly devices?: { readonly list: ReadonlyArray<bigint>; readonly of: Uint32Array }
  /** SHA-256 (hex) of all stamps, that of the folder itself first. Absent where they are not known. */
  readonly stampsHash?: string
  /** The latest ctime and mtime in the folder (nanoseconds since 1970), its own included. Absent where they are not known. */
  readonly latest?: LatestTimes
  /** Places in the folder that are mounts of their own, as MissingMounts.places gives them. */
  readonly mounts?: ReadonlyArray<string>
  /** Places where a btrfs snapshot shows an empty folder instead of a nested subvolume, likewise. */
  readonly hollow?: ReadonlyArray<string>
}

/** Nanoseconds since 1970. */
export interface LatestTimes {
  readonly ctimeNs: bigint
  readonly mtimeNs: bigint
}

/** The identity of the entry at `index`, where it is known. */
export const identityOf = (
  { devices, entries, stamps }: Pick<Manifest, "devices" | "entries" | "stamps">,
  index: number
): Identity | undefined => {
  const dev = devices?.list[devices.of[index] ?? -1]
  const ino = stamps?.[2 * index]
  const ctimeNs = stamps?.[2 * index + 1]
  const mtimeNs = entries[index]?.mtimeNs
  return dev === undefined || ino === undefined || ctimeNs === undefined || mtimeNs === undefined
    ? undefined
    : { dev, ino, ctimeNs, mtimeNs }
}

/**
 * What shows a change where the source itself does not: `ctime` compares inodes and ctimes as well; `mtime` does not, for file systems
 * where they are not stable, and misses what is written with size and mtime kept.
 */
export type Compare = "ctime" | "mtime"

/** What stands before the path in an entry's line of the digest; behind the path there is a NUL. */
export const lineHead = (kind: ManifestEntry["kind"], mode: number, size: number, mtimeNs: bigint): string =>
  `${kind === "file" ? "f" : "d"} ${mode} ${size} ${mtimeNs} `

/** The line of the folder itself, which comes first. */
export const folderLine = ({ mode, mtimeNs }: Pick<ManifestEntry, "mode" | "mtimeNs">): string =>
  `${lineHead("directory", mode, 0, mtimeNs)}\0`
