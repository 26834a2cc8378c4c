import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Ref from "effect/Ref"
import type { JobKey } from "../config/JobKey.ts"
import { utcSeconds } from "../store/Metadata.ts"
import { History, type HistoryRun } from "./History.ts"
import { type JobState, type JobStateError, JobStates, type RunMarker } from "./JobState.ts"
import { Lock, LockError } from "./Lock.ts"
import { Metrics } from "./Metrics.ts"
import { PreflightError, type RunEnd } from "./Run.ts"
import type { Outcome } from "./StateFolder.ts"
import { recoveredBetween } from "./TrackedItems.ts"

/** The files that a run leaves: marker, history, job state, metrics. What cannot be read or written is a line in the log. */

/** A run and its files. `A`: its summary; `I`: the result of one folder or dataset. */
export interface RecordedRun<A, I> {
  /** Short id of the run. */
  readonly run: string
  /** It covers all items of the job. A run of chosen folders sends no pings. */
  readonly whole: boolean
  readonly pid: number
  readonly lockfile: string
  /** The folder of job-wide state that no other run may use, under any lock file; undefined: none. */
  readonly stateFolder?: string
  /** The job whose state it changes; undefined for a job that is in no configuration. */
  readonly job: JobKey | undefined
  /** `done`: the results that there were when a run ended without a summary. */
  readonly historyOf: (end: RunEnd<A>, done: ReadonlyArray<I>) => HistoryRun
  readonly nextState: (before: JobState | undefined, end: RunEnd<A>, done: ReadonlyArray<I>) => JobState
  /** Whether everything that the run tried succeeded. */
  readonly succeeded: (summary: A) => boolean
}

export interface StartedRun<A, I> extends RecordedRun<A, I> {
  /** In milliseconds since 1970. */
  readonly started: number
  readonly done: Ref.Ref<ReadonlyArray<I>>
}

/** Writes the marker of the run. Gives the reason to report of an earlier run that left its marker: that run was killed. */
export const start = Effect.fnUntraced(function* <A, I>(about: StartedRun<A, I>) {
  const { job, lockfile, pid, run, started } = about
  if (job === undefined) return undefined
  const standing = yield* JobStates
  const before = yield* standing
    .marker(job)
    .pipe(Effect.catchAll((error) => Effect.as(Effect.logDebug(error.message), undefined)))
  const killed = before === undefined ? undefined : yield* recordKilled(about, before)
  yield* standing.mark(job, { version: 1, run, pid, started_at_utc: utcSeconds(started), lockfile }).pipe(orLogDebug)
  return killed
})

/** The lock is ours and the marker is still there, so the run that wrote it never ended: writes its line of history. */
const recordKilled = Effect.fnUntraced(function* <A, I>(
  { historyOf }: StartedRun<A, I>,
  { run, started_at_utc }: RunMarker
) {
  const error = "it came to no end: it was killed, or the machine went down"
  yield* Effect.logWarning(`the run of ${started_at_utc} (${run}): ${error}`)
  const end = {
    run,
    started_at_utc,
    seconds: 0,
    outcome: "interrupted" as const,
    error,
    summary: undefined
  }
  yield* (yield* History).end(historyOf(end, []))
  return `the run of ${started_at_utc}: ${error}`
})

export const removeMarker = Effect.fnUntraced(function* <A, I>({ job, run }: RecordedRun<A, I>) {
  if (job !== undefined) yield* (yield* JobStates).unmark(job, run).pipe(orWarnIfPlace)
})

/** Without this note, a job that never gets the lock would look like one that cron does not start. */
export const noteLockedOut = Effect.fnUntraced(function* <A, I>(
  { job, whole }: RecordedRun<A, I>,
  { holder = "pid unknown", path }: LockError
) {
  if (job === undefined || !whole) return
  const last_utc = utcSeconds(yield* Clock.currentTimeMillis)
  yield* (yield* JobStates).noteLockedOut(job, { last_utc, holder, lockfile: path }).pipe(orWarn)
})

