import { type BigIntStats, existsSync } from "node:fs"
import * as fs from "node:fs/promises"
import { uptime } from "node:os"
import { dirname, join } from "node:path"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Errno from "../system/Errno.ts"
import { notToWrite, withRegular } from "../system/FileCalls.ts"
import { platform } from "../system/Platform.ts"
import { isRunning, Process } from "../system/Process.ts"
import { isFlocked, isSocketTaken, type SocketLock, takeSocket } from "../system/SocketLock.ts"
import { isInstant, utcSeconds } from "../text/Time.ts"

/**
 * One run at a time for one lock file. The kernel holds the lock: by O_EXLOCK on the BSDs; on Linux by flock(2), which the
 * program flock takes for this process. It is looked for in PATH and in the system's folders, so that cron and a shell find
 * the same. On Linux without it a socket takes its place ({@link takeSocket} says what that holds against).
 *
 * Where one process finds flock and another does not, each looks for the other's lock as well: for flock(2) in /proc/locks,
 * for the socket when the file names a holder that is alive. Without /proc, or when both start within the same
 * millisecond, these two do not see each other.
 */
export class Lock extends Context.Tag("zipper/Lock")<
  Lock,
  {
    /** Takes the lock at once or fails; the kernel frees it when the scope closes or the process dies, however it dies. */
    readonly acquire: (path: string) => Effect.Effect<void, LockError, Scope.Scope>
    /** The same for a folder of job-wide state, if there is one; logs where its file system has no locks. May be repeated. */
    readonly acquireIn: (folder: string) => Effect.Effect<void, LockError, Scope.Scope>
    /** Whether the lock could be taken now, which is tried; leaves no file behind. Fails as {@link acquire} does. */
    readonly probe: (path: string) => Effect.Effect<void, LockError>
    /** The same of {@link acquireIn}. False where the file system has no locks. */
    readonly probeIn: (folder: string) => Effect.Effect<boolean, LockError>
    /** The process that the file names, if it is alive; `last`, where it cannot be read. Does not touch the lock. */
    readonly holder: (path: string, last?: Holder) => Effect.Effect<Holder | undefined>
  }
>() {
  /** The file stays, empty when free. */
  static readonly layer: Layer.Layer<Lock, never, Process> = Layer.effect(
    Lock,
    Effect.map(Process, (runner) => ({
      acquire: Effect.fn("Lock.acquire")((path: string) =>
        Effect.acquireRelease(take(runner, path, mustBeLock(path)), release(path)).pipe(retryUnnamed, Effect.asVoid)
      ),
      acquireIn: acquireIn(runner),
      ...makeProbe(runner),
      holder: holderOf
    }))
  )

  /** Takes nothing and writes nothing: says when a run is at work, and goes on. */
  static readonly layerDryRun: Layer.Layer<Lock, never, Process> = Layer.effect(
    Lock,
    Effect.map(Process, (runner) => {
      const logged = new Set<string>()
      return {
        acquire: logHolder(logged),
        acquireIn: (folder: string) => logHolder(logged)(lockIn(folder)),
        ...makeProbe(runner),
        holder: holderOf
      }
    })
  )
}

export const lockIn = (folder: string): string => join(folder, "lock")

/** The process that has the lock, as the lock file names it. */
export interface Holder {
  readonly pid: number
  readonly since: string
}

export const encode = (holder: Holder): string => `${inWords(holder)}\n`

const inWords = ({ pid, since }: Holder): string => `pid ${pid}, since ${since}`

