import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { identity } from "effect/Function"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Ref from "effect/Ref"
import type { JobKey } from "../config/ReplicationJob.ts"
import { noPing, Ping } from "../notify/Ping.ts"
import { codeOf, isAboutUs } from "../system/Errno.ts"
import { secondsOf } from "../text/Document.ts"
import { duration, withoutControls } from "../text/Text.ts"
import { utcSeconds } from "../text/Time.ts"
import type { Recovered } from "./Alerts.ts"
import { History, type HistoryRun } from "./History.ts"
import { type JobState, type JobStateError, JobStates, recoveredBetween } from "./JobState.ts"
import { Lock, LockError } from "./Lock.ts"
import { deliverEnd, type JobMessages, type MessageSettings, prepare } from "./Messages.ts"
import { Metrics } from "./Metrics.ts"
import { type Outcome, PreflightError, type RunEnd, stoppedBySignal, waitForLock, withDeadline } from "./Run.ts"
import { type Hang, Stall } from "./Stall.ts"

/** A run, the files that it leaves, and its messages. `A`: its summary; `I`: the result of one folder or dataset. */
interface SupervisedRun<A, I> {
  /** Short id of the run. */
  readonly run: string
  /** It covers all items of the job. A run of chosen folders sends no pings. */
  readonly whole: boolean
  readonly pid: number
  readonly lockfile: string
  readonly lockWait?: number | undefined
  /** The folder of job-wide state that no other run may use, under any lock file; undefined: none. */
  readonly stateFolder?: string
  /** The job whose state it changes; undefined for a job that is in no configuration. */
  readonly job: JobKey | undefined
  /** `done`: the results that there were when a run ended without a summary. */
  readonly historyOf: (end: RunEnd<A>, done: ReadonlyArray<I>) => HistoryRun
  readonly nextState: (before: JobState | undefined, end: RunEnd<A>, done: ReadonlyArray<I>) => JobState
  readonly succeeded: (summary: A) => boolean
  /** Gets what was done by a run that ended without a summary, if anything was. */
  readonly onUnfinished?: ((end: RunEnd<A>, done: ReadonlyArray<I>) => Effect.Effect<void>) | undefined
  /** What failed of a run as a whole, though it has a summary. */
  readonly errorOf?: (summary: A) => string | undefined
  /** The line about a run that a signal stopped. */
  readonly stopped: () => string
  readonly messages: MessageSettings & JobMessages<A>
}

/**
 * Runs a job, and records and reports how it ends: by itself, by an error, a defect, a signal, or a hang in the kernel.
 *
 * 1. It takes the locks. A run that finds one held leaves a note of that and nothing else.
 * 2. The start is pinged, and a watch for hangs begins.
 * 3. It writes its marker. A marker that is there already belongs to a run that was killed: that run is recorded and reported first.
 * 4. The work.
 * 5. Before the locks are free again: history, job state, metrics; the marker is removed.
 * 6. Messages, then the ping of the end.
 *
 * A file that cannot be written and a message that cannot be sent are warnings and do not change the result. A run that was
 * stopped by a signal waits only briefly for either.
 */
export const superviseRun = Effect.fnUntraced(function* <A extends object, I, E, R>(
  supervised: SupervisedRun<A, I>,
  work: (note: (result: I) => Effect.Effect<void>) => Effect.Effect<A, E, R>
) {
  const run: Supervision<A, I> = {
    ...supervised,
    started: yield* Clock.currentTimeMillis,
    ping: supervised.whole ? yield* Ping : noPing,
    done: yield* Ref.make<ReadonlyArray<I>>([]),
    undelivered: yield* Ref.make<string | undefined>(undefined)
  }
  const note = (result: I) => Ref.update(run.done, (results) => [...results, result])

  const summary = yield* Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { ended, exit, startPing } = yield* Effect.gen(function* () {
        const locked = yield* Effect.exit(restore(acquireLocks(run)))
        if (Exit.isFailure(locked)) {
          const exit: Exit.Exit<A, E | LockError> = Exit.failCause(locked.cause)
          return { exit, ended: yield* recordExit(run, exit, false), startPing: Fiber.void }
        }
        const startPing = yield* Effect.forkDaemon(Effect.interruptible(run.ping.start))
        yield* Effect.forkScoped(Effect.interruptible(leaveWhenStalled(run)))
        const reportKilled = yield* writeMarker(run)
        // Reported before the work, which may get this run killed as well.
        const exit = yield* Effect.exit(restore(Effect.zipRight(reportKilled, work(note))))
        return { exit, ended: yield* recordExit(run, exit, true), startPing }
      }).pipe(Effect.scoped)
      if (ended !== undefined) {
        const report = Effect.zipRight(
          sendMessages(run, ended.end, ended.recovered),
          Effect.zipRight(awaitStartPing(startPing), pingEnd(run, ended.end))
        )
        yield* ended.end.outcome === "interrupted"
          ? withDeadline(report, undefined)
          : reportUntilSignal(restore, report)
      }
      return yield* exit
    })
  )
  const undelivered = yield* Ref.get(run.undelivered)
  return undelivered === undefined ? summary : { ...summary, undelivered }
})

