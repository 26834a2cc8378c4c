import * as Effect from "effect/Effect"
import { stateDirOf } from "../config/Config.ts"
import { archiveJobKey } from "../config/JobKey.ts"
import { archiveMessages, type NotifyOn } from "../runs/Notifications.ts"
import { archiveHistory, nextArchiveState } from "../runs/nextState.ts"
import { superviseRun } from "../runs/superviseRun.ts"
import { archiveJob, type JobConfig, type JobOptions } from "./ArchiveJob.ts"

export interface RunArchiveConfig extends JobConfig {
  readonly lockfile_path: string
  readonly lock_wait_seconds?: number
  readonly notify_on: ReadonlyArray<NotifyOn>
  readonly reminder_hours: number
}

/** What the command line and the process add. */
interface AnnounceOptions extends JobOptions {
  /** Name of this machine. */
  readonly host: string
  /** Of this process. */
  readonly pid: number
}

/** The archive job as a supervised run. Fails with LockError when another run is at work, and otherwise as the job does. */
export const runArchive = Effect.fn("AnnouncedJob")(function* (config: RunArchiveConfig, options: AnnounceOptions) {
  const { host, pid, run } = options
  const whole = options.folders.length === 0
  return yield* superviseRun(
    {
      run,
      whole,
      pid,
      lockfile: config.lockfile_path,
      stateFolder: stateDirOf(config),
      lockWait: config.lock_wait_seconds,
      job: archiveJobKey,
      historyOf: archiveHistory,
      nextState: (before, end, done) => nextArchiveState(before, end, { whole, done }),
      succeeded: ({ failed }) => failed === 0,
      messages: {
        of: { job: archiveJobKey, task: "run" },
        reminder_hours: config.reminder_hours,
        ...archiveMessages(host, config.notify_on, { run, whole })
      }
    },
    (noted) => archiveJob(config, { ...options, noted })
  )
})
