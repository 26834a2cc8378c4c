import * as Data from "effect/Data"
import * as Errno from "../../domain/Errno.ts"

/** The lock is not ours. */
export class LockError extends Data.TaggedError("LockError")<{
  readonly reason: "Held" | "Unusable"
  readonly path: string
  /** Names the holder (pid, since when) when it is held. */
  readonly message: string
  readonly cause?: unknown
}> {}

/** What is wrong and what to do, by errno. */
const explained = (cause: unknown): string => {
  switch (Errno.codeOf(cause)) {
    case "ENOENT":
      return "its folder does not exist: create it, or set lockfile_path to a file elsewhere"
    case "EISDIR":
      return "it is a folder: set lockfile_path to a file"
    case "ELOOP":
    case "EMLINK":
      return "it is a symbolic link, which a lock file must not be: remove it, or set lockfile_path to another file"
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return `${Errno.explain(cause)}; set lockfile_path to a file that this user can write`
    default:
      return `${Errno.explain(cause)}; set lockfile_path to another file`
  }
}

/** The lock file cannot be used at all. */
export const unusable = (path: string, cause: unknown): LockError =>
  new LockError({
    reason: "Unusable",
    path,
    message: `cannot use the lock file ${path}: ${explained(cause)}`,
    cause
  })

/** Somebody else has it. */
export const held = (path: string, holder: string): LockError =>
  new LockError({ reason: "Held", path, message: `another run holds ${path}: ${holder}` })
