import { Readable } from "node:stream"
import * as yauzl from "yauzl"
import { closeRead, openRegular } from "../system/FileCalls.ts"
import type { FileIdentity } from "./ArchiveIndex.ts"
import { truncated, unreadable } from "./ZipError.ts"

const blockSize = 256 * 1024

/** The central directory and the entries' data are read alternately, each of them forwards. */
const blocksKept = 4

/** Reads a file in large blocks, so that many small reads near each other cost one. */
export interface BlockReader {
  readonly size: number
  /** As it was when it was opened. */
  readonly identity: FileIdentity
  /** For whoever reads the same file on another thread; valid until it is closed. */
  readonly fd: number
  /** Fills the buffer; reading beyond the end is an error. Nothing is kept. */
  readonly fill: (buffer: Buffer, position: number) => Promise<Buffer>
  /** Exactly these bytes; reading beyond the end is an error. The buffer must not be changed. */
  readonly bytes: (position: number, length: number) => Promise<Buffer>
  /** The bytes from `start` to `end` in order. A piece is valid until the one after the next is asked for. */
  readonly pieces: (start: number, end: number) => AsyncIterable<Buffer>
  readonly close: () => Promise<void>
}

/** Opens the file at `path`; not through a symlink. */
export const openBlocks = async (path: string): Promise<BlockReader> => {
  const failed = unreadable(path)
  const { file, stats: identity } = await openRegular(path).catch(failed)
  const { size } = identity
  const blocks = new Map<number, Promise<Buffer>>()

  const fill = async (buffer: Buffer, position: number): Promise<Buffer> => {
    let done = 0
    while (done < buffer.length) {
      const { bytesRead } = await file.read(buffer, done, buffer.length - done, position + done).catch(failed)
      if (bytesRead === 0) throw truncated(path)
      done += bytesRead
    }
    return buffer
  }

  const block = (index: number): Promise<Buffer> => {
    const known = blocks.get(index)
    // Put back at the end: the first of the map is the one not used for longest.
    blocks.delete(index)
    const start = index * blockSize
    const wanted = known ?? fill(Buffer.allocUnsafe(Math.min(blockSize, size - start)), start)
    blocks.set(index, wanted)
    for (const oldest of blocks.keys()) {
      if (blocks.size <= blocksKept) break
      blocks.delete(oldest)
    }
    return wanted
  }

  const bytes = async (position: number, length: number): Promise<Buffer> => {
    if (position < 0 || position + length > size) throw truncated(path)
    if (length === 0) return Buffer.alloc(0)
    const first = Math.floor(position / blockSize)
    const last = Math.floor((position + length - 1) / blockSize)
    const offset = position - first * blockSize
    if (first === last) return (await block(first)).subarray(offset, offset + length)
    if (last > first + 1) return fill(Buffer.allocUnsafe(length), position)
    const joined = Buffer.concat([await block(first), await block(last)])
    return joined.subarray(offset, offset + length)
  }

  async function* pieces(start: number, end: number): AsyncGenerator<Buffer> {
    const buffers = [Buffer.allocUnsafe(blockSize), Buffer.allocUnsafe(blockSize)] as const
    let turn = 0
    for (let position = start; position < end; position += blockSize) {
      const buffer = turn === 0 ? buffers[0] : buffers[1]
      yield await fill(buffer.subarray(0, Math.min(blockSize, end - position)), position)
      turn = 1 - turn
    }
  }

  return { size, identity, fd: file.fd, fill, bytes, pieces, close: () => closeRead(file) }
}

/** The central directory as the end records describe it. */
interface Directory {
  readonly entries: number
  readonly start: number
  readonly size: number
}

/**
 * Every byte that follows a zip's central directory (APPNOTE 4.3.14 to 4.3.16): no comment, one disk, the zip64
 * records only where a number does not fit. Since nothing is left open, a reader can compare it as a whole.
 */
export const endRecords = (directory: Directory): Buffer => {
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(Math.min(directory.entries, 0xffff), 8)
  end.writeUInt16LE(Math.min(directory.entries, 0xffff), 10)
  end.writeUInt32LE(Math.min(directory.size, 0xffff_ffff), 12)
  end.writeUInt32LE(Math.min(directory.start, 0xffff_ffff), 16)
  const fits = directory.entries < 0xffff && directory.size < 0xffff_ffff && directory.start < 0xffff_ffff
  if (fits) return end

  const zip64 = Buffer.alloc(76)
  zip64.writeUInt32LE(0x06064b50, 0)
  zip64.writeBigUInt64LE(44n, 4)
  zip64.writeUInt16LE(versionMadeBy, 12)
  zip64.writeUInt16LE(45, 14)
  zip64.writeBigUInt64LE(BigInt(directory.entries), 24)
  zip64.writeBigUInt64LE(BigInt(directory.entries), 32)
  zip64.writeBigUInt64LE(BigInt(directory.size), 40)
  zip64.writeBigUInt64LE(BigInt(directory.start), 48)
  zip64.writeUInt32LE(0x07064b50, 56)
  zip64.writeBigUInt64LE(BigInt(directory.start + directory.size), 64)
  zip64.writeUInt32LE(1, 72)
  return Buffer.concat([zip64, end])
}

