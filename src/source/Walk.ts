import * as fs from "node:fs/promises"
import { codeOf } from "../system/Errno.ts"
import { waitingDirectory } from "../system/FileCalls.ts"
import { isLasting, parseMountInfo } from "../system/MountTable.ts"
import { inProcess, type Runner, WorkerEnded } from "../system/WorkerJob.ts"
import * as RawPath from "../text/RawPath.ts"
import { count } from "../text/Text.ts"
import type { FolderName } from "./FolderName.ts"
import * as LeftOut from "./LeftOut.ts"
import {
  type Block,
  type Found,
  failed,
  type Grafts,
  graftsWithin,
  type Listed,
  type ListOutput,
  later,
  list as listing,
  namesLogged,
  openBlock,
  type Skipped,
  type ToList,
  TreeError
} from "./List.ts"
import type { Identity, LatestTimes } from "./Manifest.ts"
import * as Source from "./SourceView.ts"
import { graftsIn } from "./SourceView.ts"

/** Some of a directory's entries, in byte order: all of them, or of a large directory the next ones. */
interface Piece {
  readonly block: Block
  /** The first one in the block … */
  readonly from: number
  /** … and the one behind the last. */
  readonly to: number
  /** Those of them that are directories themselves, in order. */
  readonly children: ReadonlyArray<{ readonly index: number; readonly directory: Directory }>
}

/** What lies in a directory. */
export interface Directory {
  /** In order. */
  pieces: Array<Piece>
}

/** Entries that stand side by side in a block as well as in the manifest. */
export interface Run {
  readonly block: Block
  readonly from: number
  readonly to: number
}

/** A place between two entries of a directory: before the one with this index. */
interface Place {
  readonly piece: number
  readonly index: number
}

/**
 * All entries below a directory in byte order of their paths, without comparing them all: what lies in `a` comes
 * right before the first neighbour that is greater than `a/`, which is not always the next one (`a`, `a.b`, `a/x`, `a0`).
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

/** The directories in a directory, in the order in which what they hold comes, and before which entry it comes. */
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

/** Before the first entry from `start` on whose path is greater than `bound`. */
const placeOf = (pieces: ReadonlyArray<Piece>, start: Place, bound: string): Place => {
  let { index, piece } = start
  for (;;) {
    const current = pieces[piece]
    if (current === undefined) return { piece, index }
    // Mostly it is the very next one.
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

/**
 * Runs jobs, each of which may push more, `width` times some of them at once, until none is left: as many
 * together as are shared out fairly, and at most `most`. After a failure no job is begun; the first failure is
 * thrown when those under way have ended.
 */
export const runPool = <J>(
  { first, most, width }: { readonly first: J; readonly most: number; readonly width: number },
  work: (jobs: ReadonlyArray<J>, push: (job: J) => void) => Promise<void>
): Promise<void> =>
  new Promise((resolve, reject) => {
    // Last in, first out: the tree is walked into the depth, which keeps the list short.
    const waiting: Array<J> = [first]
    let active = 0
    let failure: { readonly cause: unknown } | undefined
    const push = (job: J) => {
      waiting.push(job)
    }
    const ended = () => {
      active -= 1
      next()
    }
    const next = () => {
      while (failure === undefined && active < width) {
        const share = Math.min(most, Math.ceil(waiting.length / width))
        if (share === 0) break
        active += 1
        work(waiting.splice(-share), push).then(ended, (cause: unknown) => {
          failure ??= { cause }
          ended()
        })
      }
      if (active > 0) return
      if (failure === undefined) resolve()
      else reject(failure.cause)
    }
    next()
  })

/** So many of a folder's unreadable files are named; the rest is counted. */
const namedAtMost = 10

/**
 * `cannot read ABCD/a: permission denied (EACCES); 12 more cannot be read: ABCD/b, … and 3 others`: the first failure, which names its
 * file, and the names of the next ones. `open`: not all files were tried.
 */
export const withOthers = (
  first: string,
  others: { readonly names: ReadonlyArray<string>; readonly count: number; readonly open: boolean }
): string => {
  if (others.count === 0) return first
  const names = others.names.slice(0, namedAtMost - 1)
  const rest = others.count - names.length
  const more = rest === 0 ? "" : ` and ${count(rest, "other")}`
  return `${first}; ${others.open ? "at least " : ""}${count(others.count, "more cannot", "more cannot")} be read: ${names.join(", ")}${more}`
}

/**
 * Where file systems are mounted at or below a folder, relative to it, by the kernel's own list: a bind mount has the device of its
 * surroundings. Only Linux has that list and such mounts; elsewhere, and where there is no /proc, devices have to tell.
 */
export const mountsBelow = async (folder: RawPath.RawPath): Promise<ReadonlyArray<RawPath.RawPath>> => {
  if (process.platform !== "linux") return []
  const list = "/proc/self/mountinfo"
  const text = await fs.readFile(list, "latin1").catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT") return ""
    throw failed({ frozen: false }, "read", RawPath.here, RawPath.fromText(list), cause)
  })
  return parseMountInfo(text)
    .filter(isLasting)
    .flatMap(({ mountpoint }) => RawPath.relativeTo(folder, mountpoint) ?? [])
}

