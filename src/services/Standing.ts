import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { type Alerts, type AlertsOf, alertsNameOf } from "../domain/Alerts.ts"
import type { FolderName } from "../domain/FolderName.ts"
import type { Outcome } from "../domain/History.ts"
import { fileNameOf, type JobKey } from "../domain/JobKey.ts"
import { type LockedOut, lockedOutAgain } from "../domain/LockedOut.ts"
import { type JobStanding, keyOf, type RunMarker } from "../domain/Standing.ts"
import { withAside } from "../domain/StandingAside.ts"
import { type FolderVerification, type Verified, withResult } from "../domain/Verification.ts"
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

  /** In memory, for tests. */
  static readonly layerMemory = (ref: Ref.Ref<MemoryStanding>): Layer.Layer<Standing> =>
    Layer.succeed(Standing, makeMemory(ref))
}

/** All that standings in memory hold, by the name of the file that they would be in. */
export interface MemoryStanding {
  readonly standings: ReadonlyMap<string, JobStanding>
  readonly markers: ReadonlyMap<string, RunMarker>
  readonly aside: ReadonlyMap<string, JobStanding>
  readonly lockedOut?: ReadonlyMap<string, LockedOut>
  readonly alerts: ReadonlyMap<string, Alerts>
  readonly verified: ReadonlyMap<FolderName, FolderVerification>
  /** Error of every attempt to read a standing. */
  readonly unreadable?: StandingError
  /** Error of every attempt to write. */
  readonly error: StandingError | undefined
}

export const noStanding: MemoryStanding = {
  standings: new Map(),
  markers: new Map(),
  aside: new Map(),
  alerts: new Map(),
  verified: new Map(),
  error: undefined
}

const makeMemory = (ref: Ref.Ref<MemoryStanding>): typeof Standing.Service => {
  const write = (change: (memory: MemoryStanding) => Partial<MemoryStanding>) =>
    Effect.flatMap(Ref.get(ref), (memory) =>
      memory.error === undefined ? Ref.set(ref, { ...memory, ...change(memory) }) : Effect.fail(memory.error)
    )
  return {
    load: (job) =>
      Effect.flatMap(Ref.get(ref), ({ aside, standings, unreadable }) => {
        if (unreadable !== undefined) return Effect.fail(unreadable)
        const name = fileNameOf(job)
        return Effect.succeed(withAside(standings.get(name), aside.get(name)))
      }),
    save: (standing) =>
      write(({ aside, standings }) => ({
        standings: new Map(standings).set(fileNameOf(keyOf(standing)), standing),
        aside: new Map([...aside].filter(([name]) => name !== fileNameOf(keyOf(standing))))
      })),
    setAside: (standing) =>
      Ref.update(ref, (memory) => ({
        ...memory,
        aside: new Map(memory.aside).set(fileNameOf(keyOf(standing)), standing)
      })),
    lockedOut: (job) => Effect.map(Ref.get(ref), ({ lockedOut }) => lockedOut?.get(fileNameOf(job))),
    noteLockedOut: (job, found) =>
      write(({ lockedOut }) => ({
        lockedOut: new Map(lockedOut).set(
          fileNameOf(job),
          lockedOutAgain(lockedOut?.get(fileNameOf(job)), found)
        )
      })),
    clearLockedOut: (job) =>
      write(({ lockedOut }) => ({
        lockedOut: new Map([...(lockedOut ?? [])].filter(([name]) => name !== fileNameOf(job)))
      })),
    marker: (job) => Effect.map(Ref.get(ref), ({ markers }) => markers.get(fileNameOf(job))),
    mark: (job, marker) =>
      write(({ markers }) => ({ markers: new Map(markers).set(fileNameOf(job), marker) })),
    alerts: (of) => Effect.map(Ref.get(ref), ({ alerts }) => alerts.get(alertsNameOf(of))),
    // As on disk, a folder that cannot be written to does not lose them.
    saveAlerts: (of, after) =>
      Ref.update(ref, (memory) => ({
        ...memory,
        alerts: new Map(memory.alerts).set(alertsNameOf(of), after)
      })),
    verified: Effect.map(Ref.get(ref), ({ verified }) => verified),
    saveVerified: (folder, which, found) =>
      write(({ verified }) => ({
        verified: new Map(verified).set(folder, withResult(verified.get(folder), folder, which, found))
      })),
    unmark: (job, run) =>
      write(({ markers }) => ({
        markers: new Map(
          [...markers].filter(([name, marker]) => name !== fileNameOf(job) || marker.run !== run)
        )
      }))
  }
}