interface Supervision<A, I> extends SupervisedRun<A, I> {
  readonly started: number
  readonly done: Ref.Ref<ReadonlyArray<I>>
  readonly ping: typeof Ping.Service
  /** Why a message could not be delivered. */
  readonly undelivered: Ref.Ref<string | undefined>
}

const acquireLocks = Effect.fnUntraced(function* <A, I>({ lockfile, lockWait, stateFolder }: SupervisedRun<A, I>) {
  const lock = yield* Lock
  yield* lock.acquire(lockfile).pipe(waitForLock(lockWait))
  if (stateFolder !== undefined) yield* lock.acquireIn(stateFolder).pipe(waitForLock(lockWait))
})

/**
 * Writes the marker of the run. Gives the report of an earlier run that left its marker: that run was killed. The report is kept
 * as not delivered before the marker of that run is replaced.
 */
const writeMarker = Effect.fnUntraced(function* <A, I>(supervision: Supervision<A, I>) {
  const { historyOf, job, lockfile, pid, run, started } = supervision
  if (job === undefined) return Effect.void
  const states = yield* JobStates
  const found = yield* states.marker(job).pipe(orLogDebug)
  // A dry run waits for no lock, and may find the marker of a run that is at work.
  const holder = found && (yield* (yield* Lock).holder(found.lockfile))
  const left = holder !== undefined && holder.pid !== pid && holder.pid === found?.pid ? undefined : found
  const error = "it came to no end: it was killed, or the machine went down"
  if (left !== undefined) {
    const { run, started_at_utc } = left
    yield* Effect.logWarning(`the run of ${started_at_utc} (${run}): ${error}`)
    const end = { run, started_at_utc, seconds: 0, outcome: "interrupted" as const, error, summary: undefined }
    yield* (yield* History).end(historyOf(end, []))
  }
  const report = left && (yield* prepareKilled(supervision, `the run of ${left.started_at_utc}: ${error}`))
  yield* states.mark(job, { version: 1, run, pid, started_at_utc: utcSeconds(started), lockfile }).pipe(orLogDebug)
  return report ?? Effect.void
})

/** Records how the run ended. Undefined where the holder of the lock has that to do, or the user stopped the wait for the lock. */
const recordExit = Effect.fnUntraced(function* <A, I, E>(
  run: Supervision<A, I>,
  exit: Exit.Exit<A, E>,
  isLocked: boolean
) {
  const isInterrupted = Exit.isInterrupted(exit)
  if (isInterrupted) {
    yield* Effect.logError(isLocked ? run.stopped() : "stopped by a signal before it had its lock: nothing was done")
  }
  const lockError = isInterrupted ? undefined : lockErrorOf(exit)
  const held = lockError?.reason === "Held" ? lockError : undefined
  if (held !== undefined) {
    if (isLocked && run.job !== undefined) yield* (yield* JobStates).unmark(run.job, run.run).pipe(orWarnIfPlace)
    yield* noteLockedOut(run, held)
  }
  if (held !== undefined || (!isLocked && isInterrupted)) return undefined
  const end = yield* endOf(run, exit)
  // Where this user may not use the lock, the state has the same reason, and nothing new to say.
  const hasNoRights = !isLocked && isAboutUs(codeOf(lockError?.cause))
  const record = (hasNoRights ? withoutWarnings : identity)(recordEnd(run, end, isLocked))
  // A disk that hangs must not keep a run that was stopped.
  const recovered = yield* end.outcome === "interrupted" ? withDeadline(record, undefined) : record
  yield* noteUnfinished(run, end)
  return { end, recovered }
})

