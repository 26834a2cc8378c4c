import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Errno from "../../domain/Errno.ts"
import type { Process } from "../Process.ts"
import { withRegular } from "../regularFile.ts"
import { hasExlock, runFlock } from "./flock.ts"
import { decode, describe } from "./holder.ts"
import { held, type LockError, unusable } from "./LockError.ts"

// The BSDs lock while opening; node:fs has no names for these.
const O_EXLOCK = 0x20
const O_NONBLOCK = 0x4
const base = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW

/** Opens a lock file, which is made when there is none. On the BSDs it is locked then. */
export const openLock = (path: string): Effect.Effect<fs.FileHandle, LockError> =>
  hasExlock
    ? attempt(path, () => fs.open(path, base | O_EXLOCK | O_NONBLOCK, 0o644)).pipe(
        Effect.catchIf(
          (error) => Errno.codeOf(error.cause) === "EAGAIN",
          () => whoHolds(path)
        )
      )
    : // Not blocking: a fifo in its place must not hang us.
      attempt(path, () => fs.open(path, base | constants.O_NONBLOCK, 0o644))

// flock(1) locks the open file description that it shares with us, and the lock stays when it ends.
export const lockDescriptor = (runner: typeof Process.Service, fd: number, path: string) =>
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
    Effect.flatMap((text) => Effect.fail(held(path, describe(text), decode(text) === undefined)))
  )

// Whatever else is there is for the store to refuse.
export const isThere = (folder: string) =>
  Effect.tryPromise(() => fs.lstat(folder)).pipe(
    Effect.map((stat) => stat.isDirectory()),
    Effect.orElseSucceed(() => false)
  )

export const attempt = <A>(path: string, run: () => Promise<A>): Effect.Effect<A, LockError> =>
  Effect.tryPromise({ try: run, catch: (cause) => unusable(path, cause) })
