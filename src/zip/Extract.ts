import * as fs from "node:fs/promises"
import { explain } from "../system/Errno.ts"
import type { Runner } from "../system/WorkerJob.ts"
import * as RawPath from "../text/RawPath.ts"
import { extractSlice, type FileFailure } from "./ExtractFiles.ts"
import { type Folder, finishFolders, type KnownFolder, makeFolders } from "./ExtractFolders.ts"
import { type FileId, makeFileSet, makeShared, mark, shareOf } from "./ExtractShared.ts"
import { makeSurvey, type PlanOptions } from "./ExtractSurvey.ts"
import { type ExtractRequest, lookAtTarget, removeLeftovers } from "./ExtractTarget.ts"
import { readRecords, recordsOf, type Slice, slices } from "./ReadZip.ts"
import { gather, type RestoreFailure, type RestoreOutcome } from "./RestorePlan.ts"
import { type OpenZip, readEnd } from "./Yauzl.ts"
import { ExtractError, isExtractError } from "./ZipError.ts"

type ExtractPlan = Awaited<ReturnType<typeof planExtraction>>

/** No entry takes less in the central directory. */
const shortestRecord = 46

/**
 * Reads the central directory, refuses what cannot be put into a folder, chooses, and looks at everything in DIR that is in
 * the way. Nothing stays written. Memory: some bytes for each file and some hundred for each folder and each file of
 * the largest one.
 */
export const planExtraction = async (
  zip: OpenZip,
  request: ExtractRequest,
  options: PlanOptions,
  signal: AbortSignal
) => {
  const target = await lookAtTarget(request.to, request.keepOut)
  const end = await readEnd(zip)
  const most = Math.min(end.entries, Math.ceil(zip.size / shortestRecord))
  const survey = makeSurvey(request, target, most, options)
  await survey.begin()
  const found: Array<Slice> = []
  for await (const slice of slices(zip, end)) {
    signal.throwIfAborted()
    for (const entry of readRecords(await recordsOf(zip, slice), slice, zip.path)) await survey.add(entry)
    found.push(slice)
  }
  return { ...(await survey.end()), target, slices: found }
}

/** Counts what becomes of a restore, at any moment. */
export const makeTally = () => {
  const shared = makeShared()
  const { figures } = shareOf(shared)
  const failures = gather<RestoreFailure>()
  const unremoved: Array<string> = []
  const counts = { folders: 0, missing: 0, kept: 0 }
  let gaveUp: string | undefined
  return {
    /** See {@link shareOf}. */
    shared,
    madeFolder: (): void => {
      counts.folders += 1
    },
    fail: ({ error, kind, path }: FileFailure): void => {
      if (kind !== "attributes") counts[kind] += 1
      failures.add(() => ({ path: RawPath.display(path), error, kind }))
    },
    giveUp: (reason: string | undefined): void => {
      gaveUp ??= reason
    },
    couldNotRemove: (messages: ReadonlyArray<string>): void => {
      unremoved.push(...messages)
    },
    /** Bytes that went to files, also to those that failed. */
    written: (): number => figures().written,
    restored: (): RestoreOutcome => {
      const { bytes, files, replaced } = figures()
      return { files, bytes, replaced, ...counts, failures: failures.some(), unremoved, gaveUp }
    }
  }
}

interface Extraction {
  readonly request: ExtractRequest
  readonly zip: OpenZip
  readonly plan: ExtractPlan
  readonly runner: Runner
  readonly tally: ReturnType<typeof makeTally>
  /** Begins the names of temporary files: no other name in DIR begins so. */
  readonly temporary: string
}

/** Folders for a thread at a time. */
const foldersAtOnce = 1024

/** Threads are not ended in the middle of a file: they stop by themselves, and remove it. */
const never = new AbortController().signal

/**
 * Makes folders, writes files on all threads, and gives the folders their modes and times. When the signal is aborted, the files
 * that are being written are removed, folders get their modes and times all the same, and it rejects. What fails is in the
 * result; it fails itself when DIR cannot be made, and when a thread ends.
 */
