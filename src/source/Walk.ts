import * as fs from "node:fs/promises"
import { codeOf } from "../system/Errno.ts"
import { waitingCalls } from "../system/FileCalls.ts"
import { isLasting, parseMountInfo } from "../system/MountTable.ts"
import { platform } from "../system/Platform.ts"
import { inProcess, type Runner, WorkerEnded } from "../system/WorkerJob.ts"
import * as RawPath from "../text/RawPath.ts"
import { type Block, type Directory, laterTimes, openBlock } from "./Entries.ts"
import { type ExcludeRules, excluderWithin } from "./Exclude.ts"
import type { FolderName } from "./FolderName.ts"
import * as LeftOut from "./LeftOut.ts"
import {
  type Listed,
  type ListOutput,
  list as listing,
  namesLogged,
  noTotals,
  type ToList,
  type Totals
} from "./List.ts"
import type { Identity, LatestTimes } from "./Manifest.ts"
import * as Source from "./SourceView.ts"
import { combinedError, failAs, TreeError, treeError } from "./TreeError.ts"

/** The content of a folder. Mounts are in no order, and may come twice. */
export interface Walked extends Totals {
  readonly root: Directory
  readonly itself: Omit<Identity, "dev"> & { readonly mode: number }
  readonly latest: LatestTimes
  readonly entries: number
}

/** Fewer entries are listed before a thread has started. */
const few = 2000

/** Directories in one message, and entries after which no other one is begun; at first, when there may be few, less. */
const most = 32
const enough = 8192
const enoughAtFirst = 256

/** Messages under way at least, so that a thread need not wait for the next one. */
const atLeast = 4

const mostFailures = 1000

interface Job {
  readonly ask: ToList
  readonly directory: Directory
  readonly piece: number
}

/** Walks one folder of the view and its child datasets on the runner's threads. */
export const walk = async (
  view: Source.SourceView,
  folder: FolderName,
  rules: ExcludeRules,
  runner: Runner,
  signal: AbortSignal
): Promise<Walked> => {
  const top = RawPath.fromText(folder)
  const whereTop = Source.resolve(view, top)
  const grafts = graftsWithin(view.grafts, top)
  const seen = new Set<RawPath.RawPath>([top])
  const root: Directory = { pieces: [] }
  const totals = noTotals()
  let latest: LatestTimes = { ctimeNs: 0n, mtimeNs: 0n }
  let entries = 0
  /** Estimate of the names in pieces that are still to be listed. */
  let waiting = 0
  const failures: Array<TreeError> = []

  const list = async (jobs: ReadonlyArray<Job>): Promise<ListOutput> => {
    const small = entries + waiting < few
    const input = {
      frozen: view.frozen,
      livePath: view.livePath,
      root: whereTop,
      within: top.length + 1,
      enough: small ? enoughAtFirst : enough,
      directories: jobs.map(({ ask }) => ask),
      rules
    }
    return (small ? inProcess : runner).run(listing, input, signal).catch((cause: unknown) => {
      if (signal.aborted || !(cause instanceof WorkerEnded)) throw cause
      const message = `cannot list ${folder}: ${cause.message}`
      throw new TreeError({ path: folder, message, transient: true, cause })
    })
  }

  const look = (shown: RawPath.RawPath, path: RawPath.RawPath) =>
    waitingCalls.lstat(RawPath.toBuffer(path)).catch(failAs(view, "read", shown, path))
  const { ctimeNs, dev, ino, mode, mtimeNs } = await look(top, whereTop)
  // In a snapshot, only grafts are mounted.
  const source = view.frozen ? undefined : await look(RawPath.here, view.root)
  const itself = view.frozen ? undefined : { dev, ino, ctimeNs, mtimeNs }
  const first: Job = { ask: toList(grafts, top, whereTop, itself), directory: root, piece: 0 }
  await runPool({ first, width: Math.max(runner.width, atLeast), most }, async (jobs, push: (job: Job) => void) => {
    signal.throwIfAborted()
    const found = await list(jobs)
    if ("failure" in found) {
      failures.push(new TreeError(found.failure))
      if (failures.length === mostFailures) throw combinedError(failures, true)
      for (const [index, job] of jobs.entries()) if (index !== found.directory) push(job)
      return
    }
    const block = openBlock(found)
    addTotals(totals, found)
    latest = laterTimes(latest, found.latest)
    entries += found.count
    for (const { pieces } of found.listed) if (pieces.length > 0) waiting += few
    for (const [index, job] of jobs.entries()) {
      const listed = found.listed[index]
      if (listed === undefined) push(job)
      else for (const next of settle(job, listed, block, view.frozen, grafts, seen)) push(next)
    }
  })
  if (failures.length > 0) throw combinedError(failures, false)
  const isExcluded = excluderWithin(rules)
  const isLeftOut = (path: RawPath.RawPath): boolean =>
    isExcluded(path) || totals.caches.some((cache) => path !== cache && RawPath.relativeTo(cache, path) !== undefined)
  for (const [at, place] of grafts.at) {
    const nowhere = new Error(`a dataset is mounted there, but ${view.label} has no such place`)
    if (!seen.has(at) && !isLeftOut(RawPath.fromLatin1(at.slice(top.length + 1))))
      throw treeError(view, "read", at, place, nowhere)
  }
  return {
    ...totals,
    root,
    entries,
    itself: { ino, ctimeNs, mtimeNs, mode: Number(mode) & 0xffff },
    latest: laterTimes(latest, { ctimeNs, mtimeNs }),
    mounts: [
      ...(source === undefined || source.dev === dev ? [] : [RawPath.here]),
      ...Source.graftsIn(view, folder),
      ...totals.mounts,
      // Read last: the walk may have made autofs mount something.
      ...(view.frozen ? [] : await mountsBelow(whereTop))
    ].filter((path) => !isLeftOut(path))
  }
}

