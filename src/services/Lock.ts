import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** The lock is not ours. */
export class LockError extends Data.TaggedError("LockError")<{
  readonly reason: "Held" | "Unusable"
  readonly path: string
  /** Names the holder (pid, since when) when it is held. */
  readonly message: string
  readonly cause?: unknown
}> {}

/** One run at a time for one lock file. */
export class Lock extends Context.Tag("zipper/Lock")<
  Lock,
  {
    /** Takes the lock at once or fails; the kernel frees it when the scope closes or the process dies, however it dies. */
    readonly acquire: (path: string) => Effect.Effect<void, LockError, Scope.Scope>
  }
>() {}
