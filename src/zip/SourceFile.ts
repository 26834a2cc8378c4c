import * as fs from "node:fs"
import type { FolderName } from "../source/FolderName.ts"
import { type Identity, identityOf, type Manifest, type ManifestEntry } from "../source/Manifest.ts"
import { closeRead, isListed, mayBeListed, openWithin } from "../source/OpenWithin.ts"
import * as Source from "../source/SourceView.ts"
import { withOthers } from "../source/TreeError.ts"
import { codeOf, explain, isTransientCode } from "../system/Errno.ts"
import { type FileCalls, fill, readOnly, waitingCalls } from "../system/FileCalls.ts"
import * as RawPath from "../text/RawPath.ts"
import { ArchiveError, withMessage } from "./ZipError.ts"

export interface SourceFolder extends Pick<Source.SourceView, "frozen" | "label"> {
  readonly folder: FolderName
  readonly root: RawPath.RawPath
}

export interface SourceRequest extends Pick<ManifestEntry, "path" | "size" | "mtimeNs"> {
  readonly real: RawPath.RawPath
  /** Which file was listed, where another one may have come to its place since. */
  readonly listed: Identity | undefined
}

export const sourceFolder = (view: Source.SourceView, folder: FolderName): SourceFolder => ({
  folder,
  label: view.label,
  frozen: view.frozen,
  root: Source.resolve(view, RawPath.fromText(folder))
})

/** Where the manifest's entry at `index` is read, and what it has to be. */
export const requestOf = (
  view: Source.SourceView,
  manifest: Manifest,
  entry: ManifestEntry,
  index: number
): SourceRequest => ({
  path: entry.path,
  size: entry.size,
  mtimeNs: entry.mtimeNs,
  real: Source.resolveEntry(view, manifest.folder, entry.path),
  listed: view.frozen ? undefined : identityOf(manifest, entry, index)
})

const displayName = (folder: SourceFolder, request: SourceRequest): string =>
  RawPath.display(RawPath.join(RawPath.fromText(folder.folder), request.path))

/** Errors that say that another thing, or nothing, is at the path by now. */
const gone: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EMLINK", "ENXIO"])

export type SourceFile = Awaited<ReturnType<typeof openSource>>

/** Opens a file of the manifest, or rejects with an ArchiveError: it must have its size and, in a live source, be the listed one. */
export const openSource = async (folder: SourceFolder, request: SourceRequest, calls: FileCalls) => {
  const { real, size } = request

  const changed = (what: string, cause?: unknown) =>
    new ArchiveError({
      reason: folder.frozen ? "Unreadable" : "Changed",
      path: RawPath.display(real),
      message: folder.frozen
        ? `cannot read ${displayName(folder, request)}: it ${what} in ${folder.label}`
        : `${displayName(folder, request)} changed while it was read: it ${what}`,
      transient: !folder.frozen,
      cause
    })

  const failed = (cause: unknown): never => {
    const code = codeOf(cause)
    if (!folder.frozen && code !== undefined && gone.has(code)) throw changed("is gone", cause)
    throw new ArchiveError({
      reason: "Unreadable",
      path: RawPath.display(real),
      message: `cannot read ${displayName(folder, request)}: ${explain(cause)}`,
      transient: isTransientCode(code),
      cause
    })
  }

  const fstatOf = (open: number): fs.BigIntStats => {
    try {
      return fs.fstatSync(open, { bigint: true })
    } catch (cause) {
      return failed(cause)
    }
  }

  const holdsBytes = (open: number): boolean => {
    try {
      return fs.readSync(open, Buffer.alloc(1), 0, 1, 0) > 0
    } catch (cause) {
      return failed(cause)
    }
  }

  const compare = (stats: fs.BigIntStats): bigint => {
    if (!stats.isFile()) throw changed("is no regular file any more")
    if (stats.size !== BigInt(size)) throw changed(`has ${stats.size} bytes where ${size} were listed`)
    if (!folder.frozen && stats.mtimeNs !== request.mtimeNs) throw changed("was modified")
    return stats.ctimeNs
  }

  const openIf = async (opening: Promise<number>, isRight: (stats: fs.BigIntStats) => boolean) => {
    const fd = await opening.catch(failed)
    return closedUnless(fd, () => {
      const stats = fstatOf(fd)
      return isRight(stats) ? { fd, ctimeNs: compare(stats) } : undefined
    })
  }

  const openListed = async () => {
    const { listed } = request
    const direct = calls.open(RawPath.toBuffer(real), readOnly)
    if (listed === undefined) return openIf(direct, () => true)
    return (
      (await openIf(direct, (stats) => isListed(listed, stats))) ??
      openIf(openWithin(calls.open, folder.root, request.path, readOnly), (stats) => mayBeListed(listed, stats))
    )
  }

  const opened = await openListed()
  if (opened === undefined) throw changed("is not the file any more that was listed")
  const { ctimeNs, fd } = opened
  return {
    /** For reading on another thread: all threads of a process share it. Not to be used after `close`. */
    fd,
    failed,
    /** Fills `buffer` from its beginning, as far as the file goes; how many bytes. */
    read: (buffer: Buffer): Promise<number> => fill(calls, fd, buffer, 0).catch(failed),
    /** Throws unless the content is what the manifest promised: called when everything has been read. */
    check: (bytesRead: number): void => {
      if (bytesRead !== size) throw changed(`gave ${bytesRead} bytes where ${size} were listed`)
      if (folder.frozen) return
      const hasMore = size === 0 && holdsBytes(fd)
      // ctime as well: a program can set the time of change back, and its clock is coarse.
      if (compare(fstatOf(fd)) !== ctimeNs) throw changed("was modified")
      if (hasMore) {
        const what = "it has content, and its size is said to be 0, as in /proc or where a mount does not know sizes"
        failed(new Error(`${what}: leave it out by "exclude", or archive a copy of it`))
      }
    },
    close: (): void => closeRead(fd)
  }
}

/** What `find` gives; where that is nothing, and where it throws, the file is closed. */
const closedUnless = <A>(fd: number, find: () => A | undefined): A | undefined => {
  let found: A | undefined
  try {
    found = find()
    return found
  } finally {
    if (found === undefined) closeRead(fd)
  }
}

const mostTried = 100_000

/** The failure names the next files that cannot be opened as well: to mend them one by one would take a run each. */
export const nameOthers = async (
  cause: unknown,
  { manifest, view }: { readonly manifest: Manifest; readonly view: Source.SourceView },
  signal: AbortSignal
): Promise<unknown> => {
  if (!(cause instanceof ArchiveError) || cause.reason !== "Unreadable" || cause.transient) return cause
  const folder = sourceFolder(view, manifest.folder)
  const names: Array<string> = []
  let tried = 0
  let index = -1
  for (const entry of manifest.entries) {
    index += 1
    if (entry.kind !== "file") continue
    if (signal.aborted || tried === mostTried) break
    tried += 1
    const request = requestOf(view, manifest, entry, index)
    const opens = await waitingCalls.open(RawPath.toBuffer(request.real), readOnly).then(
      (fd) => {
        closeRead(fd)
        return true
      },
      () => false
    )
    if (!opens && RawPath.display(request.real) !== cause.path) names.push(displayName(folder, request))
  }
  const others = { names, count: names.length, open: tried < manifest.files }
  return withMessage(cause, withOthers(cause.message, others))
}
