import * as fs from "node:fs"
import { codeOf, explain, valueOr } from "../system/Errno.ts"
import { syncNow } from "../system/FileCalls.ts"
import { platform } from "../system/Platform.ts"
import type { WorkerJob } from "../system/WorkerJob.ts"
import * as RawPath from "../text/RawPath.ts"

export interface FileId {
  readonly dev: bigint
  readonly ino: bigint
}

/** A folder of the archive; DIR itself is the first of them. */
export interface Folder {
  readonly path: RawPath.RawPath
  readonly parent: Folder | undefined
  readonly mode: number
  /** Since 1970. */
  readonly seconds: number
  readonly chosen: boolean
  /** It or something in it was asked for: it has been looked for in DIR. */
  needed: boolean
  state: "absent" | "present" | "blocked"
  id: FileId | undefined
  /** It is there with a mode that does not let its owner write to it. */
  closed: boolean
}

/** Whether the mode of a folder leaves it open to its owner. */
export const isOpen = ({ mode }: { readonly mode: number }): boolean => (mode & 0o700) === 0o700

/** A folder that files are written to: DIR itself (empty path), or one below it that was made or looked at. */
export interface KnownFolder extends FileId {
  readonly path: RawPath.RawPath
  /** What it gets when nothing is put into it any more. */
  readonly attributes?: Pick<Folder, "mode" | "seconds"> | undefined
}

/** An open folder: the one that was made or looked at, also when something else stands at its path. */
export type OpenFolder = ReturnType<typeof openFolder>

export const folderOnly = fs.constants.O_RDONLY | fs.constants.O_DIRECTORY | fs.constants.O_NOFOLLOW

const isSame = (a: FileId, b: FileId): boolean => a.dev === b.dev && a.ino === b.ino

const idOf = (path: string | Buffer): FileId => fs.lstatSync(path, { bigint: true })

/** Opens `path`, which has to be a folder: not a symlink. */
export const openFolder = (path: Buffer) => {
  const fd = fs.openSync(path, folderOnly)
  try {
    const { dev, ino } = fs.fstatSync(fd, { bigint: true })
    const id = { dev, ino }
    const through = throughDescriptor(fd, id)
    const below = RawPath.fromBuffer(through ?? path)
    return {
      id,
      fd,
      /** The path of something in it, for node:fs. Its last part may be a symlink, for the call to refuse. */
      at: (name: RawPath.RawPath): Buffer => {
        // Without /proc only another look, right before it is used, finds that a symlink took the place of the folder.
        if (through === undefined && !isSame(idOf(path), id)) throw new Error(swapped)
        return RawPath.toBuffer(RawPath.join(below, name))
      },
      close: (): void => fs.closeSync(fd)
    }
  } catch (cause) {
    fs.closeSync(fd)
    throw cause
  }
}

const swapped = "the folder that it belongs to was replaced by another one in the meantime"

/** It was seen once that paths through descriptors lead to open folders. */
let leads = false

/** A path that leads to the open folder itself, so that another one cannot take its place. */
const throughDescriptor = (fd: number, id: FileId): Buffer | undefined => {
  if (platform.openFiles === undefined) return undefined
  const path = `${platform.openFiles}/${fd}`
  try {
    leads ||= isSame(idOf(`${path}/.`), id)
    return leads ? Buffer.from(path) : undefined
  } catch {
    // No /proc here.
    return undefined
  }
}

/**
 * Opens the folder that was made or looked at. Where inode numbers change by themselves, that is one on its device
 * to which no symlink leads.
 */
export const openKnown = (root: RawPath.RawPath, known: KnownFolder, changesNumbers = renumbers): OpenFolder => {
  const folder = openFolder(RawPath.toBuffer(RawPath.join(root, known.path)))
  if (isSame(folder.id, known)) return folder
  try {
    // The open folder is asked: another process may change where its path leads.
    if (folder.id.dev !== known.dev || !changesNumbers(folder.at(dot))) throw new Error(swapped)
  } finally {
    folder.close()
  }
  const again = openDown(root, known.path)
  if (again.id.dev === known.dev) return again
  again.close()
  throw new Error(swapped)
}

