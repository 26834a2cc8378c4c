import { existsSync } from "node:fs"
import { dirname } from "node:path"
import * as Data from "effect/Data"
import * as Errno from "../../domain/Errno.ts"

/** The lock is not ours. */
export class LockError extends Data.TaggedError("LockError")<{
  readonly reason: "Held" | "Unusable"
  readonly path: string
  /** Names the holder (pid, since when) when it is held. */
  readonly message: string
  /** The holder alone, as the lock's file names it. */
  readonly holder?: string
  /** The file names no holder: it has just started, or only tests the lock. */
  readonly unnamed?: boolean
  /** It is the file that cannot be used. */
  readonly otherWouldDo?: boolean
  readonly cause?: unknown
}> {}

/** How another file is chosen, to be followed by which. */
type Choose = "set lockfile_path to" | "give --lock FILE,"

/** What is wrong and what to do, by errno. */
const explained = (path: string, cause: unknown, choose: Choose): string => {
  switch (Errno.codeOf(cause)) {
    case "ENOENT":
      // In some folders that are there (/proc) no file can be made, and the system says the same of them.
      return existsSync(dirname(path))
        ? `no file can be made in its folder; ${choose} a file elsewhere`
        : `its folder does not exist: create it, or ${choose} a file elsewhere`
    case "EISDIR":
      return `it is a folder: ${choose} a file`
    case "ELOOP":
    case "EMLINK":
      return `it is a symbolic link, which a lock file must not be: remove it, or ${choose} another file`
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return `${Errno.explain(cause)}; ${choose} a file that this user can write`
    default:
      return `${Errno.explain(cause)}; ${choose} another file`
  }
}

/** The lock file cannot be used at all. */
export const unusable = (path: string, cause: unknown, choose: Choose = "set lockfile_path to"): LockError =>
  new LockError({
    reason: "Unusable",
    path,
    message: `cannot use the lock file ${path}: ${explained(path, cause, choose)}`,
    otherWouldDo: true,
    cause
  })

/** The same, told by a command that has --lock. */
export const withLockOption = (error: LockError): LockError =>
  error.otherWouldDo === true ? unusable(error.path, error.cause, "give --lock FILE,") : error

/** Somebody else has it. */
export const held = (path: string, holder: string, unnamed = false): LockError =>
  new LockError({ reason: "Held", path, message: `another run holds ${path}: ${holder}`, holder, unnamed })

/** Errors of a file system that has no locks. */
const lockless: ReadonlySet<string> = new Set(["ENOLCK", "EOPNOTSUPP", "ENOTSUP", "ENOSYS"])

/** Whether it failed because the file system has no locks. */
export const isLockless = ({ cause }: LockError): boolean => lockless.has(Errno.codeOf(cause) ?? "")

/** The lock of a target cannot be used: its place is not the operator's to choose. */
export const inTarget = (error: LockError): LockError =>
  error.otherWouldDo === true
    ? new LockError({
        reason: "Unusable",
        path: error.path,
        message: `cannot use the lock of the target, ${error.path}: ${Errno.explain(error.cause)}${Errno.adviceOnWriting(Errno.codeOf(error.cause))}`,
        cause: error.cause
      })
    : error