const noteUnfinished = Effect.fnUntraced(function* <A, I>(run: Supervision<A, I>, end: RunEnd<A>) {
  const done = yield* Ref.get(run.done)
  if (end.summary === undefined && done.length > 0) yield* run.onUnfinished?.(end, done) ?? Effect.void
})

const lockErrorOf = <A, E>(exit: Exit.Exit<A, E>): LockError | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const error = Cause.squash(exit.cause)
  return error instanceof LockError ? error : undefined
}

const withoutWarnings = Logger.withMinimumLogLevel(LogLevel.Error)

/** Without this note, a job that never gets the lock would look like one that cron does not start. */
const noteLockedOut = Effect.fnUntraced(function* <A, I>(
  { job, whole }: Supervision<A, I>,
  { holder = "pid unknown", path }: LockError
) {
  if (job === undefined || !whole) return
  const last_utc = utcSeconds(yield* Clock.currentTimeMillis)
  yield* (yield* JobStates).noteLockedOut(job, { last_utc, holder, lockfile: path }).pipe(orWarn)
})

const endOf = Effect.fnUntraced(function* <A, I, E>(about: Supervision<A, I>, exit: Exit.Exit<A, E>) {
  const { errorOf, run, started, succeeded } = about
  const now = yield* Clock.currentTimeMillis
  const end: RunEnd<A> = {
    run,
    started_at_utc: utcSeconds(started),
    seconds: secondsOf(now - started),
    ...(Exit.isSuccess(exit)
      ? { outcome: succeeded(exit.value) ? "ok" : "failed", error: errorOf?.(exit.value), summary: exit.value }
      : { ...failureOf(exit.cause), summary: undefined })
  }
  return end
})

export const failureOf = (cause: Cause.Cause<unknown>): { readonly outcome: Outcome; readonly error: string } => {
  if (Cause.isInterrupted(cause)) {
    return { outcome: "interrupted", error: stoppedBySignal }
  }
  const error = Cause.squash(cause)
  const message = error instanceof Error ? error.message : String(error)
  return {
    outcome: error instanceof PreflightError || error instanceof LockError ? "not_started" : "failed",
    error: Cause.isDie(cause) ? `internal error: ${message} (please report)` : message
  }
}

/**
 * Writes history, state and metrics, and removes the marker. Gives the recovered items, if the state was saved. A run without its
 * lock writes only the fallback, or, if that fails, the state under the lock of the state folder.
 */
const recordEnd = Effect.fnUntraced(function* <A, I>(run: Supervision<A, I>, end: RunEnd<A>, isLocked: boolean) {
  const { job, stateFolder, whole } = run
  const done = yield* Ref.get(run.done)
  // What is shown later has to say what was done.
  const shown = end.outcome === "interrupted" ? { ...end, error: run.stopped() } : end
  yield* (yield* History).end(run.historyOf(shown, done))
  if (job === undefined) return undefined
  const states = yield* JobStates
  const metrics = yield* Metrics
  const before = yield* Effect.either(states.load(job))
  const known = Either.getOrUndefined(before)
  const after = run.nextState(known, shown, done)
  if (!isLocked) {
    const lock = yield* Lock
    const save = (error: JobStateError) =>
      known === undefined || stateFolder === undefined
        ? Effect.fail(error)
        : Effect.scoped(Effect.zipRight(lock.acquireIn(stateFolder), states.save(after)))
    yield* states.saveFallback(after).pipe(Effect.catchAll(save), orWarn)
    yield* metrics.refresh(after, known === undefined)
    return undefined
  }
  // A state that could not be read must not be replaced by the little that this run knows.
  const saved = yield* Effect.either(Effect.flatMap(before, () => states.save(after)))
  const failure = Either.isLeft(saved) ? saved.left : undefined
  if (failure !== undefined) {
    yield* orWarnIfPlace(Effect.fail(failure))
    yield* states.saveFallback(after).pipe(orWarn)
  }
  if (whole && end.outcome === "ok") yield* states.clearLockedOut(job).pipe(orWarn)
  // Where the state cannot be written, the marker cannot be removed either, and one warning is enough.
  yield* states.unmark(job, run.run).pipe(failure === undefined ? orWarnIfPlace : orLogDebug)
  // Without the state folder, nothing is known of the other jobs.
  const away = failure?.noPlace === true || failure?.away === true
  yield* metrics.refresh(after, away || (known === undefined && !(whole && end.summary !== undefined)))
  // With the old state still on disk, the next run would find the same recovery again.
  return failure === undefined ? recoveredBetween(known, after) : undefined
})

