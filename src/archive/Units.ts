import type { ManifestEntry } from "../domain/Manifest.ts"
import { blockSize, roomFor } from "./Compress.ts"
import type { Method } from "./Entry.ts"
import type { Piece } from "./Reuse.ts"
import type { SourceFile } from "./SourceFile.ts"

/** Small files and directories that go to a thread in one message: at most so many, and so many bytes. */
const batchEntries = 64
const batchBytes = 512 * 1024

/** Copied entries that may lie between them, which have to be in memory meanwhile. */
const mostCopied = 2048

/** Enough for a batch and for a block, whatever becomes of them. */
export const slotSize = roomFor(Math.max(blockSize, batchBytes)) + batchEntries * roomFor(0)

/** Pieces of the zip, one behind the other, whose small files are compressed together. */
export interface Batch {
  readonly kind: "batch"
  readonly pieces: ReadonlyArray<Piece>
}

/** A large file, opened when its first block is begun. */
export interface Large {
  readonly entry: ManifestEntry
  /** Which of the manifest's entries it is. */
  readonly index: number
  opened: Promise<{ readonly file: SourceFile; readonly method: Method }> | undefined
}

/** A block of a large file. */
export interface Part {
  readonly kind: "part"
  readonly large: Large
  readonly start: number
  readonly length: number
  readonly last: boolean
}

/** What is worked on at a time, in the order of the zip. */
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
      if (copied >= mostCopied) yield endBatch()
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
      const large: Large = { entry, index, opened: undefined }
      for (let start = 0; start < entry.size; start += blockSize) {
        const length = Math.min(blockSize, entry.size - start)
        yield { kind: "part", large, start, length, last: start + length === entry.size }
      }
    }
  }
  if (count > 0 || pieces.length > 0) yield endBatch()
}
