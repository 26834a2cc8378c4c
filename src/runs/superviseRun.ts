import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Ref from "effect/Ref"
import { noPing, Ping } from "../notify/Ping.ts"
import { duration, withoutControls } from "../text/Text.ts"
import type { Recovered } from "./Alerts.ts"
import { Lock, LockError } from "./Lock.ts"
import { deliver, deliverEnd, type JobMessages, type MessageSettings } from "./Messages.ts"
import { waitForLock, withDeadline } from "./Retry.ts"
import type { RunEnd } from "./Run.ts"
import * as Records from "./RunRecords.ts"
import { type Found, Stall } from "./Stall.ts"

/** A run, the files that it leaves, and what is said of it. */
export interface SupervisedRun<A, I> extends Records.RecordedRun<A, I> {
  /** How many seconds to wait for a lock that is held; undefined: none. */
  readonly lockWait?: number | undefined
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
      const { ended, exit } = yield* Effect.gen(function* () {
        const locked = yield* Effect.exit(restore(acquireLocks(run)))
        if (Exit.isFailure(locked)) return yield* endWithoutLock(run, Exit.failCause(locked.cause))
        const startPing = yield* Effect.forkDaemon(Effect.interruptible(run.ping.start))
        yield* Effect.forkScoped(Effect.interruptible(leaveWhenStalled(run)))
        const killed = yield* Records.start(run)
        const reportKilled = killed === undefined ? Effect.void : sendKilled(run, killed)
        // Reported before the work, which may get this run killed as well.
        const exit: RunExit<A, E> = yield* Effect.exit(restore(Effect.zipRight(reportKilled, work(note))))
        return yield* endWithLock(run, exit, startPing)
      }).pipe(Effect.scoped)
      if (ended !== undefined) {
        const report = Effect.zipRight(
          sendMessages(run, ended),
          Effect.zipRight(awaitStartPing(ended.startPing), pingEnd(run, ended.end))
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

interface Supervision<A, I> extends SupervisedRun<A, I>, Records.StartedRun<A, I> {
  readonly ping: typeof Ping.Service
  /** Why a message could not be delivered. */
  readonly undelivered: Ref.Ref<string | undefined>
}

type RunExit<A, E> = Exit.Exit<A, E | LockError>

interface Ended<A> {
  readonly end: RunEnd<A>
  readonly recovered: Recovered | undefined
}

/** Takes the lock file, and the lock of the state folder if that exists. */
const acquireLocks = Effect.fnUntraced(function* <A, I>({ lockfile, lockWait, stateFolder }: SupervisedRun<A, I>) {
  const lock = yield* Lock
  yield* lock.acquire(lockfile).pipe(waitForLock(lockWait))
  if (stateFolder !== undefined) yield* lock.acquireIn(stateFolder).pipe(waitForLock(lockWait))
})

/** `ended`: what to report; undefined where the run that holds the lock reports itself, or the user stopped the wait. */
const endWithoutLock = Effect.fnUntraced(function* <A, I, E>(run: Supervision<A, I>, exit: RunExit<A, E>) {
  const held = heldLock(exit)
  if (held !== undefined) yield* Records.noteLockedOut(run, held)
  if (held !== undefined || Exit.isInterrupted(exit)) return { exit, ended: undefined }
  const end = yield* Records.endOf(run, exit)
  yield* Records.recordUnlocked(run, end)
  return { exit, ended: { end, recovered: undefined, startPing: Fiber.void } }
})

const endWithLock = Effect.fnUntraced(function* <A, I, E>(
  run: Supervision<A, I>,
  exit: RunExit<A, E>,
  startPing: Fiber.Fiber<void>
) {
  if (Exit.isInterrupted(exit)) yield* Effect.logError("stopped by a signal before it was done")
  const held = heldLock(exit)
  if (held !== undefined) {
    yield* Records.removeMarker(run)
    yield* Records.noteLockedOut(run, held)
    return { exit, ended: undefined }
  }
  const end = yield* Records.endOf(run, exit)
  const record = Records.record(run, end)
  // A disk that hangs must not keep a run that was stopped.
  const recovered = yield* end.outcome === "interrupted" ? withDeadline(record, undefined) : record
  return { exit, ended: { end, recovered, startPing } }
})

/** The error of a lock that another process holds, if a run failed by one. */
const heldLock = <A, E>(exit: Exit.Exit<A, E>): LockError | undefined => {
  if (Exit.isSuccess(exit) || Exit.isInterrupted(exit)) return undefined
  const error = Cause.squash(exit.cause)
  return error instanceof LockError && error.reason === "Held" ? error : undefined
}

/** The run waits in the kernel, where no signal can end it. */
class Stalled extends Data.TaggedError("Stalled")<Found> {
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
    const end = yield* Records.endOf(run, Exit.fail(error))
    // The files may be on the disk that hangs: messages and ping follow in any case.
    const recovered = yield* withDeadline(Records.record(run, end), undefined).pipe(
      Effect.catchAllCause((cause) => Effect.as(Effect.logError(cause), undefined))
    )
    yield* sendMessages(run, { end, recovered })
    yield* pingEnd(run, end)
  }).pipe(Effect.catchAllCause((cause) => Effect.logError(cause)))
  return yield* stall.leave(error.message)
})

/** The work is done: a signal only shortens the report. */
const reportUntilSignal = <R>(
  restore: <R2>(effect: Effect.Effect<void, never, R2>) => Effect.Effect<void, never, R2>,
  report: Effect.Effect<void, never, R>
) =>
  Effect.gen(function* () {
    const reporting = yield* Effect.forkDaemon(Effect.interruptible(report))
    const waited = yield* Effect.exit(restore(Fiber.join(reporting)))
    if (Exit.isSuccess(waited)) return
    yield* Effect.logWarning("all was done when a signal came; a message or a ping may not have got through")
    yield* withDeadline(Fiber.join(reporting), undefined)
    yield* Fiber.interruptFork(reporting)
  })

const sendMessages = Effect.fnUntraced(function* <A, I>(
  { messages, undelivered }: Supervision<A, I>,
  { end, recovered }: Ended<A>
) {
  // The user who stopped the run knows that.
  if (end.summary === undefined && end.outcome === "interrupted") return
  const failed = yield* deliverEnd(messages, messages, end, () => recovered)
  if (failed !== undefined) yield* Ref.set(undelivered, failed)
})

/** A run that was killed sent no message: it counts as a failure of the job until a run has a summary. */
const sendKilled = Effect.fnUntraced(function* <A, I>({ messages, undelivered }: Supervision<A, I>, reason: string) {
  const failed = yield* deliver(
    messages,
    { failing: [{ name: "", reason }], outcome: "interrupted", covers: () => false },
    { failure: messages.ofKilled(reason) }
  )
  if (failed !== undefined) yield* Ref.set(undelivered, failed)
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