const dot = RawPath.fromLatin1(".")

/** By `statfs`, file systems that may give a folder that is not open another inode number: FAT, exFAT, FUSE, SMB. */
const renumbering: ReadonlySet<number> = new Set([0x4d44, 0x2011bab0, 0x65735546, 0xff534d42, 0xfe534d42])

const renumbers = (path: Buffer): boolean => renumbering.has(fs.statfsSync(path).type)

/** Opens a folder below `root` by each folder above it, none of which may be a symlink. */
const openDown = (root: RawPath.RawPath, path: RawPath.RawPath): OpenFolder => {
  let folder = openFolder(RawPath.toBuffer(root))
  for (const name of path === RawPath.here ? [] : path.split("/").map(RawPath.fromLatin1)) {
    try {
      const next = openFolder(folder.at(name))
      folder.close()
      folder = next
    } catch (cause) {
      folder.close()
      throw cause
    }
  }
  return folder
}

/** Whether `path` lies in `folder`, or is it. */
export const isWithin = (folder: RawPath.RawPath, path: RawPath.RawPath): boolean =>
  folder === RawPath.here || path === folder || (path[folder.length] === "/" && path.startsWith(folder))

const mostOpen = 16

/**
 * Keeps a folder and some above it open: the next one that is asked for mostly lies in one of them. `onLeave` gets one,
 * still open, when the next one lies outside it; it must not throw.
 */
export const makeOpener = (
  root: RawPath.RawPath,
  onLeave: (known: KnownFolder, folder: OpenFolder) => void = () => undefined
) => {
  const opened: Array<{ readonly known: KnownFolder; readonly folder: OpenFolder }> = []
  const close = (): void => {
    for (let last = opened.pop(); last !== undefined; last = opened.pop()) last.folder.close()
  }
  return {
    open: (known: KnownFolder): OpenFolder => {
      let last = opened.at(-1)
      for (; last !== undefined && !isWithin(last.known.path, known.path); last = opened.at(-1)) {
        opened.pop()
        onLeave(last.known, last.folder)
        last.folder.close()
      }
      if (last?.known.path === known.path) return last.folder
      if (opened.length === mostOpen) close()
      const folder = openKnown(root, known)
      opened.push({ known, folder })
      return folder
    },
    close
  }
}

export const split = (path: RawPath.RawPath): { readonly parent: RawPath.RawPath; readonly name: RawPath.RawPath } => {
  const slash = path.lastIndexOf("/")
  return {
    parent: RawPath.fromLatin1(path.slice(0, Math.max(slash, 0))),
    name: RawPath.fromLatin1(path.slice(slash + 1))
  }
}

interface MakeFoldersInput {
  readonly root: RawPath.RawPath
  /** Parents before what they hold. */
  readonly paths: ReadonlyArray<RawPath.RawPath>
  readonly parents: ReadonlyArray<KnownFolder>
}

/** Other users do not see into a folder until it has its own mode. */
const unfinishedFolderMode = 0o700

/** Makes each of the folders, none of which may be there: in their order, which folder it is, or why there is none. */
export const makeFolders: WorkerJob<MakeFoldersInput, ReadonlyArray<FileId | { readonly error: string }>> = {
  name: "makeFolders",
  kind: "long",
  work: async ({ parents, paths, root }) => {
    const known = new Map(parents.map((folder) => [folder.path, folder]))
    const opener = makeOpener(root)
    try {
      return paths.map((path) => {
        try {
          const { name, parent } = split(path)
          const within = known.get(parent)
          if (within === undefined) throw new Error("the folder that it belongs to could not be made")
          const at = opener.open(within).at(name)
          fs.mkdirSync(at, unfinishedFolderMode)
          const made = fs.lstatSync(at, { bigint: true })
          if (!made.isDirectory()) throw new Error(swapped)
          const id = { dev: made.dev, ino: made.ino }
          known.set(path, { path, ...id })
          return id
        } catch (cause) {
          return { error: whyNotMade(cause, root) }
        }
      })
    } finally {
      opener.close()
    }
  }
}

