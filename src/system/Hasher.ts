import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { type Algorithm, follow, type HashOutput, hash, makeGrowth, otherSize } from "./Digests.ts"
import { codeOf, explain, isTransientCode } from "./Errno.ts"
import { inProcess, type Runner, WorkerEnded } from "./WorkerJob.ts"
import { abortable, Workers } from "./Workers.ts"

export const Sha256 = Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/))
export const Md5 = Schema.String.pipe(Schema.pattern(/^[0-9a-f]{32}$/))

export const Checksums = Schema.Struct({ md5: Md5, sha256: Sha256 })
export type Checksums = typeof Checksums.Type

/** A file could not be read for its checksums. A transient one without an errno in `cause` is of a worker thread, not of the file. */
export class HashError extends Data.TaggedError("HashError")<{
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

interface HashedInPieces {
  readonly checksums: Checksums
  readonly pieces: Uint32Array
}

interface Following {
  /** The first `bytes` bytes of the file are final. May be called often. */
  readonly advance: (bytes: number) => void
  /** Bytes that are hashed; undefined when all of the file is hashed at the end. */
  readonly hashed: () => number | undefined
  /** All `size` bytes are written: the checksums, as {@link Hasher} `hash` gives them. To be called once. */
  readonly finish: (size: number) => Effect.Effect<Checksums, HashError>
}

/** Checksums of files of any size. */
export class Hasher extends Context.Tag("zipper/Hasher")<
  Hasher,
  {
    /** MD5 and SHA-256, side by side where there are threads, in constant memory. Does not follow a symlink. */
    readonly hash: (path: string) => Effect.Effect<Checksums, HashError>
    /** The same with the CRC-32 of each piece, by which a piece that is read later can be compared. */
    readonly hashInPieces: (path: string) => Effect.Effect<HashedInPieces, HashError>
    /**
     * Hashes a file that is about to be written, while it grows where there are threads; or one that is there with all of its
     * `complete` bytes, at once, beside other work. Ends all reading with the scope.
     */
    readonly follow: (path: string, complete?: number) => Effect.Effect<Following, never, Scope.Scope>
  }
>() {
  static readonly layer: Layer.Layer<Hasher> = Layer.effect(
    Hasher,
    Effect.map(Workers, (runner) => {
      const follower = makeFollowers(runner, inProcess)
      return {
        hash: Effect.fn("Hasher.hash")((path: string) =>
          abortable((signal) => hashFile(path, signal, runner), isHashError)
        ),
        hashInPieces: Effect.fn("Hasher.hashInPieces")((path: string) =>
          abortable((signal) => digestFile(path, signal, runner, true), isHashError)
        ),
        follow: Effect.fn("Hasher.follow")((path: string, complete?: number) =>
          Effect.acquireRelease(
            Effect.sync(() => follower(path, complete)),
            ({ abandon }) => Effect.promise(abandon)
          ).pipe(
            Effect.map(({ advance, finish, hashed }) => ({
              advance,
              hashed,
              finish: (size: number) => abortable((signal) => finish(size, signal), isHashError)
            }))
          )
        )
      }
    })
  )

  static readonly layerDryRun: Layer.Layer<Hasher> = Layer.succeed(
    Hasher,
    hasherOf(() => Effect.succeed({ md5: "0".repeat(32), sha256: "0".repeat(64) }))
  )
}

/** A hasher that reads no file while it grows: `hash` gives the digests when it is complete. */
export function hasherOf(hash: (path: string) => Effect.Effect<Checksums, HashError>) {
  return {
    hash,
    hashInPieces: (path: string) => Effect.map(hash(path), (checksums) => ({ checksums, pieces: new Uint32Array() })),
    follow: (path: string) =>
      Effect.succeed({
        hashed: () => undefined,
        advance: (_bytes: number) => undefined,
        finish: (_size: number) => hash(path)
      })
  }
}

const isHashError = (cause: unknown): cause is HashError => cause instanceof HashError

const both: ReadonlyArray<Algorithm> = ["md5", "sha256"]

type Results = ReadonlyArray<PromiseSettledResult<HashOutput>>

/** Computes both digests on one thread or two, and waits for both. */
const settleBoth = (
  threads: number,
  run: (algorithms: ReadonlyArray<Algorithm>) => Promise<HashOutput>
): Promise<Results> => Promise.allSettled(threads > 1 ? both.map((algorithm) => run([algorithm])) : [run(both)])

/** Rejects with HashError, or as `signal` says. */
const digestFile = async (path: string, signal: AbortSignal, runner: Runner, inPieces: boolean): Promise<Digested> => {
  const run = (algorithms: ReadonlyArray<Algorithm>) =>
    runner.run(hash, { path, algorithms, inPieces: inPieces && algorithms.includes("sha256") }, signal)
  return checksumsOf(path, signal, await settleBoth(runner.width, run))
}

const hashFile = async (path: string, signal: AbortSignal, runner: Runner): Promise<Checksums> =>
  (await digestFile(path, signal, runner, false)).checksums

interface Digested extends HashedInPieces {
  readonly bytes: number
}

const checksumsOf = (path: string, signal: AbortSignal, results: Results): Digested => {
  const outputs = results.map((result) =>
    result.status === "fulfilled" ? result.value : unreadable(path, signal, result.reason)
  )
  const [md5, sha256] = outputs.flatMap(({ digests }) => digests)
  const last = outputs.at(-1)
  if (md5 === undefined || sha256 === undefined || last === undefined) throw new Error("a digest is missing")
  return { checksums: { md5, sha256 }, pieces: last.pieces, bytes: last.bytes }
}

const unreadable = (path: string, signal: AbortSignal, cause: unknown): never => {
  if (signal.aborted) throw cause
  throw new HashError({
    message: `cannot read ${path} for its checksums: ${cause instanceof WorkerEnded ? cause.message : explain(cause)}`,
    transient: cause instanceof WorkerEnded || isTransientCode(codeOf(cause)),
    cause
  })
}

/** A smaller file is hashed when it is complete: that takes less than to start a thread that follows it. */
const worthFollowing = 32 * 1024 * 1024

/** A smaller file is hashed on this thread. */
const worthSending = 4 * 1024 * 1024

/** Follows files one at a time: a file that is written at the same time is hashed when it is complete. */
const makeFollowers = (runner: Runner, here: Runner) => {
  let busy = runner.followers === 0

  return (path: string, complete?: number) => {
    const growth = makeGrowth()
    const controller = new AbortController()
    let final = 0

    const begin = async (): Promise<Results> => {
      busy = true
      const ended = await settleBoth(runner.followers, (algorithms) =>
        runner.run(follow, { path, algorithms, growth: growth.memory }, controller.signal)
      )
      busy = false
      return ended
    }

    const hashBeside = (): Promise<Results> =>
      settleBoth(runner.width, (algorithms) => {
        const memory = algorithms.includes("md5") ? growth.memory : undefined
        return runner.run(hash, { path, algorithms, growth: memory }, controller.signal)
      })

    let results = complete === undefined || complete < worthSending ? undefined : hashBeside()

    const ofSize = (size: number, { bytes, checksums }: Digested, signal: AbortSignal): Checksums =>
      bytes === size ? checksums : unreadable(path, signal, otherSize(bytes, size))

    const hashComplete = async (size: number, signal: AbortSignal, on: Runner): Promise<Checksums> =>
      ofSize(size, await digestFile(path, signal, on, false), signal)

    return {
      advance: (bytes: number): void => {
        if (bytes <= final) return
        final = bytes
        growth.set({ bytes, ended: false })
        if (results === undefined && bytes >= worthFollowing && !busy) results = begin()
      },
      hashed: () => (results === undefined ? undefined : growth.read()),
      finish: async (size: number, signal: AbortSignal): Promise<Checksums> => {
        if (results === undefined) return hashComplete(size, signal, size < worthSending ? here : runner)
        growth.set({ bytes: size, ended: true })
        const stop = () => controller.abort(signal.reason)
        signal.addEventListener("abort", stop)
        const ended = await results
        signal.removeEventListener("abort", stop)
        // The thread is gone, not the file: hashing it again costs only time.
        if (!signal.aborted && ended.some(isOfThread)) return hashComplete(size, signal, runner)
        return ofSize(size, checksumsOf(path, signal, ended), signal)
      },
      abandon: async (): Promise<void> => {
        controller.abort()
        await results
      }
    }
  }
}

const isOfThread = (result: PromiseSettledResult<unknown>): boolean =>
  result.status === "rejected" && result.reason instanceof WorkerEnded
