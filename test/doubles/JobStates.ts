import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { jobFileName } from "../../src/config/ReplicationJob.ts"
import { type Alerts, alertsNameOf } from "../../src/runs/Alerts.ts"
import {
  type JobState,
  type JobStateError,
  JobStates,
  keyOf,
  type LockedOut,
  lockedOutAgain,
  type RunMarker,
  withFallback
} from "../../src/runs/JobState.ts"
import type { VerifyReplicasDocument } from "../../src/runs/VerifyReplicasResult.ts"
import type { FolderName } from "../../src/source/FolderName.ts"
import { type FolderVerification, withResult } from "../../src/store/FolderState.ts"

/** All that job states in memory hold, by the name of the file that they would be in. */
export interface MemoryJobStates {
  readonly states: ReadonlyMap<string, JobState>
  readonly markers: ReadonlyMap<string, RunMarker>
  readonly aside: ReadonlyMap<string, JobState>
  readonly lockedOut?: ReadonlyMap<string, LockedOut>
  readonly alerts: ReadonlyMap<string, Alerts>
  readonly verified: ReadonlyMap<FolderName, FolderVerification>
  readonly replicas?: ReadonlyMap<string, VerifyReplicasDocument>
  /** Error of every attempt to read a state. */
  readonly unreadable?: JobStateError
  /** Error of every attempt to read or to write alerts. */
  readonly alertsUnreadable?: JobStateError
  readonly alertsUnwritable?: JobStateError
  /** Error of every attempt to write. */
  readonly error: JobStateError | undefined
}

export const noJobStates: MemoryJobStates = {
  states: new Map(),
  markers: new Map(),
  aside: new Map(),
  alerts: new Map(),
  verified: new Map(),
  error: undefined
}

/** Job states in `ref`. */
export const memoryJobStates = (ref: Ref.Ref<MemoryJobStates>): Layer.Layer<JobStates> =>
  Layer.succeed(JobStates, makeJobStates(ref))

const makeJobStates = (ref: Ref.Ref<MemoryJobStates>): typeof JobStates.Service => {
  const write = (change: (memory: MemoryJobStates) => Partial<MemoryJobStates>) =>
    Effect.flatMap(Ref.get(ref), (memory) =>
      memory.error === undefined ? Ref.set(ref, { ...memory, ...change(memory) }) : Effect.fail(memory.error)
    )
  return {
    load: (job) =>
      Effect.flatMap(Ref.get(ref), ({ aside, states, unreadable }) => {
        if (unreadable !== undefined) return Effect.fail(unreadable)
        const name = jobFileName(job)
        return Effect.succeed(withFallback(states.get(name), aside.get(name)))
      }),
    save: (state) =>
      write(({ aside, states }) => ({
        states: new Map(states).set(jobFileName(keyOf(state)), state),
        aside: new Map([...aside].filter(([name]) => name !== jobFileName(keyOf(state))))
      })),
    saveFallback: (state) =>
      Ref.update(ref, (memory) => ({
        ...memory,
        aside: new Map(memory.aside).set(jobFileName(keyOf(state)), state)
      })),
    lockedOut: (job) => Effect.map(Ref.get(ref), ({ lockedOut }) => lockedOut?.get(jobFileName(job))),
    noteLockedOut: (job, found) =>
      write(({ lockedOut }) => ({
        lockedOut: new Map(lockedOut).set(jobFileName(job), lockedOutAgain(lockedOut?.get(jobFileName(job)), found))
      })),
    clearLockedOut: (job) =>
      write(({ lockedOut }) => ({
        lockedOut: new Map([...(lockedOut ?? [])].filter(([name]) => name !== jobFileName(job)))
      })),
    marker: (job) => Effect.map(Ref.get(ref), ({ markers }) => markers.get(jobFileName(job))),
    mark: (job, marker) => write(({ markers }) => ({ markers: new Map(markers).set(jobFileName(job), marker) })),
    alerts: (of) =>
      Effect.flatMap(Ref.get(ref), ({ alerts, alertsUnreadable }) =>
        alertsUnreadable === undefined ? Effect.succeed(alerts.get(alertsNameOf(of))) : alertsUnreadable
      ),
    // As on disk, a folder that cannot be written to does not lose them.
    saveAlerts: (of, after) =>
      Effect.flatMap(
        Ref.get(ref),
        (memory) =>
          memory.alertsUnwritable ??
          Ref.set(ref, { ...memory, alerts: new Map(memory.alerts).set(alertsNameOf(of), after) })
      ),
    verified: Effect.map(Ref.get(ref), ({ verified }) => verified),
    saveVerified: (folder, which, found) =>
      write(({ verified }) => ({
        verified: new Map(verified).set(folder, withResult(verified.get(folder), folder, which, found))
      })),
    verifiedReplicas: (job) => Effect.map(Ref.get(ref), ({ replicas }) => replicas?.get(jobFileName(job))),
    saveVerifiedReplicas: (job, found) =>
      write(({ replicas }) => ({ replicas: new Map(replicas).set(jobFileName(job), found) })),
    unmark: (job, run) =>
      write(({ markers }) => ({
        markers: new Map([...markers].filter(([name, marker]) => name !== jobFileName(job) || marker.run !== run))
      }))
  }
}
