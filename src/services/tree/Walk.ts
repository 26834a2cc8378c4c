import type { FolderName } from "../../domain/FolderName.ts"
import * as LeftOut from "../../domain/LeftOut.ts"
import type { Identity, LatestTimes } from "../../domain/Manifest.ts"
import { graftsIn } from "../../domain/MissingMounts.ts"
import * as RawPath from "../../domain/RawPath.ts"
import * as Source from "../../domain/Source.ts"
import { withOthers } from "../../domain/Unreadable.ts"
import { waiting } from "../../workers/DirectoryCalls.ts"
import { inProcess } from "../../workers/InProcess.ts"
import { type Runner, WorkerEnded } from "../../workers/Runner.ts"
import { type Block, later, openBlock } from "./Columns.ts"
import { type Found, type Listed, type ListOutput, list as listing, type ToList } from "./List.ts"
import { type Grafts, graftsWithin } from "./Mounts.ts"
import { mountsBelow } from "./MountTable.ts"
import type { Directory } from "./Order.ts"
import { runPool } from "./Pool.ts"
import { failed, namesLogged, type Skipped } from "./Reading.ts"
import { TreeError } from "./TreeError.ts"

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
    waiting.lstat(RawPath.toBuffer(path)).catch((cause: unknown) => {
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
