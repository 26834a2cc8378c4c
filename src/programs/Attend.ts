import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Outcome } from "../domain/History.ts"
import type { Recovered } from "../domain/Recovery.ts"
import type { RunEnd } from "../domain/RunEnd.ts"
import type { JobStanding } from "../domain/Standing.ts"
import { Lock, LockError } from "../services/Lock.ts"
import { Ping } from "../services/Ping.ts"
import type { Attended } from "./Attended.ts"
import { deliver } from "./Messages.ts"
import { patiently } from "./Patience.ts"
import { endOf, mark, noteLockedOut, record, recordUnlocked, unmark } from "./RunRecord.ts"
import { waitForLock } from "./WaitForLock.ts"
import { whenStalled } from "./WhenStalled.ts"

/** How long the ping of the end waits for that of the start. */
const lastCall: Duration.DurationInput = "10 seconds"

/**
 * Runs a job with its lock held, and lets the outside know: the mark of a run that is at work, a ping at the start;
 * then history, standing and metrics, before the lock is free again; then messages and a ping. However it ends: by
 * itself, by an error, a defect or a signal. What cannot be written or sent is a warning and changes no result. A
 * run that finds the lock held leaves no more than word of that. One that finds a run before it killed tells of that first.
 */
export const attended = Effect.fnUntraced(function* <A, E, R, S extends JobStanding, R2>(
  about: Attended<A, S, R2>,
  job: Effect.Effect<A, E, R>
) {
  const ping = about.whole ? yield* Ping : silent
  return yield* Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const started = yield* Clock.currentTimeMillis
      const locked = yield* Effect.gen(function* () {
        const lock = yield* Effect.exit(restore(acquireAll(about)))
        if (Exit.isFailure(lock)) {
          // The holder tells of itself.
          const held = heldBy(lock.cause)
          if (held !== undefined) yield* noteLockedOut(about, held)
          if (held !== undefined || Exit.isInterrupted(lock)) {
            return { exit: Exit.failCause(lock.cause), told: undefined }
          }
          const end = yield* endOf(about, started, Exit.failCause(lock.cause))
          yield* recordUnlocked(about, end)
          const told = { end, recovered: undefined, starting: undefined }
          return { exit: Exit.failCause(lock.cause), told }
        }
        const starting = yield* Effect.forkDaemon(Effect.interruptible(ping.start))
        const giveUp = whenStalled(
          Effect.fnUntraced(function* (error) {
            const end = yield* endOf(about, started, Exit.fail(error))
            // The places of these may be what hangs; whatever becomes of them, somebody is told.
            const recovered = yield* patiently(record(about, end), undefined).pipe(
              Effect.catchAllCause((cause) => Effect.as(Effect.logError(cause), undefined))
            )
            yield* tell(about, { end, recovered })
            yield* call(ping, about, end)
          })
        )
        yield* Effect.forkScoped(Effect.interruptible(giveUp))
        const killed = yield* mark(about, started)
        // Before the work, which may be what gets this run killed as well.
        const work = killed === undefined ? job : Effect.zipRight(tellOfKilled(about, killed), job)
        const exit: Exit.Exit<A, E | LockError> = yield* Effect.exit(restore(work))
        if (Exit.isInterrupted(exit)) yield* Effect.logError("stopped by a signal before it was done")
        const held = Exit.isFailure(exit) ? heldBy(exit.cause) : undefined
        if (held !== undefined) {
          yield* unmark(about)
          yield* noteLockedOut(about, held)
          return { exit, told: undefined }
        }
        const end = yield* endOf(about, started, exit)
        const recovered = yield* record(about, end).pipe(within(end, undefined))
        return { exit, told: { end, recovered, starting } }
      }).pipe(Effect.scoped)
      const { exit, told } = locked
      if (told === undefined) return yield* exit
      const { end, starting } = told
      const settled = starting === undefined ? Effect.void : settle(starting)
      const outside = Effect.zipRight(tell(about, told), Effect.zipRight(settled, call(ping, about, end)))
      yield* end.outcome === "interrupted" ? within(end, undefined)(outside) : unhurried(restore, outside)
      return yield* exit
    })
  )
})

