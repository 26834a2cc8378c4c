import * as fs from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Errno from "../../domain/Errno.ts"
import type { Process } from "../Process.ts"
import { attempt, isThere, lockDescriptor, openLock } from "./descriptor.ts"
import { hasExlock } from "./flock.ts"
import { lockIn } from "./holder.ts"
import { inTarget, isLockless, type LockError, unusable } from "./LockError.ts"

/** zipper check tests a lock by holding it for an instant, unnamed: then it is worth a second try. */
export const retryUnnamed = <A, R>(acquire: Effect.Effect<A, LockError, R>) =>
  Effect.retry(acquire, {
    schedule: Schedule.spaced("200 millis"),
    times: 3,
    while: ({ reason, unnamed }) => reason === "Held" && unnamed === true
  })

/** Whether locks could be taken: one that is free is held for an instant, one without a file is tried on a file beside it. */
export const makeProbe = (runner: typeof Process.Service) => {
  const probe = Effect.fn("Lock.probe")(
    function* (path: string) {
      const exists = yield* Effect.tryPromise({
        try: () => look(path),
        catch: (cause) => unusable(path, cause)
      })
      const tried = exists ? path : `${path}.probe-${process.pid}`
      const file = yield* openLock(tried).pipe(
        Effect.mapError((error) => (exists || error.reason === "Held" ? error : unusable(path, error.cause)))
      )
      yield* (hasExlock ? Effect.void : lockDescriptor(runner, file.fd, tried)).pipe(
        Effect.ensuring(
          Effect.ignoreLogged(
            Effect.zipRight(
              exists ? Effect.void : attempt(tried, () => fs.unlink(tried)),
              attempt(tried, () => file.close())
            )
          )
        )
      )
    },
    Effect.uninterruptible,
    retryUnnamed
  )
  return {
    probe,
    probeIn: Effect.fn("Lock.probeIn")(function* (folder: string) {
      if (!(yield* isThere(folder))) return true
      return yield* probe(lockIn(folder)).pipe(
        Effect.as(true),
        Effect.catchIf(isLockless, () => Effect.succeed(false)),
        Effect.mapError(inTarget)
      )
    })
  }
}

/** Whether there is a lock file; fails when what is there cannot be one. */
const look = async (path: string): Promise<boolean> => {
  try {
    const stat = await fs.lstat(path)
    if (stat.isDirectory()) throw Object.assign(new Error("is a directory"), { code: "EISDIR" })
    if (stat.isSymbolicLink()) throw Object.assign(new Error("is a symbolic link"), { code: "ELOOP" })
    if (!stat.isFile()) throw new Error("it is not a regular file")
    return true
  } catch (cause) {
    if (Errno.codeOf(cause) !== "ENOENT") throw cause
    return false
  }
}
