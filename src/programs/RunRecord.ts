import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type { Outcome } from "../domain/History.ts"
import { utcSeconds } from "../domain/Metadata.ts"
import { recoveredBetween } from "../domain/Recovery.ts"
import type { RunEnd } from "../domain/RunEnd.ts"
import type { JobStanding, RunMarker } from "../domain/Standing.ts"
import { History } from "../services/History.ts"
import { Lock, LockError } from "../services/Lock.ts"
import { Metrics } from "../services/Metrics.ts"
import { Standing, type StandingError } from "../services/Standing.ts"
import type { Attended } from "./Attended.ts"
import { PreflightError } from "./Preflight.ts"

const warned = Effect.catchAll((error: { readonly message: string }) => Effect.logWarning(error.message))

/** A warning, unless there is no place yet to write to. */
const mentioned = Effect.catchAll((error: StandingError) =>
  error.noPlace === true ? Effect.logDebug(error.message) : Effect.logWarning(error.message)
)

/** Where this cannot be written, the end of the run cannot either, and warns. */
const whispered = Effect.catchAll((error: StandingError) => Effect.logDebug(error.message))

/** Marks the run as one that is at work. Gives what there is to tell of a run before it that was killed. */
export const mark = Effect.fnUntraced(function* <A, S extends JobStanding, R>(
  about: Attended<A, S, R>,
  started: number
) {
  const { job, lockfile, pid, run } = about
  if (job === undefined) return undefined
  const standing = yield* Standing
  const before = yield* standing
    .marker(job)
    .pipe(Effect.catchAll((error) => Effect.as(Effect.logDebug(error.message), undefined)))
  const killed = before === undefined ? undefined : yield* recordKilled(about, before)
  yield* standing
    .mark(job, { version: 1, run, pid, started_at_utc: utcSeconds(started), lockfile })
    .pipe(whispered)
  return killed
})

/** Takes back the mark of a run that did not come to its work, because another one is at it. */
export const unmark = Effect.fnUntraced(function* <A, S extends JobStanding, R>({
  job,
  run
}: Attended<A, S, R>) {
  if (job !== undefined) yield* (yield* Standing).unmark(job, run).pipe(mentioned)
})

/** A whole run that found the lock held: without word of it, a job that never gets the lock would look like one that cron does not start. */
export const noteLockedOut = Effect.fnUntraced(function* <A, S extends JobStanding, R>(
  { job, whole }: Attended<A, S, R>,
  { holder = "pid unknown", path }: LockError
) {
  if (job === undefined || !whole) return
  const last_utc = utcSeconds(yield* Clock.currentTimeMillis)
  yield* (yield* Standing).noteLockedOut(job, { last_utc, holder, lockfile: path }).pipe(warned)
})

/** A run that left its mark and no more: the lock is ours now, so it came to no end. It gets its line of history by us. */
const recordKilled = Effect.fnUntraced(function* <A, S extends JobStanding, R>(
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
  return `the run of ${started_at_utc}: ${error}`
})

/** How the run ended, by its exit. */
export const endOf = Effect.fnUntraced(function* <A, E, S extends JobStanding, R>(
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
export const record = Effect.fnUntraced(function* <A, S extends JobStanding, R>(
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
  if (about.whole && end.outcome === "ok") yield* standing.clearLockedOut(job).pipe(warned)
  yield* standing.unmark(job, about.run).pipe(Either.isLeft(saved) ? whispered : mentioned)
  // With the state folder away, nothing is known of the other jobs.
  const away = Either.isLeft(saved) && (saved.left.noPlace === true || saved.left.away === true)
  const complete = !away && (known !== undefined || (about.whole && end.summary !== undefined))
  yield* (yield* Metrics).refresh(after, !complete)
  // It would be told again after the next run.
  return Either.isLeft(saved) ? undefined : recoveredBetween(known, after)
})

/**
 * The same of a run that could not use its lock. Another one may be at work, so the standing is left to that one: how this run
 * ended is kept beside the lock file, or, where that has no folder, in the standing under the lock of the state folder.
 */
export const recordUnlocked = Effect.fnUntraced(function* <A, S extends JobStanding, R>(
  about: Attended<A, S, R>,
  end: RunEnd<A>
) {
  const { job, stateFolder } = about
  yield* (yield* History).end(yield* about.historyOf(end))
  if (job === undefined) return
  const standing = yield* Standing
  const known = yield* standing.load(job).pipe(Effect.orElseSucceed(() => undefined))
  const after = yield* about.standingOf(known, end)
  const lock = yield* Lock
  yield* standing.setAside(after).pipe(
    Effect.catchAll((error) =>
      known === undefined || stateFolder === undefined
        ? Effect.fail(error)
        : Effect.zipRight(lock.acquireIn(stateFolder), standing.save(after)).pipe(Effect.scoped)
    ),
    warned
  )
  yield* (yield* Metrics).refresh(after, known === undefined)
})