/** What lies in a folder. */
export interface Walked {
  readonly root: Directory
  /** The folder's own inode, times (nanoseconds since 1970) and mode (16 bits). */
  readonly itself: {
    readonly ino: bigint
    readonly ctimeNs: bigint
    readonly mtimeNs: bigint
    readonly mode: number
  }
  /** The latest times of all entries and of the folder itself. */
  readonly latest: LatestTimes
  readonly entries: number
  /** All paths are ASCII. */
  readonly ascii: boolean
  readonly files: number
  readonly bytes: number
  readonly hardLinks: boolean
  readonly skipped: number
  readonly leftOut: LeftOut.LeftOut
  /** The first of the skipped. */
  readonly skippedNames: ReadonlyArray<Skipped>
  /** Places in the folder that are mounts of their own, in no order, some perhaps twice. */
  readonly mounts: ReadonlyArray<RawPath.RawPath>
  /** See Manifest.hollow. */
  readonly hollow: ReadonlyArray<RawPath.RawPath>
}

/** A folder of fewer entries is listed before a thread has started. */
const few = 2000

/** Directories in one message, and the entries after which no other one of them is begun. */
const most = 32
const enough = 8192

/** Of the first ones, which tell whether there are many. */
const enoughAtFirst = 256

/** Messages under way, where the threads are fewer too: they do not wait for the next one. */
const atLeast = 4

/** After so many directories that cannot be listed the rest is not looked at. */
const mostFailures = 1000

/** A directory, or a piece of one, that nobody has looked at yet. */
interface Job {
  readonly ask: ToList
  readonly directory: Directory
  /** Where in `directory.pieces` it goes. */
  readonly piece: number
}

/** Walks one folder of the view, child datasets from where they really are, on the runner's threads. */
export const walk = async (
  view: Source.SourceView,
  folder: FolderName,
  runner: Runner,
  signal: AbortSignal
): Promise<Walked> => {
  const top = RawPath.fromText(folder)
  const whereTop = Source.resolve(view, top)
  const grafts = graftsWithin(view.grafts, top)
  const seen = new Set<RawPath.RawPath>([top])
  const root: Directory = { pieces: [] }
  const total = makeTotal()

  const failures: Array<TreeError> = []

  const list = async (jobs: ReadonlyArray<Job>): Promise<ListOutput> => {
    const small = total.looked() < few
    const input = {
      frozen: view.frozen,
      livePath: view.livePath,
      root: whereTop,
      within: top.length + 1,
      enough: small ? enoughAtFirst : enough,
      directories: jobs.map(({ ask }) => ask)
    }
    const answer = await (small ? inProcess : runner).run(listing, input, signal).catch((cause: unknown) => {
      throw cause instanceof WorkerEnded && !signal.aborted ? brokenOff(folder, cause) : cause
    })
    return answer
  }

  const look = (shown: RawPath.RawPath, path: RawPath.RawPath) =>
    waitingDirectory.lstat(RawPath.toBuffer(path)).catch((cause: unknown) => {
      throw failed(view, "read", shown, path, cause)
    })
  const { ctimeNs, dev, ino, mode, mtimeNs } = await look(top, whereTop)
  // In a snapshot no file system is mounted but those of the grafts.
  const source = view.frozen ? undefined : await look(RawPath.here, view.root)
  const first: Job = {
    ask: toList(grafts, top, whereTop, view.frozen ? undefined : { dev, ino, ctimeNs, mtimeNs }),
    directory: root,
    piece: 0
  }
  await runPool(
    { first, width: Math.max(runner.width, atLeast), most },
    async (jobs, push: (job: Job) => void) => {
      signal.throwIfAborted()
      const found = await list(jobs)
      if ("failure" in found) {
        failures.push(new TreeError(found.failure))
        if (failures.length === mostFailures) throw together(failures, true)
        for (const [index, job] of jobs.entries()) if (index !== found.directory) push(job)
        return
      }
      const block = openBlock(found)
      total.add(found)
      for (const [index, job] of jobs.entries()) {
        const listed = found.listed[index]
        if (listed === undefined) push(job)
        else for (const next of settle(job, listed, block, view.frozen, grafts, seen)) push(next)
      }
    }
  )
  if (failures.length > 0) throw together(failures, false)
  for (const [at, place] of grafts.at) {
    if (seen.has(at)) continue
    const nowhere = new Error(`a dataset is mounted there, but ${view.label} has no such place`)
    throw failed(view, "read", at, place, nowhere)
  }
  const { latest, mounts, ...sum } = total.sum()
  return {
    root,
    ...sum,
    itself: { ino, ctimeNs, mtimeNs, mode: Number(mode) & 0xffff },
    latest: later(latest, { ctimeNs, mtimeNs }),
    mounts: [
      ...(source === undefined || source.dev === dev ? [] : [RawPath.here]),
      ...graftsIn(view, folder),
      ...mounts,
      // Read last: to list a directory may have mounted what belongs there.
      ...(view.frozen ? [] : await mountsBelow(whereTop))
    ]
  }
}

