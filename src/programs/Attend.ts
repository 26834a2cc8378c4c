import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { HistoryRun, Outcome } from "../domain/History.ts"
import type { JobKey } from "../domain/JobKey.ts"
import { utcSeconds } from "../domain/Metadata.ts"
import { type Recovered, recoveredBetween } from "../domain/Recovery.ts"
import type { RunEnd } from "../domain/RunEnd.ts"
import type { JobStanding, RunMarker } from "../domain/Standing.ts"
import { History } from "../services/History.ts"
import { Lock, LockError } from "../services/Lock.ts"
import { Metrics } from "../services/Metrics.ts"
import { type Notification, Notifier } from "../services/Notifier.ts"
import { Ping } from "../services/Ping.ts"
import { Standing, type StandingError } from "../services/Standing.ts"
import { PreflightError } from "./Preflight.ts"
import { whenStalled } from "./WhenStalled.ts"

/** A run, and what is to be written down and told of it. */
export interface Attended<A, S extends JobStanding, R> {
  /** Short id of the run. */
  readonly run: string
  /** It looks after all that the job has to: the outside is not pinged for a run of chosen folders. */
  readonly whole: boolean
  readonly lockfile: string
  readonly pid: number
  /** Whose standing it changes; undefined for a job that is in no configuration. */
  readonly job: JobKey | undefined
  readonly historyOf: (end: RunEnd<A>) => Effect.Effect<HistoryRun>
  readonly standingOf: (before: JobStanding | undefined, end: RunEnd<A>) => Effect.Effect<S, never, R>
  /** Whether everything that the run tried went well. */
  readonly wentWell: (summary: A) => boolean
  /** What it says to a service that is pinged, when something failed. */
  readonly reportOf: (summary: A) => string
  readonly messages: {
    /** Of a run that could not do its work at all. */
    readonly ofFailure: (message: string) => Notification | undefined
    /** Of a run that came to its end. */
    readonly ofSummary: (summary: A) => Notification | undefined
    readonly ofRecovery: (recovered: Recovered, end: RunEnd<A>) => Notification | undefined
  }
}

/** How long a run that was stopped may take to write that down, and to say so. */
const patience: Duration.DurationInput = "5 seconds"

/** How long the ping of the end waits for that of the start. */
const lastCall: Duration.DurationInput = "10 seconds"

/**
 * Runs a job with its lock held, and lets the outside know: the mark of a run that is at work, a ping at the start;
 * then history, standing and metrics, before the lock is free again; then messages and a ping. However it ends: by
 * itself, by an error, a defect or a signal. What cannot be written or sent is a warning and changes no result. A
 * run that finds the lock held leaves nothing, and one that cannot use it no standing.
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
        const lock = yield* Effect.exit(restore((yield* Lock).acquire(about.lockfile)))
        if (Exit.isFailure(lock)) {
          // Whoever holds the lock tells of itself.
          if (isHeld(lock.cause)) return { exit: Exit.failCause(lock.cause), told: undefined }
          const end = yield* endOf(about, started, Exit.failCause(lock.cause))
          yield* (yield* History).end(yield* about.historyOf(end))
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
        yield* mark(about, started)
        const exit: Exit.Exit<A, E | LockError> = yield* Effect.exit(restore(job))
        if (Exit.isInterrupted(exit)) yield* Effect.logError("stopped by a signal before it was done")
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

/** Nobody is pinged. */
const silent: typeof Ping.Service = { start: Effect.void, success: Effect.void, fail: () => Effect.void }

const isHeld = (cause: Cause.Cause<unknown>): boolean => {
  if (Cause.isInterrupted(cause)) return true
  const error = Cause.squash(cause)
  return error instanceof LockError && error.reason === "Held"
}

/** `effect` for as long as it is waited for: what is given up on goes on by itself, and ends with the process at the latest. */
const patiently = <A, B, E, R>(effect: Effect.Effect<A, E, R>, otherwise: B): Effect.Effect<A | B, E, R> =>
  // Interruptible as a whole: inside a region that is not, the timeout itself would wait.
  Effect.timeoutTo(Effect.interruptible(Effect.disconnect(effect)), {
    duration: patience,
    onSuccess: (value): A | B => value,
    onTimeout: (): A | B => otherwise
  })

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

const warned = Effect.catchAll((error: { readonly message: string }) => Effect.logWarning(error.message))

/** A warning, unless there is no place yet to write to. */
const mentioned = Effect.catchAll((error: StandingError) =>
  error.noPlace === true ? Effect.logDebug(error.message) : Effect.logWarning(error.message)
)

/** Where this cannot be written, the end of the run cannot either, and warns. */
const whispered = Effect.catchAll((error: StandingError) => Effect.logDebug(error.message))

