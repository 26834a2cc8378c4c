import { createHash } from "node:crypto"
import { constants, type Stats } from "node:fs"
import * as fs from "node:fs/promises"
import { normalize } from "node:path"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { codeOf, explain, isTransientCode } from "./Errno.ts"
import {
  closeRead,
  createOnly,
  headLength,
  type NotSynced,
  notToWrite,
  openRegular,
  readOnly,
  syncOpen,
  withRegular
} from "./FileCalls.ts"

/** One operation failed. `code`: its errno, such as ENOSPC. `transient`: another attempt may help. */
export class DiskError extends Data.TaggedError("DiskError")<{
  readonly path: string
  readonly code: string | undefined
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

export interface DiskStat {
  readonly kind: "file" | "directory" | "symlink" | "other"
  readonly size: number
  readonly dev: number
  readonly ino: number
  readonly nlink: number
  readonly uid: number
  readonly mode: number
  readonly mtimeMs: number
  readonly ctimeMs: number
}

/** Text goes to files as UTF-8. */
export type Content = string | Uint8Array | ReadonlyArray<Uint8Array>

/** Succeeds where the operation fails with this code; other errors stay. */
export const ignoreCode =
  (code: string) =>
  <A, R>(operation: Effect.Effect<A, DiskError, R>) =>
    Effect.catchAll(operation, (error) => (error.code === code ? Effect.void : error))

/** Single operations on our own files (target, staging, state). An interruption waits for the one that is under way. */
export class Disk extends Context.Tag("zipper/Disk")<
  Disk,
  {
    /** `lstat`: does not follow a symlink. Undefined when there is nothing. */
    readonly stat: (path: string) => Effect.Effect<DiskStat | undefined, DiskError>
    /** The names in a folder, sorted. Fails when there is no folder. */
    readonly list: (path: string) => Effect.Effect<ReadonlyArray<string>, DiskError>
    /** Content as UTF-8, or with `readBytes` as it is; undefined without such a file. Never through a symlink. */
    readonly read: (path: string) => Effect.Effect<string | undefined, DiskError>
    readonly readBytes: (path: string) => Effect.Effect<Uint8Array | undefined, DiskError>
    /** The first 64 KiB, one byte a character; undefined without such a file. Never through a symlink. */
    readonly head: (path: string) => Effect.Effect<string | undefined, DiskError>
    /** Creates a file that must not exist, writes it, and syncs it. A part may stay when that fails. */
    readonly write: (path: string, content: Content, mode?: number) => Effect.Effect<void, DiskError>
    /** The same without syncing: for what a power cut may garble. */
    readonly writeUnsynced: (path: string, content: Content) => Effect.Effect<void, DiskError>
    /** Adds a line to a file, in one write, after the end of a line that was cut short, and syncs. Never through a symlink. */
    readonly append: (path: string, line: string) => Effect.Effect<void, DiskError>
    /** `chmod`, regardless of the umask; not of a symlink. */
    readonly setMode: (path: string, mode: number) => Effect.Effect<void, DiskError>
    /** Fails with EEXIST when something is there. `mode` less umask; default: 0777. */
    readonly makeFolder: (path: string, mode?: number) => Effect.Effect<void, DiskError>
    /** Replaces a file at `to` atomically. Of two names of one file it leaves both, as POSIX wants. */
    readonly rename: (from: string, to: string) => Effect.Effect<void, DiskError>
    /** Gives a file a second name, which must not be taken. */
    readonly link: (existing: string, path: string) => Effect.Effect<void, DiskError>
    /** Copies to a new file, syncs, reads back, compares, also with a SHA-256 (hex). Interruptible; may leave a part. */
    readonly copy: (from: string, to: string, sha256?: string) => Effect.Effect<void, DiskError>
    /** These two succeed when nothing is there. */
    readonly remove: (path: string) => Effect.Effect<void, DiskError>
    readonly removeFolder: (path: string) => Effect.Effect<void, DiskError>
    /** `fsync` of a file or folder; where the file system cannot do it, that is logged once. */
    readonly sync: (path: string) => Effect.Effect<void, DiskError>
    /** Bytes that an unprivileged user may still write there; undefined where the file system does not report it. */
    readonly free: (path: string) => Effect.Effect<number | undefined, DiskError>
    /** Files that may still be made there; undefined as for `free`, or without such a limit. */
    readonly freeInodes: (path: string) => Effect.Effect<number | undefined, DiskError>
    /** Fails unless this process may write to the file, or make files in the folder. Writes nothing. */
    readonly writable: (path: string) => Effect.Effect<void, DiskError>
    /** Fails unless this process may execute the file. Follows symlinks. */
    readonly executable: (path: string) => Effect.Effect<void, DiskError>
  }
>() {
  static readonly layer: Layer.Layer<Disk> = Layer.sync(Disk, (logSync = makeSyncLog()) => ({
    stat: (path) => attempt("look at", path, () => fs.lstat(path).then(toStat)).pipe(ifPresent),
    list: (path) => attempt("list", path, () => fs.readdir(path).then((names) => names.sort())),
    read: (path) => attempt("read", path, () => withRegular(path, (file) => file.readFile("utf8"))).pipe(ifPresent),
    readBytes: (path) => attempt("read", path, () => withRegular(path, (file) => file.readFile())).pipe(ifPresent),
    head: (path) =>
      attempt("read", path, () =>
        withRegular(path, async (file) => {
          const { buffer, bytesRead } = await file.read(Buffer.alloc(headLength), 0, headLength, 0)
          return buffer.toString("latin1", 0, bytesRead)
        })
      ).pipe(ifPresent),
    write: (path, content, mode) =>
      attempt("write", path, () => withFile(path, createOnly, writeAll(content), mode)).pipe(
        Effect.flatMap(logSync(path))
      ),
    writeUnsynced: (path, content) => attempt("write", path, () => withFile(path, createOnly, writeUnsynced(content))),
    append: (path, line) =>
      attempt("append to", path, () => withFile(path, appending, appendLine(line))).pipe(Effect.flatMap(logSync(path))),
    setMode: (path, mode) => attempt("set the mode of", path, () => withFile(path, readOnly, changeMode(mode))),
    makeFolder: (path, mode) => attempt("create the folder", path, () => fs.mkdir(path, mode ?? 0o777)),
    rename: (from, to) => attempt("rename", `${from} to ${to}`, () => fs.rename(from, to)),
    link: (existing, path) => attempt("link", `${existing} to ${path}`, () => fs.link(existing, path)),
    copy: copyFile,
    remove: (path) => attempt("remove", path, () => fs.unlink(path)).pipe(ifPresent),
    removeFolder: (path) => attempt("remove the folder", path, () => fs.rmdir(path)).pipe(ifPresent),
    sync: (path) => attempt("sync", path, () => withFile(path, readOnly, syncOpen)).pipe(Effect.flatMap(logSync(path))),
    free: (path) => attempt("ask for the free space of", path, () => spaceAt(path).then(({ bytes }) => bytes)),
    freeInodes: (path) => attempt("ask for the free inodes of", path, () => spaceAt(path).then(({ inodes }) => inodes)),
    writable: (path) =>
      attempt("write to", path, async () => {
        const { W_OK, X_OK } = constants
        await fs.access(path, (await fs.lstat(path)).isDirectory() ? W_OK | X_OK : W_OK)
      }),
    executable: (path) =>
      attempt("execute", path, async () => {
        if (!(await fs.stat(path)).isFile()) throw new Error("is not a regular file")
        await fs.access(path, constants.X_OK)
      })
  }))
}

/** One operation, which an interruption waits for; `operation` completes "cannot …". */
const attempt = <A>(operation: string, path: string, run: () => Promise<A>): Effect.Effect<A, DiskError> =>
  Effect.uninterruptible(
    Effect.tryPromise({
      try: run,
      catch: (cause) => {
        const code = codeOf(cause)
        return new DiskError({
          path,
          code,
          // Folders are asked for as DIR/. where a symlink may be followed, and as DIR/..
          message: `cannot ${operation} ${normalize(path)}: ${explain(cause)}`,
          transient: isTransientCode(code),
          cause
        })
      }
    })
  )

/** Gives undefined where nothing is, and where the folder is a file (ENOTDIR). */
const ifPresent = <A>(effect: Effect.Effect<A, DiskError>): Effect.Effect<A | undefined, DiskError> =>
  Effect.catchIf(effect, isMissing, () => Effect.succeed(undefined))

const isMissing = ({ code }: DiskError): boolean => code === "ENOENT" || code === "ENOTDIR"

/** Not blocking: a fifo in its place must not hang us. */
const appending =
  constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK

const writeUnsynced = (content: Content) => async (file: fs.FileHandle) => {
  const parts = typeof content === "string" || content instanceof Uint8Array ? [content] : content
  for (const part of parts) await file.writeFile(part, "utf8")
}

const writeAll = (content: Content) => async (file: fs.FileHandle) => {
  await writeUnsynced(content)(file)
  return syncOpen(file)
}

const changeMode = (mode: number) => async (file: fs.FileHandle) => {
  await writableStats(file)
  await file.chmod(mode)
}

const writableStats = async (file: fs.FileHandle): Promise<Stats> => {
  const stats = await file.stat()
  const obstacle = notToWrite(stats)
  if (obstacle !== undefined) throw new Error(obstacle)
  return stats
}

const appendLine = (line: string) => async (file: fs.FileHandle) => {
  const stats = await writableStats(file)
  const last = Buffer.alloc(1)
  if (stats.size > 0) await file.read(last, 0, 1, stats.size - 1)
  const torn = stats.size > 0 && last[0] !== newline
  return writeAll(`${torn ? "\n" : ""}${line}\n`)(file)
}

const newline = 10

const withFile = async <A>(
  path: string,
  flags: number,
  use: (file: fs.FileHandle) => Promise<A>,
  mode = 0o666
): Promise<A> => {
  const file = await fs.open(path, flags, mode)
  try {
    return await use(file)
  } finally {
    await file.close()
  }
}

const copyFile = (from: string, to: string, sha256?: string): Effect.Effect<void, DiskError> =>
  Effect.acquireUseRelease(
    attempt("copy", `${from} to ${to}`, () => openBoth(from, to)),
    ({ source, target }) =>
      hashOf(source, ["copy", `${from} to ${to}`], async (bytes) => {
        for (let done = 0; done < bytes.length; ) {
          done += (await target.write(bytes, done, bytes.length - done, null)).bytesWritten
        }
      }).pipe(Effect.zipLeft(attempt("sync", `${from} to ${to}`, () => syncOpen(target)))),
    ({ source, target }) =>
      Effect.ignoreLogged(attempt("close", to, () => Promise.all([closeRead(source), target.close()])))
  ).pipe(
    Effect.flatMap((digest) =>
      sha256 === undefined || sha256 === digest
        ? readBack(from, to, digest)
        : different(from, to, `${from} was read with another SHA-256 (${digest}) than it has to have (${sha256})`)
    )
  )

const openBoth = async (from: string, to: string) => {
  const { file: source } = await openRegular(from)
  try {
    return { source, target: await fs.open(to, createOnly) }
  } catch (error) {
    await closeRead(source)
    throw error
  }
}

const chunk = 4 * 1024 * 1024

const hashOf = (
  file: fs.FileHandle,
  [operation, path]: readonly [operation: string, path: string],
  take: (bytes: Buffer) => Promise<void> = async () => {}
): Effect.Effect<string, DiskError> =>
  Effect.suspend(() => {
    const buffer = Buffer.allocUnsafe(chunk)
    const hash = createHash("sha256")
    const step = attempt(operation, path, async () => {
      const { bytesRead } = await file.read(buffer, 0, chunk, null)
      const bytes = buffer.subarray(0, bytesRead)
      hash.update(bytes)
      await take(bytes)
      return bytesRead
    })
    return Effect.repeat(step, { until: (bytes) => bytes === 0 }).pipe(Effect.map(() => hash.digest("hex")))
  })

const readBack = (from: string, to: string, written: string): Effect.Effect<void, DiskError> =>
  Effect.acquireUseRelease(
    attempt("read back", to, () => openRegular(to)),
    ({ file }) => hashOf(file, ["read back", to]),
    ({ file }) => Effect.promise(() => closeRead(file))
  ).pipe(
    Effect.flatMap((found) =>
      found === written
        ? Effect.void
        : different(from, to, `${to} was read back with another SHA-256 (${found}) than was written (${written})`)
    )
  )

/** No retry: a disk or a memory garbles data. */
const different = (from: string, to: string, why: string) =>
  Effect.fail(
    new DiskError({
      path: to,
      code: undefined,
      message: `cannot copy ${from} to ${to}: ${why}. The disk, its connection or the memory garbles data: have them checked`,
      transient: false
    })
  )

/** Undefined where a file system reports nothing, or 0 in all (FUSE, some shares). Rejects where nothing is at the path. */
export const spaceAt = async (
  path: string | Buffer
): Promise<{ readonly bytes: number | undefined; readonly inodes: number | undefined }> => {
  const stats = await fs.statfs(path).catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT" || codeOf(cause) === "ENOTDIR") throw cause
    return undefined
  })
  if (stats === undefined) return { bytes: undefined, inodes: undefined }
  const { bavail, blocks, bsize, ffree, files } = stats
  return {
    // FreeBSD's negative number, when the reserve of root is used, comes as one larger than all.
    bytes: blocks === 0 ? undefined : bavail > blocks ? 0 : bavail * bsize,
    inodes: files === 0 ? undefined : ffree > files ? 0 : ffree
  }
}

const toStat = (stats: Stats): DiskStat => {
  const { ctimeMs, dev, ino, mode, mtimeMs, nlink, size, uid } = stats
  const kind = stats.isFile()
    ? "file"
    : stats.isDirectory()
      ? "directory"
      : stats.isSymbolicLink()
        ? "symlink"
        : "other"
  return { kind, size, dev, ino, nlink, uid, mode, mtimeMs, ctimeMs }
}

const makeSyncLog = () => {
  const logged = new Set<NotSynced["what"]>()
  return (path: string) => (answer: NotSynced | undefined) =>
    Effect.suspend(() => {
      if (answer === undefined || logged.has(answer.what)) return Effect.void
      logged.add(answer.what)
      return Effect.logInfo(
        `the file system of ${normalize(path)} does not sync ${answer.what} (${answer.code}): how safe they are against a power cut is up to it`
      )
    })
}
