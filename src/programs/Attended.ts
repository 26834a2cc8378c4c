import type * as Effect from "effect/Effect"
import type { HistoryRun } from "../domain/History.ts"
import type { JobKey } from "../domain/JobKey.ts"
import type { Recovered } from "../domain/Recovery.ts"
import type { RunEnd } from "../domain/RunEnd.ts"
import type { JobStanding } from "../domain/Standing.ts"
import type { Notification } from "../services/Notifier.ts"
import type { MessageSettings } from "./Messages.ts"

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
