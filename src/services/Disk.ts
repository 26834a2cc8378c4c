import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"

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
}

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

/**
 * Single file-system operations on our own files (target, staging, state), each an atomic step of the kernel,
 * so that a test can stop a publication between any two of them. Paths are text: the source, whose names are
 * bytes, is read by Tree and Archiver.
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
    /** Creates a file that must not exist, writes it whole, and syncs it. */
    readonly write: (path: string, content: string) => Effect.Effect<void, DiskError>
    /** `mkdir`, mode 0777 less umask unless told; fails with EEXIST. */
    readonly makeFolder: (path: string, mode?: number) => Effect.Effect<void, DiskError>
    /** `rename`: replaces a file at `to` atomically. */
    readonly rename: (from: string, to: string) => Effect.Effect<void, DiskError>
    /** Hard link; fails with EEXIST. */
    readonly link: (existing: string, path: string) => Effect.Effect<void, DiskError>
    /** Copies content to a file that must not exist, and syncs it. */
    readonly copy: (from: string, to: string) => Effect.Effect<void, DiskError>
    /** Removes a file; nothing there is no error. */
    readonly remove: (path: string) => Effect.Effect<void, DiskError>
    /** Removes an empty folder; nothing there is no error. */
    readonly removeFolder: (path: string) => Effect.Effect<void, DiskError>
    /** `fsync` of a file's content or of a folder's names. */
    readonly sync: (path: string) => Effect.Effect<void, DiskError>
    /** Bytes that an unprivileged user may still write there. */
    readonly free: (path: string) => Effect.Effect<number, DiskError>
  }
>() {}
