import { readFileSync } from "node:fs"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { bytes } from "../text/Text.ts"
import { valueOr } from "./Errno.ts"
import { keepYoungSpace, openPool, type WorkerProgram } from "./Pool.ts"
import { inProcess, type Runner } from "./WorkerJob.ts"

/** The program of worker threads; the built file carries it as text. */
export class WorkerSource extends Context.Reference<WorkerSource>()("zipper/WorkerSource", {
  defaultValue: (): WorkerProgram | undefined => undefined
}) {}

/** Address space that V8 reserves (measured, rounded up). V8 ends the process when a new thread gets none. */
const reservedAtAll = 4 * 2 ** 30
const reservedPerThread = 2 ** 30

/** `ulimit -v` of this process in bytes; infinite without a limit or without /proc. */
const addressSpaceLimit = (): number => {
  const limits = valueOr(() => readFileSync("/proc/self/limits", "latin1"), "")
  return Number(/^Max address space +(\d+) /m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY)
}

/** Where compressing, verifying and hashing happen: on this thread, unless a layer says otherwise. */
export class Workers extends Context.Reference<Workers>()("zipper/Workers", {
  defaultValue: (): Runner => inProcess
}) {
  /** Threads, and two more for followers, end with the scope. Where none can be started, this thread works. */
  static readonly layer = (threads: number): Layer.Layer<Workers> =>
    Layer.scoped(
      Workers,
      Effect.gen(function* () {
        keepYoungSpace()
        const program = yield* WorkerSource
        if (program === undefined || threads < 2) return inProcess
        const limit = addressSpaceLimit()
        if (limit < reservedAtAll + threads * reservedPerThread) {
          yield* Effect.logWarning(
            `no worker threads are started: the address space of this process is limited to ${bytes(limit)} (ulimit -v), which would end it; compressing takes longer`
          )
          return inProcess
        }
        const runSync = Runtime.runSync(yield* Effect.runtime())
        const open = (width: number, onTrouble: (message: string) => Effect.Effect<void>) =>
          Effect.acquireRelease(
            Effect.sync(() =>
              openPool({ program, width, instead: inProcess, onTrouble: (message) => runSync(onTrouble(message)) })
            ),
            (pool) => Effect.promise(pool.close)
          )
        const pool = yield* open(threads, (message) =>
          Effect.logWarning(
            `${message}; compressing and verifying take longer. compression.threads in the configuration says how many are started`
          )
        )
        // One for each digest. Without followers, files are hashed when they are complete.
        const followers = 2
        const hashing = yield* open(followers, (message) => Effect.logDebug(`${message}, for hashing`))
        return {
          width: pool.width,
          followers,
          run: (job, input, signal) => (job.kind === "follower" ? hashing : pool).run(job, input, signal)
        } satisfies Runner
      })
    )
}

/** Work in promises as an effect. Interruption aborts and awaits it. Failures that are not `expected` are defects. */
export const abortable = <A, E>(
  work: (signal: AbortSignal) => Promise<A>,
  expected: (cause: unknown) => cause is E
): Effect.Effect<A, E> =>
  Effect.async<A, E>((resume) => {
    const controller = new AbortController()
    const ended = work(controller.signal).then(
      (value) => resume(Effect.succeed(value)),
      (cause) => resume(expected(cause) ? Effect.fail(cause) : Effect.die(cause))
    )
    return Effect.promise(() => {
      controller.abort()
      return ended
    })
  })
