import * as EntryName from "../domain/EntryName.ts"
import type { ManifestEntry } from "../domain/Manifest.ts"
import type { RawPath } from "../domain/RawPath.ts"
import { archiveSeconds } from "./Times.ts"

/** How an entry's data lies in the zip. */
export type Method = "store" | "deflate"

/** What is known of an entry before its data is. */
export interface EntryHead {
  /** As in the header: UTF-8, a directory's with `/` at the end. */
  readonly name: Buffer
  /** The original path, of an entry whose path is not UTF-8. */
  readonly rawPath: RawPath | undefined
  readonly kind: "file" | "directory"
  /** Expected uncompressed size. */
  readonly size: number
  /** Of the last change, since 1970. */
  readonly seconds: number
  /** `st_mode`. */
  readonly mode: number
}

/** What is known of an entry once its data is. */
export interface EntrySums {
  readonly method: Method
  readonly crc32: number
  readonly size: number
  readonly compressedSize: number
}

/** A manifest entry as the archive shows it. */
export const headOf = (entry: ManifestEntry): EntryHead => ({
  name: Buffer.from(entry.kind === "directory" ? `${entry.name}/` : entry.name, "utf8"),
  rawPath: EntryName.isEscaped(entry) ? entry.path : undefined,
  kind: entry.kind,
  size: entry.size,
  seconds: archiveSeconds(entry.mtimeNs),
  mode: entry.mode & 0xffff
})

/**
 * "Version needed" of a local header. Its high byte means nothing in the specification, but libarchive (bsdtar)
 * takes it for the system that the entry comes from, and a backslash from any but Unix (3) for a slash.
 */
export const localVersion = (name: Buffer, zip64: boolean): number =>
  (zip64 ? 45 : 20) | (name.includes(0x5c) ? 3 << 8 : 0)

/** From here on sizes may not fit into 32 bits (DEFLATE adds 5 bytes to 16 KiB that do not shrink), so the local header gets room for 64. */
export const zip64From = 0xffd0_0000

/** Length of an entry's local header (APPNOTE 4.3.7) with its name and extra fields. */
export const localLength = (nameLength: number, size: number): number =>
  30 + nameLength + (size >= zip64From ? 29 : 9)