/** Unix, version 6.3 of the specification: what the entries say as well. */
export const versionMadeBy = (3 << 8) | 63

/** The only module that knows yauzl, whose version is pinned: it finds and parses the headers. */

/** An entry as its central directory record has it. */
export type CentralEntry = yauzl.Entry

/** What the end records say, not yet compared with anything. */
export interface ZipEnd {
  readonly directoryStart: number
  readonly entries: number
}

const options: yauzl.Options = {
  lazyEntries: true,
  // Names stay bytes: yauzl refuses legal ones (`C:x`) and changes others (backslash).
  decodeStrings: false,
  validateEntrySizes: true,
  autoClose: false
}

/** Reads the end records of the zip that `blocks` reads. */
export const readEnd = async (blocks: BlockReader): Promise<ZipEnd> => {
  const zip = await yauzl.fromRandomAccessReaderPromise(new FileReader(blocks), blocks.size, options)
  // The types call this number a boolean.
  return { directoryStart: Number(zip.readEntryCursor), entries: zip.entryCount }
}

/** yauzl looks for a zip64 locator before the end record, where the last record could look like one. */
const gap = 20

/**
 * The entries of `count` (at most 65,534) central directory records. In memory, where yauzl's callbacks are called
 * at once: reading from a file it takes five times as long. Throws at the first record that cannot be parsed.
 */
export function* parseRecords(records: Buffer, count: number): Generator<CentralEntry> {
  const found: Array<CentralEntry> = []
  const failures: Array<unknown> = []
  const zips: Array<yauzl.ZipFile> = []
  const reader = new MemoryReader(records, endRecords({ entries: count, start: 0, size: 0 }))
  yauzl.fromRandomAccessReader(reader, reader.size, options, (error, opened) => {
    if (error === null || error === undefined) zips.push(opened)
    else failures.push(error)
  })
  const [zip] = zips
  if (zip === undefined) throw failures[0]
  zip.on("entry", (entry: CentralEntry) => found.push(entry))
  zip.on("error", (error: unknown) => failures.push(error))
  for (let index = 0; index < count; index += 1) {
    zip.readEntry()
    if (failures.length > 0) throw failures[0]
    const entry = found.pop()
    // The only thing that yauzl answers later is a record that consists of the fixed fields alone.
    if (entry === undefined) throw new Error("it has no name")
    yield entry
  }
}

class FileReader extends yauzl.RandomAccessReader {
  readonly blocks: BlockReader

  constructor(blocks: BlockReader) {
    super()
    this.blocks = blocks
  }

  override read(
    target: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void
  ): void {
    this.blocks.bytes(position, length).then(
      (bytes) => {
        bytes.copy(target, offset)
        callback(null)
      },
      (cause: unknown) => callback(cause instanceof Error ? cause : new Error(String(cause)))
    )
  }

  override _readStreamForRange(start: number, end: number): Readable {
    return Readable.from(this.blocks.pieces(start, end), { objectMode: false })
  }

  // The file is its opener's to close.
  override close(callback: (error: Error | null) => void): void {
    setImmediate(callback, null)
  }
}

/** Records in memory as a zip of its own: the records, a gap, an end record. */
class MemoryReader extends yauzl.RandomAccessReader {
  readonly records: Buffer
  readonly end: Buffer
  readonly size: number

  constructor(records: Buffer, end: Buffer) {
    super()
    this.records = records
    this.end = Buffer.concat([Buffer.alloc(gap), end])
    this.size = records.length + this.end.length
  }

  override read(
    target: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void
  ): void {
    const { end, records } = this
    if (position + length > this.size) {
      callback(new Error("its record is cut off"))
      return
    }
    if (position + length <= records.length) {
      records.copy(target, offset, position, position + length)
    } else {
      const copied = position < records.length ? records.copy(target, offset, position) : 0
      const from = position + copied - records.length
      end.copy(target, offset + copied, from, from + length - copied)
    }
    callback(null)
  }
}
