import { constants, crc32, deflateRawSync } from "node:zlib"
import type { ManifestEntry } from "../source/Manifest.ts"
import { fill } from "../system/FileCalls.ts"
import { release, type WorkerJob } from "../system/WorkerJob.ts"
import type { Compression } from "./ArchiveIndex.ts"
import type { EntrySums, Method } from "./Headers.ts"
import type { Piece } from "./Reuse.ts"
import { openSource, type SourceFile, type SourceFolder, type SourceRequest } from "./SourceFile.ts"
import { archiveFailures } from "./ZipError.ts"

/** A file of at most this many bytes is compressed whole, a larger one in blocks of this size. */
const blockSize = 1024 * 1024
const windowSize = 32 * 1024
const sampleSize = 64 * 1024
/** Stored when it would keep more than this part of its size: 3 % are not worth the time to inflate it. */
const worthwhile = 0.97

const roomFor = (size: number): number => size + (size >> 8) + 256

/** The most memory for zlib's tables: the same sizes for 5 to 8 % less processor time. */
const memLevel = 9
/** zlib's output comes in pieces of at most this size: most data shrinks, and fresh memory is dear. */
const outputChunk = 256 * 1024

const chunkFor = (size: number): number => Math.min(roomFor(size), outputChunk)

/** Memory that content is read into. More than one piece only in process, where work that waits for a disk overlaps. */
const idle: Array<Buffer> = []

const withScratch = async <A>(use: (scratch: Buffer) => Promise<A>): Promise<A> => {
  const scratch = idle.pop() ?? Buffer.allocUnsafeSlow(windowSize + blockSize)
  try {
    return await use(scratch)
  } finally {
    idle.push(scratch)
  }
}

interface FilesInput {
  readonly folder: SourceFolder
  readonly files: ReadonlyArray<SourceRequest>
  readonly compression: Compression
  readonly slot: Slot
}

/** In the order of the files. */
export interface FilesOutput {
  readonly crc32: Uint32Array
  readonly compressedSize: Uint32Array
  readonly deflated: Uint8Array
}

export const compressFiles: WorkerJob<FilesInput, FilesOutput> = {
  name: "files",
  kind: "brief",
  failures: archiveFailures,
  work: ({ compression: { level, method }, files, folder, slot }, calls, signal) =>
    withScratch(async (scratch) => {
      const output = {
        crc32: new Uint32Array(files.length),
        compressedSize: new Uint32Array(files.length),
        deflated: new Uint8Array(files.length)
      }
      let at = 0
      for (const [index, request] of files.entries()) {
        signal.throwIfAborted()
        const file = await openSource(folder, request, calls)
        try {
          const { size } = request
          const content = scratch.subarray(0, size)
          file.check(await file.read(content))
          output.crc32[index] = crc32(content)
          const chunkSize = chunkFor(size)
          const deflated =
            size === 0 || level === 0 ? undefined : deflateRawSync(content, { level, memLevel, chunkSize })
          const shrinks = deflated !== undefined && (method === "deflate" || deflated.length < size * worthwhile)
          const data = shrinks ? deflated : content
          slot.set(data, at)
          at += data.length
          output.compressedSize[index] = data.length
          output.deflated[index] = shrinks ? 1 : 0
          if (deflated !== undefined) release(deflated, chunkSize)
        } finally {
          file.close()
        }
      }
      return output
    })
}

interface Block {
  readonly fd: number
  readonly start: number
  readonly length: number
  readonly last: boolean
  readonly method: Method
  readonly level: number
  readonly slot: Slot
}

/** `length`: uncompressed bytes that the file had for it. */
type CompressedBlock = Pick<EntrySums, "crc32" | "compressedSize"> & { readonly length: number }

/** Deflated blocks, joined, are one DEFLATE stream: each may refer to the 32 KiB before it and ends at a whole byte. */
export const compressBlock: WorkerJob<Block, CompressedBlock> = {
  name: "block",
  kind: "brief",
  failures: archiveFailures,
  work: (block, calls) =>
    withScratch(async (scratch) => {
      const { fd, slot, start } = block
      if (block.method === "store") {
        const content = Buffer.from(slot.buffer, slot.byteOffset, block.length)
        const length = await fill(calls, fd, content, start)
        return { length, crc32: crc32(content.subarray(0, length)), compressedSize: length }
      }
      const before = Math.min(windowSize, start)
      const read = await fill(calls, fd, scratch.subarray(0, before + block.length), start - before)
      const length = Math.max(0, read - before)
      const content = scratch.subarray(before, before + length)
      const data = deflateBlock(scratch.subarray(0, before), content, block)
      const compressedSize = data.length
      slot.set(data)
      release(data, chunkFor(length))
      return { length, crc32: crc32(content), compressedSize }
    })
}

