import { isUtf8 } from "node:buffer"
import type { RawPath } from "../domain/RawPath.ts"
import { need } from "./Damage.ts"
import { versionMadeBy } from "./EndRecord.ts"
import { type EntryHead, type EntrySums, localLength, localVersion, zip64From } from "./Entry.ts"
import { rawNameId, readRawName, readTime, timeId, zip64Id } from "./Extra.ts"
import { dosTime } from "./Times.ts"
import type { CentralEntry } from "./Yauzl.ts"

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
  let rawPath: RawPath | undefined
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
