import { isUtf8 } from "node:buffer"
import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import * as EntryName from "../source/EntryName.ts"
import type { ManifestEntry } from "../source/Manifest.ts"
import * as RawPath from "../text/RawPath.ts"
import { need } from "./ZipError.ts"

export type Method = "store" | "deflate"

export interface EntryHead {
  /** As in the header: UTF-8, a directory's with `/` at the end. */
  readonly name: Buffer
  /** The original path, of an entry whose path is not UTF-8. */
  readonly rawPath: RawPath.RawPath | undefined
  readonly kind: "file" | "directory"
  readonly size: number
  /** Of the last change, since 1970. */
  readonly seconds: number
  readonly mode: number
}

export interface EntrySums {
  readonly method: Method
  readonly crc32: number
  readonly size: number
  readonly compressedSize: number
}

/** An entry as its central directory record has it, strictly checked; offsets of local header, data and the byte behind. */
export interface ZipEntry extends EntryHead, EntrySums {
  readonly start: number
  readonly dataStart: number
  readonly end: number
}

export const headOf = (entry: ManifestEntry): EntryHead => ({
  name: Buffer.from(entry.kind === "directory" ? `${entry.name}/` : entry.name, "utf8"),
  rawPath: EntryName.isEscaped(entry) ? entry.path : undefined,
  kind: entry.kind,
  size: entry.size,
  seconds: archiveSeconds(entry.mtimeNs),
  mode: entry.mode & 0xffff
})

export const sourcePath = ({ kind, name, rawPath }: Pick<EntryHead, "kind" | "name" | "rawPath">): RawPath.RawPath =>
  rawPath ?? RawPath.fromBuffer(kind === "directory" ? name.subarray(0, -1) : name)

/** Seconds since 1970 as an archive holds them, clamped to 31 bits: readers disagree about negative times in the UT field. */
const archiveSeconds = (mtimeNs: bigint): number =>
  mtimeNs <= 0n ? 0 : Math.min(Number(mtimeNs / 1_000_000_000n), 0x7fff_ffff)

