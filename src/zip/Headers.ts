import { isUtf8 } from "node:buffer"
import { crc32 } from "node:zlib"
import * as EntryName from "../source/EntryName.ts"
import type { ManifestEntry } from "../source/Manifest.ts"
import * as RawPath from "../text/RawPath.ts"
import { type CentralEntry, versionMadeBy } from "./Yauzl.ts"
import { need } from "./ZipError.ts"

/**
 * Times in archives. The UT field holds signed 32-bit seconds, and readers disagree about negative ones, so a
 * time before 1970 is written as 1970-01-01T00:00:00Z and one after 2038-01-19T03:14:07Z as that.
 */
const latestSeconds = 0x7fff_ffff

/** Seconds since 1970 as an archive holds them: fractions cut off, clamped. */
export const archiveSeconds = (mtimeNs: bigint): number => {
  if (mtimeNs <= 0n) return 0
  const seconds = Number(mtimeNs / 1_000_000_000n)
  return Math.min(seconds, latestSeconds)
}

/**
 * The same time in DOS form, which knows no time zone: in UTC, so that an archive's bytes do not depend on
 * where it was made. Readers that know the UT field ignore it. Even seconds, from 1980 on.
 */
export const dosTime = (seconds: number): { readonly date: number; readonly time: number } => {
  const at = new Date(seconds * 1000)
  const year = at.getUTCFullYear()
  if (year < 1980) return { date: (1 << 5) | 1, time: 0 }
  return {
    date: ((year - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
    time: (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1)
  }
}

/** How an entry's data lies in the zip. */
export type Method = "store" | "deflate"

/** What is known of an entry before its data is. */
export interface EntryHead {
  /** As in the header: UTF-8, a directory's with `/` at the end. */
  readonly name: Buffer
  /** The original path, of an entry whose path is not UTF-8. */
  readonly rawPath: RawPath.RawPath | undefined
  readonly kind: "file" | "directory"
  /** Expected uncompressed size. */
  readonly size: number
  /** Of the last change, since 1970. */
  readonly seconds: number
  /** `st_mode`. */
  readonly mode: number
}

/** The path that an entry was made from, in bytes. */
export const sourcePath = ({ kind, name, rawPath }: Pick<EntryHead, "kind" | "name" | "rawPath">): RawPath.RawPath =>
  rawPath ?? RawPath.fromBuffer(kind === "directory" ? name.subarray(0, -1) : name)

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
export const localLength = (nameLength: number, size: number): number => 30 + nameLength + (size >= zip64From ? 29 : 9)

/**
 * Extra fields of a zip entry, each an id (2 bytes), a length (2 bytes) and data.
 *
 * - `0x0001` zip64: sizes of 4 GiB and more.
 * - `0x5455` "UT": the time of change in seconds since 1970, in both headers. Without it in the local one
 *   Info-ZIP's unzip takes the DOS time for local time and is hours off.
 * - `0x4e52` "RN" (raw name): ours, in the central directory, of entries whose path is not UTF-8. One byte
 *   version (1), CRC-32 of the entry's name in the header (a tool that renames the entry makes the field void,
 *   as with Info-ZIP's Unicode path field), then the original path's bytes. No other use of the id is known
 *   (APPNOTE 4.5.2 and 4.6, Info-ZIP's extrafld.txt, libarchive).
 */
export const zip64Id = 0x0001
export const timeId = 0x5455
export const rawNameId = 0x4e52

const field = (id: number, length: number): Buffer => {
  const bytes = Buffer.alloc(4 + length)
  bytes.writeUInt16LE(id, 0)
  bytes.writeUInt16LE(length, 2)
  return bytes
}

/** The UT field: time of change only. */
export const timeField = (seconds: number): Buffer => {
  const bytes = field(timeId, 5)
  bytes.writeUInt8(1, 4)
  bytes.writeInt32LE(seconds, 5)
  return bytes
}

/** Seconds since 1970 from the data of a UT field as {@link timeField} writes it. */
export const readTime = (data: Buffer): number | undefined =>
  data.length === 5 && data[0] === 1 ? data.readInt32LE(1) : undefined

/** The zip64 field of a local header: both sizes. */
export const zip64Field = (size: number, compressedSize: number): Buffer => {
  const bytes = field(zip64Id, 16)
  bytes.writeBigUInt64LE(BigInt(size), 4)
  bytes.writeBigUInt64LE(BigInt(compressedSize), 12)
  return bytes
}

/** The RN field: the bytes of a path that is not UTF-8. */
export const rawNameField = (headerName: Buffer, path: RawPath.RawPath): Buffer => {
  const raw = RawPath.toBuffer(path)
  const bytes = field(rawNameId, 5 + raw.length)
  bytes.writeUInt8(1, 4)
  bytes.writeUInt32LE(crc32(headerName), 5)
  raw.copy(bytes, 9)
  return bytes
}

/** The original path from the data of an RN field, if the field belongs to this name. */
export const readRawName = (headerName: Buffer, data: Buffer): RawPath.RawPath | undefined =>
  data.length > 5 && data[0] === 1 && data.readUInt32LE(1) === crc32(headerName)
    ? RawPath.fromBuffer(data.subarray(5))
    : undefined

/** An entry as its central directory record has it, strictly checked, and where it lies in the zip. */
export interface ZipEntry extends EntryHead, EntrySums {
  /** Offset of its local header. */
  readonly start: number
  /** Offset of its data. */
  readonly dataStart: number
  /** Offset of the first byte behind its data. */
  readonly end: number
}

const utf8Names = 1 << 11

/** Both headers of an entry have the same time, and so have many entries. */
let latest = { seconds: 0, dos: dosTime(0) }

const dosOf = (seconds: number): ReturnType<typeof dosTime> => {
  if (seconds !== latest.seconds) latest = { seconds, dos: dosTime(seconds) }
  return latest.dos
}

/**
 * What a central directory record (APPNOTE 4.3.12) says of an entry. Throws when it is not such as this program
 * writes: that is stricter than the format, and finds a damaged bit in fields that no reader cares about.
 * `disk` is its disk number, which yauzl does not give.
 */
export const readEntry = (central: CentralEntry, disk: number): ZipEntry => {
  const name = central.fileNameRaw
  need(isName(name), "its name is no UTF-8 text that names a place below the archive")
  need(central.versionMadeBy === versionMadeBy, "it was not made by this program (version made by)")
  need(central.generalPurposeBitFlag === utf8Names, "it has unknown flags")
  need(central.fileCommentLength === 0, "it has a comment")
  need(disk === 0, "its disk number is not 0")
  need(central.internalFileAttributes === 0, "it has internal attributes")
  need((central.externalFileAttributes & 0xffff) === 0, "it has DOS attributes")
  const { compressedSize, compressionMethod, uncompressedSize: size } = central
  need(compressionMethod === 0 || compressionMethod === 8, "its compression method is unknown")

  let seconds: number | undefined
  let rawPath: RawPath.RawPath | undefined
  let version = 20
  let length = 0
  for (const { data, id } of central.extraFields) {
    length += 4 + data.length
    if (id === zip64Id) version = 45
    else if (id === timeId) seconds = readTime(data)
    else {
      need(id === rawNameId, "it has an unknown extra field")
      rawPath = readRawName(name, data)
      need(rawPath !== undefined, "the record of its original name does not belong to it")
    }
  }
  need(length === central.extraFieldLength, "its extra fields are cut off")
  need(version === central.versionNeededToExtract, "its version is wrong")
  if (seconds === undefined) throw new Error("it has no time")
  const dos = dosOf(seconds)
  need(dos.date === central.lastModFileDate && dos.time === central.lastModFileTime, "its two times differ")

  const kind = name[name.length - 1] === slash ? "directory" : "file"
  need(kind === "file" || size === 0, "it is a directory with content")
  const start = central.relativeOffsetOfLocalHeader
  const dataStart = start + localLength(name.length, size)
  return {
    name,
    rawPath,
    kind,
    size,
    seconds,
    mode: central.externalFileAttributes >>> 16,
    method: compressionMethod === 0 ? "store" : "deflate",
    crc32: central.crc32,
    compressedSize,
    start,
    dataStart,
    end: dataStart + compressedSize
  }
}

/** A time field as this program writes it. */
const timeMark = Buffer.from([timeId & 0xff, timeId >>> 8, 5, 0])

/**
 * How many of these central directory records carry the marks of this program: which version of it made them, how names are
 * written, a time of its kind. `records` are whole records, of which nothing was looked at but their lengths.
 */
export const countOwn = (records: Buffer, count: number): number => {
  let own = 0
  for (let index = 0, at = 0; index < count && at + 46 <= records.length; index += 1) {
    const extra = at + 46 + records.readUInt16LE(at + 28)
    const comment = extra + records.readUInt16LE(at + 30)
    const marked =
      records.readUInt16LE(at + 4) === versionMadeBy &&
      records.readUInt16LE(at + 8) === utf8Names &&
      records.subarray(extra, comment).includes(timeMark)
    if (marked) own += 1
    at = comment + records.readUInt16LE(at + 32)
  }
  return own
}

/** Writes the local header (APPNOTE 4.3.7) that the entry has to have to the beginning of `target`, which has room; its length. */
const writeLocal = (entry: ZipEntry, target: Buffer): number => {
  const zip64 = entry.size >= zip64From
  const dos = dosOf(entry.seconds)
  target.writeUInt32LE(0x04034b50, 0)
  target.writeUInt16LE(localVersion(entry.name, zip64), 4)
  target.writeUInt16LE(utf8Names, 6)
  target.writeUInt16LE(entry.method === "store" ? 0 : 8, 8)
  target.writeUInt16LE(dos.time, 10)
  target.writeUInt16LE(dos.date, 12)
  target.writeUInt32LE(entry.crc32, 14)
  // Sizes of large entries stand in an extra field.
  target.writeUInt32LE(zip64 ? 0xffff_ffff : entry.compressedSize, 18)
  target.writeUInt32LE(zip64 ? 0xffff_ffff : entry.size, 22)
  target.writeUInt16LE(entry.name.length, 26)
  target.writeUInt16LE(zip64 ? 29 : 9, 28)
  entry.name.copy(target, 30)
  let at = 30 + entry.name.length
  if (zip64) {
    target.writeUInt16LE(zip64Id, at)
    target.writeUInt16LE(16, at + 2)
    target.writeBigUInt64LE(BigInt(entry.size), at + 4)
    target.writeBigUInt64LE(BigInt(entry.compressedSize), at + 12)
    at += 20
  }
  target.writeUInt16LE(timeId, at)
  target.writeUInt16LE(5, at + 2)
  target.writeUInt8(1, at + 4)
  target.writeInt32LE(entry.seconds, at + 5)
  return at + 9
}

/** The longest local header: names have at most 65,535 bytes. */
const longest = localLength(0xffff, zip64From)

const expected = Buffer.alloc(longest)

/** Throws unless `bytes` begin with the local header that the entry's central record makes one expect. */
export const checkLocal = (entry: ZipEntry, bytes: Buffer): void => {
  const length = writeLocal(entry, expected)
  need(
    bytes.length >= length && expected.compare(bytes, 0, length, 0, length) === 0,
    "its local header and the central directory differ"
  )
}

const slash = 0x2f
const dot = 0x2e

/** Text of at least one part, none of them empty, `.` or `..`, with no NUL; a slash may stand at the end. */
const isName = (bytes: Buffer): boolean => {
  let part = 0
  let ascii = true
  const end = bytes[bytes.length - 1] === slash ? bytes.length - 1 : bytes.length
  for (let at = 0; at <= end; at += 1) {
    const byte = at === end ? slash : bytes[at]
    if (byte === undefined || byte === 0) return false
    if (byte > 0x7f) ascii = false
    if (byte !== slash) continue
    const length = at - part
    const dots = bytes[part] === dot && (length === 1 || (length === 2 && bytes[part + 1] === dot))
    if (length === 0 || dots) return false
    part = at + 1
  }
  return ascii || isUtf8(bytes)
}
