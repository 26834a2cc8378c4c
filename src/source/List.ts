import type { BigIntStats } from "node:fs"
import * as fs from "node:fs"
import * as Data from "effect/Data"
import { codeOf, explain, isTransientCode } from "../system/Errno.ts"
import { type DirectoryCalls, type DirectoryPath, Unseen } from "../system/FileCalls.ts"
import type { WorkerJob } from "../system/WorkerJob.ts"
import * as RawPath from "../text/RawPath.ts"
import * as LeftOut from "./LeftOut.ts"
import { type Identity, type LatestTimes, lineHead, type ManifestEntry } from "./Manifest.ts"
import { closeRead, folderOnly, isListed, mayBeListed, openWithin, pathOfOpen } from "./OpenWithin.ts"
import type { Graft, SourceView } from "./SourceView.ts"

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

/** A folder or file of the source could not be read; the message names it. */
export class TreeError extends Data.TaggedError("TreeError")<{
  readonly path: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** Whether a failure is one of ours; anything else is a defect. */
export const isTreeError = (cause: unknown): cause is TreeError => cause instanceof TreeError

/** Something that is no file and no directory. */
export interface Skipped {
  readonly path: RawPath.RawPath
  readonly type: string
}

/** Of what is passed over, so many are named in the log; the rest is counted. */
export const namesLogged = 100

/** What it is that is passed over, for the log. */
export const typeOf = (stats: BigIntStats): string =>
  stats.isSymbolicLink()
    ? "symbolic link"
    : stats.isFIFO()
      ? "fifo"
      : stats.isSocket()
        ? "socket"
        : stats.isFile()
          ? "file"
          : stats.isDirectory()
            ? "directory"
            : "device"

/** The same, counted. A directory is passed over only where it shows snapshots, whose files are not left out. */
export const kindLeftOut = (stats: BigIntStats): LeftOut.LeftOut => ({
  symlinks: stats.isSymbolicLink() ? 1 : 0,
  fifos: stats.isFIFO() ? 1 : 0,
  sockets: stats.isSocket() ? 1 : 0,
  devices: stats.isBlockDevice() || stats.isCharacterDevice() ? 1 : 0
})

/** Why a name that a folder gives twice cannot be archived. */
export const twiceText = (shown: RawPath.RawPath): string =>
  `${RawPath.display(shown)} is there twice: the file system lists that name two times, and only one of them can be read. Look for it in each branch of the file system (mergerfs, FUSE), and rename or remove one`

/** Another directory has come to the place of the one that was listed. */
export const replaced = (shown: RawPath.RawPath, path: RawPath.RawPath): TreeError =>
  new TreeError({
    path: RawPath.display(path),
    message: `${RawPath.display(shown)} was replaced by another directory while it was listed`,
    transient: true
  })

const gone: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EMLINK"])

/** `action` failed on `shown` (for people), which lies at `path`. */
export const failed = (
  view: Pick<SourceView, "frozen">,
  action: string,
  shown: RawPath.RawPath,
  path: RawPath.RawPath,
  cause: unknown
): TreeError => {
  const code = codeOf(cause)
  // ENOTDIR, ELOOP and EMLINK: a file or a symlink has come to the place of a directory.
  const vanished = !view.frozen && code !== undefined && gone.has(code)
  return new TreeError({
    path: RawPath.display(path),
    message: vanished
      ? `${RawPath.display(shown)} vanished while it was listed`
      : `cannot ${action} ${shown === "" ? RawPath.display(path) : RawPath.display(shown)}: ${explain(cause)}`,
    transient: vanished || isTransientCode(code),
    cause
  })
}

/** `.zfs` of a live dataset that shows it (snapdir=visible): all its snapshots are below. Its inode is fixed, on Linux and FreeBSD. */
export const isControlDirectory = (name: RawPath.RawPath, stats: BigIntStats): boolean =>
  name === ".zfs" && stats.isDirectory() && (stats.ino === 0xffff_ffff_ffffn || stats.ino === 1n)

/** Of the root of a subvolume in a snapshot that does not hold the subvolume; what is mounted has another one. */
const emptySubvolume = 2n
const btrfs = 0x9123683en
const inside = RawPath.fromText(".")

/** Whether an empty directory stands where the volume that a btrfs snapshot was taken of has a nested subvolume. */
export const isHollow = async (
  real: RawPath.RawPath,
  path: RawPath.RawPath,
  calls: DirectoryCalls
): Promise<boolean> => {
  // The path of a directory that is open is a symlink in /proc, which has an inode number of its own.
  const at = RawPath.toBuffer(RawPath.join(real, inside))
  try {
    return (await calls.lstat(at)).ino === emptySubvolume && (await calls.fileSystemType(at)) === btrfs
  } catch (cause) {
    throw failed({ frozen: false }, "see what file system is at", path, real, cause)
  }
}

/** The child datasets of one folder. */
export interface Grafts {
  /** Where each one really is, by its path relative to the source. */
  readonly at: ReadonlyMap<RawPath.RawPath, RawPath.RawPath>
  /** Those mounted right in a directory: name, and where it really is. */
  readonly inside: (
    parent: RawPath.RawPath
  ) => ReadonlyArray<readonly [name: RawPath.RawPath, root: RawPath.RawPath]>
}

/** The child datasets in the folder `top`, by place and by the directory that they are mounted in. */
export const graftsWithin = (grafts: ReadonlyArray<Graft>, top: RawPath.RawPath): Grafts => {
  const at = new Map<RawPath.RawPath, RawPath.RawPath>()
  const byParent = new Map<string, Array<readonly [RawPath.RawPath, RawPath.RawPath]>>()
  for (const graft of grafts) {
    if (RawPath.relativeTo(top, graft.at) === undefined || at.has(graft.at)) continue
    at.set(graft.at, graft.root)
    const slash = graft.at.lastIndexOf("/")
    const parent = graft.at.slice(0, Math.max(slash, 0))
    const name = RawPath.fromLatin1(graft.at.slice(slash + 1))
    byParent.set(parent, [...(byParent.get(parent) ?? []), [name, graft.root]])
  }
  return { at, inside: (parent) => byParent.get(parent) ?? [] }
}

/**
 * An empty directory of a snapshot may be where another file system is mounted: then its files are not in the
 * snapshot, and an archive without them would be no backup. The live directory tells. `path` is relative to the source.
 */
export const mustBeEmpty = async (
  view: Pick<SourceView, "frozen" | "livePath">,
  path: RawPath.RawPath,
  calls: DirectoryCalls
): Promise<void> => {
  if (!view.frozen || view.livePath === undefined) return
  const live = RawPath.join(view.livePath, path)
  const parent = RawPath.fromLatin1(live.slice(0, Math.max(live.lastIndexOf("/"), 1)))
  const device = (at: RawPath.RawPath) =>
    calls.lstat(RawPath.toBuffer(at)).then(
      (stats) => stats.dev,
      (cause: unknown) => {
        // Renamed or removed since: then nothing is mounted on it either.
        if (codeOf(cause) === "ENOENT" || codeOf(cause) === "ENOTDIR") return undefined
        throw failed(view, "see whether a file system is mounted on", path, at, cause)
      }
    )
  const own = await device(live)
  if (own === undefined || own === (await device(parent))) return
  throw new TreeError({
    path: RawPath.display(live),
    message: `${RawPath.display(path)} is a mount point of another file system, which the snapshot does not cover; unmount it or mount it outside the source`,
    transient: false
  })
}

/** A directory of the source, or a piece of a large one that is listed already. Paths hold a byte a character. */
export interface ToList {
  /** Relative to the source. */
  readonly path: RawPath.RawPath
  /** Where it really is. */
  readonly real: RawPath.RawPath
  /** A child dataset is mounted on it. */
  readonly mounted: boolean
  /** The child datasets that are mounted right in it: name, and where it really is. */
  readonly grafts: ReadonlyArray<readonly [name: RawPath.RawPath, root: RawPath.RawPath]>
  /** Which directory was listed in the one above, where another one may have come to its place since. */
  readonly listed: Identity | undefined
  /** Of a piece: the names to look at, in order, with `/` between them. */
  readonly names?: string
}

/** Look at everything that lies in directories. */
export interface ListInput {
  /** The view's, see SourceView. */
  readonly frozen: boolean
  readonly livePath: RawPath.RawPath | undefined
  /** Where the folder really is. */
  readonly root: RawPath.RawPath
  /** Of the paths relative to the source, how many characters lead to the folder: they are left out of the answer. */
  readonly within: number
  /** No directory is begun once there are so many entries. */
  readonly enough: number
  readonly directories: ReadonlyArray<ToList>
}

/** What lies in a directory: entries of the answer, or the pieces that it has to be asked for in. */
export interface Listed {
  /** Its entries are those from here on, in byte order … */
  readonly from: number
  /** … up to this one, without it. */
  readonly to: number
  /** Those of them that are directories. */
  readonly directories: ReadonlyArray<number>
  /** Too many names for one answer: see ToList.names. Then there are no entries. */
  readonly pieces: ReadonlyArray<string>
}

/** What was found. */
export interface Found extends Columns {
  /** In the order of the input's directories, and perhaps not for the last ones. */
  readonly listed: ReadonlyArray<Listed>
  /** All paths are ASCII. */
  readonly ascii: boolean
  readonly files: number
  /** Sum of the files' sizes. */
  readonly bytes: number
  readonly hardLinks: boolean
  readonly skipped: number
  readonly leftOut: LeftOut.LeftOut
  /** The first of the skipped. */
  readonly skippedNames: ReadonlyArray<Skipped>
  /** Directories on another file system than the one that they lie in, within the folder. */
  readonly mounts: ReadonlyArray<RawPath.RawPath>
  /** Directories that are empty because a btrfs snapshot does not hold the subvolume that belongs there. */
  readonly hollow: ReadonlyArray<RawPath.RawPath>
}

/** As data, since an error loses its class between threads. */
export type ListOutput =
  | Found
  | {
      readonly failure: { readonly path: string; readonly message: string; readonly transient: boolean }
      /** Which of the input's directories could not be listed. The others may be asked for again. */
      readonly directory: number
    }

/** A directory of more names is shared out. */
const pieceNames = 1024

/** Every name is asked for with lstat: what readdir says of types may be "unknown". */
export const list: WorkerJob<ListInput, ListOutput> = {
  name: "list",
  kind: "brief",
  work: async (input, files, signal) => {
    const batch = makeBatch(input, files)
    let current = 0
    try {
      for (const [index, directory] of input.directories.entries()) {
        current = index
        if (batch.rows.count() >= input.enough) break
        signal.throwIfAborted()
        await batch.list(directory, signal)
      }
    } catch (cause) {
      if (!(cause instanceof TreeError)) throw cause
      const { message, path, transient } = cause
      return { failure: { path, message, transient }, directory: current }
    }
    return batch.found()
  }
}

const makeBatch = (input: ListInput, calls: DirectoryCalls) => {
  const rows: Rows = makeRows()
  const listed: Array<Listed> = []
  const skippedNames: Array<Skipped> = []
  const mounts: Array<RawPath.RawPath> = []
  const hollow: Array<RawPath.RawPath> = []
  let ascii = true
  let files = 0
  let bytes = 0
  let hardLinks = false
  let skipped = 0
  let leftOut = LeftOut.nothing

  const inFolder = (path: RawPath.RawPath) => RawPath.fromLatin1(path.slice(input.within))

  const add = (directory: ToList, name: RawPath.RawPath, stats: fs.BigIntStats): void => {
    const path = inFolder(RawPath.join(directory.path, name))
    const kind = stats.isFile() ? "file" : stats.isDirectory() ? "directory" : undefined
    if (kind === undefined || isControlDirectory(name, stats)) {
      skipped += 1
      leftOut = LeftOut.sum(leftOut, kindLeftOut(stats))
      if (skippedNames.length < namesLogged) skippedNames.push({ path, type: typeOf(stats) })
      return
    }
    if (kind === "directory" && directory.listed !== undefined && stats.dev !== directory.listed.dev) {
      mounts.push(path)
    }
    const size = kind === "file" ? Number(stats.size) : 0
    if (kind === "file") {
      files += 1
      bytes += size
      if (stats.nlink > 1n) hardLinks = true
    }
    rows.add(path, kind, size, stats)
  }

  const look = async (
    directory: ToList,
    base: RawPath.RawPath,
    names: ReadonlyArray<RawPath.RawPath>,
    signal: AbortSignal
  ) => {
    const roots = new Map(directory.grafts)
    const within = (folder: RawPath.RawPath, index: number): RawPath.RawPath => {
      const name = names[index] ?? RawPath.here
      return roots.get(name) ?? RawPath.join(folder, name)
    }
    const real = (index: number) => within(directory.real, index)
    const shown = (index: number) => RawPath.join(directory.path, names[index] ?? RawPath.here)
    const plain = RawPath.isAscii(names.join("/"))
    const simple = plain && roots.size === 0 && RawPath.isAscii(base)
    ascii &&= plain && RawPath.isAscii(directory.path)
    let notMounted: number | undefined
    let tooLarge: number | undefined
    await calls
      .lstats(
        names.length,
        (index): DirectoryPath => {
          const path = within(base, index)
          return simple ? path : RawPath.toBuffer(path)
        },
        (index, stats) => {
          const name = names[index] ?? RawPath.here
          if (roots.has(name) && !stats.isDirectory()) notMounted ??= index
          if (stats.isFile() && stats.size > Number.MAX_SAFE_INTEGER) tooLarge ??= index
          add(directory, name, stats)
        },
        signal
      )
      .catch((cause: unknown) => {
        if (!(cause instanceof Unseen)) throw cause
        throw failed(input, "read", shown(cause.index), real(cause.index), cause.cause)
      })
    if (tooLarge !== undefined) {
      throw failed(
        input,
        "archive",
        shown(tooLarge),
        real(tooLarge),
        new Error("it is said to have more than 8 PiB, which no archive can hold")
      )
    }
    if (notMounted === undefined) return
    throw failed(input, "list", shown(notMounted), real(notMounted), new Error("it is no directory"))
  }

  const list = async (directory: ToList, signal: AbortSignal): Promise<void> => {
    const from = rows.count()
    const held = await hold(directory, calls, input)
    try {
      const names = await namesOf(directory, held.base, calls, input)
      if (names.length === 0 && !directory.mounted) {
        await mustBeEmpty(input, directory.path, calls)
        if (!input.frozen && (await isHollow(held.base, directory.path, calls))) {
          hollow.push(inFolder(directory.path))
        }
      }
      const whole = directory.names !== undefined || names.length <= pieceNames
      if (whole) await look(directory, held.base, names, signal)
      await held.check()
      push(from, whole ? [] : names)
    } finally {
      held.close()
    }
  }

  const push = (from: number, names: ReadonlyArray<RawPath.RawPath>): void => {
    listed.push({
      from,
      to: rows.count(),
      directories: rows.directories(from),
      pieces: cut(names)
    })
  }

  const found = (): Found => ({
    listed,
    ascii,
    files,
    bytes,
    hardLinks,
    skipped,
    leftOut,
    skippedNames,
    mounts,
    hollow,
    ...rows.pack()
  })

  return { rows, list, found }
}

/** A directory that is being listed. */
interface Held {
  /** The path to ask for what lies in it. */
  readonly base: RawPath.RawPath
  /** Throws if another one has come to its place, where only its path could be asked. */
  readonly check: () => Promise<void>
  readonly close: () => void
}

/**
 * Holds a directory of a source that may change open: what is asked for is asked of that directory, even if a symlink comes to its
 * place meanwhile, and it has to be the one that was listed in the directory above.
 */
const hold = async (directory: ToList, calls: DirectoryCalls, input: ListInput): Promise<Held> => {
  const { listed, path, real } = directory
  if (input.frozen) return { base: real, check: async () => {}, close: () => {} }
  const cannotList = (cause: unknown): never => {
    throw failed(input, "list", path, real, cause)
  }
  const open = () => calls.open(RawPath.toBuffer(real), folderOnly)
  const statOf = (fd: number): fs.BigIntStats => {
    try {
      return fs.fstatSync(fd, { bigint: true })
    } catch (cause) {
      return cannotList(cause)
    }
  }
  let fd = await open().catch(cannotList)
  try {
    if (listed !== undefined && !isListed(listed, statOf(fd))) {
      const within = RawPath.fromLatin1(path.slice(input.within))
      const again = await openWithin(calls.open, input.root, within, folderOnly).catch(cannotList)
      closeRead(fd)
      fd = again
      if (!mayBeListed(listed, statOf(fd))) throw replaced(path, real)
    }
    const base = pathOfOpen(fd)
    const check = async () => {
      if (base !== undefined) return
      const now = await open().catch(cannotList)
      const [before, after] = [statOf(fd), statOf(now)]
      closeRead(now)
      if (before.dev !== after.dev || (before.ino !== after.ino && before.ctimeNs !== after.ctimeNs))
        throw replaced(path, real)
    }
    return { base: base ?? real, check, close: () => closeRead(fd) }
  } catch (cause) {
    closeRead(fd)
    throw cause
  }
}

/** In byte order, with the child datasets that the directory does not show. */
const namesOf = async (
  directory: ToList,
  base: RawPath.RawPath,
  calls: DirectoryCalls,
  input: ListInput
): Promise<ReadonlyArray<RawPath.RawPath>> => {
  if (directory.names !== undefined) return directory.names.split("/").map(RawPath.fromLatin1)
  const found = await calls.names(RawPath.toBuffer(base)).catch((cause: unknown) => {
    throw failed(input, "list", directory.path, directory.real, cause)
  })
  const names = [...found].sort()
  // Of two files with one name only one can be read, and an archive with two of them cannot be restored.
  const twice = names.find((name, index) => name === names[index + 1])
  if (twice !== undefined) throw listedTwice(input, directory, RawPath.fromLatin1(twice))
  const all =
    directory.grafts.length === 0
      ? names
      : [...new Set([...names, ...directory.grafts.map(([name]) => name)])].sort()
  return all.map(RawPath.fromLatin1)
}

/** In a live folder a rename during the listing can do it as well: that passes. */
const listedTwice = ({ frozen }: ListInput, { path, real }: ToList, name: RawPath.RawPath): TreeError =>
  new TreeError({
    path: RawPath.display(RawPath.join(real, name)),
    message: twiceText(RawPath.join(path, name)),
    transient: !frozen
  })

const cut = (names: ReadonlyArray<RawPath.RawPath>): ReadonlyArray<string> => {
  const pieces: Array<string> = []
  for (let from = 0; from < names.length; from += pieceNames) {
    pieces.push(names.slice(from, from + pieceNames).join("/"))
  }
  return pieces
}
