import type { BigIntStats } from "node:fs"
import * as fs from "node:fs"
import { codeOf } from "../system/Errno.ts"
import { type DirectoryPath, type FileCalls, Unseen } from "../system/FileCalls.ts"
import type { WorkerJob } from "../system/WorkerJob.ts"
import * as RawPath from "../text/RawPath.ts"
import { type Columns, makeRows } from "./Entries.ts"
import { cacheTag, type ExcludeRules, excluder, isCacheTag } from "./Exclude.ts"
import * as LeftOut from "./LeftOut.ts"
import type { Identity } from "./Manifest.ts"
import { closeRead, folderOnly, isListed, mayBeListed, openWithin, pathOfOpen } from "./OpenWithin.ts"
import type { SourceView } from "./SourceView.ts"
import { failAs, replacedError, TreeError, treeError, twiceText } from "./TreeError.ts"

/** A directory of the source, or a piece of a large one. */
export interface ToList {
  /** Relative to the source. */
  readonly path: RawPath.RawPath
  readonly real: RawPath.RawPath
  readonly mounted: boolean
  /** The child datasets that are mounted directly in it, with their absolute paths. */
  readonly grafts: ReadonlyArray<readonly [name: RawPath.RawPath, root: RawPath.RawPath]>
  /** In a live source: the directory that was listed in the one above. */
  readonly listed: Identity | undefined
  /** Of a piece: its names in order, with `/` between them. */
  readonly names?: string
}

export interface ListInput {
  readonly frozen: boolean
  readonly livePath: RawPath.RawPath | undefined
  readonly root: RawPath.RawPath
  /** Characters of the paths that lead to the folder and are left out of the answer. */
  readonly within: number
  /** No directory is begun after so many entries. */
  readonly enough: number
  readonly directories: ReadonlyArray<ToList>
  readonly rules?: ExcludeRules
}

/** The content of a directory: entries of the answer, or the pieces that it has to be requested in. */
export interface Listed {
  /** Its entries in byte order; `to` is the first behind them. */
  readonly from: number
  readonly to: number
  readonly directories: ReadonlyArray<number>
  /** Too many names for one answer, see ToList.names; then without entries. */
  readonly pieces: ReadonlyArray<string>
}

export interface Totals {
  ascii: boolean
  files: number
  bytes: number
  hardLinks: boolean
  skipped: number
  leftOut: LeftOut.LeftOut
  skippedNames: Array<Skipped>
  /** Directories on another file system than their parent, within the folder. */
  mounts: Array<RawPath.RawPath>
  /** Empty directories in place of a nested subvolume of btrfs, which no snapshot holds. */
  hollow: Array<RawPath.RawPath>
  /** Directories of which exclude_caches leaves only the tag. */
  caches: Array<RawPath.RawPath>
}

export const noTotals = (): Totals => ({
  ascii: true,
  files: 0,
  bytes: 0,
  hardLinks: false,
  skipped: 0,
  leftOut: LeftOut.nothing,
  skippedNames: [],
  mounts: [],
  hollow: [],
  caches: []
})

interface ListedEntries extends Columns, Totals {
  /** In the order of the input; the last ones may be missing. */
  readonly listed: ReadonlyArray<Listed>
}

/** A failure is data: an error loses its class between threads. */
export type ListOutput =
  | ListedEntries
  | {
      readonly failure: Pick<TreeError, "path" | "message" | "transient">
      readonly directory: number
    }

const pieceNames = 1024

/** Looks at everything in directories, each name with lstat: readdir may report a type as "unknown". */
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

