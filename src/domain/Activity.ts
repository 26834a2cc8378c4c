import type { RunMarker } from "./Standing.ts"

/** What a job does now: a run is at work, or one never came to its end; or somebody else has the lock that it needs. */
export type Activity =
  | { readonly _tag: "Idle" }
  | { readonly _tag: "Locked"; readonly pid: number; readonly since: string }
  | { readonly _tag: "Running"; readonly pid: number; readonly since: string }
  | { readonly _tag: "Died"; readonly run: string; readonly pid: number; readonly since: string }

/** The lock is taken so soon after a run began, in milliseconds. */
const soon = 30_000

/**
 * What the mark of a run and the lock come to. The mark is written with the lock held, and taken away before it is
 * free: a mark without its process at the lock is one of a run that was killed. Another process there is one that
 * got the same pid later, or a run of another job with the same lock, or of none (a command's own).
 */
export const activityOf = (
  marker: RunMarker | undefined,
  holder: { readonly pid: number; readonly since: string } | undefined
): Activity => {
  if (marker === undefined) return holder === undefined ? { _tag: "Idle" } : { _tag: "Locked", ...holder }
  const { pid, run, started_at_utc: since } = marker
  return holder?.pid === pid && Math.abs(Date.parse(holder.since) - Date.parse(since)) <= soon
    ? { _tag: "Running", pid, since: holder.since }
    : { _tag: "Died", run, pid, since }
}
