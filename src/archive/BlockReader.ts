import type { FileIdentity } from "../domain/ArchiveIndex.ts"
import { closeRead, openRegular } from "../services/regularFile.ts"
import { truncated, unreadable } from "./Damage.ts"

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
