import { crc32 } from "node:zlib"
import * as RawPath from "../domain/RawPath.ts"

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
