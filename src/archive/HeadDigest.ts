import { createHash } from "node:crypto"
import * as EntryName from "../domain/EntryName.ts"
import type { ManifestEntry } from "../domain/Manifest.ts"
import type { EntryHead } from "./Entry.ts"
import { archiveSeconds } from "./Times.ts"

/** What is hashed at a time. */
const bufferSize = 64 * 1024

/** Of the fields of fixed length. */
const fixedLength = 24

/**
 * SHA-256 over heads in their order: equal for entries of a zip and of a manifest only if each of them has the
 * same name, kind, original path, size, time and mode. So one thread can tell another what it found without
 * sending it.
 */
interface HeadDigest {
  readonly head: (head: EntryHead) => void
  /** The same for a manifest's entry, without making a head of it. */
  readonly wanted: (entry: ManifestEntry) => void
  /** In hexadecimal. To be called once. */
  readonly end: () => string
}

export const makeDigest = (): HeadDigest => {
  const hash = createHash("sha256")
  let buffer = scratch.pop() ?? Buffer.allocUnsafeSlow(bufferSize)
  let used = 0

  const room = (length: number): void => {
    if (used + length <= buffer.length) return
    hash.update(buffer.subarray(0, used))
    used = 0
    if (length > buffer.length) buffer = Buffer.allocUnsafeSlow(length)
  }

  // Lengths stand before what they belong to, so no two lists of heads have the same bytes.
  const rest = (at: number, rawPath: string | undefined, size: number, seconds: number, mode: number) => {
    buffer.writeUInt32LE(used - at - 4, at)
    used = buffer.writeDoubleLE(size, used)
    used = buffer.writeUInt32LE(seconds >>> 0, used)
    used = buffer.writeUInt16LE(mode, used)
    used = buffer.writeInt32LE(rawPath === undefined ? -1 : rawPath.length, used)
    if (rawPath !== undefined) used += buffer.write(rawPath, used, "latin1")
  }

  return {
    head: ({ mode, name, rawPath, seconds, size }) => {
      room(fixedLength + name.length + (rawPath?.length ?? 0))
      const at = used
      used += 4
      used += name.copy(buffer, used)
      rest(at, rawPath, size, seconds, mode)
    },
    wanted: (entry) => {
      const { kind, mode, mtimeNs, name, path, size } = entry
      const rawPath = EntryName.isEscaped(entry) ? path : undefined
      room(fixedLength + 1 + name.length * 3 + (rawPath?.length ?? 0))
      const at = used
      used += 4
      used += buffer.write(name, used, "utf8")
      if (kind === "directory") used = buffer.writeUInt8(slash, used)
      rest(at, rawPath, size, archiveSeconds(mtimeNs), mode & 0xffff)
    },
    end: () => {
      hash.update(buffer.subarray(0, used))
      scratch.push(buffer)
      return hash.digest("hex")
    }
  }
}

const slash = 0x2f

/** Buffers that no digest uses at the moment. */
const scratch: Array<Buffer> = []
