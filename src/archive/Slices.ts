import type { BlockReader } from "./BlockReader.ts"
import { localLength } from "./Entry.ts"
import type { ZipEnd } from "./Yauzl.ts"

/** Consecutive entries of a zip, by the lengths in their central directory records: nothing else was looked at. */
export interface Slice {
  /** Its first entry: how many stand before it. */
  readonly first: number
  readonly count: number
  /** Where its records lie. */
  readonly records: Extent
  /** Where its local headers and data lie, if everything before them is right. */
  readonly content: Extent
}

/** Offset of the first byte, and of the first byte behind it. */
export interface Extent {
  readonly start: number
  readonly end: number
}

/** Where the central directory cannot be followed any further. */
interface Break {
  readonly broken: string
}

/** At most so many entries, uncompressed plus compressed bytes and bytes of records; one larger entry stands alone. */
const entriesPerSlice = 1024
const bytesPerSlice = 4 << 20
const recordBytesPerSlice = 1 << 20

const windowSize = 256 * 1024
const fixedLength = 46
const longestRecord = fixedLength + 3 * 0xffff

/**
 * Cuts a zip into slices, in order, reading its central directory once and keeping none of it. What it makes
 * of damaged records is nonsense, which whoever reads the slice's entries finds; so a break comes last, behind
 * the slice of everything before it.
 */
export async function* slices(blocks: BlockReader, end: ZipEnd): AsyncGenerator<Slice | Break> {
  const rest = Math.max(0, blocks.size - end.directoryStart)
  const window = Buffer.allocUnsafeSlow(Math.min(windowSize, rest))
  let windowStart = end.directoryStart
  let windowEnd = windowStart
  let record = end.directoryStart
  let content = 0
  let slice = { first: 0, count: 0, bytes: 0, record, content }

  const cut = (): Slice => {
    const { count, first } = slice
    const records = { start: slice.record, end: record }
    const found = { first, count, records, content: { start: slice.content, end: content } }
    slice = { first: first + count, count: 0, bytes: 0, record, content }
    return found
  }

  for (let index = 0; index < end.entries; index += 1) {
    // Any record fits into what is left, or everything up to the end of the file is there.
    if (windowEnd - record < longestRecord && windowEnd < blocks.size) {
      windowStart = record
      windowEnd = Math.min(record + window.length, blocks.size)
      await blocks.fill(window.subarray(0, windowEnd - windowStart), windowStart)
    }
    const sizes = readSizes(window.subarray(0, windowEnd - windowStart), record - windowStart)
    if (sizes === undefined) {
      if (slice.count > 0) yield cut()
      yield { broken: `entry ${index + 1} of its central directory is no such record` }
      return
    }
    const bytes = sizes.size + sizes.compressedSize
    const full =
      slice.count === entriesPerSlice ||
      slice.bytes + bytes > bytesPerSlice ||
      record + sizes.length - slice.record > recordBytesPerSlice
    if (full && slice.count > 0) yield cut()
    slice.count += 1
    slice.bytes += bytes
    record += sizes.length
    content += localLength(sizes.nameLength, sizes.size) + sizes.compressedSize
  }
  if (slice.count > 0) yield cut()
}

interface Sizes {
  /** Of the record. */
  readonly length: number
  readonly nameLength: number
  readonly size: number
  readonly compressedSize: number
}

/** Lengths from the record at `at` (APPNOTE 4.3.12), if there is one and all of it is in `bytes`. */
const readSizes = (bytes: Buffer, at: number): Sizes | undefined => {
  if (at + fixedLength > bytes.length || bytes.readUInt32LE(at) !== 0x02014b50) return undefined
  const compressedSize = bytes.readUInt32LE(at + 20)
  const size = bytes.readUInt32LE(at + 24)
  const nameLength = bytes.readUInt16LE(at + 28)
  const extraLength = bytes.readUInt16LE(at + 30)
  const length = fixedLength + nameLength + extraLength + bytes.readUInt16LE(at + 32)
  if (at + length > bytes.length) return undefined
  const extra = at + fixedLength + nameLength
  // The zip64 field (4.5.3) stands first, with both sizes at its beginning.
  if (extraLength < 20 || bytes.readUInt16LE(extra) !== 1) return { length, nameLength, size, compressedSize }
  return {
    length,
    nameLength,
    size: readUint64(bytes, extra + 4),
    compressedSize: readUint64(bytes, extra + 12)
  }
}

const readUint64 = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32
