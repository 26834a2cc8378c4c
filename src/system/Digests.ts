import { createHash } from "node:crypto"
import { closeSync, fstatSync, openSync, readSync } from "node:fs"
import { crc32 } from "node:zlib"
import { closeRead, openRegular, readOnly } from "./FileCalls.ts"
import type { WorkerJob } from "./WorkerJob.ts"

/** The previous archive is read, checked and copied in pieces of so many bytes. */
export const checkedPiece = 1 << 20

export type Algorithm = "md5" | "sha256"

interface HashInput {
  readonly path: string
  readonly algorithms: ReadonlyArray<Algorithm>
  readonly inPieces?: boolean
  /** Memory of {@link makeGrowth} that gets how many bytes are hashed. */
  readonly growth?: SharedArrayBuffer | undefined
}

export interface HashOutput {
  readonly digests: ReadonlyArray<string>
  readonly bytes: number
  /** CRC-32 of each {@link checkedPiece} bytes and of the rest, if they were asked for. */
  readonly pieces: Uint32Array
}

interface FollowInput extends HashInput {
  readonly growth: SharedArrayBuffer
}

export const hash: WorkerJob<HashInput, HashOutput> = {
  name: "hash",
  kind: "long",
  work: async ({ algorithms, growth, inPieces, path }, files, signal) => {
    const cell = growth === undefined ? undefined : new BigInt64Array(growth)
    const { file, stats } = await openRegular(path)
    try {
      const { end, update } = digestsBy(algorithms, inPieces)
      const buffer = Buffer.allocUnsafe(Math.min(pieceSize, stats.size + 1))
      for (let position = 0; ; ) {
        signal.throwIfAborted()
        const { bytesRead } = await files.read(file.fd, buffer, 0, buffer.length, position)
        if (bytesRead === 0) return end()
        update(buffer.subarray(0, bytesRead))
        position += bytesRead
        if (cell !== undefined) Atomics.store(cell, 1, BigInt(position))
      }
    } finally {
      await closeRead(file)
    }
  }
}

/** Reads behind the thread that writes the file, and stops this thread while there is nothing to read. */
export const follow: WorkerJob<FollowInput, HashOutput> = {
  name: "follow",
  kind: "follower",
  work: async ({ algorithms, growth, path }) => {
    const { end, update } = digestsBy(algorithms)
    const cell = new BigInt64Array(growth)
    waitForGrowth(cell, 1)
    const fd = openSync(path, readOnly)
    try {
      if (!fstatSync(fd).isFile()) throw new Error("is not a regular file")
      const buffer = Buffer.allocUnsafeSlow(pieceSize)
      let position = 0
      for (;;) {
        const grown = waitForGrowth(cell, position + buffer.length)
        const wanted = Math.min(buffer.length, grown.bytes - position)
        if (wanted > 0) {
          const bytesRead = readSync(fd, buffer, 0, wanted, position)
          if (bytesRead === 0) throw otherSize(position, grown.bytes)
          update(buffer.subarray(0, bytesRead))
          position += bytesRead
          Atomics.store(cell, 1, BigInt(position))
        } else {
          const { size } = fstatSync(fd)
          if (size !== grown.bytes || size !== position) throw otherSize(size, grown.bytes)
          return end()
        }
      }
    } finally {
      closeSync(fd)
    }
  }
}

export const otherSize = (found: number, written: number) =>
  new Error(`it has ${found} bytes where ${written} were written`)

/** Small enough to stay in a core's own cache between one algorithm and the next. */
const pieceSize = 256 * 1024

const digestsBy = (algorithms: ReadonlyArray<Algorithm>, inPieces = false) => {
  const all = algorithms.map((algorithm) => createHash(algorithm))
  const pieces = inPieces ? makePieces() : undefined
  let hashed = 0
  return {
    update: (bytes: Uint8Array): void => {
      hashed += bytes.length
      for (const each of all) each.update(bytes)
      pieces?.add(bytes)
    },
    end: (): HashOutput => ({
      digests: all.map((each) => each.digest("hex")),
      bytes: hashed,
      pieces: Uint32Array.from(pieces?.end() ?? [])
    })
  }
}

const makePieces = () => {
  const sums: Array<number> = []
  let sum = 0
  let length = 0
  return {
    add: (bytes: Uint8Array): void => {
      for (let at = 0; at < bytes.length; ) {
        const part = bytes.subarray(at, at + checkedPiece - length)
        sum = crc32(part, sum)
        at += part.length
        length += part.length
        if (length < checkedPiece) continue
        sums.push(sum)
        sum = 0
        length = 0
      }
    },
    end: (): ReadonlyArray<number> => (length > 0 ? [...sums, sum] : sums)
  }
}

interface Grown {
  readonly bytes: number
  readonly ended: boolean
}

/** Shares with another thread, through memory, how far a file is written. */
export const makeGrowth = () => {
  const memory = new SharedArrayBuffer(2 * BigInt64Array.BYTES_PER_ELEMENT)
  const cell = new BigInt64Array(memory)
  return {
    memory,
    set: ({ bytes, ended }: Grown): void => {
      // One number for both facts, so that they change together: twice the bytes, and one more at the end.
      Atomics.store(cell, 0, 2n * BigInt(bytes) + (ended ? 1n : 0n))
      Atomics.notify(cell, 0)
    },
    read: () => Number(Atomics.load(cell, 1))
  }
}

/** Stops this thread, which must not be the main one, until `wanted` bytes are final or the file has ended. */
const waitForGrowth = (cell: BigInt64Array, wanted: number): Grown => {
  for (;;) {
    const value = Atomics.load(cell, 0)
    const grown = { bytes: Number(value >> 1n), ended: (value & 1n) === 1n }
    if (grown.ended || grown.bytes >= wanted) return grown
    Atomics.wait(cell, 0, value)
  }
}
