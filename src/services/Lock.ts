import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type Holder, lockIn } from "./lock/holder.ts"
import { makeLock } from "./lock/kernel.ts"
import type { LockError } from "./lock/LockError.ts"
import { holderOf, lookAt } from "./lock/lookAt.ts"
import { makeProbe } from "./lock/probe.ts"
import { Process } from "./Process.ts"

export { LockError } from "./lock/LockError.ts"

/** One run at a time for one lock file. */
export class Lock extends Context.Tag("zipper/Lock")<
  Lock,
  {
    /** Takes the lock at once or fails; the kernel frees it when the scope closes or the process dies, however it dies. */
    readonly acquire: (path: string) => Effect.Effect<void, LockError, Scope.Scope>
    /**
     * Takes the lock of a folder of job-wide state, which keeps away runs of other configurations; a second time it is held
     * already. Nothing to take where there is no such folder. Where its file system has no locks, says so and goes on.
     */
    readonly acquireIn: (folder: string) => Effect.Effect<void, LockError, Scope.Scope>
    /** Whether the lock could be taken now, which is tried; leaves no file behind. Fails as {@link acquire} does. */
    readonly probe: (path: string) => Effect.Effect<void, LockError>
    /** The same of {@link acquireIn}. False where the file system has no locks. */
    readonly probeIn: (folder: string) => Effect.Effect<boolean, LockError>
    /**
     * Who is at work, as the lock's file says, if that process is alive. `last`: who had the lock last, for when this user
     * may not read the file. Does not touch the lock: to test it is to hold it for an instant.
     */
    readonly holder: (path: string, last?: Holder) => Effect.Effect<Holder | undefined>
  }
>() {
  /** Held by the kernel: `flock` on Linux, O_EXLOCK where the system has it. The file stays, empty when free. */
  static readonly layer: Layer.Layer<Lock, never, Process> = Layer.effect(Lock, makeLock)

  /** Takes nothing and writes nothing: says when a run is at work, and goes on. */
  static readonly layerDryRun: Layer.Layer<Lock, never, Process> = Layer.effect(
    Lock,
    Effect.map(Process, (runner) => ({
      acquire: lookAt,
      acquireIn: (folder: string) => lookAt(lockIn(folder)),
      ...makeProbe(runner),
      holder: holderOf
    }))
  )
}
