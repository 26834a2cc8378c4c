import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Announcement from "../domain/Announcement.ts"
import { LockError } from "../services/Lock.ts"
import { type Notification, Notifier } from "../services/Notifier.ts"
import { archiveJob, type JobConfig, type JobOptions } from "./ArchiveJob.ts"

/** Who is told what. */
export interface AnnounceConfig extends JobConfig {
  readonly notify_on: ReadonlyArray<Announcement.NotifyOn>
}

/**
 * The archive job, and word of how it ended. A message that cannot be sent is logged and changes no result; a
 * run that found the lock held is no news.
 */
export const announcedJob = Effect.fn("AnnouncedJob")(function* (
  config: AnnounceConfig,
  options: JobOptions & { readonly host: string }
) {
  const { host } = options
  return yield* archiveJob(config, options).pipe(
    announced({
      ofFailure: (message) =>
        Announcement.ofFailure(host, config.notify_on, { run: options.run, message, what: "archived" }),
      ofSummary: (summary) => Announcement.ofSummary(host, config.notify_on, summary)
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
      Effect.tapErrorCause((cause) => {
        const message = unexpected(cause)
        return message === undefined ? Effect.void : tell(words.ofFailure(message))
      }),
      Effect.tap((summary) => tell(words.ofSummary(summary)))
    )

// A lock that is held is no news, and whoever stopped the run knows of it.
const unexpected = (cause: Cause.Cause<unknown>): string | undefined => {
  if (Cause.isInterrupted(cause)) return undefined
  const error = Cause.squash(cause)
  if (error instanceof LockError && error.reason === "Held") return undefined
  return error instanceof Error ? error.message : String(error)
}

const tell = Effect.fnUntraced(function* (notification: Notification | undefined) {
  if (notification === undefined) return
  yield* (yield* Notifier)
    .send(notification)
    .pipe(Effect.catchAll((error) => Effect.logWarning(`no notification was sent: ${error.message}`)))
})
