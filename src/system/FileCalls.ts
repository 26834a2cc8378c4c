import * as fs from "node:fs"
import { constants, type Stats } from "node:fs"
import * as fsPromises from "node:fs/promises"
import { promisify } from "node:util"
import { codeOf } from "./Errno.ts"

/** Not through a symlink, and without waiting for a fifo's writer. */
/** What tells the kind of a file is looked for in so many bytes. */
export const headLength = 64 * 1024

export const readOnly = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** For a file that must not be there yet, not even as a symlink. */
export const createOnly = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/** Why an open file must not be written to: another user may have made the name for a device or for a file elsewhere. */
export const notToWrite = (stats: Pick<Stats, "isFile" | "nlink">): string | undefined => {
  if (!stats.isFile()) return "is not a regular file"
  return stats.nlink > 1 ? "is a file with another name elsewhere (a hard link); remove this name" : undefined
}

/** Opens a file to read, through no symlink; the caller closes it. Rejects as node:fs does, or for what is no regular file. */
export const openRegular = async (
  path: string
): Promise<{ readonly file: fsPromises.FileHandle; readonly stats: Stats }> => {
  const file = await fsPromises.open(path, readOnly)
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw new Error("is not a regular file")
    return { file, stats }
  } catch (cause) {
    await closeRead(file)
    throw cause
  }
}

/** Closes a file that was only read; errors of close are about writing. */
export const closeRead = async (file: fsPromises.FileHandle): Promise<void> => {
  await Promise.allSettled([file.close()])
}

/** The same for as long as `use` takes. */
export const withRegular = async <A>(path: string, use: (file: fsPromises.FileHandle) => Promise<A>): Promise<A> => {
  const { file } = await openRegular(path)
  try {
    return await use(file)
  } finally {
    await closeRead(file)
  }
}

/** A path as node:fs takes it: text where it is ASCII, which costs least, or else its bytes. */
export type DirectoryPath = string | Buffer

/** How a thread opens and reads files and looks at directories. */
export interface FileCalls {
  readonly open: (path: Buffer, flags: number) => Promise<number>
  readonly read: (
    fd: number,
    buffer: Buffer,
    offset: number,
    length: number,
    position: number
  ) => Promise<{ readonly bytesRead: number }>
  /** The names in a directory, a character a byte, in no order. */
  readonly names: (path: DirectoryPath) => Promise<ReadonlyArray<string>>
  readonly lstat: (path: DirectoryPath) => Promise<fs.BigIntStats>
  readonly fileSystemType: (path: DirectoryPath) => Promise<bigint>
  /** `lstat` of `count` paths; `take`, which must not throw, gets the results in order. Rejects with {@link Unseen}. */
  readonly lstats: (
    count: number,
    path: (index: number) => DirectoryPath,
    take: (index: number, stats: fs.BigIntStats) => void,
    signal: AbortSignal
  ) => Promise<void>
}

/** A path of `lstats` could not be looked at; `cause` is the error of node:fs. */
export class Unseen extends Error {
  readonly index: number
  constructor(index: number, cause: unknown) {
    super("lstat failed", { cause })
    this.index = index
  }
}

const nanoseconds = { bigint: true } as const

/** One character a byte: a Buffer a name costs ten times the memory. */
const byteNames = { encoding: "latin1" } as const

// Pure, so that the program of the worker threads goes without them.
const readdir = /* @__PURE__ */ promisify(fs.readdir)
const lstat = /* @__PURE__ */ promisify(fs.lstat)
const statfs = /* @__PURE__ */ promisify(fs.statfs)

/** Enough to keep node's four threads busy. */
const atOnce = 64

/** For the main thread, which must not wait for a disk: on node's own threads. Not by a FileHandle, which costs more. */
export const waitingCalls: FileCalls = {
  open: /* @__PURE__ */ promisify(fs.open),
  read: /* @__PURE__ */ promisify(fs.read),
  names: (path) => readdir(path, byteNames),
  lstat: (path) => lstat(path, nanoseconds),
  fileSystemType: async (path) => (await statfs(path, nanoseconds)).type,
  lstats: async (count, path, take, signal) => {
    for (let from = 0; from < count; from += atOnce) {
      signal.throwIfAborted()
      const looks = Array.from({ length: Math.min(atOnce, count - from) }, (_, at) =>
        lstat(path(from + at), nanoseconds)
      )
      for (const [at, look] of (await Promise.allSettled(looks)).entries()) {
        if (look.status === "rejected") throw new Unseen(from + at, look.reason)
        take(from + at, look.value)
      }
    }
  }
}

/** For a worker thread, which may wait: a call on node's threads costs three times the call itself. */
export const blockingCalls: FileCalls = {
  open: async (path, flags) => fs.openSync(path, flags),
  read: async (fd, buffer, offset, length, position) => ({
    bytesRead: fs.readSync(fd, buffer, offset, length, position)
  }),
  names: async (path) => fs.readdirSync(path, byteNames),
  lstat: async (path) => fs.lstatSync(path, nanoseconds),
  fileSystemType: async (path) => fs.statfsSync(path, nanoseconds).type,
  lstats: async (count, path, take, signal) => {
    signal.throwIfAborted()
    for (let index = 0; index < count; index += 1) take(index, lstatNow(path(index), index))
  }
}

const lstatNow = (path: DirectoryPath, index: number): fs.BigIntStats => {
  try {
    return fs.lstatSync(path, nanoseconds)
  } catch (cause) {
    throw new Unseen(index, cause)
  }
}

/** Fills `buffer` from `position` of the file, as far as the file goes; gives the number of bytes. */
export const fill = async (calls: FileCalls, fd: number, buffer: Buffer, position: number): Promise<number> => {
  let done = 0
  while (done < buffer.length) {
    const { bytesRead } = await calls.read(fd, buffer, done, buffer.length - done, position + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done
}

const unsupported: ReadonlySet<string> = new Set(["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"])

export interface NotSynced {
  readonly what: "files" | "folders"
  readonly code: string
}

/** `fsync` of an open file or folder. Undefined when it is done; a file system that cannot do it is no failure. */
export const syncOpen = (file: fsPromises.FileHandle): Promise<NotSynced | undefined> =>
  file.sync().then(
    () => undefined,
    async (cause: unknown) => syncAnswer(cause, (await file.stat()).isDirectory())
  )

/** The same for threads that may wait for a disk. */
export const syncNow = (fd: number): NotSynced | undefined => {
  try {
    fs.fsyncSync(fd)
    return undefined
  } catch (cause) {
    return syncAnswer(cause, fs.fstatSync(fd).isDirectory())
  }
}

const syncAnswer = (cause: unknown, isFolder: boolean): NotSynced => {
  const code = codeOf(cause)
  // Some network file systems report EPERM for a folder.
  if (code === undefined || !(unsupported.has(code) || (isFolder && code === "EPERM"))) throw cause
  return { what: isFolder ? "folders" : "files", code }
}
