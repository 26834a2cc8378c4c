import * as yauzl from "yauzl"
import { explain } from "../system/Errno.ts"
import { closeRead, fill, openRegular, waitingCalls } from "../system/FileCalls.ts"
import { release } from "../system/WorkerJob.ts"
import type { FileIdentity } from "./ArchiveIndex.ts"
import { countOwn, endRecords, localLength, readEntry, readUint64, recordLength, type ZipEntry } from "./Headers.ts"
import { ArchiveError, damaged, need, truncated, unreadable } from "./ZipError.ts"

/** Reads the structure of a zip. The only module that uses yauzl, whose version is pinned: it finds and checks the end records. */

export type OpenZip = Awaited<ReturnType<typeof openZip>>

/** Opens the file at `path`, but not through a symlink. */
export const openZip = async (path: string) => {
  const failed = unreadable(path)
  const { file, stats } = await openRegular(path).catch(failed)
  return {
    path,
    size: stats.size,
    identity: stats satisfies FileIdentity,
    /** For other threads of the process; valid until the file is closed. */
    fd: file.fd,
    fill: async (buffer: Buffer, position: number): Promise<Buffer> => {
      if (position < 0 || position + buffer.length > stats.size) truncated(path)
      const length = await fill(waitingCalls, file.fd, buffer, position).catch(failed)
      if (length < buffer.length) truncated(path)
      return buffer
    },
    close: () => closeRead(file)
  }
}

interface ZipEnd {
  readonly directoryStart: number
  readonly entries: number
}

const options: yauzl.Options = {
  lazyEntries: true,
  autoClose: false
}

type Read = yauzl.RandomAccessReader["read"]

class Reader extends yauzl.RandomAccessReader {
  readonly source: Read

  constructor(source: Read) {
    super()
    this.source = source
  }

  override read(...request: Parameters<Read>): void {
    this.source(...request)
  }
}

export const readEnd = (zip: OpenZip): Promise<ZipEnd> => {
  const reader = new Reader((target, offset, length, position, callback) => {
    zip.fill(target.subarray(offset, offset + length), position).then(
      () => callback(null),
      (cause: unknown) => callback(cause instanceof Error ? cause : new Error(String(cause)))
    )
  })
  return yauzl.fromRandomAccessReaderPromise(reader, zip.size, options).then(
    // The types call this number a boolean.
    (opened) => ({ directoryStart: Number(opened.readEntryCursor), entries: opened.entryCount }),
    (cause: unknown) => {
      const [, problem] = endProblems.find(([text]) => explain(cause).startsWith(text)) ?? []
      return damaged(zip.path)(problem === undefined ? cause : new Error(problem, { cause }))
    }
  )
}

/** What yauzl's messages begin with, and what to say instead. */
const endProblems = [
  ["End of central directory", "its end is missing: it is cut off, or is no zip"],
  ["Invalid comment length", "its end record is not at its end: it is cut off, or something was added to it"]
] as const

/** Consecutive entries of a zip, by the lengths in their central directory records alone. */
export interface Slice {
  readonly first: number
  readonly count: number
  readonly records: Extent
  /** Where its local headers and data lie, if everything before them is right. */
  readonly content: Extent
}

export interface Extent {
  readonly start: number
  readonly end: number
}

/** At most so many entries, uncompressed plus compressed bytes and bytes of records; one larger entry stands alone. */
const entriesPerSlice = 1024
const bytesPerSlice = 4 << 20
const recordBytesPerSlice = 1 << 20

const windowSize = 256 * 1024
const longestRecord = recordLength + 3 * 0xffff

/**
 * Cuts a zip into slices, reading its central directory once and keeping none of it. Fails behind the last slice where that
 * cannot be followed, or unless the data reach up to it and nothing but the right end records follow it.
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

const readSizes = (bytes: Buffer, at: number) => {
  if (at + recordLength > bytes.length || bytes.readUInt32LE(at) !== 0x02014b50) return undefined
  const compressedSize = bytes.readUInt32LE(at + 20)
  const size = bytes.readUInt32LE(at + 24)
  const nameLength = bytes.readUInt16LE(at + 28)
  const extraLength = bytes.readUInt16LE(at + 30)
  const length = recordLength + nameLength + extraLength + bytes.readUInt16LE(at + 32)
  if (at + length > bytes.length) return undefined
  const extra = at + recordLength + nameLength
  if (extraLength < 20 || bytes.readUInt16LE(extra) !== 1) return { length, nameLength, size, compressedSize }
  return { length, nameLength, size: readUint64(bytes, extra + 4), compressedSize: readUint64(bytes, extra + 12) }
}

/** The entries of a zip that this program wrote and that can be trusted, in batches, from its central directory alone. */
export async function* readEntries(path: string, signal: AbortSignal): AsyncGenerator<ReadonlyArray<ZipEntry>> {
  for await (const batch of entriesInTurn(path, signal)) yield [...batch]
}

/**
 * The same, each entry made when it is asked for, which fails where it is damaged. Once the next batch is asked for, the one before
 * can no longer be read.
 */
export async function* entriesInTurn(path: string, signal: AbortSignal): AsyncGenerator<Iterable<ZipEntry>> {
  signal.throwIfAborted()
  const zip = await openZip(path)
  try {
    for await (const slice of slices(zip, await readEnd(zip))) {
      signal.throwIfAborted()
      const records = await recordsOf(zip, slice)
      if (slice.first === 0 && countOwn(records, slice.count) === 0) {
        const message = `${path} was made by another program, whose names are not read here`
        throw new ArchiveError({ reason: "Unreadable", path, message, transient: false })
      }
      yield readRecords(records, slice, path)
      release(records)
    }
  } finally {
    await zip.close()
  }
}

export const recordsOf = (zip: OpenZip, { records: { end, start } }: Slice): Promise<Buffer> =>
  zip.fill(Buffer.allocUnsafe(end - start), start)

/** The entries of a slice, from the bytes of its records. Fails unless they lie one behind the other and fill its content. */
export function* readRecords(
  records: Buffer,
  slice: Pick<Slice, "count" | "content">,
  path: string
): Generator<ZipEntry> {
  let record = 0
  let position = slice.content.start
  for (let index = 0; index < slice.count; index += 1) {
    let entry: ZipEntry
    try {
      entry = readEntry(records, record)
      need(entry.start === position, "it does not begin where the entry before it ends")
    } catch (cause) {
      const name = record + recordLength
      const length = name > records.length ? 0 : records.readUInt16LE(record + 28)
      return damaged(path, records.subarray(name, name + length))(cause)
    }
    yield entry
    record += recordLength + entry.name.length + records.readUInt16LE(record + 30)
    position = entry.end
    if (index === slice.count - 1 && position !== slice.content.end) {
      return damaged(path, entry.name)(new Error("it does not end where its record says"))
    }
  }
}
