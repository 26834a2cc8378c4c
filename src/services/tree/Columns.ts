import type { BigIntStats } from "node:fs"
import { type Identity, type LatestTimes, lineHead, type ManifestEntry } from "../../domain/Manifest.ts"
import * as RawPath from "../../domain/RawPath.ts"

/**
 * Entries as they travel between threads, and as they are kept until somebody asks for them: 46 bytes each and their
 * lines of the manifest's digest, all in one piece of memory. In it, one behind the other, in the byte order of
 * this machine: mtimes (int64, ns), stamps (int64, pairs of inode and ctime in ns), sizes (float64), where the
 * path begins in the text and where it ends (uint32 each), devices (uint32, places in the list), modes (uint16), text (the lines).
 */
export interface Columns {
  readonly data: Uint8Array
  readonly count: number
  /** `st_dev` of all entries, each once. */
  readonly devices: ReadonlyArray<bigint>
  /** The mtimes that are no int64 of nanoseconds (before 1678 or after 2262), with the entries they are of. */
  readonly farTimes: ReadonlyArray<readonly [index: number, mtimeNs: bigint]>
  readonly latest: LatestTimes
}

/** Gathers entries. */
export interface Rows {
  readonly count: () => number
  readonly add: (
    path: RawPath.RawPath,
    kind: ManifestEntry["kind"],
    size: number,
    stats: Pick<BigIntStats, "mtimeNs" | "ino" | "ctimeNs" | "mode" | "dev">
  ) => void
  /** Which of the entries, from this one on, are directories. */
  readonly directories: (from: number) => ReadonlyArray<number>
  readonly pack: () => Columns
}

const bytesEach = 46

/** Columns of `count` entries in their memory, and the text behind them. */
const layOut = (data: Uint8Array, count: number) => {
  const { buffer, byteOffset: at } = data
  return {
    mtimes: new BigInt64Array(buffer, at, count),
    stamps: new BigInt64Array(buffer, at + 8 * count, 2 * count),
    sizes: new Float64Array(buffer, at + 24 * count, count),
    starts: new Uint32Array(buffer, at + 32 * count, count),
    ends: new Uint32Array(buffer, at + 36 * count, count),
    devices: new Uint32Array(buffer, at + 40 * count, count),
    modes: new Uint16Array(buffer, at + 44 * count, count),
    text: Buffer.from(buffer, at + bytesEach * count, data.length - bytesEach * count)
  }
}

type Layout = ReturnType<typeof layOut>

const roomFor = (count: number, text: number): Layout =>
  layOut(new Uint8Array(new ArrayBuffer(bytesEach * count + text)), count)

const copyInto = (to: Layout, from: Layout, count: number, text: number): void => {
  to.mtimes.set(from.mtimes.subarray(0, count))
  to.stamps.set(from.stamps.subarray(0, 2 * count))
  to.sizes.set(from.sizes.subarray(0, count))
  to.starts.set(from.starts.subarray(0, count))
  to.ends.set(from.ends.subarray(0, count))
  to.devices.set(from.devices.subarray(0, count))
  to.modes.set(from.modes.subarray(0, count))
  to.text.set(from.text.subarray(0, text))
}

/** Memory to gather entries in, of batches that are packed: fresh memory costs more than what is done in it. */
const spare: Array<Layout> = []
const sparesKept = 4

/** Characters that are gathered before they are written to memory. */
const writtenAtOnce = 4096

/**
 * Into numbers and bytes at once: objects that live until all is packed are what the garbage collector of a thread
 * would be busy with, for longer than the directories are read.
 */
