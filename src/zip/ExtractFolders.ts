import * as fs from "node:fs"
import { explain } from "../system/Errno.ts"
import { syncNow } from "../system/FileCalls.ts"
import type { WorkerJob } from "../system/WorkerJob.ts"
import * as RawPath from "../text/RawPath.ts"

/** What tells a folder from any other one, for as long as it is there. */
export interface FolderId {
  readonly dev: bigint
  readonly ino: bigint
}

/** A folder that files are written to: DIR itself (empty path), or one below it that was made or looked at. */
export interface KnownFolder extends FolderId {
  /** Relative to DIR. */
  readonly path: RawPath.RawPath
}

/** A folder that is the one that was made or looked at, whatever stands at its path in the meantime. */
export interface OpenFolder {
  readonly id: FolderId
  readonly fd: number
  /** The path of something in it, for node:fs. Its last part is not resolved yet: a symlink there is for the call to refuse. */
  readonly at: (name: RawPath.RawPath) => Buffer
  readonly close: () => void
}

const folderOnly = fs.constants.O_RDONLY | fs.constants.O_DIRECTORY | fs.constants.O_NOFOLLOW

const isSame = (a: FolderId, b: FolderId): boolean => a.dev === b.dev && a.ino === b.ino

const idOf = (path: string | Buffer): FolderId => fs.lstatSync(path, { bigint: true })

/** Opens `path`, which has to be a folder: not a symlink, and if `expected` is given, that one. */
export const openFolder = (path: Buffer, expected?: FolderId): OpenFolder => {
  const fd = fs.openSync(path, folderOnly)
  try {
    const { dev, ino } = fs.fstatSync(fd, { bigint: true })
    const id = { dev, ino }
    if (expected !== undefined && !isSame(id, expected)) throw new Error(swapped)
    const through = throughDescriptor(fd, id)
    const below = RawPath.fromBuffer(through ?? path)
    return {
      id,
      fd,
      at: (name) => {
        // Without /proc only looking again, right before it is used, keeps out whoever puts a symlink in the place of a folder.
        if (through === undefined && !isSame(idOf(path), id)) throw new Error(swapped)
        return RawPath.toBuffer(RawPath.join(below, name))
      },
      close: () => fs.closeSync(fd)
    }
  } catch (cause) {
    fs.closeSync(fd)
    throw cause
  }
}

const swapped = "the folder that it belongs to was replaced by another one in the meantime"

/** Linux: a path that leads to the open folder itself, so that nobody can put another one in its place. */
const throughDescriptor = (fd: number, id: FolderId): Buffer | undefined => {
  if (process.platform !== "linux") return undefined
  const path = `/proc/self/fd/${fd}`
  try {
    return isSame(idOf(`${path}/.`), id) ? Buffer.from(path) : undefined
  } catch {
    // No /proc here.
    return undefined
  }
}

/** Brings the names in an open folder to the disk, where its file system can do that. */
export const syncFolder = ({ fd }: OpenFolder): void => void syncNow(fd)

/** Gives folders below `root` opened, one at a time: names that belong together come one after the other. */
export const makeOpener = (root: RawPath.RawPath) => {
  let current: { readonly path: RawPath.RawPath; readonly folder: OpenFolder } | undefined
  const close = (): void => {
    const open = current
    current = undefined
    open?.folder.close()
  }
  return {
    open: (known: KnownFolder): OpenFolder => {
      if (current?.path === known.path) return current.folder
      close()
      const folder = openFolder(RawPath.toBuffer(RawPath.join(root, known.path)), known)
      current = { path: known.path, folder }
      return folder
    },
    close
  }
}

/** The folder that something lies in, and what it is called there. */
export const split = (
  path: RawPath.RawPath
): { readonly parent: RawPath.RawPath; readonly name: RawPath.RawPath } => {
  const slash = path.lastIndexOf("/")
  return {
    parent: RawPath.fromLatin1(path.slice(0, Math.max(slash, 0))),
    name: RawPath.fromLatin1(path.slice(slash + 1))
  }
}

/** Make folders, parents before what they hold. */
interface MakeFoldersInput {
  /** DIR. */
  readonly root: RawPath.RawPath
  readonly paths: ReadonlyArray<RawPath.RawPath>
  /** The folders that they are made in and that are there already. */
  readonly parents: ReadonlyArray<KnownFolder>
}

/** What became of each, in their order: which folder it is, or why it could not be made. */
type MakeFoldersOutput = ReadonlyArray<FolderId | { readonly error: string }>

/** Nobody else sees into a folder until it has got its own mode. */
const unfinishedFolderMode = 0o700

