import type { BigIntStats } from "node:fs"
import { release } from "../system/WorkerJob.ts"
import * as RawPath from "../text/RawPath.ts"
import { type Identity, type LatestTimes, lineHead, type ManifestEntry } from "./Manifest.ts"

/**
 * The entries of a folder. A thread collects them in columns (makeRows), in one piece of memory that goes to the main thread: 46
 * bytes for each entry and its line of the manifest's digest. Columns: mtimes (int64, ns), stamps (int64, pairs of inode and
 * ctime), sizes (float64), begin and end of the path in the text (uint32 each), devices (uint32, index of the list), modes
 * (uint16), text (the lines). The answers of the threads become blocks (openBlock), inOrder gives the order of the manifest, and
 * gather makes one block of them.
 */
export interface Columns {
  readonly data: Uint8Array
  readonly count: number
  readonly devices: ReadonlyArray<bigint>
  /** The mtimes that are no int64 of nanoseconds (before 1678 or after 2262). */
  readonly farTimes: ReadonlyArray<readonly [index: number, mtimeNs: bigint]>
  readonly latest: LatestTimes
}

const bytesEach = 46

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

/** Memory of earlier batches: new memory costs more than the work in it. */
const spare: Array<Layout> = []
const sparesKept = 4

const writtenAtOnce = 4096

/** Collects entries as numbers and bytes: objects would keep the garbage collector busy. */
export const makeRows = () => {
  const directories: Array<number> = []
  const farTimes: Array<readonly [number, bigint]> = []
  const devices: Array<bigint> = []
  let room = spare.pop() ?? roomFor(256, 32 * 256)
  let count = 0
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
    count: (): number => count,
    add: (
      path: RawPath.RawPath,
      kind: ManifestEntry["kind"],
      size: number,
      { ctimeNs, dev, ino, mode, mtimeNs }: Pick<BigIntStats, "mtimeNs" | "ino" | "ctimeNs" | "mode" | "dev">
    ): void => {
      if (count === room.modes.length) grow(2 * count, 2 * room.text.length)
      if (kind === "directory") directories.push(count)
      room.mtimes[count] = mtimeNs
      if (room.mtimes[count] !== mtimeNs) farTimes.push([count, mtimeNs])
      room.stamps[2 * count] = ino
      room.stamps[2 * count + 1] = ctimeNs
      if (!devices.includes(dev)) devices.push(dev)
      room.devices[count] = devices.indexOf(dev)
      room.sizes[count] = size
      const mode16 = Number(mode) & 0xffff
      room.modes[count] = mode16
      latest = laterTimes(latest, { ctimeNs, mtimeNs })
      pending += lineHead(kind, mode16, size, mtimeNs)
      room.starts[count] = written + pending.length
      pending += path
      room.ends[count] = written + pending.length
      pending += "\0"
      count += 1
      if (pending.length > writtenAtOnce) flush()
    },
    directories: (from: number): ReadonlyArray<number> => directories.filter((index) => index >= from),
    pack: (): Columns => {
      flush()
      const data = new Uint8Array(new ArrayBuffer(bytesEach * count + written))
      copyInto(layOut(data, count), room, count, written)
      if (spare.length < sparesKept) spare.push(room)
      return { data, count, devices, farTimes, latest }
    }
  }
}

export const laterTimes = (a: LatestTimes, b: LatestTimes): LatestTimes =>
  a.ctimeNs >= b.ctimeNs && a.mtimeNs >= b.mtimeNs
    ? a
    : { ctimeNs: max(a.ctimeNs, b.ctimeNs), mtimeNs: max(a.mtimeNs, b.mtimeNs) }

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b)

export type Block = ReturnType<typeof openBlock>

export const openBlock = ({ count, data, devices, farTimes }: Omit<Columns, "latest">) => {
  const columns = layOut(data, count)
  const { devices: places, ends, modes, mtimes, sizes, stamps, starts, text } = columns
  const far = new Map(farTimes)
  const device = (index: number): bigint => devices[places[index] ?? 0] ?? 0n
  const mtime = (index: number): bigint => far.get(index) ?? mtimes[index] ?? 0n
  const at = (column: Uint32Array, index: number): number => column[index] ?? 0
  const lineStart = (index: number): number => (index === 0 ? 0 : at(ends, index - 1) + 1)
  return {
    pathLength: (index: number) => at(ends, index) - at(starts, index),
    path: (index: number) => RawPath.fromLatin1(text.toString("latin1", starts[index], ends[index])),
    /** The digest's lines of these entries; `to` is the first behind them. */
    lines: (from: number, to: number): Uint8Array => text.subarray(lineStart(from), lineStart(to)),
    stamps: (from: number, to: number) => stamps.subarray(2 * from, 2 * to),
    devices: { list: devices, of: places },
    device,
    identity: (index: number): Identity => ({
      dev: device(index),
      ino: stamps[2 * index] ?? 0n,
      ctimeNs: stamps[2 * index + 1] ?? 0n,
      mtimeNs: mtime(index)
    }),
    entry: (index: number, path: RawPath.RawPath, name: string): ManifestEntry => {
      const mode = modes[index] ?? 0
      return {
        path,
        name,
        kind: (mode & formatBits) === directoryBits ? "directory" : "file",
        size: sizes[index] ?? 0,
        mtimeNs: mtime(index),
        mode
      }
    },
    columns,
    far,
    /** Frees the memory. */
    close: () => release(data)
  }
}

