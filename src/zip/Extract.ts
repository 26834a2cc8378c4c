import * as fs from "node:fs/promises"
import * as Arr from "effect/Array"
import type { Mutable } from "effect/Types"
import { explain } from "../system/Errno.ts"
import type { Runner } from "../system/WorkerJob.ts"
import * as RawPath from "../text/RawPath.ts"
import { pathOf } from "./EntryRules.ts"
import { extractSlice, type FileFailure, makeFileSet, makeShared, mark, shareOf } from "./ExtractFiles.ts"
import {
  type Folder,
  finishFolders,
  isOpen,
  type KnownFolder,
  makeFolders,
  type OpenFolder,
  openKnown,
  syncFolders
} from "./ExtractFolders.ts"
import type { ExtractPlan, PlannedSlice } from "./ExtractSurvey.ts"
import { type ExtractRequest, removeLeftovers } from "./ExtractTarget.ts"
import { heldBack, settleAll } from "./LookAhead.ts"
import { sourceOf } from "./ReadSlice.ts"
import { type OpenZip, readRecords, recordsOf, type Slice } from "./ReadZip.ts"
import { gather, type PlannedFile, type RestoreFailure, type RestoreOutcome } from "./RestorePlan.ts"
import { ExtractError, isExtractError } from "./ZipError.ts"

/** Counts what becomes of a restore, at any moment. */
export const makeTally = () => {
  const shared = makeShared()
  const { complete, written } = shareOf(shared)
  const failures = gather<RestoreFailure>()
  const counts = { folders: 0, missing: 0, kept: 0, damaged: 0 }
  const rest: Mutable<Pick<RestoreOutcome, "unremoved" | "gaveUp" | "unsynced">> = {
    unremoved: [],
    gaveUp: undefined,
    unsynced: undefined
  }
  return {
    shared,
    counts,
    rest,
    fail: ({ path, ...failure }: FileFailure): void => {
      if (failure.kind !== "attributes") counts[failure.kind] += 1
      if (failure.cannot === undefined) counts.damaged += 1
      failures.add(() => ({ ...failure, path: RawPath.display(path) }))
    },
    written,
    restored: (): RestoreOutcome => ({ ...complete(), ...counts, failures: failures.some(), ...rest })
  }
}

interface Extraction {
  readonly request: ExtractRequest
  readonly zip: OpenZip
  readonly plan: ExtractPlan
  readonly runner: Runner
  readonly tally: ReturnType<typeof makeTally>
  readonly temporary: string
  /** Each file and folder is synced. */
  readonly syncEach: boolean
}

/** The files that a restore would write, in their order. */
export async function* plannedFiles(zip: OpenZip, plan: ExtractPlan): AsyncGenerator<ReadonlyArray<PlannedFile>> {
  for (const slice of plan.slices) {
    const marks = plan.marks.subarray(slice.first, slice.first + slice.count)
    if (marks.every((each) => each === mark.none)) continue
    const entries = [...readRecords(await recordsOf(zip, slice), slice, zip.path)]
    yield entries.flatMap((entry, index) =>
      marks[index] === mark.none
        ? []
        : [
            {
              path: RawPath.display(RawPath.join(plan.target.path, pathOf(entry))),
              size: entry.size,
              replaces: marks[index] === mark.replace
            }
          ]
    )
  }
}

const foldersAtOnce = 256
/** Each may wait for the disk, and a signal for all of them. */
const syncedAtOnce = 64
/** Threads are not ended in the middle of a file: they stop by themselves, and remove it. */
const never = new AbortController().signal

/**
 * Makes folders, writes files on all threads, and gives the folders their modes and times, also when the signal is aborted:
 * then it removes the files at work, and rejects. Failures are in the result, but for those of DIR itself and of a thread.
 */