const makeBatch = (input: ListInput, calls: FileCalls) => {
  const rows = makeRows()
  const listed: Array<Listed> = []
  const totals = noTotals()
  const isExcluded = input.rules && excluder(input.rules)

  const inFolder = (path: RawPath.RawPath) => RawPath.fromLatin1(path.slice(input.within))

  const add = (directory: ToList, name: RawPath.RawPath, stats: BigIntStats): void => {
    const path = inFolder(RawPath.join(directory.path, name))
    const kind = stats.isFile() ? "file" : stats.isDirectory() ? "directory" : undefined
    if (kind === undefined || isControlDirectory(name, stats)) {
      totals.skipped += 1
      totals.leftOut = LeftOut.sum(totals.leftOut, kindLeftOut(stats))
      if (totals.skippedNames.length < namesLogged) totals.skippedNames.push({ path, type: typeOf(stats) })
      return
    }
    if (kind === "directory" && directory.listed !== undefined && stats.dev !== directory.listed.dev) {
      totals.mounts.push(path)
    }
    const size = kind === "file" ? Number(stats.size) : 0
    if (kind === "file") {
      totals.files += 1
      totals.bytes += size
      if (stats.nlink > 1n) totals.hardLinks = true
    }
    rows.add(path, kind, size, stats)
  }

  /** The names that are archived; the others are not looked at. */
  const choose = async (
    { path, real }: ToList,
    base: RawPath.RawPath,
    names: ReadonlyArray<RawPath.RawPath>
  ): Promise<ReadonlyArray<RawPath.RawPath>> => {
    const within = inFolder(path)
    const kept = isExcluded === undefined ? names : names.filter((name) => !isExcluded(RawPath.join(within, name)))
    const isCache =
      input.rules?.exclude_caches === true &&
      kept.includes(cacheTag) &&
      (await isCacheTag(RawPath.join(base, cacheTag), calls).catch(
        failAs(input, "read", RawPath.join(path, cacheTag), RawPath.join(real, cacheTag))
      ))
    if (isCache) totals.caches.push(within)
    const chosen = isCache ? [cacheTag] : kept
    const excluded = names.length - chosen.length
    if (excluded === 0) return names
    totals.skipped += excluded
    totals.leftOut = LeftOut.sum(totals.leftOut, { ...LeftOut.nothing, excluded })
    const known = new Set(chosen)
    for (const name of names) {
      if (totals.skippedNames.length >= namesLogged) break
      if (!known.has(name)) totals.skippedNames.push({ path: RawPath.join(within, name), type: "excluded" })
    }
    return chosen
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
    totals.ascii &&= plain && RawPath.isAscii(directory.path)
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
        throw treeError(input, "read", shown(cause.index), real(cause.index), cause.cause)
      })
    if (tooLarge !== undefined) {
      const why = new Error("it is said to have more than 8 PiB, which no archive can hold")
      throw treeError(input, "archive", shown(tooLarge), real(tooLarge), why)
    }
    if (notMounted === undefined) return
    throw treeError(input, "list", shown(notMounted), real(notMounted), new Error("it is no directory"))
  }

  const list = async (directory: ToList, signal: AbortSignal): Promise<void> => {
    const from = rows.count()
    const held = await hold(directory, calls, input)
    try {
      const all = await namesOf(directory, held.base, calls, input)
      if (all.length === 0 && !directory.mounted) {
        await mustBeEmpty(input, directory.path, calls)
        if (!input.frozen && (await isHollow(held.base, directory.path, calls))) {
          totals.hollow.push(inFolder(directory.path))
        }
      }
      const names = directory.names === undefined ? await choose(directory, held.base, all) : all
      const whole = directory.names !== undefined || names.length <= pieceNames
      if (whole) await look(directory, held.base, names, signal)
      await held.check()
      const pieces = whole ? [] : cut(names)
      listed.push({ from, to: rows.count(), directories: rows.directories(from), pieces })
    } finally {
      held.close()
    }
  }

  return { rows, list, found: (): ListedEntries => ({ listed, ...totals, ...rows.pack() }) }
}

export interface Skipped {
  readonly path: RawPath.RawPath
  readonly type: string
}

/** Skipped names in the log. */
export const namesLogged = 100

export const typeOf = (stats: BigIntStats): string =>
  special.find(({ is }) => is(stats))?.type ?? (stats.isFile() ? "file" : stats.isDirectory() ? "directory" : "device")

/** Nothing for a directory, which is skipped only where it shows snapshots. */
const kindLeftOut = (stats: BigIntStats): LeftOut.LeftOut => {
  const kind = special.find(({ is }) => is(stats))?.kind
  return kind === undefined ? LeftOut.nothing : { ...LeftOut.nothing, [kind]: 1 }
}

const special = [
  { kind: "symlinks", type: "symbolic link", is: (stats: BigIntStats) => stats.isSymbolicLink() },
  { kind: "fifos", type: "fifo", is: (stats: BigIntStats) => stats.isFIFO() },
  { kind: "sockets", type: "socket", is: (stats: BigIntStats) => stats.isSocket() },
  { kind: "devices", type: "device", is: (stats: BigIntStats) => stats.isBlockDevice() || stats.isCharacterDevice() }
] as const

/** `.zfs` of a live dataset with snapdir=visible, by its fixed inode on Linux and FreeBSD. */
const isControlDirectory = (name: RawPath.RawPath, stats: BigIntStats): boolean =>
  name === ".zfs" && stats.isDirectory() && (stats.ino === 0xffff_ffff_ffffn || stats.ino === 1n)

