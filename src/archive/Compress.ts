import { pipeline } from "node:stream"
import { crc32, createDeflateRaw, deflateRawSync } from "node:zlib"
import type { EntrySums, Method } from "./Entry.ts"
import type { SourceFile } from "./SourceFile.ts"

/** How files are compressed: `auto` stores what does not shrink, `deflate` deflates everything. */
export interface Compression {
  readonly method: "auto" | "deflate"
  /** 1 to 9, as zlib's; 0 stores everything. */
  readonly level: number
}

/** A file of at most this many bytes is compressed whole, in memory. */
export const wholeLimit = 256 * 1024

const blockSize = 256 * 1024

const sampleSize = 64 * 1024

/** Stored when it would keep more than this part of its size: 3 % are not worth the time to inflate it. */
const worthwhile = 0.97

/** Compressed data of one file and what its headers have to say of it. */
export interface Compressed {
  readonly sums: EntrySums
  readonly data: Buffer
}

/** Compresses a small file. */
export const compressWhole = async (
  file: SourceFile,
  size: number,
  compression: Compression
): Promise<Compressed> => {
  const content = Buffer.allocUnsafe(size)
  file.check(await file.read(content, 0))
  const checksum = crc32(content)
  const stored = {
    sums: { method: "store", crc32: checksum, size, compressedSize: size },
    data: content
  } as const
  if (size === 0 || compression.level === 0) return stored
  const data = deflateRawSync(content, { level: compression.level })
  return compression.method === "deflate" || data.length < size * worthwhile
    ? { sums: { method: "deflate", crc32: checksum, size, compressedSize: data.length }, data }
    : stored
}

/** Data of a large file on its way: chunks first, then what is known of them. */
interface Compressing {
  readonly chunks: AsyncIterable<Buffer>
  /** Complete once `chunks` has ended. */
  readonly sums: () => EntrySums
}

/** Compresses a large file block by block, never more than a few blocks in memory. */
export const compressBlocks = async (
  file: SourceFile,
  size: number,
  compression: Compression,
  signal: AbortSignal
): Promise<Compressing> => {
  const method = await chooseMethod(file, size, compression)
  let checksum = 0
  let bytesRead = 0
  let compressedSize = 0

  async function* blocks(): AsyncGenerator<Buffer> {
    // In turn: the compressor may still look at one while the next is read.
    const buffers = [Buffer.allocUnsafe(blockSize), Buffer.allocUnsafe(blockSize)] as const
    for (let turn = 0; bytesRead < size; turn = 1 - turn) {
      signal.throwIfAborted()
      const block = (turn === 0 ? buffers[0] : buffers[1]).subarray(0, Math.min(blockSize, size - bytesRead))
      const count = await file.read(block, bytesRead)
      bytesRead += count
      if (count < block.length) break
      checksum = crc32(block, checksum)
      yield block
    }
    file.check(bytesRead)
  }

  async function* counted(): AsyncGenerator<Buffer> {
    const source = method === "store" ? blocks() : deflate(blocks(), compression.level)
    for await (const chunk of source) {
      compressedSize += chunk.length
      yield chunk
    }
  }

  return { chunks: counted(), sums: () => ({ method, crc32: checksum, size, compressedSize }) }
}

async function* deflate(blocks: AsyncIterable<Buffer>, level: number): AsyncGenerator<Buffer> {
  const deflater = createDeflateRaw({ level, chunkSize: blockSize })
  // It takes the next block when zlib is done with the one before. A failure of the blocks reaches the loop below as
  // the deflater's; the callback has nothing to add.
  pipeline(blocks, deflater, () => undefined)
  for await (const chunk of deflater) yield chunk
}

/** Store or deflate, from four samples spread over the file. */
const chooseMethod = async (file: SourceFile, size: number, compression: Compression): Promise<Method> => {
  if (compression.level === 0) return "store"
  if (compression.method === "deflate") return "deflate"
  let before = 0
  let after = 0
  for (const part of [0, 1, 2, 3]) {
    const sample = Buffer.allocUnsafe(sampleSize)
    const count = await file.read(sample, Math.floor(((size - sampleSize) * part) / 3))
    before += count
    after += deflateRawSync(sample.subarray(0, count), { level: 1 }).length
  }
  return after < before * worthwhile ? "deflate" : "store"
}