export const extractZip = async (extraction: Extraction, signal: AbortSignal): Promise<RestoreOutcome> => {
  signal.throwIfAborted()
  const { plan, request, runner, syncEach, tally, temporary, zip } = extraction
  const shared = shareOf(tally.shared)
  const root = plan.target.path
  const written = plan.mayMeet ? makeFileSet(plan.plan.files + plan.plan.replaced) : undefined
  const isOurs = ({ chosen, needed, parent, state }: Folder): boolean =>
    needed && parent !== undefined && (state === "absent" || (request.overwrite && chosen))
  const onlySlices = onlySlicesOf(plan)
  /** Folders that have their attributes already. */
  const ended = new Set<RawPath.RawPath>()
  let unsynced: string | undefined

  const make = async (folders: ReadonlyArray<Folder>): Promise<void> => {
    const paths = folders.map(({ path }) => path)
    const parents = existing(folders.flatMap(({ parent }) => parent ?? []))
    const made = await runner.run(makeFolders, { root, paths, parents }, never)
    for (const [index, folder] of folders.entries()) {
      const result = made[index]
      if (result === undefined) continue
      if ("error" in result)
        tally.fail({ path: folder.path, error: result.error, kind: "missing", cannot: "make the folder" })
      else {
        folder.id = result
        tally.counts.folders += 1
      }
    }
  }

  /** Folders are made in their order, while files are written to those before: from which number on, and when that is done. */
  const made: Array<{ readonly from: number; readonly done: Promise<void> }> = []
  const makeAbsent = (): Promise<void> => {
    const isAbsent = ({ needed, parent, state }: Folder) => needed && parent !== undefined && state === "absent"
    const absent = plan.folders.flatMap((folder, index) => (isAbsent(folder) ? [{ folder, index }] : []))
    let done = Promise.resolve()
    for (const some of batchesOf(absent)) {
      done = heldBack(done.then(() => (shared.stopped() ? undefined : make(some.map(({ folder }) => folder)))))
      made.push({ from: some[0]?.index ?? 0, done })
    }
    return done
  }

  const extract = async (slice: PlannedSlice): Promise<void> => {
    const marks = plan.marks.slice(slice.first, slice.first + slice.count)
    if (marks.every((each) => each === mark.none)) return
    await made.findLast(({ from }) => from <= slice.lastFolder)?.done
    const known = parentsOf(plan, slice).flatMap((index) => plan.folders[index] ?? [])
    // Where others may write, they could put a folder of theirs in the place of one that is still to be filled.
    const isPrivate = ({ mode }: Folder): boolean => (mode & 0o022) === 0
    const toEnd = known.filter(
      (folder) => !syncEach && onlySlices.get(folder) === slice && isOurs(folder) && isOpen(folder) && isPrivate(folder)
    )
    const folders = existing(known, toEnd)
    const input = {
      ...sourceOf(zip, slice),
      marks,
      root,
      folders,
      temporary,
      sync: syncEach,
      shared: tally.shared,
      written
    }
    const found = await runner.run(extractSlice, input, never)
    found.failures.forEach(tally.fail)
    tally.rest.gaveUp ??= found.hopeless
    for (const path of found.folders) ended.add(path)
  }

  /** Makes folders writable that a restore before left read-only. Where that fails, each file in them fails, and is reported. */
  const openClosed = async (): Promise<void> => {
    const closed = plan.folders.filter((folder) => folder.closed && isOurs(folder))
    const folders = closed.flatMap(({ id, mode, path, seconds }) =>
      id === undefined ? [] : [{ path, ...id, attributes: { mode: (mode & 0o755) | 0o700, seconds } }]
    )
    if (folders.length > 0) await runner.run(finishFolders, { root, folders, sync: false }, never)
  }

  const finish = async (): Promise<void> => {
    if (syncEach && !signal.aborted) tally.rest.unsynced = "it was stopped"
    const finishSome = async (some: ReadonlyArray<Folder>): Promise<void> => {
      const input = { root, folders: existing(some, some), sync: syncEach && !signal.aborted }
      const found = await runner.run(finishFolders, input, never)
      for (const { error, path } of found.failures)
        tally.fail({ path, error, kind: "attributes", cannot: "set mode and time of" })
      unsynced ??= found.unsynced
    }
    const size = syncEach ? syncedAtOnce : undefined
    const rest = plan.folders.filter((folder) => isOurs(folder) && !ended.has(folder.path))
    const [closed, open] = Arr.partition(rest, isOpen)
    await inParallel(batchesOf(open, size), runner.width, () => false, finishSome)
    // A mode here may close a folder to this process: deepest first, after all others.
    for (const some of batchesOf(closed.reverse(), size)) await finishSome(some)
  }

  /** What {@link finish} has not synced. */
  const sync = async (): Promise<void> => {
    const present = existing(plan.folders.filter((folder) => folder.needed && !isOurs(folder)))
    const { above, id, parent } = plan.target
    const changed = id !== undefined ? [] : parent === undefined ? [above] : [parent, above]
    const inputs = [...batchesOf(present, syncedAtOnce)].map((folders) => ({ root, folders, above: [] }))
    for (const input of [...inputs, { root, folders: [], above: changed }]) {
      const failure = await runner.run(syncFolders, input, never).catch(explain)
      signal.throwIfAborted()
      unsynced ??= failure
    }
  }

  signal.addEventListener("abort", shared.stop)
  try {
    try {
      await openClosed()
      if (request.overwrite) tally.rest.unremoved = removeLeftovers(root, plan.leftovers)
      await settleAll([makeAbsent(), inParallel(plan.slices, runner.width + 1, shared.stopped, extract)])
    } finally {
      await finish()
    }
    signal.throwIfAborted()
    if (syncEach) await sync()
    tally.rest.unsynced = unsynced
    return tally.restored()
  } catch (cause) {
    if (signal.aborted || isExtractError(cause)) throw cause
    throw new ExtractError({
      reason: "Interrupted",
      message: `restoring to ${plan.plan.directory} ended in the middle, and the last files written there may be cut off: ${explain(cause)}`,
      cause
    })
  } finally {
    signal.removeEventListener("abort", shared.stop)
  }
}

