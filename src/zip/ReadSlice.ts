import { pipeline } from "node:stream/promises"
import { crc32, createInflateRaw, gunzipSync, inflateRawSync } from "node:zlib"
import { codeOf } from "../system/Errno.ts"
import { type FileCalls, fill } from "../system/FileCalls.ts"
import { release } from "../system/WorkerJob.ts"
import { checkLocal, type ZipEntry } from "./Headers.ts"
import type { OpenZip, Slice } from "./ReadZip.ts"
import { need, truncated, unreadable } from "./ZipError.ts"

export interface SliceSource extends Omit<Slice, "first"> {
  readonly path: string
  readonly fd: number
  readonly counter?: ReadCounter | undefined
}

export const sourceOf = ({ fd, path }: OpenZip, slice: Slice, counter?: ReadCounter): SliceSource => {
  const { content, count, records } = slice
  return { path, fd, count, records, content, counter }
}

/** An entry up to this size, header included, is in memory at once; so are the records of a slice. */
export const windowSize = (1 << 20) + (128 << 10)

/** What is read at a time, where an entry is not larger: little enough to stay in the processor's cache. */
const readAhead = 256 << 10

const windows: Array<Buffer> = []

/** Gives `use` the slice's records and a way to its content, valid until it ends. Failures to read are ArchiveErrors. */
export const withSlice = async <A>(
  input: SliceSource,
  calls: FileCalls,
  signal: AbortSignal,
  use: (records: Buffer, view: SliceView) => Promise<A>
): Promise<A> => {
  const window = windows.pop() ?? Buffer.allocUnsafeSlow(windowSize)
  const records = windows.pop() ?? Buffer.allocUnsafeSlow(windowSize)
  let reading: Promise<unknown> = Promise.resolve()
  let ended = false
  try {
    const read = async (target: Buffer, position: number, needed: number): Promise<number> => {
      signal.throwIfAborted()
      need(!ended, "the slice has ended")
      const filled = fill(calls, input.fd, target, position)
      reading = filled
      const length = await filled.catch(unreadable(input.path))
      if (length < needed) truncated(input.path)
      countRead(input.counter, length)
      return length
    }
    const { end, start } = input.records
    const bytes = records.subarray(0, end - start)
    await read(bytes, start, bytes.length)
    return await use(bytes, makeView(window, input.content.end, read))
  } finally {
    // A stream that is left in the middle may have asked for its next piece: file and buffers are not to be given away yet.
    ended = true
    await Promise.allSettled([reading])
    windows.push(window, records)
  }
}

type SliceView = ReturnType<typeof makeView>

const makeView = (
  window: Buffer,
  limit: number,
  read: (target: Buffer, position: number, needed: number) => Promise<number>
) => {
  let from = 0
  let to = 0

  const bytes = (start: number, end: number): Buffer | undefined =>
    start >= from && end <= to ? window.subarray(start - from, end - from) : undefined

  const load = async (start: number, end: number): Promise<Buffer> => {
    const until = Math.max(end, Math.min(start + readAhead, limit))
    to = from
    // Where the slice ends is only known for good once all of its entries are.
    const length = await read(window.subarray(0, until - start), start, end - start).catch((cause: unknown) => {
      // What cannot be read may lie behind what was asked for, and concerns another entry.
      if (until === end) throw cause
      return read(window.subarray(0, end - start), start, end - start)
    })
    from = start
    to = start + length
    return window.subarray(0, end - start)
  }

  /** All of these bytes; a piece is valid until the one after the next is asked for. */
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

  const ahead = makeAhead()
  /** What `entry`, which was loaded, may hold: its sums tell. Undefined where it has to be inflated by itself. */
  const inflated = ({ dataStart, start }: ZipEntry) =>
    ahead(dataStart, start - from, window.subarray(0, to - from), from)

  return { bytes, load, pieces, inflated }
}

/** At most so much content is inflated in one call. A call has a fixed cost, which for a small entry equals that of its data. */
const aheadSize = 128 << 10
const gzipHeader = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])
const members = Buffer.allocUnsafeSlow(aheadSize)

/** Inflates the small entries that follow each other in memory, as the members of one gzip file, by their local headers alone. */
const makeAhead = () => {
  const contents = new Map<number, Buffer>()
  let output: Buffer | undefined
  let tried = 0

  return (dataStart: number, first: number, bytes: Buffer, from: number): Buffer | undefined => {
    if (dataStart < tried) return contents.get(dataStart)
    const found: Array<{ readonly dataStart: number; readonly size: number }> = []
    let used = 0
    let total = 0
    for (let at = first; at + 30 <= bytes.length && bytes.readUInt32LE(at) === 0x04034b50; ) {
      const data = at + 30 + bytes.readUInt16LE(at + 26) + bytes.readUInt16LE(at + 28)
      const size = bytes.readUInt32LE(at + 22)
      const end = data + bytes.readUInt32LE(at + 18)
      if (end > bytes.length || total + size > aheadSize || used + end - data + 18 > members.length) break
      if (bytes.readUInt16LE(at + 8) === 8) {
        used += gzipHeader.copy(members, used)
        used += bytes.copy(members, used, data, end)
        used += bytes.copy(members, used, at + 14, at + 18)
        used = members.writeUInt32LE(size, used)
        total += size
        found.push({ dataStart: from + data, size })
      }
      tried = from + end
      at = end
    }
    contents.clear()
    if (output !== undefined) release(output, output.length + 64)
    output = undefined
    if (found.length < 2 || total === 0) return undefined
    try {
      output = gunzipSync(members.subarray(0, used), { maxOutputLength: total, chunkSize: total + 64 })
    } catch {
      // One of them is damaged: each by itself, they show which.
      return undefined
    }
    let at = 0
    for (const { dataStart, size } of found) {
      contents.set(dataStart, output.subarray(at, at + size))
      at += size
    }
    return contents.get(dataStart)
  }
}