/** Takes the lock file, and the lock of the state folder where there is one already. */
const acquireAll = Effect.fnUntraced(function* <A, S extends JobStanding, R>({
  lockfile,
  lockWait,
  stateFolder
}: Attended<A, S, R>) {
  const lock = yield* Lock
  yield* lock.acquire(lockfile).pipe(waitForLock(lockWait))
  if (stateFolder !== undefined) yield* lock.acquireIn(stateFolder).pipe(waitForLock(lockWait))
})

/** Nobody is pinged. */
const silent: typeof Ping.Service = { start: Effect.void, success: Effect.void, fail: () => Effect.void }

/** The error of a lock that another process holds, if that is why it failed. */
const heldBy = (cause: Cause.Cause<unknown>): LockError | undefined => {
  const error = Cause.isInterrupted(cause) ? undefined : Cause.squash(cause)
  return error instanceof LockError && error.reason === "Held" ? error : undefined
}

/** A run that was stopped does not wait long for anything, not even for a disk that hangs. */
const within =
  <B>(end: { readonly outcome: Outcome }, otherwise: B) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A | B, E, R> =>
    end.outcome === "interrupted" ? patiently(effect, otherwise) : effect

/** The work is done, and only telling of it takes its time: a signal shortens that. */
const unhurried = <R, R2>(
  restore: (effect: Effect.Effect<void, never, R>) => Effect.Effect<void, never, R2>,
  outside: Effect.Effect<void, never, R>
) =>
  Effect.gen(function* () {
    const telling = yield* Effect.forkDaemon(Effect.interruptible(outside))
    const waited = yield* Effect.exit(restore(Fiber.join(telling)))
    if (Exit.isSuccess(waited)) return
    yield* Effect.logWarning("all was done when a signal came; a message or a ping may not have got through")
    yield* patiently(Fiber.join(telling), undefined)
    yield* Fiber.interruptFork(telling)
  })

const tell = Effect.fnUntraced(function* <A, S extends JobStanding, R>(
  { messages }: Attended<A, S, R>,
  { end, recovered }: { readonly end: RunEnd<A>; readonly recovered: Recovered | undefined }
) {
  const { outcome, summary } = end
  // The user who stopped the run knows of it.
  if (summary === undefined && outcome === "interrupted") return
  const failing = summary === undefined ? [{ name: "", reason: end.error ?? "" }] : messages.failing(summary)
  const message = summary === undefined ? messages.ofFailure(end.error ?? "") : messages.ofSummary(summary)
  const error = yield* deliver(
    messages,
    // A run that came to its end says that the job works.
    {
      failing,
      outcome,
      covers: (name) => summary !== undefined && (name === "" || messages.covers(summary, name))
    },
    {
      ...(failing.length > 0 ? { failure: message } : { failure: undefined, success: message }),
      recovery: () => (recovered === undefined ? undefined : messages.ofRecovery(recovered, end))
    }
  )
  if (error !== undefined) yield* messages.undelivered(error)
})

/** A run that was killed told of nothing: it counts as a failure of the job until one comes to its end. */
const tellOfKilled = Effect.fnUntraced(function* <A, S extends JobStanding, R>(
  { messages }: Attended<A, S, R>,
  reason: string
) {
  const error = yield* deliver(
    messages,
    { failing: [{ name: "", reason }], outcome: "interrupted", covers: () => false },
    { failure: messages.ofKilled(reason) }
  )
  if (error !== undefined) yield* messages.undelivered(error)
})

/** Lets the ping of the start come to its end, so that it does not arrive after the last one. */
const settle = (starting: Fiber.Fiber<void>) =>
  Fiber.await(starting).pipe(
    Effect.timeoutTo({ duration: lastCall, onSuccess: () => true, onTimeout: () => false }),
    Effect.flatMap((done) => (done ? Effect.void : Fiber.interruptFork(starting)))
  )

const call = Effect.fnUntraced(function* <A, S extends JobStanding, R>(
  ping: typeof Ping.Service,
  { reportOf, run }: Attended<A, S, R>,
  end: RunEnd<A>
) {
  if (end.outcome === "ok") return yield* ping.success
  const what = end.summary === undefined ? (end.error ?? "") : reportOf(end.summary)
  yield* ping.fail(`${what}\nrun ${run}`)
})
