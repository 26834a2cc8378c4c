import { crc32 } from "node:zlib"
import { type FileCalls, fill } from "../workers/FileCalls.ts"
import { damaged, need, truncated, unreadable } from "./Damage.ts"
import { inflatePieces, inflateWhole, isSmall, makeSums } from "./EntryData.ts"
import { makeDigest } from "./HeadDigest.ts"
import { checkLocal, type ZipEntry } from "./ReadHeaders.ts"
import { readRecords } from "./ReadZip.ts"
import { release } from "./Release.ts"
import type { Extent } from "./Slices.ts"

/** Part of a zip that is to be verified. */
export interface SliceInput {
  /** Its path, for messages. */
  readonly zip: string
  /** The zip, opened. */
  readonly fd: number
  readonly count: number
  readonly records: Extent
  readonly content: Extent
  /**
   * What of it was copied from an archive that has been verified, in order. Entries in there are not inflated;
   * instead the bytes are summed up, to be compared with what was copied.
   */
  readonly copied: ReadonlyArray<Extent>
}

/** What was found; damage is an ArchiveError instead. */
export interface SliceOutput {
  /** Of all heads, see {@link makeDigest}. */
  readonly heads: string
  /** CRC-32 of the whole entries in each copied part. */
  readonly copied: ReadonlyArray<number>
}

/** An entry up to this size, header included, is in memory at once; so are the records of a slice. */
const windowSize = (1 << 20) + (128 << 10)

/** What is read at a time, where an entry is not larger: little enough to stay in the processor's cache. */
const readAhead = 256 << 10

/** Buffers that no slice uses at the moment: fresh memory costs more than what is done in it. */
const windows: Array<Buffer> = []

/**
 * Verifies consecutive entries: both headers, that they lie one behind the other and fill the slice, and sizes and
 * CRC-32 of their data. Memory does not depend on their sizes.
 */
export const verifySlice = async (
  input: SliceInput,
  calls: FileCalls,
  signal: AbortSignal
): Promise<SliceOutput> => {
  const window = windows.pop() ?? Buffer.allocUnsafeSlow(windowSize)
  const records = windows.pop() ?? Buffer.allocUnsafeSlow(windowSize)
  let reading: Promise<unknown> = Promise.resolve()
  let ended = false
  try {
    // Fills as much of the target as there is, at least `needed` bytes.
    const read = async (target: Buffer, position: number, needed: number): Promise<number> => {
      signal.throwIfAborted()
      need(!ended, "nobody wants more of it")
      const filled = fill(calls, input.fd, target, position)
      reading = filled
      const length = await filled.catch(unreadable(input.zip))
      if (length < needed) throw truncated(input.zip)
      return length
    }
    const { end, start } = input.records
    const bytes = records.subarray(0, end - start)
    await read(bytes, start, bytes.length)
    return await verifyEntries(input, bytes, makeView(window, input.content.end, read), signal)
  } finally {
    // A stream that is left in the middle may have asked for its next piece: file and buffers are not to be given away yet.
    ended = true
    await Promise.allSettled([reading])
    windows.push(window, records)
  }
}

const verifyEntries = async (
  input: SliceInput,
  records: Buffer,
  view: View,
  signal: AbortSignal
): Promise<SliceOutput> => {
  const digest = makeDigest()
  const copied = input.copied.map(makePart)
  let current = 0
  for (const entry of readRecords(records, input, input.zip)) {
    const { dataStart, end, start } = entry
    while ((copied[current]?.end ?? end) <= start) current += 1
    const part = copied[current]
    try {
      const whole = end - start <= windowSize
      const to = whole ? end : dataStart
      const bytes = view.bytes(start, to) ?? (await view.load(start, to))
      checkLocal(entry, bytes)
      if (part?.has(entry) === true) {
        if (whole) part.add(bytes)
        else for await (const piece of view.pieces(start, end)) part.add(piece)
      } else if (whole && isSmall(entry)) {
        checkSmall(entry, bytes.subarray(dataStart - start))
      } else await checkLarge(entry, view.pieces(dataStart, end))
    } catch (cause) {
      signal.throwIfAborted()
      damaged(input.zip, entry.name)(cause)
    }
    digest.head(entry)
  }
  return { heads: digest.end(), copied: copied.map((part) => part.sum()) }
}

const checkSmall = (entry: ZipEntry, raw: Buffer): void => {
  const sums = makeSums(entry)
  if (entry.method === "store") sums.add(raw)
  else {
    const content = inflateWhole(raw, entry)
    sums.add(content)
    release(content.buffer)
  }
  sums.check()
}

const checkLarge = async (entry: ZipEntry, pieces: AsyncIterable<Buffer>): Promise<void> => {
  const sums = makeSums(entry)
  if (entry.method === "store") for await (const piece of pieces) sums.add(piece)
  else {
    for await (const chunk of inflatePieces(pieces)) {
      sums.add(chunk)
      // zlib has gone on to another buffer when this one is full.
      if (chunk.byteOffset + chunk.length === chunk.buffer.byteLength) release(chunk.buffer)
    }
  }
  sums.check()
}

/** Sums up the entries of a copied part. An entry that lies only partly in it is not copied, but read as all others. */
const makePart = ({ end, start }: Extent) => {
  let sum = 0
  return {
    end,
    has: (entry: Extent): boolean => entry.start >= start && entry.end <= end,
    add: (bytes: Buffer): void => {
      sum = crc32(bytes, sum)
    },
    sum: (): number => sum
  }
}

/** A file, read forwards. */
interface View {
  /** These bytes, if they are there already; valid until the next are loaded. */
  readonly bytes: (start: number, end: number) => Buffer | undefined
  /** At most so many bytes as there is room for. */
  readonly load: (start: number, end: number) => Promise<Buffer>
  /** All of these bytes; a piece is valid until the one after the next is asked for. */
  readonly pieces: (start: number, end: number) => AsyncIterable<Buffer>
}

const makeView = (
  window: Buffer,
  limit: number,
  read: (target: Buffer, position: number, needed: number) => Promise<number>
): View => {
  let from = 0
  let to = 0

  const load = async (start: number, end: number): Promise<Buffer> => {
    const until = Math.max(end, Math.min(start + readAhead, limit))
    to = from
    // Where the slice ends is only known for good once all of its entries are.
    const length = await read(window.subarray(0, until - start), start, end - start)
    from = start
    to = start + length
    return window.subarray(0, end - start)
  }

  async function* pieces(start: number, end: number): AsyncGenerator<Buffer> {
    to = from
    let offset = 0
    for (let position = start; position < end; position += readAhead) {
      const piece = window.subarray(offset, offset + Math.min(readAhead, end - position))
      await read(piece, position, piece.length)
      yield piece
      offset = readAhead - offset
    }
  }

  return {
    bytes: (start, end) =>
      start >= from && end <= to ? window.subarray(start - from, end - from) : undefined,
    load,
    pieces
  }
}
