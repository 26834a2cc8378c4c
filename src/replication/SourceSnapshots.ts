import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Job } from "../config/ReplicationJob.ts"
import type { DatasetResult } from "../runs/ReplicationResult.ts"
import { asPreflight, PreflightError, retryTransient } from "../runs/Run.ts"
import { count } from "../text/Text.ts"
import type { SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import { poolOf } from "../zfs/DatasetName.ts"
import { applyRetention, type Retention } from "../zfs/Retention.ts"
import { parseName } from "../zfs/SnapshotPrune.ts"
import { placeId } from "./Bookmarks.ts"
import { newestHeldBy } from "./Prune.ts"
import { Receiver } from "./Receiver.ts"
import { minimalRoots } from "./Selection.ts"
import { Sender } from "./Sender.ts"
import { type DatasetPair, failPreflight, type Survey } from "./Survey.ts"

/** `untaken`: why there is no new snapshot of a dataset that was to get one. */
export type SurveyWithSnapshots = Survey & { readonly untaken: ReadonlyMap<string, string> }

/**
 * Takes a snapshot of all datasets of the job at the source, one of an instant in each pool, and gives the survey with
 * it. Does nothing for a job without `snapshot`. Fails with PreflightError when it can be taken in no pool.
 */
export const takeSnapshots = Effect.fn("SourceSnapshots.take")(function* (job: Job, found: Survey, retries: number) {
  const untaken = new Map<string, string>()
  if (!job.snapshot) return { ...found, untaken }
  const sender = yield* Sender
  const groups = new Map<string, { readonly mark: string; readonly datasets: Array<string> }>()
  for (const item of found.items) {
    const { name } = item.source
    const mark = markOf(job, found, item)
    const group = groups.get(`${poolOf(name)} ${mark}`) ?? { mark, datasets: [] }
    group.datasets.push(name)
    groups.set(`${poolOf(name)} ${mark}`, group)
  }
  const reasons = () => [...new Set(untaken.values())]
  const sayReasons = Effect.suspend(() => Effect.forEach(reasons(), (reason) => Effect.logError(reason)))
  yield* Effect.forEach(groups.values(), ({ datasets, mark }) =>
    sender.snapshot(prefixOf(job), datasets, mark).pipe(
      retryTransient(retries),
      Effect.catchAll(({ message }) =>
        Effect.sync(() => {
          for (const name of datasets) untaken.set(name, message)
        })
      )
    )
  ).pipe(Effect.onInterrupt(() => sayReasons))
  if (untaken.size === found.items.length) yield* failPreflight(reasons())
  yield* sayReasons
  const { datasets: tree } = yield* sender.tree(rootsOf(job, found)).pipe(retryTransient(retries))
  const sources = new Map(tree.map((source) => [source.name, source]))
  const items = found.items.map((item) => ({ ...item, source: sources.get(item.source.name) ?? item.source }))
  return { ...found, tree, items, untaken }
}, asPreflight)

/**
 * Destroys what `source_retention` does not keep of the snapshots that the job took, as both ends are now: only of datasets
 * whose replica the run brought up to date, or that got no new one. Gives what went wrong, and never fails: a later run
 * makes up for it.
 */
export const thinOutSource = Effect.fn("SourceSnapshots.thinOut")(
  function* (job: Job, found: SurveyWithSnapshots, results: ReadonlyArray<DatasetResult>) {
    const { sourceRetention: retention } = job
    if (retention === undefined || found.items.length === 0) return []
    const [sender, receiver] = [yield* Sender, yield* Receiver]
    const roots = rootsOf(job, found)
    const marks = yield* sender.marks(roots)
    const sources = new Map((yield* sender.tree(roots)).datasets.map((source) => [source.name, source]))
    const targets = yield* receiver.tree(minimalRoots(found.items.map(({ target }) => target)))
    const isDone = ({ result }: DatasetResult) => result === "sent" || result === "up_to_date"
    const done = new Set([...results.filter(isDone).map(({ dataset }) => dataset), ...found.untaken.keys()])
    const failed: Array<string> = []
    let gone = 0
    for (const item of found.items) {
      const source = sources.get(item.source.name)
      const target = targets.get(item.target)
      // What is not there may lie elsewhere: the dataset was renamed, or its destination, and the base is not known.
      if (source === undefined || target === undefined || !done.has(source.name)) continue
      const mark = markOf(job, found, item)
      const isOurs = (name: string) =>
        marks.get(`${source.name}@${name}`) === mark && parseName(prefixOf(job), name) !== undefined
      for (const snapshot of yield* outdated(source, target, retention, isOurs)) {
        const outcome = yield* Effect.either(sender.destroySnapshot(source.name, snapshot))
        if (Either.isRight(outcome)) {
          gone += 1
          continue
        }
        const { message, reason } = outcome.left
        yield* Effect.logWarning(message)
        // Another job may be sending it.
        if (reason !== "Busy") failed.push(message)
      }
    }
    if (gone > 0) {
      const end = receiver.dryRun ? "would be destroyed" : "destroyed"
      yield* Effect.logInfo(`${count(gone, "older snapshot")} of this job ${end} at the source`)
    }
    return failed.slice(0, 1)
  },
  Effect.catchAll(({ message }) => Effect.as(Effect.logWarning(message), [message]))
)

/** Of those that are ours: neither what the next stream starts from, nor what an interrupted one needs to go on. */
const outdated = (
  source: SourceDataset,
  target: TargetDataset,
  retention: Retention,
  isOurs: (name: string) => boolean
) => {
  if (target.resumeToken !== undefined || target.snapshots.length === 0) return Effect.succeed([])
  const needed = newestHeldBy(source, target)
  return applyRetention(
    source.snapshots.filter(({ name }) => isOurs(name)),
    retention,
    { newestCommon: new Set(needed === undefined ? [] : [needed.guid]) }
  ).pipe(
    Effect.mapBoth({
      onFailure: (message) => new PreflightError({ message }),
      onSuccess: ({ destroy }) => destroy
    })
  )
}

const rootsOf = (job: Job, { missing }: Survey): ReadonlyArray<string> =>
  minimalRoots(job.datasets).filter((root) => !missing.has(root))

/** Names of the job's snapshots are this and a time. */
const prefixOf = ({ name }: Job): string => `zipper-${name}`

/** Two hosts may have jobs of one name that send the same dataset: each thins out its own. */
const markOf = (job: Job, { targets }: Survey, { target }: DatasetPair): string =>
  `job=${job.name},to=${placeId(targets, job.destination ?? poolOf(target)) ?? ""}`