export const makeRows = (): Rows => {
  const directories: Array<number> = []
  const farTimes: Array<readonly [number, bigint]> = []
  const devices: Array<bigint> = []
  let room = spare.pop() ?? roomFor(256, 32 * 256)
  let count = 0
  /** Bytes of `room.text` that are written; the characters to come. */
  let written = 0
  let pending = ""
  let latest: LatestTimes = { ctimeNs: 0n, mtimeNs: 0n }

  const flush = (): void => {
    if (written + pending.length > room.text.length) grow(room.modes.length, 2 * (written + pending.length))
    written += room.text.write(pending, written, "latin1")
    pending = ""
  }
  const grow = (entries: number, text: number): void => {
    const wider = roomFor(entries, text)
    copyInto(wider, room, count, written)
    room = wider
  }

  return {
    count: () => count,
    add: (path, kind, size, { ctimeNs, dev, ino, mode, mtimeNs }) => {
      if (count === room.modes.length) grow(2 * count, 2 * room.text.length)
      if (kind === "directory") directories.push(count)
      room.mtimes[count] = mtimeNs
      if (room.mtimes[count] !== mtimeNs) farTimes.push([count, mtimeNs])
      room.stamps[2 * count] = ino
      room.stamps[2 * count + 1] = ctimeNs
      // Mostly there is one, and never many.
      if (!devices.includes(dev)) devices.push(dev)
      room.devices[count] = devices.indexOf(dev)
      room.sizes[count] = size
      const mode16 = Number(mode) & 0xffff
      room.modes[count] = mode16
      latest = later(latest, { ctimeNs, mtimeNs })
      pending += lineHead(kind, mode16, size, mtimeNs)
      room.starts[count] = written + pending.length
      pending += path
      room.ends[count] = written + pending.length
      pending += "\0"
      count += 1
      if (pending.length > writtenAtOnce) flush()
    },
    directories: (from) => directories.filter((index) => index >= from),
    pack: () => {
      flush()
      const data = new Uint8Array(new ArrayBuffer(bytesEach * count + written))
      copyInto(layOut(data, count), room, count, written)
      if (spare.length < sparesKept) spare.push(room)
      return { data, count, devices, farTimes, latest }
    }
  }
}

/** The later time of each kind. */
export const later = (a: LatestTimes, b: LatestTimes): LatestTimes =>
  a.ctimeNs >= b.ctimeNs && a.mtimeNs >= b.mtimeNs
    ? a
    : { ctimeNs: greatest([a.ctimeNs, b.ctimeNs]), mtimeNs: greatest([a.mtimeNs, b.mtimeNs]) }

/** The greatest of at least one number; Math.max takes no bigint. */
export const greatest = (numbers: ReadonlyArray<bigint>): bigint =>
  numbers.reduce((most, next) => {
    if (next > most) return next
    return most
  })

/** Entries in columns, one answer of a thread. */
export interface Block {
  /** The path within the folder. */
  readonly path: (index: number) => RawPath.RawPath
  /** The digest's lines of the entries from `from` up to `to`, without it. */
  readonly lines: (from: number, to: number) => Uint8Array
  /** Inodes and ctimes of these entries, in pairs. */
  readonly stamps: (from: number, to: number) => BigInt64Array
  /** Its `st_dev`. */
  readonly device: (index: number) => bigint
  /** What tells this entry from any other thing that may come to stand at its path. */
  readonly identity: (index: number) => Identity
  readonly entry: (index: number, path: RawPath.RawPath, name: string) => ManifestEntry
}

export const openBlock = ({ count, data, devices, farTimes }: Omit<Columns, "latest">): Block => {
  const { devices: places, ends, modes, mtimes, sizes, stamps, starts, text } = layOut(data, count)
  const far = new Map(farTimes)
  const device = (index: number): bigint => devices[places[index] ?? 0] ?? 0n
  const at = (column: Uint32Array, index: number): number => column[index] ?? 0
  const lineStart = (index: number): number => (index === 0 ? 0 : at(ends, index - 1) + 1)
  return {
    path: (index) => RawPath.fromLatin1(text.toString("latin1", starts[index], ends[index])),
    lines: (from, to) => text.subarray(lineStart(from), lineStart(to)),
    stamps: (from, to) => stamps.subarray(2 * from, 2 * to),
    device,
    identity: (index) => ({
      dev: device(index),
      ino: stamps[2 * index] ?? 0n,
      ctimeNs: stamps[2 * index + 1] ?? 0n,
      mtimeNs: far.get(index) ?? mtimes[index] ?? 0n
    }),
    entry: (index, path, name) => {
      const mode = modes[index] ?? 0
      return {
        path,
        name,
        kind: (mode & formatBits) === directoryBits ? "directory" : "file",
        size: sizes[index] ?? 0,
        mtimeNs: far.get(index) ?? mtimes[index] ?? 0n,
        mode
      }
    }
  }
}

/** S_IFMT and S_IFDIR of `st_mode`. */
const formatBits = 0o170000
const directoryBits = 0o040000