const mark = Effect.fnUntraced(function* <A, S extends JobStanding, R>(
  about: Attended<A, S, R>,
  started: number
) {
  const { job, lockfile, pid, run } = about
  if (job === undefined) return
  const standing = yield* Standing
  const before = yield* standing
    .marker(job)
    .pipe(Effect.catchAll((error) => Effect.as(Effect.logDebug(error.message), undefined)))
  if (before !== undefined) yield* tellOfDead(about, before)
  yield* standing
    .mark(job, { version: 1, run, pid, started_at_utc: utcSeconds(started), lockfile })
    .pipe(whispered)
})

/** A run that left its mark and no more: the lock is ours now, so it came to no end. It gets its line of history by us. */
const tellOfDead = Effect.fnUntraced(function* <A, S extends JobStanding, R>(
  { historyOf }: Attended<A, S, R>,
  { run, started_at_utc }: RunMarker
) {
  const error = "it came to no end: it was killed, or the machine went down"
  yield* Effect.logWarning(`the run of ${started_at_utc} (${run}): ${error}`)
  const line = yield* historyOf({
    run,
    startedAt: started_at_utc,
    seconds: 0,
    outcome: "interrupted",
    error,
    summary: undefined
  })
  yield* (yield* History).end(line)
})

const endOf = Effect.fnUntraced(function* <A, E, S extends JobStanding, R>(
  { run, wentWell }: Attended<A, S, R>,
  started: number,
  exit: Exit.Exit<A, E | LockError>
) {
  const now = yield* Clock.currentTimeMillis
  const end: RunEnd<A> = {
    run,
    startedAt: utcSeconds(started),
    // The clock may have been set back meanwhile.
    seconds: Math.max(0, now - started) / 1000,
    outcome: Exit.match(exit, {
      onSuccess: (summary) => (wentWell(summary) ? "ok" : "failed"),
      onFailure: outcomeOf
    }),
    error: Exit.match(exit, { onSuccess: () => undefined, onFailure: errorOf }),
    summary: Exit.match(exit, { onSuccess: (summary) => summary, onFailure: () => undefined })
  }
  return end
})

const outcomeOf = (cause: Cause.Cause<unknown>): Outcome => {
  if (Cause.isInterrupted(cause)) return "interrupted"
  const error = Cause.squash(cause)
  return error instanceof PreflightError || error instanceof LockError ? "not_started" : "failed"
}

const errorOf = (cause: Cause.Cause<unknown>): string => {
  if (Cause.isInterrupted(cause)) return "stopped by a signal before it was done"
  const error = Cause.squash(cause)
  const message = error instanceof Error ? error.message : String(error)
  return Cause.isDie(cause) ? `internal error: ${message} (please report)` : message
}

/** History, standing and metrics; and what works again that did not before. */
const record = Effect.fnUntraced(function* <A, S extends JobStanding, R>(
  about: Attended<A, S, R>,
  end: RunEnd<A>
) {
  const { job } = about
  const standing = yield* Standing
  yield* (yield* History).end(yield* about.historyOf(end))
  if (job === undefined) return undefined
  const before = yield* Effect.either(standing.load(job))
  const known = Either.getOrUndefined(before)
  const after = yield* about.standingOf(known, end)
  // What is known of all others must not be replaced by what this run knows.
  const saved = yield* Effect.either(Effect.flatMap(before, () => standing.save(after)))
  if (Either.isLeft(saved)) {
    yield* mentioned(Effect.fail(saved.left))
    yield* standing.setAside(after).pipe(warned)
  }
  yield* standing.unmark(job, about.run).pipe(Either.isLeft(saved) ? whispered : mentioned)
  // With the state folder away, nothing is known of the other jobs.
  const away = Either.isLeft(saved) && (saved.left.noPlace === true || saved.left.away === true)
  const complete = !away && (known !== undefined || (about.whole && end.summary !== undefined))
  yield* (yield* Metrics).refresh(after, !complete)
  // It would be told again after the next run.
  return Either.isLeft(saved) ? undefined : recoveredBetween(known, after)
})

const tell = Effect.fnUntraced(function* <A, S extends JobStanding, R>(
  { messages }: Attended<A, S, R>,
  { end, recovered }: { readonly end: RunEnd<A>; readonly recovered: Recovered | undefined }
) {
  if (end.summary !== undefined) yield* send(messages.ofSummary(end.summary))
  // Whoever stopped the run knows of it.
  else if (end.outcome !== "interrupted") yield* send(messages.ofFailure(end.error ?? ""))
  if (recovered !== undefined) yield* send(messages.ofRecovery(recovered, end))
})

/** Delivers a message, if there is one. One that cannot be sent is logged and changes no result. */
export const send = Effect.fnUntraced(function* (notification: Notification | undefined) {
  if (notification === undefined) return
  yield* (yield* Notifier)
    .send(notification)
    .pipe(Effect.catchAll((error) => Effect.logWarning(`no notification was sent: ${error.message}`)))
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