const orWarn = Effect.catchAll((error: { readonly message: string }) => Effect.logWarning(error.message))

/** A warning, unless there is no place to write to yet. */
const orWarnIfPlace = Effect.catchAll((error: JobStateError) =>
  error.noPlace === true ? Effect.logDebug(error.message) : Effect.logWarning(error.message)
)

const orLogDebug = Effect.catchAll((error: JobStateError) => Effect.as(Effect.logDebug(error.message), undefined))

/** The run waits in the kernel, where no signal can end it. */
class Stalled extends Data.TaggedError("Stalled")<Hang> {
  override get message() {
    return `given up: ${withoutControls(this.program)} has hung in the kernel for ${duration(this.seconds * 1000)}, as on a pool that is suspended (see zpool status; zpool clear, once its disks are back) or a disk or network share that does not answer; this process keeps its lock until the kernel lets it end`
  }
}

/** Waits until the run hangs, records and reports that, and ends the process. The next run finds what a kill would leave. */
const leaveWhenStalled = Effect.fnUntraced(function* <A, I>(run: Supervision<A, I>) {
  const stall = yield* Stall
  const error = new Stalled(yield* stall.found)
  yield* Effect.logError(error.message)
  yield* Effect.gen(function* () {
    const end = yield* endOf(run, Exit.fail(error))
    yield* noteUnfinished(run, end)
    // The files may be on the disk that hangs: messages and ping follow in any case.
    const recovered = yield* withDeadline(recordEnd(run, end, true), undefined).pipe(
      Effect.catchAllCause((cause) => Effect.as(Effect.logError(cause), undefined))
    )
    yield* sendMessages(run, end, recovered)
    yield* pingEnd(run, end)
  }).pipe(Effect.catchAllCause((cause) => Effect.logError(cause)))
  return yield* stall.leave(error.message)
})

/** The work is done: a signal only shortens the report. */
const reportUntilSignal = Effect.fnUntraced(function* <R>(
  restore: <R2>(effect: Effect.Effect<void, never, R2>) => Effect.Effect<void, never, R2>,
  report: Effect.Effect<void, never, R>
) {
  const reporting = yield* Effect.forkDaemon(Effect.interruptible(report))
  const waited = yield* Effect.exit(restore(Fiber.join(reporting)))
  if (Exit.isSuccess(waited)) return
  yield* Effect.logWarning("all was done when a signal came; a message or a ping may not have got through")
  yield* withDeadline(Fiber.join(reporting), undefined)
  // A hook is ended by that.
  yield* withDeadline(Fiber.interrupt(reporting), undefined)
})

const sendMessages = Effect.fnUntraced(function* <A, I>(
  { messages, undelivered }: Supervision<A, I>,
  end: RunEnd<A>,
  recovered: Recovered | undefined
) {
  if (end.summary === undefined && end.outcome === "interrupted") return
  const failed = yield* deliverEnd(messages, messages, end, () => recovered)
  if (failed !== undefined) yield* Ref.set(undelivered, failed)
})

/** A run that was killed sent no message: it counts as a failure of the job until a run has a summary. */
const prepareKilled = Effect.fnUntraced(function* <A, I>({ messages, undelivered }: Supervision<A, I>, reason: string) {
  const sending = yield* prepare(
    messages,
    { failing: [{ name: "", reason }], outcome: "interrupted", covers: () => false },
    { failure: messages.ofKilled(reason) },
    true
  )
  return Effect.flatMap(sending, (failed) => (failed === undefined ? Effect.void : Ref.set(undelivered, failed)))
})

/** Waits for the ping of the start, which must not arrive after that of the end; after a while it is given up. */
const awaitStartPing = (ping: Fiber.Fiber<void>) =>
  Fiber.await(ping).pipe(
    Effect.timeoutOption("10 seconds"),
    Effect.flatMap((exit) => (exit._tag === "Some" ? Effect.void : Fiber.interruptFork(ping)))
  )

const pingEnd = <A, I>({ messages, ping, run }: Supervision<A, I>, end: RunEnd<A>) => {
  if (end.outcome === "ok") return ping.success
  const report = end.summary === undefined ? (end.error ?? "") : messages.reportOf(end.summary)
  return ping.fail(`${report}\nrun ${run}`)
}
