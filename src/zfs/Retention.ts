import * as Either from "effect/Either"
import { byCreatetxg, type Snapshot } from "./Dataset.ts"

/** How many snapshots of each period stay. */
export interface Retention {
  readonly hourly: number
  readonly daily: number
  readonly weekly: number
  readonly monthly: number
}

type Reason = "newest" | "newest common" | "held" | "cloned" | keyof Retention

export interface Choice<S extends Snapshot = Snapshot> {
  /** Oldest first, each with all that speaks for it. */
  readonly keep: ReadonlyArray<{ readonly snapshot: S; readonly reasons: ReadonlyArray<Reason> }>
  /** Oldest first. */
  readonly destroy: ReadonlyArray<S>
}

/**
 * Chooses among the snapshots of a replica, or of the target. Keeps the newest of each of the latest hours, days, weeks
 * (from Monday) and months, in UTC, that have one; the newest of all; those that are held or cloned; and
 * `newestCommon`, guids of what next streams start from. createtxg decides which snapshot or period is the newer one,
 * since clocks may be wrong for a while. Left: the retention would keep nothing.
 */
export const applyRetention = <S extends Snapshot>(
  snapshots: ReadonlyArray<S>,
  retention: Retention,
  { newestCommon }: { readonly newestCommon: ReadonlySet<string> }
): Either.Either<Choice<S>, string> => {
  if (periods.every(({ reason }) => retention[reason] <= 0)) {
    return Either.left("the retention keeps nothing: give hourly, daily, weekly or monthly a number above 0")
  }
  const ordered = snapshots.toSorted(byCreatetxg)
  const rules: ReadonlyArray<readonly [Reason, (snapshot: S) => boolean]> = [
    ["newest", (snapshot) => snapshot === ordered.at(-1)],
    ["newest common", ({ guid }) => newestCommon.has(guid)],
    ["held", ({ holds }) => holds > 0],
    ["cloned", ({ clones }) => clones.length > 0],
    ...periods.map(({ of, reason }) => {
      const chosen = newestOfEach(ordered, of, retention[reason])
      return [reason, (snapshot: S) => chosen.has(snapshot)] as const
    })
  ]
  const judged = ordered.map((snapshot) => ({
    snapshot,
    reasons: rules.flatMap(([reason, keeps]) => (keeps(snapshot) ? [reason] : []))
  }))
  return Either.right({
    keep: judged.filter(({ reasons }) => reasons.length > 0),
    destroy: judged.flatMap(({ reasons, snapshot }) => (reasons.length === 0 ? [snapshot] : []))
  })
}

const newestOfEach = <S extends Snapshot>(
  ordered: ReadonlyArray<S>,
  of: (creation: number) => number,
  count: number
): ReadonlySet<S> => {
  const newest = new Map(ordered.map((snapshot) => [of(snapshot.creation), snapshot]))
  return new Set([...newest.values()].toSorted((a, b) => byCreatetxg(b, a)).slice(0, Math.max(0, count)))
}

const dayOf = (creation: number): number => Math.floor(creation / 86_400)

const monthOf = (creation: number): number => {
  const date = new Date(creation * 1000)
  return date.getUTCFullYear() * 12 + date.getUTCMonth()
}

const periods: ReadonlyArray<{ readonly reason: keyof Retention; readonly of: (creation: number) => number }> = [
  { reason: "hourly", of: (creation) => Math.floor(creation / 3600) },
  { reason: "daily", of: dayOf },
  // 1970 began on a Thursday, three days after a Monday.
  { reason: "weekly", of: (creation) => Math.floor((dayOf(creation) + 3) / 7) },
  { reason: "monthly", of: monthOf }
]
