import { byCreatetxg } from "./Createtxg.ts"
import { decode, type SnapshotMark } from "./SnapshotMark.ts"
import * as SnapshotName from "./SnapshotName.ts"
import { shortName } from "./ZfsList.ts"

/** A snapshot as zfs describes it. */
export interface Snapshot {
  /** `dataset@snapshot`. */
  readonly name: string
  readonly guid: string
  /** Order of creation, whatever the clock said. */
  readonly createtxg: bigint
  /** Seconds since 1970. */
  readonly creation: number
  readonly holds: number
  /** Names of its clones. */
  readonly clones: ReadonlyArray<string>
  /** Our user property, where it is set on the snapshot itself. */
  readonly mark: string | undefined
}

/** What retention goes by. */
export interface PruneRules {
  readonly prefix: string
  /** What the marks of this job's snapshots say. */
  readonly jobs: ReadonlySet<string>
  /** guids that are still needed. */
  readonly keep: ReadonlySet<string>
  /** Whether the run behind a mark may still be at work. */
  readonly alive: (mark: SnapshotMark, snapshot: Snapshot) => boolean
}

/** What to do with the snapshots of a dataset. */
export interface PrunePlan {
  /** Oldest first. */
  readonly destroy: ReadonlyArray<Snapshot>
  /** Due, but something else needs them. */
  readonly spare: ReadonlyArray<{ readonly snapshot: string; readonly reason: string }>
}

/**
 * Chooses the snapshots that nobody needs any more: ours by property and by exact name, of this job, of no run
 * that is alive, not kept. All others are left out of both lists.
 */
export const select = (snapshots: ReadonlyArray<Snapshot>, rules: PruneRules): PrunePlan => {
  const due = snapshots.filter((snapshot) => isDue(snapshot, rules)).sort(byCreatetxg)
  return {
    destroy: due.filter((snapshot) => obstacle(snapshot) === undefined),
    spare: due.flatMap((snapshot) => {
      const reason = obstacle(snapshot)
      return reason === undefined ? [] : [{ snapshot: snapshot.name, reason }]
    })
  }
}

const isDue = (snapshot: Snapshot, rules: PruneRules): boolean => {
  if (snapshot.mark === undefined || rules.keep.has(snapshot.guid)) return false
  if (SnapshotName.parse(rules.prefix, shortName(snapshot.name)) === undefined) return false
  const mark = decode(snapshot.mark)
  return mark !== undefined && rules.jobs.has(mark.job) && !rules.alive(mark, snapshot)
}

const obstacle = ({ clones, holds, name }: Snapshot): string | undefined =>
  holds > 0
    ? `it is held; zfs holds '${name}' tells by whom, zfs release lets go`
    : clones.length > 0
      ? `it has clones: ${clones.join(", ")}`
      : undefined
