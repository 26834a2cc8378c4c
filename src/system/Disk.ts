import { createHash } from "node:crypto"
import { constants, type Stats } from "node:fs"
import * as fs from "node:fs/promises"
import { normalize } from "node:path"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { codeOf, explain, isTransientCode } from "./Errno.ts"
import { closeRead, type NotSynced, notToWrite, openRegular, readOnly, syncOpen, withRegular } from "./FileCalls.ts"

/** One file-system operation failed. */
export class DiskError extends Data.TaggedError("DiskError")<{
  readonly operation: string
  readonly path: string
  /** errno name, such as ENOSPC. */
  readonly code: string | undefined
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** What is needed of `lstat`. Sizes in bytes, times in milliseconds since 1970. */
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

/**
 * Single file-system operations on our own files (target, staging, state), each one a step that a test can stop before or
 * after. Paths are text; the source, whose names are bytes, is read by Tree and Archiver. An interruption waits for the
 * operation that is under way: nothing happens on the disk after the effect has ended.
 */
export class Disk extends Context.Tag("zipper/Disk")<
  Disk,
  {
    /** `lstat`: does not follow a symlink. Undefined when there is nothing. */
    readonly stat: (path: string) => Effect.Effect<DiskStat | undefined, DiskError>
    /** Names in a folder, sorted. */
    readonly list: (path: string) => Effect.Effect<ReadonlyArray<string>, DiskError>
    /** Content as UTF-8; undefined when there is no such file. Never through a symlink. */
    readonly read: (path: string) => Effect.Effect<string | undefined, DiskError>
    /** Content as it is; otherwise like `read`. */
    readonly readBytes: (path: string) => Effect.Effect<Uint8Array | undefined, DiskError>
    /**
     * Creates a file that must not exist, writes it whole (text as UTF-8), and syncs it. Mode 0666 less umask
     * unless told. A part of it may stay when that fails.
     */
    readonly write: (path: string, content: string | Uint8Array, mode?: number) => Effect.Effect<void, DiskError>
    /** The same without syncing: for what may be lost or garbled by a power cut. */
    readonly writeUnsynced: (path: string, content: Uint8Array) => Effect.Effect<void, DiskError>
    /**
     * Adds a line at the end of a file, which is made when there is none, and syncs it: one write, so that lines of
     * several processes do not mix. A line before it that was cut short is ended first. Never through a symlink.
     */
    readonly append: (path: string, line: string) => Effect.Effect<void, DiskError>
    /** `chmod`, regardless of the umask; not of a symlink. */
    readonly setMode: (path: string, mode: number) => Effect.Effect<void, DiskError>
    /** `mkdir`, mode 0777 less umask unless told; fails with EEXIST. */
    readonly makeFolder: (path: string, mode?: number) => Effect.Effect<void, DiskError>
    /** `rename`: replaces a file at `to` atomically. Of two names of one file it leaves both, as POSIX wants. */
    readonly rename: (from: string, to: string) => Effect.Effect<void, DiskError>
    /** Hard link; fails with EEXIST. */
    readonly link: (existing: string, path: string) => Effect.Effect<void, DiskError>
    /**
     * Copies content to a file that must not exist, syncs it, reads it back and compares: fails unless the copy is what was
     * read, and that has the given SHA-256 (hex). A part of it may stay when that fails.
     */
    readonly copy: (from: string, to: string, sha256?: string) => Effect.Effect<void, DiskError>
    /** Removes a file; nothing there is no error. */
    readonly remove: (path: string) => Effect.Effect<void, DiskError>
    /** Removes an empty folder; nothing there is no error. */
    readonly removeFolder: (path: string) => Effect.Effect<void, DiskError>
    /** `fsync` of a file's content or of a folder's names; nothing where the file system cannot do it, which is logged once. */
    readonly sync: (path: string) => Effect.Effect<void, DiskError>
    /** Bytes that an unprivileged user may still write there; undefined where the file system does not tell. */
    readonly free: (path: string) => Effect.Effect<number | undefined, DiskError>
    /** Files that may still be made there; undefined where the file system does not tell, or has no such limit. */
    readonly freeInodes: (path: string) => Effect.Effect<number | undefined, DiskError>
    /** Fails when we have no permission to write there; writes nothing. */
    readonly writable: (path: string) => Effect.Effect<void, DiskError>
  }
>() {
  static readonly layer: Layer.Layer<Disk> = Layer.sync(Disk, (tell = makeTeller()) => ({
    stat: (path) => attempt("look at", path, () => fs.lstat(path).then(toStat)).pipe(whenMissing(undefined)),
    list: (path) => attempt("list", path, () => fs.readdir(path).then((names) => names.sort())),
    read: (path) =>
      attempt("read", path, () => withRegular(path, (file) => file.readFile("utf8"))).pipe(whenMissing(undefined)),
    readBytes: (path) =>
      attempt("read", path, () => withRegular(path, (file) => file.readFile())).pipe(whenMissing(undefined)),
    write: (path, content, mode = 0o666) =>
      attempt("write", path, () =>
        withFile(
          path,
          createOnly,
          async (file) => {
            await file.writeFile(content, "utf8")
            return syncOpen(file)
          },
          mode
        )
      ).pipe(Effect.flatMap(tell(path))),
    writeUnsynced: (path, content) =>
      attempt("write", path, () => withFile(path, createOnly, (file) => file.writeFile(content), 0o666)),
    append: (path, line) =>
      attempt("append to", path, () => withFile(path, appending, appendLine(line))).pipe(Effect.flatMap(tell(path))),
    setMode: (path, mode) =>
      attempt("set the mode of", path, () =>
        withFile(path, readOnly, async (file) => {
          const obstacle = notToWrite(await file.stat())
          if (obstacle !== undefined) throw new Error(obstacle)
          await file.chmod(mode)
        })
      ),
    makeFolder: (path, mode) => attempt("create the folder", path, () => fs.mkdir(path, mode ?? 0o777)),
    rename: (from, to) => attempt("rename", `${from} to ${to}`, () => fs.rename(from, to)),
    link: (existing, path) => attempt("link", `${existing} to ${path}`, () => fs.link(existing, path)),
    copy: copyFile,
    remove: (path) => attempt("remove", path, () => fs.unlink(path)).pipe(whenMissing(undefined)),
    removeFolder: (path) => attempt("remove the folder", path, () => fs.rmdir(path)).pipe(whenMissing(undefined)),
    sync: (path) => attempt("sync", path, () => withFile(path, readOnly, syncOpen)).pipe(Effect.flatMap(tell(path))),
    free: (path) => attempt("ask for the free space of", path, () => spaceAt(path).then(({ bytes }) => bytes)),
    freeInodes: (path) => attempt("ask for the free inodes of", path, () => spaceAt(path).then(({ inodes }) => inodes)),
    writable: (path) =>
      attempt("write to", path, async () => {
        const { W_OK, X_OK } = constants
        await fs.access(path, (await fs.lstat(path)).isDirectory() ? W_OK | X_OK : W_OK)
      })
  }))
}

/** One operation, which an interruption waits for; `operation` completes "cannot …". */
export const attempt = <A>(operation: string, path: string, run: () => Promise<A>): Effect.Effect<A, DiskError> =>
  Effect.uninterruptible(
    Effect.tryPromise({
      try: run,
      catch: (cause) => {
        const code = codeOf(cause)
        return new DiskError({
          operation,
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

/** What an operation gives where there is nothing. ENOTDIR: what should be its folder is a file, so it is not there either. */
const whenMissing =
  <B>(value: B) =>
  <A>(effect: Effect.Effect<A, DiskError>): Effect.Effect<A | B, DiskError> =>
    Effect.catchIf(
      effect,
      (error) => error.code === "ENOENT" || error.code === "ENOTDIR",
      () => Effect.succeed(value)
    )

const createOnly = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/** How to open a file for adding to it. Not blocking: a fifo in its place must not hang us. */
const appending =
  constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** See Disk.append. */
const appendLine = (line: string) => async (file: fs.FileHandle) => {
  const stats = await file.stat()
  const obstacle = notToWrite(stats)
  if (obstacle !== undefined) throw new Error(obstacle)
  const last = Buffer.alloc(1)
  if (stats.size > 0) await file.read(last, 0, 1, stats.size - 1)
  const torn = stats.size > 0 && last[0] !== newline
  await file.writeFile(`${torn ? "\n" : ""}${line}\n`, "utf8")
  return syncOpen(file)
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

/** See Disk.copy. Interruptible between chunks: a copy can take an hour. */
export const copyFile = (from: string, to: string, sha256?: string): Effect.Effect<void, DiskError> =>
  Effect.acquireUseRelease(
    attempt("copy", `${from} to ${to}`, () => openBoth(from, to)),
    ({ source, target }) => {
      const doing = ["copy", `${from} to ${to}`] as const
      const copied = hashOf(source, doing, async (bytes) => {
        for (let done = 0; done < bytes.length; ) {
          done += (await target.write(bytes, done, bytes.length - done, null)).bytesWritten
        }
      })
      return Effect.zipLeft(
        copied,
        attempt("sync", doing[1], () => syncOpen(target))
      )
    },
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

/** The SHA-256 of a file; `take` gets its content chunk by chunk. */
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

/** Fails unless what is at `to` has the SHA-256 `written`. */
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

/** The copy is not what it was made from, or that is not what it should be. No retry: a disk or a memory garbles data. */
const different = (from: string, to: string, why: string) =>
  Effect.fail(
    new DiskError({
      operation: "copy",
      path: to,
      code: undefined,
      message: `cannot copy ${from} to ${to}: ${why}. The disk, its connection or the memory garbles data: have them checked`,
      transient: false
    })
  )

/** What an unprivileged user may still use of a file system; undefined where it does not tell. */
interface Space {
  readonly bytes: number | undefined
  readonly inodes: number | undefined
}

const unknown: Space = { bytes: undefined, inodes: undefined }

/**
 * `statfs`. A file system without blocks, or without a limit of inodes, reports 0 in all (FUSE, some network shares), and one that
 * cannot be asked reports nothing: neither is a full one. Rejects only where there is no such path.
 */
export const spaceAt = async (path: string | Buffer): Promise<Space> => {
  const stats = await fs.statfs(path).catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT" || codeOf(cause) === "ENOTDIR") throw cause
    return undefined
  })
  if (stats === undefined) return unknown
  const { bavail, blocks, bsize, ffree, files } = stats
  return {
    // Below 0, which FreeBSD reports when what is kept for root is used, comes as a number larger than all.
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

/** Logs once for files, and once for folders, that a file system does not sync them. */
const makeTeller = () => {
  const told = new Set<NotSynced["what"]>()
  return (path: string) => (answer: NotSynced | undefined) =>
    Effect.suspend(() => {
      if (answer === undefined || told.has(answer.what)) return Effect.void
      told.add(answer.what)
      return Effect.logInfo(
        `the file system of ${normalize(path)} does not sync ${answer.what} (${answer.code}): how safe they are against a power cut is up to it`
      )
    })
}