/** Makes DIR unless it is there. It stays open until the caller closes it, and so keeps its inode number. */
export const openRoot = async ({ folders, target }: ExtractPlan): Promise<OpenFolder> => {
  const [root] = folders
  const path = RawPath.toBuffer(target.path)
  try {
    if (target.parent !== undefined && target.id === undefined) await makeParent(RawPath.toBuffer(target.parent))
    if (target.id === undefined) await fs.mkdir(path)
    const { dev, ino } = target.id ?? (await fs.lstat(path, { bigint: true }))
    const opened = openKnown(target.path, { path: RawPath.here, dev, ino })
    if (root !== undefined) root.id = opened.id
    return opened
  } catch (cause) {
    throw new ExtractError({
      reason: "Target",
      message:
        target.id === undefined
          ? `cannot make the folder ${RawPath.display(target.path)}: ${explain(cause)}; nothing was written`
          : `the folder ${RawPath.display(target.path)} is not as it was looked at: ${explain(cause)}; nothing was written`,
      cause
    })
  }
}

/** The first of several folders makes it. What another user has made there meanwhile is refused. */
const makeParent = (path: Buffer): Promise<void> =>
  fs.mkdir(path).catch(async (cause: unknown) => {
    const stats = await fs.lstat(path)
    if (!stats.isDirectory() || stats.uid !== process.geteuid?.()) throw cause
  })

/** Fails unless the path of DIR still leads to the folder that was written to. */
export const checkRoot = async ({ folders, plan, target }: ExtractPlan): Promise<void> => {
  const id = folders[0]?.id
  const found = await fs.lstat(RawPath.toBuffer(target.path), { bigint: true }).catch(explain)
  if (typeof found !== "string" && found.dev === id?.dev && found.ino === id.ino) return
  const what = typeof found === "string" ? `cannot be looked at any more: ${found}` : "is another folder now"
  throw new ExtractError({
    reason: "Interrupted",
    message: `${plan.directory} ${what}; what was restored is not there, as another process renamed, removed or replaced the folder: put it back, or restore again`
  })
}

/** Those that are there, once each; with their attributes those that are to get them. */
const existing = (folders: ReadonlyArray<Folder>, toEnd: ReadonlyArray<Folder> = []): ReadonlyArray<KnownFolder> => {
  const ends = new Set(toEnd)
  return [...new Set(folders)].flatMap((folder) => {
    const { id, mode, path, seconds } = folder
    return id === undefined ? [] : [{ path, ...id, attributes: ends.has(folder) ? { mode, seconds } : undefined }]
  })
}

/** For each folder the slice that has everything that lies directly in it; undefined where several have some of it. */
const onlySlicesOf = ({ folders, parents, slices }: ExtractPlan): ReadonlyMap<Folder, PlannedSlice | undefined> => {
  const found = new Map<Folder, PlannedSlice | undefined>()
  for (const slice of slices) {
    for (let index = slice.first; index < slice.first + slice.count; index += 1) {
      const folder = folders[parents[index] ?? 0]
      if (folder === undefined) continue
      if (!found.has(folder)) found.set(folder, slice)
      else if (found.get(folder) !== slice) found.set(folder, undefined)
    }
  }
  return found
}

/** The numbers of the folders that files of the slice are written to, the highest last. */
const parentsOf = ({ marks, parents }: ExtractPlan, slice: Slice): ReadonlyArray<number> => {
  const found = new Set<number>()
  for (let index = slice.first; index < slice.first + slice.count; index += 1) {
    if (marks[index] !== mark.none) found.add(parents[index] ?? 0)
  }
  return [...found].sort((a, b) => a - b)
}

function* batchesOf<A>(all: ReadonlyArray<A>, size = foldersAtOnce): Generator<ReadonlyArray<A>> {
  for (let from = 0; from < all.length; from += size) yield all.slice(from, from + size)
}

/** `work` on all items, so many at a time, in the order in which they end. All of it has ended when this does. */
const inParallel = async <A>(
  items: Iterable<A>,
  width: number,
  stopped: () => boolean,
  work: (item: A) => Promise<void>
): Promise<void> => {
  const rest = [...items].values()
  let failed = false
  const workOnRest = async (): Promise<void> => {
    for (const item of rest) {
      if (failed || stopped()) return
      await work(item).catch((cause: unknown) => {
        failed = true
        throw cause
      })
    }
  }
  await settleAll(Array.from({ length: width }, workOnRest))
}