export const extractZip = async (extraction: Extraction, signal: AbortSignal): Promise<RestoreOutcome> => {
  signal.throwIfAborted()
  const { plan, request, runner, tally } = extraction
  const shared = shareOf(tally.shared)
  const root = plan.target.path
  const written = makeFileSet(plan.plan.files + plan.plan.replaced)

  const make = async (folders: ReadonlyArray<Folder>): Promise<void> => {
    const paths = folders.map(({ path }) => path)
    const parents = existing(folders.flatMap(({ parent }) => parent ?? []))
    const made = await runner.run(makeFolders, { root, paths, parents }, never)
    for (const [index, folder] of folders.entries()) {
      const result = made[index]
      if (result === undefined) continue
      if ("error" in result) tally.fail({ path: folder.path, error: result.error, kind: "missing" })
      else {
        folder.id = result
        tally.madeFolder()
      }
    }
  }

  const extract = async (slice: Slice): Promise<void> => {
    const marks = plan.marks.slice(slice.first, slice.first + slice.count)
    if (marks.every((each) => each === mark.none)) return
    const { temporary, zip } = extraction
    const { content, count, records } = slice
    const source = { path: zip.path, fd: zip.fd, count, records, content }
    const folders = existing(parentsOf(plan, slice))
    const input = { ...source, marks, root, folders, temporary, shared: tally.shared, written }
    const found = await runner.run(extractSlice, input, never)
    found.failures.forEach(tally.fail)
    tally.giveUp(found.hopeless)
  }

  const finish = async (): Promise<void> => {
    const isOurs = ({ chosen, parent, state }: Folder): boolean =>
      parent !== undefined && (state === "absent" || (request.overwrite && chosen))
    // What lies deeper stands behind.
    const folders = plan.folders.filter((folder) => folder.needed && isOurs(folder)).reverse()
    for (const some of batchesOf(folders)) {
      const input = some.flatMap(({ id, mode, path, seconds }) =>
        id === undefined ? [] : [{ path, ...id, mode, seconds }]
      )
      const failed = await runner.run(finishFolders, { root, folders: input }, never)
      for (const { error, path } of failed) tally.fail({ path, error, kind: "attributes" })
    }
  }

  const stop = (): void => shared.stop()
  signal.addEventListener("abort", stop)
  try {
    await makeRoot(extraction)
    if (request.overwrite) tally.couldNotRemove(removeLeftovers(root, plan.leftovers))
    try {
      for (const some of batchesOf(plan.folders.filter(isToBeMade))) {
        if (shared.stopped()) break
        await make(some)
      }
      await inParallel(plan.slices, runner.width + 1, shared.stopped, extract)
    } finally {
      await finish()
    }
    signal.throwIfAborted()
    return tally.restored()
  } catch (cause) {
    if (signal.aborted || isExtractError(cause)) throw cause
    throw new ExtractError({
      reason: "Interrupted",
      message: `restoring to ${plan.plan.directory} ended in the middle, and the last files written there may be cut off: ${explain(cause)}`,
      cause
    })
  } finally {
    signal.removeEventListener("abort", stop)
  }
}

const makeRoot = async ({ plan: { folders, target } }: Extraction): Promise<void> => {
  const [root] = folders
  if (root === undefined || target.id !== undefined) return
  const path = RawPath.toBuffer(target.path)
  try {
    await fs.mkdir(path)
    const { dev, ino } = await fs.lstat(path, { bigint: true })
    root.id = { dev, ino } satisfies FileId
  } catch (cause) {
    throw new ExtractError({
      reason: "Target",
      message: `cannot make the folder ${RawPath.display(target.path)}: ${explain(cause)}; nothing was written`,
      cause
    })
  }
}

const isToBeMade = ({ needed, parent, state }: Folder): boolean => needed && parent !== undefined && state === "absent"

/** Those among them that are there, each once. */
const existing = (folders: ReadonlyArray<Folder>): ReadonlyArray<KnownFolder> =>
  [...new Set(folders)].flatMap(({ id, path }) => (id === undefined ? [] : [{ path, ...id }]))

const parentsOf = ({ folders, marks, parents }: ExtractPlan, slice: Slice): ReadonlyArray<Folder> => {
  const found = new Set<number>()
  for (let index = slice.first; index < slice.first + slice.count; index += 1) {
    if (marks[index] !== mark.none) found.add(parents[index] ?? 0)
  }
  return [...found].flatMap((index) => folders[index] ?? [])
}

function* batchesOf<A>(all: ReadonlyArray<A>): Generator<ReadonlyArray<A>> {
  for (let from = 0; from < all.length; from += foldersAtOnce) yield all.slice(from, from + foldersAtOnce)
}

/** `work` on all items, so many at a time, in the order in which they end. All of it has ended when this does. */
const inParallel = async <A>(
  items: Iterable<A>,
  width: number,
  stopped: () => boolean,
  work: (item: A) => Promise<void>
): Promise<void> => {
  const rest = items[Symbol.iterator]()
  let failed = false
  const worker = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true && !stopped() && !failed; next = rest.next()) {
      await work(next.value).catch((cause: unknown) => {
        failed = true
        throw cause
      })
    }
  }
  const ended = await Promise.allSettled(Array.from({ length: width }, worker))
  for (const each of ended) if (each.status === "rejected") throw each.reason
}
