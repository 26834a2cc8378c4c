import { type FileCalls, fill } from "../workers/FileCalls.ts"
import { need, truncated, unreadable } from "./Damage.ts"
import { countRead, type ReadCounter } from "./ReadCounter.ts"
import type { Slice } from "./Slices.ts"

/** Part of a zip, for a thread that reads it. */
export interface SliceSource extends Pick<Slice, "records" | "content"> {
  /** The path of the zip, for messages. */
  readonly zip: string
  /** The zip, opened. */
  readonly fd: number
  /** Counts what is read. */
  readonly counter?: ReadCounter | undefined
}

/** An entry up to this size, header included, is in memory at once; so are the records of a slice. */
export const windowSize = (1 << 20) + (128 << 10)

/** What is read at a time, where an entry is not larger: little enough to stay in the processor's cache. */
const readAhead = 256 << 10

/** Buffers that no slice uses at the moment: fresh memory costs more than what is done in it. */
const windows: Array<Buffer> = []

/**
 * Reads the slice's records, and gives `use` a way to its content. Both are valid until `use` ends, and nothing is
 * read any more after that. Failures to read are ArchiveErrors.
 */
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
    // Fills as much of the target as there is, at least `needed` bytes.
    const read = async (target: Buffer, position: number, needed: number): Promise<number> => {
      signal.throwIfAborted()
      need(!ended, "nobody wants more of it")
      const filled = fill(calls, input.fd, target, position)
      reading = filled
      const length = await filled.catch(unreadable(input.zip))
      if (length < needed) throw truncated(input.zip)
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

/** A file, read forwards. */
export interface SliceView {
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
): SliceView => {
  let from = 0
  let to = 0

  const load = async (start: number, end: number): Promise<Buffer> => {
    const until = Math.max(end, Math.min(start + readAhead, limit))
    to = from
    // Where the slice ends is only known for good once all of its entries are.
    const length = await read(window.subarray(0, until - start), start, end - start).catch(
      (cause: unknown) => {
        // What cannot be read may lie behind what was asked for, and is then somebody else's.
        if (until === end) throw cause
        return read(window.subarray(0, end - start), start, end - start)
      }
    )
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
