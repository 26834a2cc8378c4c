import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Errno from "../../domain/Errno.ts"
import { utcSeconds } from "../../domain/Metadata.ts"
import { Process } from "../Process.ts"
import { notToWrite, withRegular } from "../regularFile.ts"
import { hasExlock, runFlock } from "./flock.ts"
import { describe, encode, lockIn } from "./holder.ts"
import { held, inTarget, isLockless, type LockError, unusable } from "./LockError.ts"
import { holderOf } from "./lookAt.ts"
import { makeProbe } from "./probe.ts"

// The BSDs lock while opening; node:fs has no names for these.
const O_EXLOCK = 0x20
const O_NONBLOCK = 0x4
const base = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW

/** Locks that the kernel holds on an open file description of ours. */
export const makeLock = Effect.map(Process, (runner) => ({
  acquire: Effect.fn("Lock.acquire")((path: string) =>
    Effect.acquireRelease(take(runner, path), release(path)).pipe(Effect.asVoid)
  ),
  acquireIn: acquireIn(runner),
  probe: makeProbe(runner),
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

// Whatever else is there is for the store to refuse.
const isThere = (folder: string) =>
  Effect.tryPromise(() => fs.lstat(folder)).pipe(
    Effect.map((stat) => stat.isDirectory()),
    Effect.orElseSucceed(() => false)
  )

const take = Effect.fnUntraced(function* (runner: typeof Process.Service, path: string) {
  const file = yield* open(path)
  return yield* claim(runner, file, path).pipe(
    Effect.as(file),
    Effect.onError(() => Effect.ignoreLogged(attempt(path, () => file.close())))
  )
})

const open = (path: string): Effect.Effect<fs.FileHandle, LockError> =>
  hasExlock
    ? attempt(path, () => fs.open(path, base | O_EXLOCK | O_NONBLOCK, 0o644)).pipe(
        Effect.catchIf(
          (error) => Errno.codeOf(error.cause) === "EAGAIN",
          () => whoHolds(path)
        )
      )
    : // Not blocking: a fifo in its place must not hang us.
      attempt(path, () => fs.open(path, base | constants.O_NONBLOCK, 0o644))

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

// flock(1) locks the open file description that it shares with us, and the lock stays when it ends.
const lockDescriptor = (runner: typeof Process.Service, fd: number, path: string) =>
  runFlock(runner, path, { args: ["-n", "3"], inherit: [fd] }).pipe(
    Effect.flatMap(({ exitCode, stderr }) =>
      exitCode === 0
        ? Effect.void
        : exitCode === 1 && stderr === ""
          ? whoHolds(path)
          : Effect.fail(unusable(path, complaint(stderr.trim() || `exit status ${exitCode}`)))
    )
  )

/** What flock(1) says, with the errno that its words are of. */
const complaint = (said: string): Error => {
  const code = /: No locks available$/.test(said)
    ? "ENOLCK"
    : /: (?:Operation not supported|Function not implemented)$/.test(said)
      ? "EOPNOTSUPP"
      : undefined
  return Object.assign(new Error(`flock: ${said}`), code === undefined ? {} : { code })
}

const whoHolds = (path: string): Effect.Effect<never, LockError> =>
  attempt(path, () => withRegular(path, (file) => file.readFile("utf8"))).pipe(
    Effect.orElseSucceed(() => ""),
    Effect.flatMap((text) => Effect.fail(held(path, describe(text))))
  )

// The file stays: removing it would let a third process lock a new file while a second waits on the old one.
const release = (path: string) => (file: fs.FileHandle) =>
  attempt(path, () => file.truncate(0)).pipe(
    Effect.ignoreLogged,
    Effect.zipRight(Effect.ignoreLogged(attempt(path, () => file.close())))
  )

const attempt = <A>(path: string, run: () => Promise<A>): Effect.Effect<A, LockError> =>
  Effect.tryPromise({ try: run, catch: (cause) => unusable(path, cause) })
