import * as Either from "effect/Either"
import { isWithin } from "./DatasetName.ts"
import type { Job } from "./Job.ts"
import { targetOf } from "./Mapping.ts"
import type { Snapshot, SourceDataset, TargetDataset } from "./State.ts"

/**
 * Jobs of a configuration that send on what `job` brings here. What a push brings is on another machine, from which
 * no job of this one reads.
 */
export const readersOf = (job: Job, jobs: ReadonlyArray<Job>): ReadonlyArray<Job> => {
  if (job.direction !== "pull") return []
  const replicas = job.datasets.flatMap((root) =>
    Either.match(targetOf(job, root), { onLeft: () => [], onRight: (target) => [target] })
  )
  return jobs.filter(
    ({ datasets, direction }) =>
      direction === "push" &&
      datasets.some((dataset) =>
        replicas.some((replica) => isWithin(dataset, replica) || isWithin(replica, dataset))
      )
  )
}

/** Snapshots of the target from which the next stream out of the source can start, oldest first. */
export const commonWith = (
  source: Pick<SourceDataset, "snapshots" | "bookmarks">,
  target: Pick<TargetDataset, "snapshots">
): ReadonlyArray<Snapshot> => {
  const guids = new Set([...source.snapshots, ...source.bookmarks].map(({ guid }) => guid))
  return target.snapshots.filter(({ guid }) => guids.has(guid))
}

/** The newest snapshot of `replica` that one who reads from it has too. */
export const newestHeldBy = (
  replica: Pick<TargetDataset, "snapshots">,
  reader: Pick<TargetDataset, "snapshots">
): Snapshot | undefined => {
  const guids = new Set(reader.snapshots.map(({ guid }) => guid))
  return replica.snapshots.findLast(({ guid }) => guids.has(guid))
}