export const deflateBlock = (window: Buffer, content: Buffer, block: Pick<Block, "last" | "level">): Buffer =>
  deflateRawSync(content, {
    level: block.level,
    memLevel,
    chunkSize: chunkFor(content.length),
    finishFlush: block.last ? constants.Z_FINISH : constants.Z_SYNC_FLUSH,
    ...(window.length === 0 ? {} : { dictionary: window })
  })

/** Finds out whether a large file shrinks: store or deflate, from four samples spread over it. */
export const sampleMethod: WorkerJob<{ readonly fd: number; readonly size: number }, Method> = {
  name: "sample",
  kind: "brief",
  failures: archiveFailures,
  work: ({ fd, size }, calls) =>
    withScratch(async (scratch) => {
      const part = scratch.subarray(0, sampleSize)
      let before = 0
      let after = 0
      for (const third of [0, 1, 2, 3]) {
        const count = await fill(calls, fd, part, Math.floor(((size - sampleSize) * third) / 3))
        before += count
        after += deflateRawSync(part.subarray(0, count), { level: 1, chunkSize: outputChunk }).length
      }
      return after < before * worthwhile ? "deflate" : "store"
    })
}

/** Small files and directories that go to a thread in one message: at most so many, and so many bytes. */
const batchEntries = 64
const batchBytes = 512 * 1024
/** Copied entries that may lie between them, which have to be in memory meanwhile. */
const mostCopied = 1024

/** Memory that all threads see: a thread's result goes there, so that nothing is sent or allocated anew. */
export type Slot = Uint8Array

export const makeSlot = (): Slot =>
  new Uint8Array(new SharedArrayBuffer(roomFor(Math.max(blockSize, batchBytes)) + batchEntries * roomFor(0)))

/** Pieces of the zip, one behind the other, whose small files are compressed together. */
export interface Batch {
  readonly kind: "batch"
  readonly pieces: ReadonlyArray<Piece>
}

export interface LargeFile {
  readonly entry: ManifestEntry
  readonly index: number
  opened: Promise<{ readonly file: SourceFile; readonly method: Method }> | undefined
}

export interface Part {
  readonly kind: "part"
  readonly large: LargeFile
  readonly start: number
  readonly length: number
  readonly last: boolean
}

export async function* units(plan: Iterable<Piece> | AsyncIterable<Piece>): AsyncGenerator<Batch | Part> {
  let pieces: Array<Piece> = []
  let fresh: Array<ManifestEntry> = []
  let from = 0
  let count = 0
  let bytes = 0
  let copied = 0

  const endPiece = (): void => {
    if (fresh.length > 0) pieces.push({ kind: "fresh", from, entries: fresh })
    fresh = []
  }
  const endBatch = (): Batch => {
    endPiece()
    const batch = { kind: "batch", pieces } as const
    pieces = []
    count = bytes = copied = 0
    return batch
  }

  for await (const piece of plan) {
    if (piece.kind === "copied") {
      endPiece()
      pieces.push(piece)
      copied += piece.entries.length
      if (count === 0 || copied >= mostCopied) yield endBatch()
      continue
    }
    for (const [offset, entry] of piece.entries.entries()) {
      const isLarge = entry.size > blockSize
      const isFull = isLarge || count === batchEntries || bytes + entry.size > batchBytes
      if (isFull && (count > 0 || pieces.length > 0)) yield endBatch()
      const index = piece.from + offset
      if (!isLarge) {
        if (fresh.length === 0) from = index
        fresh.push(entry)
        count += 1
        bytes += entry.size
        continue
      }
      const large: LargeFile = { entry, index, opened: undefined }
      for (let start = 0; start < entry.size; start += blockSize) {
        const length = Math.min(blockSize, entry.size - start)
        yield { kind: "part", large, start, length, last: start + length === entry.size }
      }
    }
  }
  if (count > 0 || pieces.length > 0) yield endBatch()
}
