import type * as fs from "node:fs/promises"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Errno from "../../domain/Errno.ts"
import { utcSeconds } from "../../domain/Metadata.ts"
import { Process } from "../Process.ts"
import { notToWrite } from "../regularFile.ts"
import { attempt, isThere, lockDescriptor, openLock } from "./descriptor.ts"
import { hasExlock } from "./flock.ts"
import { encode, lockIn } from "./holder.ts"
import { inTarget, isLockless, unusable } from "./LockError.ts"
import { holderOf } from "./lookAt.ts"
import { makeProbe, retryUnnamed } from "./probe.ts"

/** Locks that the kernel holds on an open file description of ours. */
export const makeLock = Effect.map(Process, (runner) => ({
  acquire: Effect.fn("Lock.acquire")((path: string) =>
    Effect.acquireRelease(take(runner, path), release(path)).pipe(retryUnnamed, Effect.asVoid)
  ),
  acquireIn: acquireIn(runner),
  ...makeProbe(runner),
  holder: holderOf
}))

/** See Lock.acquireIn. */
const acquireIn = (runner: typeof Process.Service) => {
  // A second lock of this process on one file would be refused as that of any other.
  const ours = new Set<string>()
  return Effect.fn("Lock.acquireIn")(function* (folder: string) {
    const path = lockIn(folder)
    if (ours.has(path) || !(yield* isThere(folder))) return
    const taken = Effect.acquireRelease(
      Effect.tap(take(runner, path), () => Effect.sync(() => ours.add(path))),
      (file) =>
        Effect.zipRight(
          release(path)(file),
          Effect.sync(() => ours.delete(path))
        )
    )
    yield* taken.pipe(
      retryUnnamed,
      Effect.asVoid,
      Effect.catchIf(isLockless, () => {
        ours.add(path)
        return Effect.logInfo(
          `${folder} is on a file system without locks: only lockfile_path keeps a second run away, and only one with the same lockfile_path`
        )
      }),
      Effect.mapError(inTarget)
    )
  })
}

const take = Effect.fnUntraced(function* (runner: typeof Process.Service, path: string) {
  const file = yield* openLock(path)
  return yield* claim(runner, file, path).pipe(
    Effect.as(file),
    Effect.onError(() => Effect.ignoreLogged(attempt(path, () => file.close())))
  )
})

const claim = Effect.fnUntraced(function* (
  runner: typeof Process.Service,
  file: fs.FileHandle,
  path: string
) {
  const stat = yield* attempt(path, () => file.stat())
  const obstacle = notToWrite(stat)
  if (obstacle !== undefined) return yield* unusable(path, new Error(`it ${obstacle}`))
  if (!hasExlock) yield* lockDescriptor(runner, file.fd, path)
  const since = utcSeconds(yield* Clock.currentTimeMillis)
  yield* attempt(path, async () => {
    await file.truncate(0)
    await file.write(encode({ pid: process.pid, since }), 0, "utf8")
  }).pipe(
    // The lock is what counts; on a full disk its file just does not name us.
    Effect.catchAll(({ cause }) =>
      Effect.logWarning(
        `the lock is taken, but its file ${path} does not say by whom: ${Errno.explain(cause)}${Errno.adviceOnWriting(Errno.codeOf(cause))}`
      )
    )
  )
})

// The file stays: removing it would let a third process lock a new file while a second waits on the old one.
const release = (path: string) => (file: fs.FileHandle) =>
  attempt(path, () => file.truncate(0)).pipe(
    Effect.ignoreLogged,
    Effect.zipRight(Effect.ignoreLogged(attempt(path, () => file.close())))
  )