interface Grafts {
  /** Absolute paths by path relative to the source. */
  readonly at: ReadonlyMap<RawPath.RawPath, RawPath.RawPath>
  readonly inside: (parent: RawPath.RawPath) => ReadonlyArray<readonly [name: RawPath.RawPath, root: RawPath.RawPath]>
}

const graftsWithin = (grafts: ReadonlyArray<Source.Graft>, top: RawPath.RawPath): Grafts => {
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

const toList = (
  grafts: Grafts,
  path: RawPath.RawPath,
  real: RawPath.RawPath,
  listed: Identity | undefined
): ToList => ({ path, real, listed, mounted: grafts.at.has(path), grafts: grafts.inside(path) })

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
    const listed = frozen ? undefined : block.identity(index)
    next.push({ ask: toList(grafts, path, real, listed), directory: child, piece: 0 })
    return { index, directory: child }
  })
  directory.pieces[piece] = { block, from, to, children }
  return next
}

const addTotals = (sum: Totals, found: Totals): void => {
  sum.ascii &&= found.ascii
  sum.files += found.files
  sum.bytes += found.bytes
  sum.hardLinks ||= found.hardLinks
  sum.skipped += found.skipped
  sum.leftOut = LeftOut.sum(sum.leftOut, found.leftOut)
  sum.skippedNames.push(...found.skippedNames.slice(0, namesLogged - sum.skippedNames.length))
  sum.mounts.push(...found.mounts)
  sum.hollow.push(...found.hollow)
  sum.caches.push(...found.caches)
}

/** Mounts at or below a folder, by the list that only Linux has: device numbers do not show its bind mounts. */
export const mountsBelow = async (folder: RawPath.RawPath): Promise<ReadonlyArray<RawPath.RawPath>> => {
  const list = platform.mountList
  if (list === undefined) return []
  const text = await fs.readFile(list, "latin1").catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT") return ""
    throw treeError({ frozen: false }, "read", RawPath.here, RawPath.fromText(list), cause)
  })
  return parseMountInfo(text)
    .filter(isLasting)
    .flatMap(({ mountpoint }) => RawPath.relativeTo(folder, mountpoint) ?? [])
}

/** Runs jobs, which may push more, `width` shares of at most `most` at once. Rejects with the first failure, at the end. */
export const runPool = <J>(
  { first, most, width }: { readonly first: J; readonly most: number; readonly width: number },
  work: (jobs: ReadonlyArray<J>, push: (job: J) => void) => Promise<void>
): Promise<void> =>
  new Promise((resolve, reject) => {
    // Last in, first out: depth first keeps the list short.
    const waiting: Array<J> = [first]
    let active = 0
    let failure: { readonly cause: unknown } | undefined
    const push = (job: J): void => void waiting.push(job)
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
