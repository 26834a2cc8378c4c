import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { JobKey } from "../config/JobKey.ts"
import type { Notification } from "../notify/Notifier.ts"
import { Ping } from "../notify/Ping.ts"
import { utcSeconds } from "../store/Metadata.ts"
import { duration, harmless } from "../text/Text.ts"
import type { Recovered } from "./Alerts.ts"
import { History, type HistoryRun } from "./History.ts"
import {
  type JobStanding,
  type RunMarker,
  recoveredBetween,
  Standing,
  type StandingError
} from "./JobState.ts"
import { Lock, LockError } from "./Lock.ts"
import { deliver, type MessageSettings } from "./Messages.ts"
import { Metrics } from "./Metrics.ts"
import { patiently, waitForLock } from "./Retry.ts"
import { PreflightError, type RunEnd } from "./Run.ts"
import { type Found, Stall } from "./Stall.ts"
import type { Outcome } from "./StateFolder.ts"

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

/** The run waits for something that does not come, and that nobody can end. */
class Stalled extends Data.TaggedError("Stalled")<Found> {
  override get message() {
    return `given up: ${harmless(this.program)} has hung in the kernel for ${duration(this.seconds * 1000)}, as on a pool that is suspended (see zpool status; zpool clear, once its disks are back) or a disk or network share that does not answer; this process keeps its lock until the kernel lets it end`
  }
}

/** Waits until the run hangs, tells of that, and leaves. What it hangs in is left as a kill would, to the next run. */
export const whenStalled = Effect.fnUntraced(function* <R>(
  tellOf: (error: Stalled) => Effect.Effect<void, never, R>
) {
  const stall = yield* Stall
  const error = new Stalled(yield* stall.found)
  yield* Effect.logError(error.message)
  yield* tellOf(error).pipe(Effect.catchAllCause((cause) => Effect.logError(cause)))
  return yield* stall.leave(error.message)
})

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

/** A run, and what is to be written down and told of it. */
export interface Attended<A, S extends JobStanding, R> {
  /** Short id of the run. */
  readonly run: string
  /** It looks after all that the job has to: the outside is not pinged for a run of chosen folders. */
  readonly whole: boolean
  readonly lockfile: string
  /** The folder of job-wide state that no other run may work on, under whatever lock file; undefined: none. */
  readonly stateFolder?: string
  /** How many seconds to wait for a lock that is held; left out: none. */
  readonly lockWait?: number | undefined
  readonly pid: number
  /** Whose standing it changes; undefined for a job that is in no configuration. */
  readonly job: JobKey | undefined
  readonly historyOf: (end: RunEnd<A>) => Effect.Effect<HistoryRun>
  readonly standingOf: (before: JobStanding | undefined, end: RunEnd<A>) => Effect.Effect<S, never, R>
  /** Whether everything that the run tried went well. */
  readonly wentWell: (summary: A) => boolean
  /** What it says to a service that is pinged, when something failed. */
  readonly reportOf: (summary: A) => string
  readonly messages: MessageSettings & {
    /** Items that failed in a run, by name. */
    readonly failing: (summary: A) => ReadonlyArray<{ readonly name: string; readonly reason: string }>
    /** Whether a run looked at that item. */
    readonly covers: (summary: A, name: string) => boolean
    /** Takes note of why a message could not be delivered. */
    readonly undelivered: (error: string) => Effect.Effect<void>
    /** Of a run that could not do its work at all. */
    readonly ofFailure: (message: string) => Notification | undefined
    /** Of a run before this one that was killed. */
    readonly ofKilled: (message: string) => Notification | undefined
    /** Of a run that came to its end. */
    readonly ofSummary: (summary: A) => Notification | undefined
    readonly ofRecovery: (recovered: Recovered, end: RunEnd<A>) => Notification | undefined
  }
}
