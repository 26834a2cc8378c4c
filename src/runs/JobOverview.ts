import * as Effect from "effect/Effect"
import type { JobKey } from "../config/ReplicationJob.ts"
import type { Undelivered } from "./Alerts.ts"
import { type JobState, JobStates, type LockedOut, type RunMarker } from "./JobState.ts"
import { type Holder, Lock } from "./Lock.ts"

/** What the runs of a job left, and what it does now. */
export interface JobOverview<State extends JobState = JobState> {
  readonly state: State | undefined
  /** Of a run that is at work or was killed: `activity` tells these apart. */
  readonly marker: RunMarker | undefined
  readonly activity: Activity
  readonly lockedOut: LockedOut | undefined
  /** Of all commands that send messages about the job. */
  readonly undelivered: ReadonlyArray<Undelivered>
}

type Activity =
  | { readonly _tag: "Idle" }
  | { readonly _tag: "Locked" | "Running"; readonly pid: number; readonly since: string }
  | { readonly _tag: "Died"; readonly run: string; readonly pid: number; readonly since: string }

/** Takes no lock and changes nothing. `lockfile`: of the job's next run; without it or a marker, the job counts as idle. */
export const readJob = Effect.fn("JobOverview.readJob")(function* (key: JobKey, lockfile?: string) {
  const states = yield* JobStates
  const look = Effect.gen(function* () {
    const state = yield* states.load(key)
    const marker = yield* states.marker(key)
    const path = marker?.lockfile ?? lockfile
    const last = marker === undefined ? undefined : { pid: marker.pid, since: marker.started_at_utc }
    const holder = path === undefined ? undefined : yield* (yield* Lock).holder(path, last)
    return { state, marker, activity: activityOf(marker, holder) }
  })
  const first = yield* look
  const overview: JobOverview = {
    // A run that ended between the reading of its marker and of its lock looks like one that was killed.
    ...(first.activity._tag === "Died" ? yield* look : first),
    lockedOut: yield* states.lockedOut(key),
    undelivered: yield* undelivered(key)
  }
  return overview
})

const undelivered = Effect.fnUntraced(function* (job: JobKey) {
  const states = yield* JobStates
  const all = yield* Effect.forEach(["run", "prune", "verify"] as const, (task) => states.alerts({ job, task }))
  return all.flatMap((alerts) => alerts?.undelivered ?? [])
})

/** A run takes its lock within this time of its start (milliseconds). */
const lockDelay = 30_000

/** A run holds the lock while its marker is there. Another holder got its pid later, or is another job or command. */
export const activityOf = (marker: RunMarker | undefined, holder: Holder | undefined): Activity => {
  if (marker === undefined) return holder === undefined ? { _tag: "Idle" } : { _tag: "Locked", ...holder }
  const { pid, run, started_at_utc: since } = marker
  return holder?.pid === pid && Math.abs(Date.parse(holder.since) - Date.parse(since)) <= lockDelay
    ? { _tag: "Running", pid, since: holder.since }
    : { _tag: "Died", run, pid, since }
}