/** S_IFMT and S_IFDIR of `st_mode`. */
const formatBits = 0o170000
const directoryBits = 0o040000

/** Entries of a directory, in byte order: all of them, or a part of a large one. */
interface Piece {
  readonly block: Block
  /** `to` is the first behind them. */
  readonly from: number
  readonly to: number
  readonly children: ReadonlyArray<{ readonly index: number; readonly directory: Directory }>
}

export interface Directory {
  pieces: Array<Piece>
}

/** Entries that are neighbours in a block and in the manifest. */
export type Run = Pick<Piece, "block" | "from" | "to">

/** In a directory, before the entry with this index. */
interface Place {
  readonly piece: number
  readonly index: number
}

/**
 * All entries below a directory in byte order of their paths, without comparing them all: the content of `a` comes right before the
 * first neighbour above `a/`, which is not always the next one (`a`, `a.b`, `a/x`, `a0`).
 */
export const inOrder = (root: Directory): Array<Run> => {
  const runs: Array<Run> = []
  const visit = ({ pieces }: Directory): void => {
    let piece = 0
    let from = pieces[0]?.from ?? 0
    const goTo = (place: Place): void => {
      for (; piece <= place.piece; piece += 1) {
        const current = pieces[piece]
        if (current === undefined) return
        const to = piece === place.piece ? place.index : current.to
        if (to > from) runs.push({ block: current.block, from, to })
        from = to
        if (piece === place.piece) return
        from = pieces[piece + 1]?.from ?? 0
      }
    }
    for (const { directory, place } of descents(pieces)) {
      goTo(place)
      visit(directory)
    }
    goTo({ piece: pieces.length - 1, index: pieces.at(-1)?.to ?? 0 })
  }
  visit(root)
  return runs
}

/** The entries of the runs in their order, `count` of them, in one block without lines. Closes the blocks that they lie in. */
export const gather = (runs: ReadonlyArray<Run>, count: number): Omit<Block, "lines"> => {
  let length = 0
  for (const { block, from, to } of runs) {
    for (let index = from; index < to; index += 1) length += block.pathLength(index)
  }
  const data = new Uint8Array(new ArrayBuffer(bytesEach * count + length))
  const all = layOut(data, count)
  const devices: Array<bigint> = []
  const farTimes: Array<readonly [number, bigint]> = []
  let at = 0
  let written = 0
  for (const { block, from, to } of runs) {
    const { columns, far } = block
    all.mtimes.set(columns.mtimes.subarray(from, to), at)
    all.stamps.set(block.stamps(from, to), 2 * at)
    all.sizes.set(columns.sizes.subarray(from, to), at)
    all.modes.set(columns.modes.subarray(from, to), at)
    for (let index = from; index < to; index += 1, at += 1) {
      const device = block.device(index)
      if (!devices.includes(device)) devices.push(device)
      all.devices[at] = devices.indexOf(device)
      const mtimeNs = far.get(index)
      if (mtimeNs !== undefined) farTimes.push([at, mtimeNs])
      all.starts[at] = written
      written += columns.text.copy(all.text, written, columns.starts[index], columns.ends[index])
      all.ends[at] = written
    }
  }
  for (const { block } of runs) block.close()
  return openBlock({ count, data, devices, farTimes })
}

/** The directories in a directory, in the order of their content, with the place of it. */
const descents = (pieces: ReadonlyArray<Piece>) => {
  const found: Array<{ readonly directory: Directory; readonly place: Place }> = []
  for (const [piece, { block, children }] of pieces.entries()) {
    for (const { directory, index } of children) {
      found.push({ directory, place: placeOf(pieces, { piece, index: index + 1 }, `${block.path(index)}/`) })
    }
  }
  // Two at the same place: `a-/` before `a/`, so the later one of the two first. Sorting is stable.
  return found.reverse().sort((a, b) => a.place.piece - b.place.piece || a.place.index - b.place.index)
}

/** Before the first entry from `start` on whose path is above `bound`. */
const placeOf = (pieces: ReadonlyArray<Piece>, start: Place, bound: string): Place => {
  let { index, piece } = start
  for (;;) {
    const current = pieces[piece]
    if (current === undefined) return { piece, index }
    if (index < current.to && current.block.path(index) > bound) return { piece, index }
    index = firstAbove(current, index, bound)
    if (index < current.to || piece + 1 >= pieces.length) return { piece, index }
    piece += 1
    index = pieces[piece]?.from ?? 0
  }
}

const firstAbove = ({ block, to }: Piece, from: number, bound: string): number => {
  let low = from
  let high = to
  while (low < high) {
    const middle = (low + high) >>> 1
    if (block.path(middle) > bound) high = middle
    else low = middle + 1
  }
  return low
}
