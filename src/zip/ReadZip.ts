import { localLength, readEntry, type ZipEntry } from "./Headers.ts"
import { endRecords, type OpenZip, openZip, parseRecords, readEnd, type ZipEnd } from "./Yauzl.ts"
import { damaged, need } from "./ZipError.ts"

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

/** At most so many entries, uncompressed plus compressed bytes and bytes of records; one larger entry stands alone. */
const entriesPerSlice = 1024
const bytesPerSlice = 4 << 20
const recordBytesPerSlice = 1 << 20

const windowSize = 256 * 1024
const fixedLength = 46
const longestRecord = fixedLength + 3 * 0xffff

/**
 * Cuts a zip into slices, in order, reading its central directory once and keeping none of it. Slices of damaged records
 * are nonsense, which {@link readRecords} finds. Fails behind the last slice where the central directory cannot be
 * followed, or unless the data reach up to the central directory and nothing but the right end records follow it.
 */
export async function* slices(zip: OpenZip, end: ZipEnd): AsyncGenerator<Slice> {
  const rest = Math.max(0, zip.size - end.directoryStart)
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
    if (windowEnd - record < longestRecord && windowEnd < zip.size) {
      windowStart = record
      windowEnd = Math.min(record + window.length, zip.size)
      await zip.fill(window.subarray(0, windowEnd - windowStart), windowStart)
    }
    const sizes = readSizes(window.subarray(0, windowEnd - windowStart), record - windowStart)
    if (sizes === undefined) {
      if (slice.count > 0) yield cut()
      return damaged(zip.path)(new Error(`entry ${index + 1} of its central directory is no such record`))
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
  const { directoryStart, entries } = end
  const expected = endRecords({ entries, start: directoryStart, size: record - directoryStart })
  const fits = content === directoryStart && zip.size === record + expected.length
  if (!fits || !(await zip.fill(Buffer.alloc(expected.length), record)).equals(expected)) {
    damaged(zip.path)(new Error("its end record does not fit its content"))
  }
}

interface Sizes {
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

const readUint64 = (bytes: Buffer, at: number): number => bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32

/**
 * What the central directory says of the entries of a zip that this program wrote, in order and in batches: for
 * a zip that can be trusted, since neither local headers nor data are looked at. Fails with an ArchiveError on
 * anything that this program does not write, and unless entries lie one behind the other, with nothing between
 * them, before or after.
 */
export async function* readEntries(path: string, signal: AbortSignal): AsyncGenerator<ReadonlyArray<ZipEntry>> {
  signal.throwIfAborted()
  const zip = await openZip(path)
  try {
    for await (const slice of slices(zip, await readEnd(zip))) {
      signal.throwIfAborted()
      yield [...readRecords(await recordsOf(zip, slice), slice, path)]
    }
  } finally {
    await zip.close()
  }
}

/** The bytes of a slice's records. */
export const recordsOf = (zip: OpenZip, { records: { end, start } }: Slice): Promise<Buffer> =>
  zip.fill(Buffer.allocUnsafe(end - start), start)

/**
 * The entries of a slice, from the bytes of its records. Fails unless they lie one behind the other and fill
 * the slice's content.
 */
export function* readRecords(
  records: Buffer,
  slice: { readonly count: number; readonly content: Extent },
  path: string
): Generator<ZipEntry> {
  const parsed = parseRecords(records, slice.count)
  let record = 0
  let position = slice.content.start
  for (let index = 0; index < slice.count; index += 1) {
    const nameLength = records.readUInt16LE(record + 28)
    let entry: ZipEntry
    try {
      const next = parsed.next()
      need(next.done !== true, "it is missing")
      const central = next.value
      entry = readEntry(central, records.readUInt16LE(record + 34))
      need(entry.start === position, "it does not begin where the entry before it ends")
      record += 46 + nameLength + central.extraFieldLength
    } catch (cause) {
      return damaged(path, records.subarray(record + 46, record + 46 + nameLength))(cause)
    }
    yield entry
    position = entry.end
    if (index === slice.count - 1 && position !== slice.content.end) {
      return damaged(path, entry.name)(new Error("it does not end where its record says"))
    }
  }
}