/** The inode in place of a subvolume that the snapshot does not hold; that of a mount is another. */
const emptySubvolume = 2n
const btrfs = 0x9123683en
const inside = RawPath.fromText(".")

/** Whether an empty directory of a btrfs snapshot is in place of a nested subvolume. */
const isHollow = async (real: RawPath.RawPath, path: RawPath.RawPath, calls: FileCalls): Promise<boolean> => {
  // The path of an open directory in /proc is a symlink with an inode of its own.
  const at = RawPath.toBuffer(RawPath.join(real, inside))
  const ask = async () => (await calls.lstat(at)).ino === emptySubvolume && (await calls.fileSystemType(at)) === btrfs
  return ask().catch(failAs({ frozen: false }, "see what file system is at", path, real))
}

/** Throws where the live directory shows that another file system is mounted, whose files the snapshot does not hold. */
const mustBeEmpty = async (
  view: Pick<SourceView, "frozen" | "livePath">,
  path: RawPath.RawPath,
  calls: FileCalls
): Promise<void> => {
  if (!view.frozen || view.livePath === undefined) return
  const live = RawPath.join(view.livePath, path)
  const parent = RawPath.fromLatin1(live.slice(0, Math.max(live.lastIndexOf("/"), 1)))
  const device = (at: RawPath.RawPath) =>
    calls.lstat(RawPath.toBuffer(at)).then(
      (stats) => stats.dev,
      (cause: unknown) => {
        // Nothing is mounted on a directory that was renamed or removed.
        if (codeOf(cause) === "ENOENT" || codeOf(cause) === "ENOTDIR") return undefined
        throw treeError(view, "see whether a file system is mounted on", path, at, cause)
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

interface Held {
  readonly base: RawPath.RawPath
  /** Throws if another directory took its place, where only its own path could be used. */
  readonly check: () => Promise<void>
  readonly close: () => void
}

/** Keeps a directory of a live source open, which a symlink may replace, and checks that it is the one listed above. */
const hold = async (directory: ToList, calls: FileCalls, input: ListInput): Promise<Held> => {
  const { listed, path, real } = directory
  if (input.frozen) return { base: real, check: async () => {}, close: () => {} }
  const cannotList = failAs(input, "list", path, real)
  const open = () => calls.open(RawPath.toBuffer(real), folderOnly)
  const statOf = (fd: number): BigIntStats => {
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
      if (!mayBeListed(listed, statOf(fd))) throw replacedError(path, real)
    }
    const base = pathOfOpen(fd)
    const check = async () => {
      if (base !== undefined) return
      const now = await open().catch(cannotList)
      try {
        const [before, after] = [statOf(fd), statOf(now)]
        if (before.dev !== after.dev || (before.ino !== after.ino && before.ctimeNs !== after.ctimeNs))
          throw replacedError(path, real)
      } finally {
        closeRead(now)
      }
    }
    return { base: base ?? real, check, close: () => closeRead(fd) }
  } catch (cause) {
    closeRead(fd)
    throw cause
  }
}

/** In byte order, with the child datasets that it does not show. */
const namesOf = async (
  directory: ToList,
  base: RawPath.RawPath,
  calls: FileCalls,
  input: ListInput
): Promise<ReadonlyArray<RawPath.RawPath>> => {
  if (directory.names !== undefined) return directory.names.split("/").map(RawPath.fromLatin1)
  const found = await calls.names(RawPath.toBuffer(base)).catch(failAs(input, "list", directory.path, directory.real))
  const names = [...found].sort()
  // Only one of them can be read, and an archive with both cannot be restored.
  const twice = names.find((name, index) => name === names[index + 1])
  if (twice !== undefined) {
    const name = RawPath.fromLatin1(twice)
    throw new TreeError({
      path: RawPath.display(RawPath.join(directory.real, name)),
      message: twiceText(RawPath.join(directory.path, name)),
      // In a live folder, a rename during the listing does that as well.
      transient: !input.frozen
    })
  }
  const mounted = directory.grafts.map(([name]) => name)
  const all = mounted.length === 0 ? names : [...new Set([...names, ...mounted])].sort()
  return all.map(RawPath.fromLatin1)
}

const cut = (names: ReadonlyArray<RawPath.RawPath>): ReadonlyArray<string> => {
  const pieces: Array<string> = []
  for (let from = 0; from < names.length; from += pieceNames) {
    pieces.push(names.slice(from, from + pieceNames).join("/"))
  }
  return pieces
}