/** Makes each of the folders anew: one that is there is a failure. */
export const makeFolders: WorkerJob<MakeFoldersInput, MakeFoldersOutput> = {
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
          const made = openFolder(at)
          made.close()
          known.set(path, { path, ...made.id })
          return made.id
        } catch (cause) {
          return { error: explain(cause) }
        }
      })
    } finally {
      opener.close()
    }
  }
}

/** Give folders their modes and times, what lies deepest first: nothing is put into them any more. */
interface FinishFoldersInput {
  readonly root: RawPath.RawPath
  readonly folders: ReadonlyArray<
    KnownFolder & {
      readonly mode: number
      /** Since 1970. */
      readonly seconds: number
    }
  >
}

/** Those that did not get them. */
type FinishFoldersOutput = ReadonlyArray<{ readonly path: RawPath.RawPath; readonly error: string }>

export const finishFolders: WorkerJob<FinishFoldersInput, FinishFoldersOutput> = {
  name: "finishFolders",
  kind: "long",
  work: async ({ folders, root }) =>
    folders.flatMap((known) => {
      try {
        const folder = openFolder(RawPath.toBuffer(RawPath.join(root, known.path)), known)
        try {
          fs.futimesSync(folder.fd, Date.now() / 1000, known.seconds)
          fs.fchmodSync(folder.fd, folderMode(known.mode))
        } finally {
          folder.close()
        }
        return []
      } catch (cause) {
        return [{ path: known.path, error: explain(cause) }]
      }
    })
}

/**
 * Permissions that a restored folder gets: those of the archive, and the sticky bit, which only takes rights away. Not setgid:
 * the group that it speaks of is not in a zip.
 */
const folderMode = (mode: number): number => mode & 0o1777

/** The same of a file. Never setuid or setgid: whoever restores would lend his own rights to what a stranger wrote. */
export const fileMode = (mode: number): number => mode & 0o777

/** What threads that write files tell each other while they are at it. */
export interface Shared {
  /** Lets every thread end after what it is at, which is removed. */
  readonly stop: () => void
  readonly stopped: () => boolean
  /** Bytes went to a file, which may still turn out not to be wanted. */
  readonly wrote: (bytes: number) => void
  /** A file of so many bytes is complete, and has taken the place of another one if `replaced`. */
  readonly finished: (bytes: number, replaced: boolean) => void
  readonly figures: () => SharedFigures
}

interface SharedFigures {
  /** Bytes that went to files, whatever became of them: what a bar shows. */
  readonly written: number
  /** Files that are complete, their bytes, and how many of them took the place of others. */
  readonly files: number
  readonly bytes: number
  readonly replaced: number
}

const at = { written: 0, files: 1, bytes: 2, replaced: 3 } as const

/** Memory for {@link shareOf}. */
export const makeShared = (): SharedArrayBuffer => new SharedArrayBuffer(40)

/** The same on every thread that has the memory. */
export const shareOf = (memory: SharedArrayBuffer): Shared => {
  const counts = new BigInt64Array(memory, 0, 4)
  const flag = new Int32Array(memory, 32, 1)
  const add = (index: number, number: number): void => {
    Atomics.add(counts, index, BigInt(number))
  }
  const read = (index: number): number => Number(Atomics.load(counts, index))
  return {
    stop: () => {
      Atomics.store(flag, 0, 1)
    },
    stopped: () => Atomics.load(flag, 0) !== 0,
    wrote: (bytes) => add(at.written, bytes),
    finished: (bytes, replaced) => {
      add(at.files, 1)
      add(at.bytes, bytes)
      if (replaced) add(at.replaced, 1)
    },
    figures: () => ({
      written: read(at.written),
      files: read(at.files),
      bytes: read(at.bytes),
      replaced: read(at.replaced)
    })
  }
}

/** A folder of the archive; DIR itself is the first of them. */
export interface Folder {
  readonly path: RawPath.RawPath
  readonly parent: Folder | undefined
  readonly mode: number
  readonly seconds: number
  /** It was asked for, and everything below it. */
  readonly chosen: boolean
  /** Something that was asked for is in it, or it was itself: it has been looked for in DIR. */
  needed: boolean
  /** What is at its place in DIR: nothing, that folder, or something that is in the way. */
  state: "absent" | "present" | "blocked"
  /** Which folder it is, once that is known. */
  id: FolderId | undefined
}

/** What is to be done with an entry. */
export const mark = {
  /** It is left out, or it is a folder. */
  none: 0,
  /** It is written where nothing is. */
  create: 1,
  /** It takes the place of a regular file. */
  replace: 2
} as const
