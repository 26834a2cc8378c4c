import { normalize } from "node:path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Errno from "../../domain/Errno.ts"

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

/** One operation, which an interruption waits for; `operation` completes "cannot …". */
export const attempt = <A>(
  operation: string,
  path: string,
  run: () => Promise<A>
): Effect.Effect<A, DiskError> =>
  Effect.uninterruptible(
    Effect.tryPromise({
      try: run,
      catch: (cause) => {
        const code = Errno.codeOf(cause)
        return new DiskError({
          operation,
          path,
          code,
          // Folders are asked for as DIR/. where a symlink may be followed, and as DIR/..
          message: `cannot ${operation} ${normalize(path)}: ${Errno.explain(cause)}`,
          transient: Errno.isTransientCode(code),
          cause
        })
      }
    })
  )

/** What an operation gives where there is nothing. ENOTDIR: what should be its folder is a file, so it is not there either. */
export const whenMissing =
  <B>(value: B) =>
  <A>(effect: Effect.Effect<A, DiskError>): Effect.Effect<A | B, DiskError> =>
    Effect.catchIf(
      effect,
      (error) => error.code === "ENOENT" || error.code === "ENOTDIR",
      () => Effect.succeed(value)
    )
