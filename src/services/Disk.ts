import { constants, type Stats } from "node:fs"
import * as fs from "node:fs/promises"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { copyFile } from "./disk/copy.ts"
import { attempt, type DiskError, whenMissing } from "./disk/DiskError.ts"
import { appending, appendLine, createOnly, withFile } from "./disk/file.ts"
import { spaceAt } from "./disk/space.ts"
import { makeTeller, syncOpen } from "./disk/sync.ts"
import { notToWrite, readOnly, withRegular } from "./regularFile.ts"

export { DiskError } from "./disk/DiskError.ts"

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
 * Single file-system operations on our own files (target, staging, state), each an atomic step of the kernel,
 * so that a test can stop a publication between any two of them. Paths are text: the source, whose names are
 * bytes, is read by Tree and Archiver. An interruption waits for the operation that is under way: nothing
 * happens on the disk after the effect has ended.
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
    readonly write: (
      path: string,
      content: string | Uint8Array,
      mode?: number
    ) => Effect.Effect<void, DiskError>
    /** The same without syncing: for what may be lost or garbled by a power cut. */
    readonly writeUnsynced: (path: string, content: Uint8Array) => Effect.Effect<void, DiskError>
    /**
     * Adds a line at the end of a file, which is made when there is none, and syncs it: one write, so that lines of
     * several processes do not mix. A line before it that was cut short is ended first. Never through a symlink.
     */
    readonly append: (path: string, line: string) => Effect.Effect<void, DiskError>
    /** `chmod`, whatever the umask; not of a symlink. */
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
    /** `fsync` of a file's content or of a folder's names; nothing where the file system cannot do it, which is told once. */
    readonly sync: (path: string) => Effect.Effect<void, DiskError>
    /** Bytes that an unprivileged user may still write there; undefined where the file system does not tell. */
    readonly free: (path: string) => Effect.Effect<number | undefined, DiskError>
    /** Files that may still be made there; undefined where the file system does not tell, or has no such limit. */
    readonly freeInodes: (path: string) => Effect.Effect<number | undefined, DiskError>
    /** Fails when we have no permission to write there; writes nothing. */
    readonly writable: (path: string) => Effect.Effect<void, DiskError>
  }
>() {
  /** The real one. */
  static readonly layer: Layer.Layer<Disk> = Layer.sync(Disk, (tell = makeTeller()) => ({
    stat: (path) => attempt("look at", path, () => fs.lstat(path).then(toStat)).pipe(whenMissing(undefined)),
    list: (path) => attempt("list", path, () => fs.readdir(path).then((names) => names.sort())),
    read: (path) =>
      attempt("read", path, () => withRegular(path, (file) => file.readFile("utf8"))).pipe(
        whenMissing(undefined)
      ),
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
      attempt("append to", path, () => withFile(path, appending, appendLine(line))).pipe(
        Effect.flatMap(tell(path))
      ),
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
    removeFolder: (path) =>
      attempt("remove the folder", path, () => fs.rmdir(path)).pipe(whenMissing(undefined)),
    sync: (path) =>
      attempt("sync", path, () => withFile(path, readOnly, syncOpen)).pipe(Effect.flatMap(tell(path))),
    free: (path) =>
      attempt("ask for the free space of", path, () => spaceAt(path).then(({ bytes }) => bytes)),
    freeInodes: (path) =>
      attempt("ask for the free inodes of", path, () => spaceAt(path).then(({ inodes }) => inodes)),
    writable: (path) =>
      attempt("write to", path, async () => {
        const { W_OK, X_OK } = constants
        await fs.access(path, (await fs.lstat(path)).isDirectory() ? W_OK | X_OK : W_OK)
      })
  }))
}

const toStat = (stats: Stats): DiskStat => ({
  kind: stats.isFile()
    ? "file"
    : stats.isDirectory()
      ? "directory"
      : stats.isSymbolicLink()
        ? "symlink"
        : "other",
  size: stats.size,
  dev: stats.dev,
  ino: stats.ino,
  nlink: stats.nlink,
  uid: stats.uid,
  mode: stats.mode,
  mtimeMs: stats.mtimeMs,
  ctimeMs: stats.ctimeMs
})