/** One failure of all of them, which names the first ones. A new attempt helps only where it helps each of them. */
const together = (failures: ReadonlyArray<TreeError>, open: boolean): TreeError => {
  const [first, ...others] = [...failures].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  return new TreeError({
    path: first?.path ?? "",
    message: withOthers(first?.message ?? "", {
      names: others.map(({ path }) => path),
      count: others.length,
      open
    }),
    transient: failures.every(({ transient }) => transient),
    cause: first?.cause
  })
}

const toList = (
  grafts: Grafts,
  path: RawPath.RawPath,
  real: RawPath.RawPath,
  listed: Identity | undefined
): ToList => ({
  path,
  real,
  listed,
  mounted: grafts.at.has(path),
  grafts: grafts.inside(path)
})

/** Puts what was found where it belongs; what has to be looked at next. */
const settle = (
  { ask, directory, piece }: Job,
  { directories, from, pieces, to }: Listed,
  block: Block,
  frozen: boolean,
  grafts: Grafts,
  seen: Set<RawPath.RawPath>
): ReadonlyArray<Job> => {
  if (pieces.length > 0) {
    directory.pieces = pieces.map(() => ({ block, from: 0, to: 0, children: [] }))
    return pieces.map((names, index) => ({ ask: { ...ask, names }, directory, piece: index }))
  }
  const next: Array<Job> = []
  const children = directories.map((index) => {
    const within = block.path(index)
    const name = RawPath.fromLatin1(within.slice(within.lastIndexOf("/") + 1))
    const path = RawPath.join(ask.path, name)
    seen.add(path)
    const child: Directory = { pieces: [] }
    const real = grafts.at.get(path) ?? RawPath.join(ask.real, name)
    next.push({
      ask: toList(grafts, path, real, frozen ? undefined : block.identity(index)),
      directory: child,
      piece: 0
    })
    return { index, directory: child }
  })
  directory.pieces[piece] = { block, from, to, children }
  return next
}

const makeTotal = () => {
  const skippedNames: Array<Skipped> = []
  const mounts: Array<RawPath.RawPath> = []
  const hollow: Array<RawPath.RawPath> = []
  const nothing: LatestTimes = { ctimeNs: 0n, mtimeNs: 0n }
  const sum = {
    entries: 0,
    ascii: true,
    files: 0,
    bytes: 0,
    hardLinks: false,
    skipped: 0,
    leftOut: LeftOut.nothing,
    latest: nothing
  }
  let waiting = 0
  return {
    /** Names that are known of: of pieces that nobody has looked at yet too. */
    looked: (): number => sum.entries + waiting,
    add: (found: Found): void => {
      sum.entries += found.count
      sum.ascii &&= found.ascii
      sum.files += found.files
      sum.bytes += found.bytes
      sum.hardLinks ||= found.hardLinks
      sum.skipped += found.skipped
      sum.latest = later(sum.latest, found.latest)
      sum.leftOut = LeftOut.sum(sum.leftOut, found.leftOut)
      skippedNames.push(...found.skippedNames.slice(0, namesLogged - skippedNames.length))
      mounts.push(...found.mounts)
      hollow.push(...found.hollow)
      for (const { pieces } of found.listed) if (pieces.length > 0) waiting += few
    },
    sum: () => ({ ...sum, skippedNames, mounts, hollow })
  }
}

const brokenOff = (folder: FolderName, cause: WorkerEnded): TreeError =>
  new TreeError({
    path: folder,
    message: `cannot list ${folder}: ${cause.message}`,
    transient: true,
    cause
  })
