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
export const encode = ({ level, method, sha256, stamps }: ArchiveIndex): ReadonlyArray<Uint8Array> => {
  const header = Buffer.alloc(headerSize)
  magic.copy(header)
  new Uint32Array(header.buffer, header.byteOffset + 16, 1)[0] = byteOrder
  header.writeUInt8(methods.indexOf(method), 20)
  header.writeUInt8(level, 21)
  header.writeBigUInt64LE(BigInt(stamps.length / 2), 24)
  header.write(sha256, 32, "hex")
  const bytes = Buffer.from(stamps.buffer, stamps.byteOffset, stamps.byteLength)
  return [header, bytes, createHash("sha256").update(header).update(bytes).digest()]
}

/** What {@link encode} made; undefined when it is damaged, or of another version or machine. */
export const decode = (content: Uint8Array): ArchiveIndex | undefined => {
  if (content.length < headerSize + digestSize) return undefined
  // A copy where numbers of 8 bytes do not lie where they may.
  const { buffer, byteLength, byteOffset } = content.byteOffset % 8 === 0 ? content : new Uint8Array(content)
  const bytes = Buffer.from(buffer, byteOffset, byteLength)
  const length = bytes.length - headerSize - digestSize
  const method = methods[bytes.readUInt8(20)]
  if (
    method === undefined ||
    !bytes.subarray(0, magic.length).equals(magic) ||
    new Uint32Array(buffer, byteOffset + 16, 1)[0] !== byteOrder ||
    bytes.readBigUInt64LE(24) * 16n !== BigInt(length) ||
    !createHash("sha256").update(bytes.subarray(0, -digestSize)).digest().equals(bytes.subarray(-digestSize))
  ) {
    return undefined
  }
  return {
    method,
    level: bytes.readUInt8(21),
    sha256: bytes.toString("hex", 32, headerSize),
    stamps: new BigInt64Array(buffer, byteOffset + headerSize, length / 8)
  }
}
