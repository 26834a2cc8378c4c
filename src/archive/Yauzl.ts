import { pipeline, Readable } from "node:stream"
import { createInflateRaw, inflateRawSync } from "node:zlib"
import * as yauzl from "yauzl"
import type { BlockReader } from "./BlockReader.ts"

/** The only module that knows yauzl, whose version is pinned: it finds and parses the headers. */

/** An entry as its central directory record has it. */
export type CentralEntry = yauzl.Entry

/** An entry as its local header has it. */
export type LocalEntry = yauzl.LocalFileHeader

/** An opened zip. */
export interface ZipReader {
  /** Where the central directory begins, as the end record says. */
  readonly directoryStart: number
  /** In the order of the central directory. Once only. */
  readonly entries: () => AsyncIterable<CentralEntry>
  readonly local: (entry: CentralEntry) => Promise<LocalEntry>
  /**
   * The entry's uncompressed data; its length is checked, its CRC-32 is not. A chunk is valid until the next
   * is asked for.
   */
  readonly data: (entry: CentralEntry, local: LocalEntry) => AsyncIterable<Buffer>
}

/** Extra fields, by id. */
export const extraFields = (bytes: Buffer): ReadonlyArray<yauzl.ExtraField> => yauzl.parseExtraFields(bytes)

/** Entries up to this size, compressed and not, are inflated in one call: streams cost more than small data do. */
const wholeLimit = 1 << 20

/** Opens the zip that `blocks` reads. */
export const openZip = async (blocks: BlockReader): Promise<ZipReader> => {
  const zip = await yauzl.fromRandomAccessReaderPromise(new Adapter(blocks), blocks.size, {
    lazyEntries: true,
    // Names stay bytes: yauzl refuses legal ones (`C:x`) and changes others (backslash).
    decodeStrings: false,
    validateEntrySizes: true,
    autoClose: false
  })

  const local = (entry: CentralEntry): Promise<LocalEntry> =>
    new Promise((resolve, reject) => {
      zip.readLocalFileHeader(entry, {}, (error, header) =>
        error === null ? resolve(header) : reject(error)
      )
    })

  // Not through yauzl's streams: those cost three times as much, for small data and for large.
  async function* whole(entry: CentralEntry, start: number): AsyncGenerator<Buffer> {
    const raw = await blocks.bytes(start, entry.compressedSize)
    const limit = { maxOutputLength: Math.max(entry.uncompressedSize, 1) }
    yield entry.compressionMethod === 0 ? raw : inflateRawSync(raw, limit)
  }

  const streamed = (entry: CentralEntry, start: number): AsyncIterable<Buffer> => {
    const raw = blocks.pieces(start, start + entry.compressedSize)
    return entry.compressionMethod === 0 ? raw : inflate(raw)
  }

  async function* data(entry: CentralEntry, header: LocalEntry): AsyncGenerator<Buffer> {
    const small = entry.compressedSize <= wholeLimit && entry.uncompressedSize <= wholeLimit
    let size = 0
    for await (const chunk of (small ? whole : streamed)(entry, header.fileDataStart)) {
      size += chunk.length
      if (size > entry.uncompressedSize) break
      yield chunk
    }
    if (size !== entry.uncompressedSize) throw new Error("its data has another size than it says")
  }

  // The types call this number a boolean.
  return { directoryStart: Number(zip.readEntryCursor), entries: () => zip.eachEntry(), local, data }
}

async function* inflate(raw: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const inflater = createInflateRaw({ chunkSize: 256 * 1024 })
  // A failure of the pieces reaches the loop below as the inflater's; the callback has nothing to add.
  pipeline(raw, inflater, () => undefined)
  for await (const chunk of inflater) yield chunk
}

class Adapter extends yauzl.RandomAccessReader {
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
