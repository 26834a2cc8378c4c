import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Announcement from "../domain/Announcement.ts"
import { stateDirOf } from "../domain/Config.ts"
import * as HistoryOf from "../domain/HistoryOf.ts"
import { archiveKey } from "../domain/JobKey.ts"
import type { FolderResult } from "../domain/RunResult.ts"
import { afterArchive } from "../domain/StandingOf.ts"
import { LockError } from "../services/Lock.ts"
import type { Notification } from "../services/Notifier.ts"
import { archiveJob, type JobConfig, type JobOptions } from "./ArchiveJob.ts"
import { attended, send } from "./Attend.ts"

/** Who is told what. */
export interface AnnounceConfig extends JobConfig {
  readonly lockfile_path: string
  readonly lock_wait_seconds?: number
  readonly notify_on: ReadonlyArray<Announcement.NotifyOn>
}

/** What the command line and the process add. */
export interface AnnounceOptions extends JobOptions {
  /** Name of this machine. */
  readonly host: string
  /** Of this process. */
  readonly pid: number
}

/**
 * The archive job with its lock held, and word of how it ended: history, standing, metrics, messages, pings. Fails with
 * LockError when another run is at work, and else as the job does.
 */
export const announcedJob = Effect.fn("AnnouncedJob")(function* (
  config: AnnounceConfig,
  options: AnnounceOptions
) {
  const { host, run } = options
  const done = yield* Ref.make<ReadonlyArray<FolderResult>>([])
  return yield* attended(
    {
      run,
      whole: options.folders.length === 0,
      pid: options.pid,
      lockfile: config.lockfile_path,
      stateFolder: stateDirOf(config),
      lockWait: config.lock_wait_seconds,
      job: archiveKey,
      historyOf: (end) => Effect.map(Ref.get(done), (results) => HistoryOf.ofArchive(end, results)),
      standingOf: (before, end) =>
        Effect.map(Ref.get(done), (results) =>
          afterArchive(before?.kind === "archive" ? before : undefined, end, {
            whole: options.folders.length === 0,
            done: results
          })
        ),
      wentWell: (summary) => summary.failed === 0,
      reportOf: Announcement.reportOf,
      messages: {
        ofFailure: (message) =>
          Announcement.ofFailure(host, config.notify_on, { run, message, what: "archived" }),
        ofSummary: (summary) => Announcement.ofSummary(host, config.notify_on, summary),
        ofRecovery: (recovered) =>
          Announcement.ofRecovery(host, config.notify_on, { run, recovered, noun: "folder" })
      }
    },
    archiveJob(config, {
      ...options,
      noted: (result) => Ref.update(done, (results) => [...results, result])
    })
  )
})

/** Tells how a job ended; what to tell of it, if anything, is for the caller to say. */
export const announced =
  <A>(words: {
    /** Of a run that could not do its work at all. */
    readonly ofFailure: (message: string) => Notification | undefined
    /** Of a run that came to its end. */
    readonly ofSummary: (summary: A) => Notification | undefined
  }) =>
  <E, R>(job: Effect.Effect<A, E, R>) =>
    job.pipe(
      Effect.onInterrupt(() => Effect.logError("stopped by a signal before it was done")),
      Effect.tapErrorCause((cause) => {
        const message = unexpected(cause)
        return message === undefined ? Effect.void : send(words.ofFailure(message))
      }),
      Effect.tap((summary) => send(words.ofSummary(summary)))
    )

// A lock that is held is no news, and whoever stopped the run knows of it.
const unexpected = (cause: Cause.Cause<unknown>): string | undefined => {
  if (Cause.isInterrupted(cause)) return undefined
  const error = Cause.squash(cause)
  if (error instanceof LockError && error.reason === "Held") return undefined
  return error instanceof Error ? error.message : String(error)
}
