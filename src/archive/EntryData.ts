import { pipeline } from "node:stream/promises"
import { crc32, createInflateRaw, inflateRawSync } from "node:zlib"
import { codeOf } from "../domain/Errno.ts"
import { need } from "./Damage.ts"
import type { EntrySums } from "./Entry.ts"
import { release } from "./Release.ts"

/** Entries up to this size, compressed and not, are inflated in one call: streams cost more than small data do. */
const wholeLimit = 1 << 20

/** What a stream inflates at a time: with less, going back and forth costs as much as inflating. */
const chunkSize = 512 * 1024

const chunkFor = (size: number): number => Math.max(size, 64)

/** Whether {@link inflateWhole} is the way. */
export const isSmall = (sums: EntrySums): boolean =>
  sums.compressedSize <= wholeLimit && sums.size <= wholeLimit

/** The content of a deflated entry that is small. Throws when there is more of it than the entry says. */
export const inflateWhole = (raw: Buffer, { size }: EntrySums): Buffer => {
  try {
    return inflateRawSync(raw, { maxOutputLength: Math.max(size, 1), chunkSize: chunkFor(size) })
  } catch (cause) {
    throw codeOf(cause) === "ERR_BUFFER_TOO_LARGE" ? new Error(wrongSize, { cause }) : cause
  }
}

/** Gives the memory of what {@link inflateWhole} gave back: it is not used any more. */
export const releaseWhole = (content: Buffer, { size }: EntrySums): void => release(content, chunkFor(size))

/** The content of a deflated entry that is not small. A piece may be used again once the next is asked for. */
export async function* inflatePieces(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const inflater = createInflateRaw({ chunkSize })
  // What fails here reaches the loop as the inflater's failure.
  const fed = pipeline(pieces, inflater).catch(() => undefined)
  for await (const chunk of inflater) yield chunk
  await fed
}

/** The same for a piece of {@link inflatePieces}. zlib goes on in the same memory until it is full. */
export const releasePiece = (piece: Buffer): void => {
  if (piece.byteOffset + piece.length === chunkSize) release(piece, chunkSize)
}

/** Gathers size and CRC-32 of content, to be compared with what the entry says. */
export const makeSums = ({ crc32: expected, size }: EntrySums) => {
  let length = 0
  let checksum = 0
  return {
    /** Throws as soon as there is too much. */
    add: (chunk: Buffer): void => {
      length += chunk.length
      need(length <= size, wrongSize)
      checksum = crc32(chunk, checksum)
    },
    check: (): void => {
      need(length === size, wrongSize)
      need(checksum === expected, "its CRC-32 is wrong")
    }
  }
}

const wrongSize = "its data has another size than it says"