/** How the run ends now, by its exit. */
export const endOf = Effect.fnUntraced(function* <A, I, E>(
  { run, started, succeeded }: StartedRun<A, I>,
  exit: Exit.Exit<A, E>
) {
  const now = yield* Clock.currentTimeMillis
  const end: RunEnd<A> = {
    run,
    started_at_utc: utcSeconds(started),
    // The clock may have been set back meanwhile.
    seconds: Math.max(0, now - started) / 1000,
    ...Exit.match(exit, {
      onSuccess: (summary) => ({
        outcome: succeeded(summary) ? ("ok" as const) : ("failed" as const),
        error: undefined,
        summary
      }),
      onFailure: (cause) => ({ ...failureOf(cause), summary: undefined })
    })
  }
  return end
})

const failureOf = (cause: Cause.Cause<unknown>): { readonly outcome: Outcome; readonly error: string } => {
  if (Cause.isInterrupted(cause)) {
    return { outcome: "interrupted", error: "stopped by a signal before it was done" }
  }
  const error = Cause.squash(cause)
  const message = error instanceof Error ? error.message : String(error)
  return {
    outcome: error instanceof PreflightError || error instanceof LockError ? "not_started" : "failed",
    error: Cause.isDie(cause) ? `internal error: ${message} (please report)` : message
  }
}

/** Writes history, job state and metrics, and removes the marker. Gives the items that recovered, if the state was saved. */
export const record = Effect.fnUntraced(function* <A, I>(about: StartedRun<A, I>, end: RunEnd<A>) {
  const { job, run, whole } = about
  const done = yield* Ref.get(about.done)
  yield* (yield* History).end(about.historyOf(end, done))
  if (job === undefined) return undefined
  const standing = yield* JobStates
  const before = yield* Effect.either(standing.load(job))
  const known = Either.getOrUndefined(before)
  const after = about.nextState(known, end, done)
  // A state that could not be read must not be replaced by the little that this run knows.
  const saved = yield* Effect.either(Effect.flatMap(before, () => standing.save(after)))
  const failure = Either.isLeft(saved) ? saved.left : undefined
  if (failure !== undefined) {
    yield* orWarnIfPlace(Effect.fail(failure))
    yield* standing.saveFallback(after).pipe(orWarn)
  }
  if (whole && end.outcome === "ok") yield* standing.clearLockedOut(job).pipe(orWarn)
  // Where the state cannot be written, the marker cannot be removed either, and one warning is enough.
  yield* standing.unmark(job, run).pipe(failure === undefined ? orWarnIfPlace : orLogDebug)
  // Without the state folder, nothing is known of the other jobs.
  const away = failure?.noPlace === true || failure?.away === true
  const complete = !away && (known !== undefined || (whole && end.summary !== undefined))
  yield* (yield* Metrics).refresh(after, !complete)
  // With the old state still on disk, the next run would find the same recovery again.
  return failure === undefined ? recoveredBetween(known, after) : undefined
})

/**
 * The same for a run that could not use its lock. Another run may be at work, so the job state is left to that one: the end of
 * this run is kept beside the lock file, or, if that folder is missing, in the state under the lock of the state folder.
 */
export const recordUnlocked = Effect.fnUntraced(function* <A, I>(about: StartedRun<A, I>, end: RunEnd<A>) {
  const { job, stateFolder } = about
  const done = yield* Ref.get(about.done)
  yield* (yield* History).end(about.historyOf(end, done))
  if (job === undefined) return
  const standing = yield* JobStates
  const known = yield* standing.load(job).pipe(Effect.orElseSucceed(() => undefined))
  const after = about.nextState(known, end, done)
  const lock = yield* Lock
  yield* standing.saveFallback(after).pipe(
    Effect.catchAll((error) =>
      known === undefined || stateFolder === undefined
        ? Effect.fail(error)
        : Effect.zipRight(lock.acquireIn(stateFolder), standing.save(after)).pipe(Effect.scoped)
    ),
    orWarn
  )
  yield* (yield* Metrics).refresh(after, known === undefined)
})

const orWarn = Effect.catchAll((error: { readonly message: string }) => Effect.logWarning(error.message))

/** A warning, unless there is no place to write to yet. */
const orWarnIfPlace = Effect.catchAll((error: JobStateError) =>
  error.noPlace === true ? Effect.logDebug(error.message) : Effect.logWarning(error.message)
)

/** For what fails only where the end of the run cannot be written either, which warns. */
const orLogDebug = Effect.catchAll((error: JobStateError) => Effect.logDebug(error.message))
