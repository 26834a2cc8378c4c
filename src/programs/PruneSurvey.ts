import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { isWithin } from "../domain/replication/DatasetName.ts"
import type { Job } from "../domain/replication/Job.ts"
import { targetOf } from "../domain/replication/Mapping.ts"
import { newestHeldBy } from "../domain/replication/Readers.ts"
import type { SourceDataset, TargetDataset } from "../domain/replication/State.ts"
import { PreflightError } from "./Preflight.ts"
import type { Survey } from "./ReplicationSurvey.ts"

/** A job that sends these replicas on. */
export interface Reader {
  readonly job: string
  /** The lock that its runs hold. */
  readonly lockfile: string
  /** What it has at its other end. */
  readonly ask: Effect.Effect<Survey, PreflightError>
}

/** A replica, and what at the source it was made from. */
export interface Replica {
  readonly source: SourceDataset
  readonly target: TargetDataset
}

/**
 * Replicas that have a source, and those that lost theirs (`orphans`); sources without a replica (`absent`), and what was
 * asked for and is neither (`lost`). What belongs to a dataset that is left out by --exclude is none of them.
 */
export const sort = (job: Job, { items, missing, targets, tree }: Survey) => {
  const replicas = items.flatMap(({ source, target: name }): ReadonlyArray<Replica> => {
    const target = targets.get(name)
    return target === undefined || target.snapshots.length === 0 ? [] : [{ source, target }]
  })
  const present = new Set(replicas.map(({ target }) => target.name))
  const placed = (dataset: string) => Either.getOrUndefined(targetOf(job, dataset))
  const roots = job.datasets.flatMap((root) => placed(root) ?? [])
  const known = new Set(tree.flatMap(({ name }) => placed(name) ?? []))
  const orphans = [...targets.values()].filter(
    ({ mode, name, snapshots }) =>
      mode !== undefined &&
      snapshots.length > 0 &&
      !known.has(name) &&
      roots.some((root) => isWithin(name, root))
  )
  const lost = missing
    .map((dataset) => ({ dataset, target: placed(dataset) }))
    .filter(({ target }) => target === undefined || !orphans.some(({ name }) => isWithin(name, target)))
  const some = replicas.length > 0 || orphans.length > 0
  // A dataset without snapshots needs no replica, unless there is none of any.
  const absent = items.filter(
    ({ source, target }) => !present.has(target) && (source.snapshots.length > 0 || !some)
  )
  return { absent, lost, orphans, replicas, some }
}

/** What a job that sends the replicas on has at its other end, by the name of the replica. */
export const ask = ({ ask: asked, job }: Reader) =>
  asked.pipe(
    Effect.map(
      ({ items, targets }): Needs =>
        new Map(items.map(({ source, target }) => [source.name, targets.get(target)]))
    ),
    Effect.mapError(
      ({ message }) =>
        new PreflightError({
          message: `the job ${job} sends these replicas on and could not be asked what it still needs of them, so nothing is destroyed: ${message}`
        })
    ),
    Effect.annotateLogs("dataset", job)
  )

/** What somebody has of the replicas that he is to have, by the name of the replica. */
export type Needs = ReadonlyMap<string, TargetDataset | undefined>

/**
 * guid of what the next stream out of the replica starts from. Where nothing of it has arrived that is the earliest, of
 * which half may have.
 */
export const neededBy = (replica: TargetDataset, needs: Needs): ReadonlyArray<string> => {
  if (!needs.has(replica.name)) return []
  const reader = needs.get(replica.name)
  const first = reader === undefined || reader.snapshots.length === 0
  const needed = first ? replica.snapshots[0] : newestHeldBy(replica, reader)
  return needed === undefined ? [] : [needed.guid]
}