/** In DOS form (even seconds, from 1980 on), in UTC, so that bytes do not depend on the place. The UT field overrides it. */
export const dosTime = (seconds: number): { readonly date: number; readonly time: number } => {
  const at = new Date(seconds * 1000)
  const year = at.getUTCFullYear()
  if (year < 1980) return { date: (1 << 5) | 1, time: 0 }
  return {
    date: ((year - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
    time: (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1)
  }
}

let latest = { seconds: 0, dos: dosTime(0) }

/** The same, kept for the next header of the entry. */
export const dosOf = (seconds: number): ReturnType<typeof dosTime> => {
  if (seconds !== latest.seconds) latest = { seconds, dos: dosTime(seconds) }
  return latest.dos
}

export const versionMadeBy = (3 << 8) | 63

/** Version needed. libarchive takes the high byte for the system of origin, and a backslash from any but Unix for a slash. */
export const localVersion = (name: Buffer, zip64: boolean): number =>
  (zip64 ? 45 : 20) | (name.includes(0x5c) ? 3 << 8 : 0)

/** From here on sizes may not fit into 32 bits (DEFLATE can add 5 bytes to 16 KiB): the local header gets room for 64. */
export const zip64From = 0xffd0_0000

/** Length of an entry's local header (APPNOTE 4.3.7) with its name and extra fields. */
export const localLength = (nameLength: number, size: number): number => 30 + nameLength + (size >= zip64From ? 29 : 9)

const utf8Names = 1 << 11

/**
 * Extra fields of a zip entry, each an id (2 bytes), a length (2 bytes) and data.
 *
 * - `0x0001` zip64: sizes of 4 GiB and more.
 * - `0x5455` "UT": the time of change in seconds since 1970, in both headers. Without it in the local one
 *   Info-ZIP's unzip takes the DOS time for local time and is hours off.
 * - `0x4e52` "RN" (raw name): ours, in the central directory, of entries whose path is not UTF-8. One byte version (1), CRC-32
 *   of the entry's name in the header (a tool that renames the entry makes the field void, as with Info-ZIP's Unicode path
 *   field), then the original path's bytes. No other use of the id is known (APPNOTE, Info-ZIP's extrafld.txt, libarchive).
 */
const zip64Id = 0x0001
const timeId = 0x5455
const rawNameId = 0x4e52

const field = (id: number, length: number): Buffer => {
  const bytes = Buffer.alloc(4 + length)
  bytes.writeUInt16LE(id, 0)
  bytes.writeUInt16LE(length, 2)
  return bytes
}

export const timeField = (seconds: number): Buffer => {
  const bytes = field(timeId, 5)
  bytes.writeUInt8(1, 4)
  bytes.writeInt32LE(seconds, 5)
  return bytes
}

export const rawNameField = (headerName: Buffer, path: RawPath.RawPath): Buffer => {
  const raw = RawPath.toBuffer(path)
  const bytes = field(rawNameId, 5 + raw.length)
  bytes.writeUInt8(1, 4)
  bytes.writeUInt32LE(crc32(headerName), 5)
  raw.copy(bytes, 9)
  return bytes
}

/** Length of a central directory record without its name and extra fields. */
export const recordLength = 46

/** Stands for a number that the zip64 field has. */
const zip64Mark = 0xffff_ffff

/** The entry of the central directory record (APPNOTE 4.3.12) at `at`, which has to be such as this program writes. */
export const readEntry = (records: Buffer, at: number): ZipEntry => {
  need(at + recordLength <= records.length, "its record is cut off")
  need(records.readUInt32LE(at) === 0x02014b50, "its record does not begin as one does")
  const nameAt = at + recordLength
  const extraAt = nameAt + records.readUInt16LE(at + 28)
  const end = extraAt + records.readUInt16LE(at + 30)
  need(end <= records.length, "its record is cut off")
  // A copy: the records are freed before the entry is.
  const name = Buffer.from(records.subarray(nameAt, extraAt))
  need(isName(name), "its name is no UTF-8 text that names a place below the archive")
  need(records.readUInt16LE(at + 4) === versionMadeBy, "it was not made by this program (version made by)")
  need(records.readUInt16LE(at + 8) === utf8Names, "it has unknown flags")
  need(records.readUInt16LE(at + 32) === 0, "it has a comment")
  need(records.readUInt16LE(at + 34) === 0, "its disk number is not 0")
  need(records.readUInt16LE(at + 36) === 0, "it has internal attributes")
  const attributes = records.readUInt32LE(at + 38)
  need((attributes & 0xffff) === 0, "it has DOS attributes")
  const method = records.readUInt16LE(at + 10)
  need(method === 0 || method === 8, "its compression method is unknown")

  let compressedSize = records.readUInt32LE(at + 20)
  let size = records.readUInt32LE(at + 24)
  let start = records.readUInt32LE(at + 42)
  let seconds: number | undefined
  let rawPath: RawPath.RawPath | undefined
  let version = 20
  for (let field = extraAt; field < end; ) {
    const data = field + 4
    need(data <= end, "its extra fields are cut off")
    const id = records.readUInt16LE(field)
    const length = records.readUInt16LE(field + 2)
    field = data + length
    need(field <= end, "its extra fields are cut off")
    if (id === zip64Id) {
      version = 45
      const isAll = length === 24 && size === zip64Mark && compressedSize === zip64Mark && start === zip64Mark
      need(isAll, "its sizes in 64 bits do not belong to it")
      size = readUint64(records, data)
      compressedSize = readUint64(records, data + 8)
      start = readUint64(records, data + 16)
    } else if (id === timeId) {
      seconds = length === 5 && records[data] === 1 ? records.readInt32LE(data + 1) : undefined
    } else {
      need(id === rawNameId, "it has an unknown extra field")
      const isOwn = length > 5 && records[data] === 1 && records.readUInt32LE(data + 1) === crc32(name)
      need(isOwn, "the record of its original name does not belong to it")
      rawPath = RawPath.fromBuffer(records.subarray(data + 5, field))
    }
  }
  need(version === records.readUInt16LE(at + 6), "its version is wrong")
  if (seconds === undefined) throw new Error("it has no time")
  const dos = dosOf(seconds)
  const isSameTime = records.readUInt16LE(at + 12) === dos.time && records.readUInt16LE(at + 14) === dos.date
  need(isSameTime, "its two times differ")

  const kind = name[name.length - 1] === slash ? "directory" : "file"
  need(kind === "file" || size === 0, "it is a directory with content")
  need(method === 8 || size === compressedSize, "it is stored, and its two sizes differ")
  const dataStart = start + localLength(name.length, size)
  return {
    name,
    rawPath,
    kind,
    size,
    seconds,
    mode: attributes >>> 16,
    method: method === 0 ? "store" : "deflate",
    crc32: records.readUInt32LE(at + 16),
    compressedSize,
    start,
    dataStart,
    end: dataStart + compressedSize
  }
}

export const readUint64 = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32

const slash = 0x2f
const dot = 0x2e

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

const timeMark = timeField(0).subarray(0, 4)

/** How many of these whole central directory records carry the marks of this program: version, flags, a time of its kind. */
export const countOwn = (records: Buffer, count: number): number => {
  let own = 0
  for (let index = 0, at = 0; index < count && at + recordLength <= records.length; index += 1) {
    const extra = at + recordLength + records.readUInt16LE(at + 28)
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

/** Writes the local header (APPNOTE 4.3.7) that the entry has to have to `target`, which has room; its length. */
const writeLocal = ({ name, seconds, size: expectedSize }: EntryHead, sums: EntrySums, target: Buffer): number => {
  const zip64 = expectedSize >= zip64From
  const dos = dosOf(seconds)
  target.writeUInt32LE(0x04034b50, 0)
  target.writeUInt16LE(localVersion(name, zip64), 4)
  target.writeUInt16LE(utf8Names, 6)
  target.writeUInt16LE(sums.method === "store" ? 0 : 8, 8)
  target.writeUInt16LE(dos.time, 10)
  target.writeUInt16LE(dos.date, 12)
  target.writeUInt32LE(sums.crc32, 14)
  target.writeUInt32LE(zip64 ? 0xffff_ffff : sums.compressedSize, 18)
  target.writeUInt32LE(zip64 ? 0xffff_ffff : sums.size, 22)
  target.writeUInt16LE(name.length, 26)
  target.writeUInt16LE(zip64 ? 29 : 9, 28)
  name.copy(target, 30)
  let at = 30 + name.length
  if (zip64) {
    target.writeUInt16LE(zip64Id, at)
    target.writeUInt16LE(16, at + 2)
    target.writeBigUInt64LE(BigInt(sums.size), at + 4)
    target.writeBigUInt64LE(BigInt(sums.compressedSize), at + 12)
    at += 20
  }
  target.writeUInt16LE(timeId, at)
  target.writeUInt16LE(5, at + 2)
  target.writeUInt8(1, at + 4)
  target.writeInt32LE(seconds, at + 5)
  return at + 9
}

export const noSums: EntrySums = { method: "store", crc32: 0, size: 0, compressedSize: 0 }

/** An entry's local header. Its length does not depend on the sums. */
export const localHeader = (head: EntryHead, sums = noSums): Buffer => {
  const header = Buffer.allocUnsafe(localLength(head.name.length, head.size))
  writeLocal(head, sums, header)
  return header
}

const expected = Buffer.alloc(localLength(0xffff, zip64From))

export const checkLocal = (entry: ZipEntry, bytes: Buffer): void => {
  const length = writeLocal(entry, entry, expected)
  need(
    bytes.length >= length && expected.compare(bytes, 0, length, 0, length) === 0,
    "its local header and the central directory differ"
  )
}

/** All that follows a zip's central directory (APPNOTE 4.3.14 to 4.3.16): one disk, no comment, zip64 only where needed. */
export const endRecords = (zip: {
  readonly entries: number
  readonly start: number
  readonly size: number
}): Buffer => {
  const { entries, size, start } = zip
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(Math.min(entries, 0xffff), 8)
  end.writeUInt16LE(Math.min(entries, 0xffff), 10)
  end.writeUInt32LE(Math.min(size, 0xffff_ffff), 12)
  end.writeUInt32LE(Math.min(start, 0xffff_ffff), 16)
  if (entries < 0xffff && size < 0xffff_ffff && start < 0xffff_ffff) return end

  const zip64 = Buffer.alloc(76)
  zip64.writeUInt32LE(0x06064b50, 0)
  zip64.writeBigUInt64LE(44n, 4)
  zip64.writeUInt16LE(versionMadeBy, 12)
  zip64.writeUInt16LE(45, 14)
  zip64.writeBigUInt64LE(BigInt(entries), 24)
  zip64.writeBigUInt64LE(BigInt(entries), 32)
  zip64.writeBigUInt64LE(BigInt(size), 40)
  zip64.writeBigUInt64LE(BigInt(start), 48)
  zip64.writeUInt32LE(0x07064b50, 56)
  zip64.writeBigUInt64LE(BigInt(start + size), 64)
  zip64.writeUInt32LE(1, 72)
  return Buffer.concat([zip64, end])
}

const bufferSize = 64 * 1024
const fixedLength = 24
const scratch: Array<Buffer> = []

/**
 * SHA-256 over heads in their order: equal for entries of a zip and of a manifest only if each of them has the
 * same name, kind, original path, size, time and mode. So a thread reports what it found without sending it.
 */
export const makeDigest = () => {
  const hash = createHash("sha256")
  let buffer = scratch.pop() ?? Buffer.allocUnsafeSlow(bufferSize)
  let used = 0

  const room = (length: number): void => {
    if (used + length <= buffer.length) return
    hash.update(buffer.subarray(0, used))
    used = 0
    if (length > buffer.length) buffer = Buffer.allocUnsafeSlow(length)
  }

  // Lengths stand before what they belong to, so no two lists of heads have the same bytes.
  const rest = (at: number, rawPath: string | undefined, size: number, seconds: number, mode: number) => {
    buffer.writeUInt32LE(used - at - 4, at)
    used = buffer.writeDoubleLE(size, used)
    used = buffer.writeUInt32LE(seconds >>> 0, used)
    used = buffer.writeUInt16LE(mode, used)
    used = buffer.writeInt32LE(rawPath === undefined ? -1 : rawPath.length, used)
    if (rawPath !== undefined) used += buffer.write(rawPath, used, "latin1")
  }

  return {
    head: ({ mode, name, rawPath, seconds, size }: EntryHead): void => {
      room(fixedLength + name.length + (rawPath?.length ?? 0))
      const at = used
      used += 4
      used += name.copy(buffer, used)
      rest(at, rawPath, size, seconds, mode)
    },
    /** The same for a manifest's entry, without making a head of it. */
    wanted: (entry: ManifestEntry): void => {
      const { kind, mode, mtimeNs, name, path, size } = entry
      const rawPath = EntryName.isEscaped(entry) ? path : undefined
      room(fixedLength + 1 + name.length * 3 + (rawPath?.length ?? 0))
      const at = used
      used += 4
      used += buffer.write(name, used, "utf8")
      if (kind === "directory") used = buffer.writeUInt8(slash, used)
      rest(at, rawPath, size, archiveSeconds(mtimeNs), mode & 0xffff)
    },
    end: (): string => {
      hash.update(buffer.subarray(0, used))
      scratch.push(buffer)
      return hash.digest("hex")
    }
  }
}
