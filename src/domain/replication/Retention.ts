import * as Either from "effect/Either"
import { byCreatetxg } from "../Createtxg.ts"
import type { Retention } from "./Job.ts"
import type { Snapshot } from "./State.ts"

/** Why a snapshot is kept. */
export type Reason =
  | "newest"
  | "newest common"
  | "held"
  | "cloned"
  | "hourly"
  | "daily"
  | "weekly"
  | "monthly"

/** What becomes of the snapshots of one replica. */
export interface Choice {
  /** Oldest first, each with all that speaks for it. */
  readonly keep: ReadonlyArray<{ readonly snapshot: Snapshot; readonly reasons: ReadonlyArray<Reason> }>
  /** Oldest first. */
  readonly destroy: ReadonlyArray<Snapshot>
}

/** What is kept whatever the counts say. */
interface Protection {
  /**
   * guids of the latest snapshot that the source has too, and of the latest that each of those has who read from
   * the replica: the next stream starts from it.
   */
  readonly newestCommon: ReadonlySet<string>
}

/**
 * Chooses among the snapshots of a replica. Kept are the newest snapshot of each of the latest hours, days, weeks
 * (from Monday) and months, in UTC, that have one; the newest of all, the newest common ones, and those that are held or cloned.
 * Which is the newer one, of snapshots and of periods, is told by createtxg: a clock that was ahead for a while would
 * else have its periods stand for the latest for years. Left: the retention would keep nothing.
 */
export const select = (
  snapshots: ReadonlyArray<Snapshot>,
  retention: Retention,
  protection: Protection
): Either.Either<Choice, string> => {
  if (periods.every(({ reason }) => retention[reason] <= 0)) {
    return Either.left("the retention keeps nothing: give hourly, daily, weekly or monthly a number above 0")
  }
  const ordered = snapshots.toSorted(byCreatetxg)
  const newest = ordered.at(-1)
  const chosen = periods.map(({ of, reason }) => ({
    reason,
    snapshots: newestOfEach(ordered, of, retention[reason])
  }))
  const judged = ordered.map((snapshot) => ({
    snapshot,
    reasons: [
      ...(snapshot === newest ? ["newest" as const] : []),
      ...(protection.newestCommon.has(snapshot.guid) ? ["newest common" as const] : []),
      ...(snapshot.holds > 0 ? ["held" as const] : []),
      ...(snapshot.clones.length > 0 ? ["cloned" as const] : []),
      ...chosen.flatMap(({ reason, snapshots }) => (snapshots.has(snapshot) ? [reason] : []))
    ]
  }))
  return Either.right({
    keep: judged.filter(({ reasons }) => reasons.length > 0),
    destroy: judged.filter(({ reasons }) => reasons.length === 0).map(({ snapshot }) => snapshot)
  })
}

/** The newest snapshot of each of the latest `count` periods that have one. */
const newestOfEach = (
  ordered: ReadonlyArray<Snapshot>,
  of: (creation: number) => number,
  count: number
): ReadonlySet<Snapshot> => {
  const newest = new Map(ordered.map((snapshot) => [of(snapshot.creation), snapshot]))
  return new Set([...newest.values()].toSorted((a, b) => byCreatetxg(b, a)).slice(0, Math.max(0, count)))
}

const anHour = 3600
const aDay = 24 * anHour

const monthOf = (creation: number): number => {
  const date = new Date(creation * 1000)
  return date.getUTCFullYear() * 12 + date.getUTCMonth()
}

/** Numbers the periods in the order of time. */
const periods: ReadonlyArray<{
  readonly reason: keyof Retention
  readonly of: (creation: number) => number
}> = [
  { reason: "hourly", of: (creation) => Math.floor(creation / anHour) },
  { reason: "daily", of: (creation) => Math.floor(creation / aDay) },
  // 1970 began on a Thursday, three days after a Monday.
  { reason: "weekly", of: (creation) => Math.floor((Math.floor(creation / aDay) + 3) / 7) },
  { reason: "monthly", of: monthOf }
]
