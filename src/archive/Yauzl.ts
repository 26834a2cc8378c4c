import { Readable } from "node:stream"
import * as yauzl from "yauzl"
import type { BlockReader } from "./BlockReader.ts"
import { endRecords } from "./EndRecord.ts"

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
