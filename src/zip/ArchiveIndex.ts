import { createHash } from "node:crypto"
import { checkedPiece } from "../system/Digests.ts"
import type { Checksums } from "../system/Hasher.ts"

/** How an archive is compressed: `auto` stores what does not shrink, `deflate` deflates everything. */
export interface Compression {
  readonly method: "auto" | "deflate"
  /** 1 to 9, as zlib's; 0 stores everything. */
  readonly level: number
}

export const sameCompression = (a: Compression, b: Compression): boolean => a.method === b.method && a.level === b.level

/** `<target>/.zipper/index/ABCD`: what a published archive was made of, so that unchanged entries can be copied from it. */
export interface ArchiveIndex extends Compression {
  readonly sha256: string
  /** Inode and ctime (nanoseconds since 1970) of each entry, in pairs, in order; or zeros: {@link settledStamps}. */
  readonly stamps: BigInt64Array
}

export interface FileIdentity {
  readonly dev: number
  readonly ino: number
  readonly size: number
  readonly mtimeMs: number
  readonly ctimeMs: number
}

/** The current archive of a folder, which has been read and is what was published, for the next one to copy from. */
export interface PreviousArchive {
  readonly zip: string
  readonly file: FileIdentity
  readonly checksums: Checksums
  /** CRC-32 of each {@link checkedPiece} bytes of it and of the rest, from when it was read. */
  readonly pieces: Uint32Array
  readonly index: ArchiveIndex
}

/** The very same file, with nothing written to it in between as far as its times tell. */
export const isSameFile = (a: FileIdentity, b: FileIdentity): boolean =>
  a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs

/** Clocks are coarse, and writes through a memory map change ctime half a minute late (vm.dirty_expire_centisecs). */
const marginMillis = 15 * 60 * 1000

/** The time (nanoseconds since 1970) from which on a change may have left no trace, for what was listed at `millis`. */
export const unsettledFrom = (millis: number): bigint => BigInt(Math.floor(millis - marginMillis)) * 1_000_000n

/** Stamps that prove something: of files changed shortly before the run began (milliseconds since 1970) or later, zeros. */
export const settledStamps = (stamps: BigInt64Array, runStarted: number): BigInt64Array => {
  const limit = unsettledFrom(runStarted)
  const kept = stamps.slice()
  for (let at = 0; at + 1 < kept.length; at += 2) {
    const ctime = kept[at + 1]
    if (ctime === undefined || ctime >= limit) kept[at] = kept[at + 1] = 0n
  }
  return kept
}

/** Counts up when an entry's local header or data look different than before: older archives are not copied from then. */
const magic = Buffer.from("zipper index 1\n\0", "latin1")

/** Stamps are written as this machine has numbers in memory: on one of another order this is another number. */
const byteOrder = 0x01020304

const headerSize = 64
const digestSize = 32

const methods = ["auto", "deflate"] as const

/** Magic, byte order (4 bytes), method, level, 2 bytes of padding, entries (8), SHA-256 of the zip, stamps, SHA-256 of all. */
export const encode = (index: ArchiveIndex): Uint8Array => {
  const { byteLength } = index.stamps
  const bytes = Buffer.alloc(headerSize + byteLength + digestSize)
  magic.copy(bytes)
  new Uint32Array(bytes.buffer, bytes.byteOffset + 16, 1)[0] = byteOrder
  bytes.writeUInt8(methods.indexOf(index.method), 20)
  bytes.writeUInt8(index.level, 21)
  bytes.writeBigUInt64LE(BigInt(index.stamps.length / 2), 24)
  bytes.write(index.sha256, 32, "hex")
  bytes.set(new Uint8Array(index.stamps.buffer, index.stamps.byteOffset, byteLength), headerSize)
  digestOf(bytes).copy(bytes, headerSize + byteLength)
  return bytes
}

/** What {@link encode} made; undefined when it is damaged, or of another version or machine. */
export const decode = (content: Uint8Array): ArchiveIndex | undefined => {
  if (content.length < headerSize + digestSize) return undefined
  // A copy, so that numbers of 8 bytes lie where they may.
  const bytes = Buffer.from(new Uint8Array(content).buffer)
  const length = bytes.length - headerSize - digestSize
  const method = methods[bytes.readUInt8(20)]
  if (
    method === undefined ||
    !bytes.subarray(0, magic.length).equals(magic) ||
    new Uint32Array(bytes.buffer, 16, 1)[0] !== byteOrder ||
    bytes.readBigUInt64LE(24) * 16n !== BigInt(length) ||
    !digestOf(bytes).equals(bytes.subarray(headerSize + length))
  ) {
    return undefined
  }
  return {
    method,
    level: bytes.readUInt8(21),
    sha256: bytes.toString("hex", 32, headerSize),
    stamps: new BigInt64Array(bytes.buffer, headerSize, length / 8)
  }
}

const digestOf = (bytes: Buffer): Buffer =>
  createHash("sha256")
    .update(bytes.subarray(0, bytes.length - digestSize))
    .digest()
