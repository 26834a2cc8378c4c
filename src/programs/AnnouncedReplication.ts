import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Announcement from "../domain/Announcement.ts"
import * as HistoryOf from "../domain/HistoryOf.ts"
import type { Job } from "../domain/replication/Job.ts"
import { alertsKeyOf } from "../domain/replication/Job.ts"
import { type DatasetResult, describe } from "../domain/replication/ReplicationResult.ts"
import { afterReplication } from "../domain/StandingOf.ts"
import { attended } from "./Attend.ts"
import { type ReplicateOptions, replicate } from "./Replicate.ts"

/** What the configuration, the command line and the process add to a job. */
export interface AnnouncedOptions extends ReplicateOptions {
  readonly lockfile: string
  /** See Attended. */
  readonly lockWait?: number
  /** Name of this machine. */
  readonly host: string
  /** Of this process. */
  readonly pid: number
  /** Whether it is a job of the configuration: only those have a standing. */
  readonly named: boolean
  readonly notify_on: ReadonlyArray<Announcement.NotifyOn>
  readonly reminder_hours: number
}

/**
 * A replication job with its lock held, and word of how it ended: history, standing, metrics, messages, pings. Fails
 * with LockError when another run is at work, and else as the job does.
 */
export const announcedReplication = Effect.fn("AnnouncedReplication")(function* (
  job: Job,
  options: AnnouncedOptions
) {
  const { host, notify_on, run } = options
  const done = yield* Ref.make<ReadonlyArray<DatasetResult>>([])
  const undelivered = yield* Ref.make<string | undefined>(undefined)
  const summary = yield* attended(
    {
      run,
      whole: true,
      pid: options.pid,
      lockfile: options.lockfile,
      lockWait: options.lockWait,
      job: options.named ? { kind: "replication", name: job.name } : undefined,
      historyOf: (end) => Effect.map(Ref.get(done), (results) => HistoryOf.ofReplication(job, end, results)),
      standingOf: (before, end) =>
        Effect.map(Ref.get(done), (results) =>
          afterReplication(before?.kind === "replication" ? before : undefined, end, job, results)
        ),
      wentWell: ({ failed, refused }) => failed === 0 && refused === 0,
      reportOf: Announcement.replicationReportOf,
      messages: {
        of: { job: alertsKeyOf(job, options.named), task: "run" },
        reminder_hours: options.reminder_hours,
        failing: ({ results }) =>
          results.flatMap((result) =>
            result._tag === "Failed" || result._tag === "Refused"
              ? [{ name: result.dataset, reason: describe(result) }]
              : []
          ),
        covers: () => true,
        undelivered: (error) => Ref.set(undelivered, error),
        ofFailure: (message) => Announcement.ofFailure(host, notify_on, { run, message, what: "replicated" }),
        ofKilled: (message) => Announcement.ofKilled(host, notify_on, { run, message }),
        ofSummary: (summary) => Announcement.ofReplication(host, notify_on, summary),
        ofRecovery: (recovered) =>
          Announcement.ofRecovery(host, notify_on, { run, recovered, noun: "dataset", job: job.name })
      }
    },
    replicate(job, {
      ...options,
      noted: (result) => Ref.update(done, (results) => [...results, result])
    })
  )
  const error = yield* Ref.get(undelivered)
  return error === undefined ? summary : { ...summary, undelivered: error }
})