/** Undefined for a file without a holder: a process that takes the lock has not written it yet. */
export const decode = (text: string): Holder | undefined => {
  const [, pid, since] = /^pid (\d{1,10}), since (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\n$/.exec(text) ?? []
  return pid === undefined || since === undefined || !isInstant(since) ? undefined : { pid: Number(pid), since }
}

export const describeHolder = (text: string): string => {
  const holder = decode(text)
  return holder === undefined
    ? "pid unknown (a guard such as flock in the crontab needs a file of its own)"
    : inWords(holder)
}

export class LockError extends Data.TaggedError("LockError")<{
  readonly reason: "Held" | "Unusable"
  readonly path: string
  readonly message: string
  readonly holder?: string
  /** The file names no holder: it has just started, or only tests the lock. */
  readonly unnamed?: boolean
  readonly otherWouldDo?: boolean
  readonly cause?: unknown
}> {}

type Choose = "set lockfile_path to" | "give --lock"

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

const unusable = (path: string, cause: unknown, choose: Choose = "set lockfile_path to"): LockError =>
  new LockError({
    reason: "Unusable",
    path,
    message: `cannot use the lock file ${path}: ${explained(path, cause, choose)}`,
    otherWouldDo: true,
    cause
  })

/** The same error, for a command that has --lock. */
export const withLockOption = (error: LockError): LockError =>
  error.otherWouldDo === true ? unusable(error.path, error.cause, "give --lock") : error

/** The same error, for the lock of a target: its place is not the operator's to choose. */
const inTarget = (error: LockError): LockError => {
  const { cause, path } = error
  if (error.otherWouldDo !== true) return error
  const message = `cannot use the lock of the target, ${path}: ${explainedOnWriting(cause)}`
  return new LockError({ reason: "Unusable", path, message, cause })
}

const explainedOnWriting = (cause: unknown): string =>
  `${Errno.explain(cause)}${Errno.adviceOnWriting(Errno.codeOf(cause))}`

export const held = (path: string, holder: string, unnamed = false): LockError =>
  new LockError({ reason: "Held", path, message: `another run holds ${path}: ${holder}`, holder, unnamed })

const lockless: ReadonlySet<string> = new Set(["ENOLCK", "EOPNOTSUPP", "ENOTSUP", "ENOSYS"])

const isLockless = ({ cause }: LockError): boolean => lockless.has(Errno.codeOf(cause) ?? "")

/** zipper check tests a lock by holding it for an instant, unnamed: then it is worth a second try. */
const retryUnnamed = <A, R>(acquire: Effect.Effect<A, LockError, R>) =>
  Effect.retry(acquire, {
    schedule: Schedule.spaced("200 millis"),
    times: 3,
    while: ({ reason, unnamed }) => reason === "Held" && unnamed === true
  })

const acquireIn = (runner: typeof Process.Service) => {
  // A second lock of this process on one file would be refused as that of any other.
  const ours = new Set<string>()
  return Effect.fn("Lock.acquireIn")(function* (folder: string) {
    const path = lockIn(folder)
    if (ours.has(path) || !(yield* isFolder(folder))) return
    const taken = Effect.acquireRelease(
      Effect.tap(take(runner, path), () => Effect.sync(() => ours.add(path))),
      (file) =>
        Effect.ensuring(
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

// If it is not a folder, the store refuses it.
const isFolder = (path: string) =>
  Effect.tryPromise(() => fs.lstat(path)).pipe(
    Effect.map((stat) => stat.isDirectory()),
    Effect.orElseSucceed(() => false)
  )

interface Taken {
  readonly file: fs.FileHandle
  readonly socket: SocketLock | undefined
}

/** The lock file, open and locked, with this process as its holder. `look` may refuse it before it is written to. */
const take = Effect.fnUntraced(function* (
  runner: typeof Process.Service,
  path: string,
  look: Effect.Effect<void, LockError> = Effect.void
) {
  const file = yield* openLock(path)
  return yield* Effect.gen(function* () {
    const obstacle = notToWrite(yield* attempt(path, () => file.stat()))
    if (obstacle !== undefined) return yield* unusable(path, new Error(`it ${obstacle}`))
    const socket = yield* lockDescriptor(runner, file, path)
    yield* Effect.onError(look, () => Effect.promise(async () => socket?.release()))
    const since = utcSeconds(yield* Clock.currentTimeMillis)
    yield* attempt(path, async () => {
      await file.truncate(0)
      await file.write(encode({ pid: process.pid, since }), 0, "utf8")
    }).pipe(
      // The lock counts; on a full disk its file just does not name this process.
      Effect.catchAll(({ cause }) =>
        Effect.logWarning(`the lock is taken, but its file ${path} does not say by whom: ${explainedOnWriting(cause)}`)
      )
    )
    return { file, socket } satisfies Taken
  }).pipe(Effect.onError(() => close(path, { file })))
})

// The file stays: removing it would let a third process lock a new file while a second waits on the old one.
const release = (path: string) => (taken: Taken) =>
  attempt(path, () => taken.file.truncate(0)).pipe(Effect.ignoreLogged, Effect.zipRight(close(path, taken)))

const close = (path: string, { file, socket }: Pick<Taken, "file"> & Partial<Taken>) =>
  Effect.promise(async () => socket?.release()).pipe(
    Effect.zipRight(attempt(path, () => file.close())),
    Effect.ignoreLogged
  )

const attempt = <A>(path: string, run: () => Promise<A>): Effect.Effect<A, LockError> =>
  Effect.tryPromise({ try: run, catch: (cause) => unusable(path, cause) })

/** Opens a lock file, which is made when there is none. On the BSDs it is locked then. */
const openLock = (path: string): Effect.Effect<fs.FileHandle, LockError> =>
  attempt(path, () => fs.open(path, platform.lockFlags, 0o644)).pipe(
    Effect.catchIf(
      ({ cause }) => platform.locksOnOpen && Errno.codeOf(cause) === "EAGAIN",
      () => failAsHeld(path)
    )
  )

/** Locks an open file where opening does not: flock(1) locks the open file description that it shares, and then ends. */
const lockDescriptor = Effect.fnUntraced(function* (runner: typeof Process.Service, file: fs.FileHandle, path: string) {
  if (platform.locksOnOpen) return undefined
  const ended = yield* runner
    .run({ program: "flock", args: ["-n", "3"], inherit: [file.fd], timeoutMillis: 30_000 })
    .pipe(
      Effect.catchIf(
        ({ reason }) => reason === "NotFound",
        () => Effect.succeed(undefined)
      ),
      Effect.mapError(
        (cause) => new LockError({ reason: "Unusable", path, message: `cannot lock ${path}: ${cause.message}`, cause })
      )
    )
  const identity = yield* attempt(path, () => file.stat({ bigint: true }))
  if (ended === undefined) return yield* lockBySocket(identity, path)
  const { exitCode, stderr } = ended
  if (exitCode === 1 && stderr === "") return yield* failAsHeld(path)
  if (exitCode !== 0) return yield* unusable(path, complaint(stderr.trim() || `exit status ${exitCode}`))
  // A run that ended leaves the file empty: only one that was killed, or holds the socket, is named there.
  const named = decode(yield* Effect.promise(() => readText(path)))
  const other = named !== undefined && named.pid !== process.pid && isAtWork(named)
  if (other && (yield* Effect.promise(() => isSocketTaken(identity)))) return yield* failAsHeld(path)
  return undefined
})

const lockBySocket = Effect.fnUntraced(function* (identity: BigIntStats, path: string) {
  const socket = yield* Effect.tryPromise({
    try: () => takeSocket(identity),
    catch: (cause) => {
      const why = `the program flock is missing, and a socket cannot take its place (${Errno.explain(cause)})`
      return new LockError({
        reason: "Unusable",
        path,
        message: `cannot lock ${path}: ${why}; install flock (package util-linux)`,
        cause
      })
    }
  })
  if (socket === undefined) return yield* failAsHeld(path)
  if (!(yield* Effect.promise(() => isFlocked(identity)))) return socket
  yield* Effect.promise(socket.release)
  return yield* failAsHeld(path)
})

const complaint = (said: string): Error => {
  const code = /: No locks available$/.test(said)
    ? "ENOLCK"
    : /: (?:Operation not supported|Function not implemented)$/.test(said)
      ? "EOPNOTSUPP"
      : undefined
  return Object.assign(new Error(`flock: ${said}`), code === undefined ? {} : { code })
}

const failAsHeld = Effect.fnUntraced(function* (path: string) {
  const text = yield* Effect.promise(() => readText(path))
  return yield* held(path, describeHolder(text), decode(text) === undefined)
})

const readText = (path: string): Promise<string> => withRegular(path, (file) => file.readFile("utf8")).catch(() => "")

/** A holder, also as other programs write it, or nothing: zeros, after a power cut. */
const lockText = /^(?:pid \d+[^\n]*\n?|\s*\d*\s*|\0*)$/

/** More bytes than a lock has. */
const tooLong = 64

/** Refuses a file of the user's that a mistyped path names: a lock that is taken is emptied. */
const mustBeLock = Effect.fnUntraced(function* (path: string) {
  const buffer = Buffer.alloc(tooLong)
  const size = yield* attempt(path, () =>
    withRegular(path, (file) => file.read(buffer, 0, tooLong, 0)).then(
      ({ bytesRead }) => bytesRead,
      (cause: unknown) => {
        if (Errno.codeOf(cause) === "ENOENT") return 0
        throw cause
      }
    )
  )
  if (size < tooLong && lockText.test(buffer.toString("latin1", 0, size))) return
  return yield* unusable(
    path,
    new Error("it is not a lock of zipper, and was left as it is (an old lock of another program may be removed)")
  )
})

const settling = 60_000

/** Whether a holder is alive. One from before the machine was started (or its clock was set) is not. */
const isAtWork = ({ pid, since }: Holder): boolean =>
  Date.parse(since) >= Date.now() - uptime() * 1000 - settling && isRunning(pid)

/** Logs that a run is at work, once, by the file's content: to test the lock is to hold it, and a run would find it taken. */
const logHolder = (logged: Set<string>) =>
  Effect.fn("Lock.lookAt")(function* (path: string) {
    const holder = decode(yield* Effect.promise(() => readText(path)))
    if (holder === undefined || !isAtWork(holder) || logged.has(inWords(holder))) return
    logged.add(inWords(holder))
    yield* Effect.logWarning(`another run is at work: ${inWords(holder)}`)
  })

const holderOf = Effect.fn("Lock.holder")(function* (path: string, last?: Holder) {
  const holder = yield* Effect.promise(() =>
    withRegular(path, (file) => file.readFile("utf8")).then(decode, (cause: unknown) =>
      Errno.codeOf(cause) === "ENOENT" ? undefined : last
    )
  )
  return holder !== undefined && isAtWork(holder) ? holder : undefined
})

/** Whether locks could be taken: one that is free is held for an instant, one without a file is tried on a file beside it. */
const makeProbe = (runner: typeof Process.Service) => {
  const probe = Effect.fn("Lock.probe")(
    function* (path: string) {
      const exists = yield* attempt(path, () => isThere(path))
      const tried = exists ? path : `${path}.probe-${process.pid}`
      const file = yield* openLock(tried).pipe(
        Effect.mapError((error) => (exists || error.reason === "Held" ? error : unusable(path, error.cause)))
      )
      const remove = exists ? Effect.void : attempt(tried, () => fs.unlink(tried))
      yield* lockDescriptor(runner, file, tried).pipe(
        Effect.onExit((exit) => {
          const socket = Exit.isSuccess(exit) ? exit.value : undefined
          return Effect.zipRight(Effect.ignoreLogged(remove), close(tried, { file, socket }))
        })
      )
    },
    Effect.uninterruptible,
    retryUnnamed
  )
  const probeIn = Effect.fn("Lock.probeIn")(function* (folder: string) {
    if (!(yield* isFolder(folder))) return true
    return yield* probe(lockIn(folder)).pipe(
      Effect.as(true),
      Effect.catchIf(isLockless, () => Effect.succeed(false)),
      Effect.mapError(inTarget)
    )
  })
  return { probe: (path: string) => Effect.zipLeft(probe(path), mustBeLock(path)), probeIn }
}

const isThere = async (path: string): Promise<boolean> => {
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
