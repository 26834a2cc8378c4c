import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { stateDirOf } from "../config/Config.ts"
import { archiveKey } from "../config/JobKey.ts"
import type { FolderResult } from "../runs/ArchiveResult.ts"
import * as HistoryOf from "../runs/HistoryOf.ts"
import { afterArchive } from "../runs/JobStateOf.ts"
import * as Announcement from "../runs/Notifications.ts"
import { attended } from "../runs/superviseRun.ts"
import { archiveJob, type JobConfig, type JobOptions } from "./ArchiveJob.ts"

/** Who is told what. */
export interface AnnounceConfig extends JobConfig {
  readonly lockfile_path: string
  readonly lock_wait_seconds?: number
  readonly notify_on: ReadonlyArray<Announcement.NotifyOn>
  readonly reminder_hours: number
}

/** What the command line and the process add. */
interface AnnounceOptions extends JobOptions {
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
  const undelivered = yield* Ref.make<string | undefined>(undefined)
  const whole = options.folders.length === 0
  const summary = yield* attended(
    {
      run,
      whole,
      pid: options.pid,
      lockfile: config.lockfile_path,
      stateFolder: stateDirOf(config),
      lockWait: config.lock_wait_seconds,
      job: archiveKey,
      historyOf: (end) => Effect.map(Ref.get(done), (results) => HistoryOf.ofArchive(end, results)),
      standingOf: (before, end) =>
        Effect.map(Ref.get(done), (results) =>
          afterArchive(before?.kind === "archive" ? before : undefined, end, {
            whole,
            done: results
          })
        ),
      wentWell: (summary) => summary.failed === 0,
      reportOf: Announcement.reportOf,
      messages: {
        of: { job: archiveKey, task: "run" },
        reminder_hours: config.reminder_hours,
        failing: ({ results }) =>
          results.flatMap((result) =>
            result._tag === "Failed" ? [{ name: result.folder, reason: result.error }] : []
          ),
        // What a whole run does not name is not in the source any more.
        covers: ({ results }, name) => whole || results.some(({ folder }) => folder === name),
        undelivered: (error) => Ref.set(undelivered, error),
        ofFailure: (message) =>
          Announcement.ofFailure(host, config.notify_on, { run, message, what: "archived" }),
        ofKilled: (message) => Announcement.ofKilled(host, config.notify_on, { run, message }),
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
  const error = yield* Ref.get(undelivered)
  return error === undefined ? summary : { ...summary, undelivered: error }
})