/** Entries up to this size, compressed and not, are inflated in one call: streams cost more than small data do. */
const wholeLimit = 1 << 20
const chunkSize = 512 * 1024

/** The bytes of an entry, whose header is checked, up to `to`: `dataStart`, or an `end` within {@link windowSize}. */
export const loadEntry = async (entry: ZipEntry, view: SliceView, to: number): Promise<Buffer> => {
  const bytes = view.bytes(entry.start, to) ?? (await view.load(entry.start, to))
  checkLocal(entry, bytes)
  return bytes
}

/**
 * Gives `take` the content of an entry, whose header is checked as well. A piece is valid until `take` ends. Wrong size or
 * CRC-32 is a failure behind the last piece, and of a small entry before the only one.
 */
export const takeContent = async (entry: ZipEntry, view: SliceView, take: (piece: Buffer) => void): Promise<void> => {
  const { dataStart, end, method, size } = entry
  if (isSmall(entry)) {
    const content = smallContent(entry, await loadEntry(entry, view, end), view)
    take(content)
    return releaseSmall(content, entry)
  }
  await loadEntry(entry, view, dataStart)
  const pieces = view.pieces(dataStart, end)
  let length = 0
  let checksum = 0
  for await (const piece of method === "store" ? pieces : inflate(pieces)) {
    length += piece.length
    need(length <= size, wrongSize)
    checksum = crc32(piece, checksum)
    take(piece)
    // zlib goes on in the same memory until it is full.
    if (method === "deflate" && piece.byteOffset + piece.length === chunkSize) release(piece, chunkSize)
  }
  checkSums(entry, length, checksum)
}

export const checkEntry = (entry: ZipEntry, view: SliceView): Promise<void> => takeContent(entry, view, () => {})

const isSmall = ({ compressedSize, size }: ZipEntry): boolean => compressedSize <= wholeLimit && size <= wholeLimit

const smallContent = (entry: ZipEntry, bytes: Buffer, view: SliceView): Buffer => {
  const known = entry.method === "store" ? undefined : view.inflated(entry)
  if (known?.length === entry.size && crc32(known) === entry.crc32) return known
  const raw = bytes.subarray(entry.dataStart - entry.start)
  const content = entry.method === "store" ? raw : inflateSmall(raw, entry.size)
  checkSums(entry, content.length, crc32(content))
  return content
}

/** What was stored lies in the slice's own memory, which stays. */
const releaseSmall = (content: Buffer, { method, size }: ZipEntry): void => {
  if (method === "deflate") release(content, smallChunk(size))
}

/** One byte more than is needed: where the content fills it, node allocates another one and calls zlib again. */
const smallChunk = (size: number): number => Math.max(size + 1, 64)

const inflateSmall = (raw: Buffer, size: number): Buffer => {
  try {
    return inflateRawSync(raw, { maxOutputLength: Math.max(size, 1), chunkSize: smallChunk(size) })
  } catch (cause) {
    throw codeOf(cause) === "ERR_BUFFER_TOO_LARGE" ? new Error(wrongSize, { cause }) : cause
  }
}

async function* inflate(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const inflater = createInflateRaw({ chunkSize })
  // A failure of the pieces reaches the loop as the inflater's failure.
  const fed = pipeline(pieces, inflater).catch(() => undefined)
  for await (const chunk of inflater) yield chunk
  await fed
}

const checkSums = (entry: ZipEntry, length: number, checksum: number): void => {
  need(length === entry.size, wrongSize)
  need(checksum === entry.crc32, "its CRC-32 is wrong")
}

const wrongSize = "its data has another size than it says"

export type ReadCounter = BigUint64Array

/** Milliseconds. */
const interval = 200

export const countRead = (counter: ReadCounter | undefined, bytes: number): void => {
  if (counter !== undefined) Atomics.add(counter, 0, BigInt(bytes))
}

/**
 * Runs `work` with a counter for what it reads of a file of `size` bytes, which `progress` gets now and then: at most `size`,
 * though some bytes are read twice, and exactly that in the end. Without `progress` nothing is counted.
 */
export const countingReads = async <A>(
  size: number,
  progress: ((bytes: number) => void) | undefined,
  work: (counter: ReadCounter | undefined) => Promise<A>
): Promise<A> => {
  if (progress === undefined) return work(undefined)
  const counter = new BigUint64Array(new SharedArrayBuffer(8))
  const timer = setInterval(() => progress(Math.min(Number(Atomics.load(counter, 0)), size)), interval)
  try {
    const result = await work(counter)
    progress(size)
    return result
  } finally {
    clearInterval(timer)
  }
}
