import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Alerts, AlertsOf } from "../domain/Alerts.ts"
import type { FolderName } from "../domain/FolderName.ts"
import type { Outcome } from "../domain/History.ts"
import type { JobKey } from "../domain/JobKey.ts"
import type { LockedOut } from "../domain/LockedOut.ts"
import type { JobStanding, RunMarker } from "../domain/Standing.ts"
import type { FolderVerification, Verified } from "../domain/Verification.ts"
import { Disk } from "./Disk.ts"
import type { StandingError } from "./state/StandingError.ts"
import { makeStanding, type StandingSettings } from "./state/standing.ts"

export { StandingError } from "./state/StandingError.ts"

const writesNothing = {
  noteLockedOut: () => Effect.void,
  clearLockedOut: () => Effect.void,
  save: () => Effect.void,
  setAside: () => Effect.void,
  mark: () => Effect.void,
  unmark: () => Effect.void,
  saveAlerts: () => Effect.void,
  saveVerified: () => Effect.void
}

/** How things stood at the end of the last run, job by job, and who is at work now. */
export class Standing extends Context.Tag("zipper/Standing")<
  Standing,
  {
    /**
     * With what was {@link setAside}. Undefined when the job never ran or its file is away with its folder, or when it cannot
     * be understood (then it is set aside, with a warning).
     */
    readonly load: (job: JobKey) => Effect.Effect<JobStanding | undefined, StandingError>
    /** Replaces what {@link load} gives, atomically. */
    readonly save: (standing: JobStanding) => Effect.Effect<void, StandingError>
    /** When that was not possible: remembers elsewhere how the last run ended, until a later standing is saved. */
    readonly setAside: (standing: JobStanding) => Effect.Effect<void, StandingError>
    /** The mark of a run: one that is at work, or one that was killed. A damaged one is none. */
    readonly marker: (job: JobKey) => Effect.Effect<RunMarker | undefined, StandingError>
    /** Runs that found the lock held since the last success; undefined when there are none. A damaged record is none. */
    readonly lockedOut: (job: JobKey) => Effect.Effect<LockedOut | undefined, StandingError>
    /** A run found the lock held. Where there is no place to say so yet, it is said elsewhere. */
    readonly noteLockedOut: (
      job: JobKey,
      found: Pick<LockedOut, "holder" | "last_utc" | "lockfile">
    ) => Effect.Effect<void, StandingError>
    /** All went well in a run. */
    readonly clearLockedOut: (job: JobKey) => Effect.Effect<void, StandingError>
    /** A run begins. To be called with the job's lock held. Where there is no place for its mark yet, it is made elsewhere. */
    readonly mark: (job: JobKey, marker: RunMarker) => Effect.Effect<void, StandingError>
    /** What there was to write down of a run has been: takes its mark away, and nobody else's. */
    readonly unmark: (job: JobKey, run: string) => Effect.Effect<void, StandingError>
    /** What the operator was told of failures; undefined when there is nothing, or it cannot be understood. */
    readonly alerts: (of: AlertsOf) => Effect.Effect<Alerts | undefined, StandingError>
    /** Replaces what {@link alerts} gives. After a run with this `outcome`; where its place is away, it is kept elsewhere. */
    readonly saveAlerts: (
      of: AlertsOf,
      alerts: Alerts,
      outcome: Outcome
    ) => Effect.Effect<void, StandingError>
    /** What verify found of archives, by folder. A file that cannot be understood counts as none. */
    readonly verified: Effect.Effect<ReadonlyMap<FolderName, FolderVerification>, StandingError>
    /** Remembers what verify found of one archive. */
    readonly saveVerified: (
      folder: FolderName,
      which: "current" | "previous",
      found: Verified
    ) => Effect.Effect<void, StandingError>
  }
>() {
  /** Files in the folder `standing` of the state folder. */
  static readonly layer = (settings: StandingSettings): Layer.Layer<Standing, never, Disk> =>
    Layer.effect(
      Standing,
      Effect.map(Disk, (disk) => makeStanding(disk, settings, "set aside"))
    )

  /** Reads what is there and writes nothing. */
  static readonly layerDryRun = (settings: StandingSettings): Layer.Layer<Standing, never, Disk> =>
    Layer.effect(
      Standing,
      Effect.map(Disk, (disk) => ({ ...makeStanding(disk, settings, "report"), ...writesNothing }))
    )

  /** For a run without a configuration: nothing is remembered. */
  static readonly layerNone: Layer.Layer<Standing> = Layer.succeed(Standing, {
    load: () => Effect.succeed(undefined),
    marker: () => Effect.succeed(undefined),
    lockedOut: () => Effect.succeed(undefined),
    alerts: () => Effect.succeed(undefined),
    verified: Effect.succeed(new Map()),
    ...writesNothing
  })
}