/** Why a file or a folder below `root` could not be made: the system reports a full disk where only inodes are missing, too. */
export const whyNotMade = (cause: unknown, root: RawPath.RawPath, code = codeOf(cause)): string =>
  code === "ENOSPC" && hasNoInodes(root)
    ? "the file system has space left, but no inodes for more files (ENOSPC)"
    : explain(cause)

const hasNoInodes = (root: RawPath.RawPath): boolean => {
  // Where it cannot be asked, what the system said stands.
  const space = valueOr(() => fs.statfsSync(RawPath.toBuffer(root)), undefined)
  return space !== undefined && space.files > 0 && space.ffree === 0 && space.bavail > 0
}

interface FinishFoldersInput {
  readonly root: RawPath.RawPath
  /** In any order, but those whose mode takes the owner's right to enter: deepest first. Nothing is put into them any more. */
  readonly folders: ReadonlyArray<KnownFolder>
  readonly sync: boolean
}

interface FinishFoldersOutput {
  readonly failures: ReadonlyArray<{ readonly path: RawPath.RawPath; readonly error: string }>
  /** Why the first of those that could not be synced was not. */
  readonly unsynced: string | undefined
}

/** Times, modes and syncs. */
export const finishFolders: WorkerJob<FinishFoldersInput, FinishFoldersOutput> = {
  name: "finishFolders",
  kind: "long",
  work: async ({ folders, root, sync }) => {
    const unsynced: Array<string> = []
    const failures = folders.flatMap((known) => {
      try {
        const folder = openKnown(root, known)
        try {
          setAttributes(folder, known)
        } finally {
          if (sync) unsynced.push(...failureOfSync(() => folder))
          else folder.close()
        }
        return []
      } catch (cause) {
        return [{ path: known.path, error: explain(cause) }]
      }
    })
    return { failures, unsynced: unsynced[0] }
  }
}

/** Through the descriptor, since a folder's mode may take the right to open it once more. */
export const setAttributes = ({ fd }: OpenFolder, { attributes }: KnownFolder): void => {
  if (attributes === undefined) return
  fs.futimesSync(fd, Date.now() / 1000, attributes.seconds)
  fs.fchmodSync(fd, attributes.mode & folderModeBits)
}

interface SyncFoldersInput {
  readonly root: RawPath.RawPath
  readonly folders: ReadonlyArray<KnownFolder>
  /** Whole paths of folders that DIR was made in. */
  readonly above: ReadonlyArray<RawPath.RawPath>
}

/** Puts the names in these folders on the disk: why the first of those that could not be synced was not. */
export const syncFolders: WorkerJob<SyncFoldersInput, string | undefined> = {
  name: "syncFolders",
  kind: "long",
  work: async ({ above, folders, root }) =>
    [
      ...folders.flatMap((folder) => failureOfSync(() => openKnown(root, folder))),
      ...above.flatMap((path) => failureOfSync(() => openFolder(RawPath.toBuffer(path))))
    ][0]
}

/** Closes the folder as well. A file system that cannot sync folders is no failure. */
const failureOfSync = (open: () => OpenFolder): ReadonlyArray<string> => {
  try {
    const { close, fd } = open()
    try {
      syncNow(fd)
    } finally {
      close()
    }
    return []
  } catch (cause) {
    return [explain(cause)]
  }
}

/** Permissions and the sticky bit, which only takes rights away. Not setgid: the group that it speaks of is not in a zip. */
const folderModeBits = 0o1777
