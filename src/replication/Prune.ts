import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { alertsKeyOf, type Job, targetOf } from "../config/ReplicationJob.ts"
import type { AlertsOf } from "../runs/Alerts.ts"
import { Lock, LockError } from "../runs/Lock.ts"
import { withMessages } from "../runs/Messages.ts"
import { type MessageOptions, pruneMessages } from "../runs/MessageTexts.ts"
import { type PruneDocument, type ReplicaResult, summarize, totals } from "../runs/PruneResult.ts"
import { PreflightError, retryTransient, stoppedBySignal, waitForLock } from "../runs/Run.ts"
import { utcSeconds } from "../text/Time.ts"
import { permissionsOf } from "../zfs/Allow.ts"
import type { Snapshot, SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import { isWithin } from "../zfs/DatasetName.ts"
import { applyRetention, type Retention } from "../zfs/Retention.ts"
import { Receiver } from "./Receiver.ts"
import { isBeside } from "./ReplaceParent.ts"
import { failPreflight, missingOn, type Survey, survey, targetNames } from "./Survey.ts"

interface PruneOptions extends MessageOptions {
  readonly retries: number
  readonly lockfile: string
  /** How many seconds to wait for a lock that is held; left out: none. */
  readonly lockWait?: number
  /** The jobs that send these replicas on, as far as the configuration names them. */
  readonly readers: ReadonlyArray<Reader>
  /** Whether it is a job of the configuration. */
  readonly named: boolean
  /** Gets what was done before a signal ended it. */
  readonly onUnfinished?: (summary: PruneDocument) => Effect.Effect<void>
}

/** A job that sends replicas on. */
export interface Reader {
  readonly job: string
  readonly lockfile: string
  readonly ask: Effect.Effect<Survey, PreflightError>
}

/**
 * Thins out the snapshots of a job's replicas, and sends the messages of that. Keeps what the next stream starts from:
 * out of the source, and out of the replicas to their readers. Fails with PreflightError, with nothing destroyed, when
 * one of these does not answer; with LockError while one of them is at work. Other failures are in the summary.
 */
export const runPrune = Effect.fn("Prune.run")(function* (job: Job, retention: Retention, options: PruneOptions) {
  const of: AlertsOf = { job: alertsKeyOf(job, options.named), task: "prune" }
  return yield* pruneReplicas(job, retention, options).pipe(
    Effect.onInterrupt(() =>
      Effect.logError("stopped by a signal before it was done: the snapshots that were not destroyed yet stay")
    ),
    withMessages({ of, reminder_hours: options.reminder_hours }, pruneMessages(options, job.name))
  )
})

const pruneReplicas = Effect.fn("PruneReplicas")(function* (job: Job, retention: Retention, options: PruneOptions) {
  const started = yield* Clock.currentTimeMillis
  const { retries, run } = options
  yield* acquireLocks(options)
  const found = yield* survey(job, retries)
  const { absent, lost, orphans, replicas, some } = sortReplicas(job, found)
  const receiver = yield* Receiver
  const places = replicas.map(({ target }) => ({ dataset: target.name, where: "here" }) as const)
  yield* failPreflight(yield* missingOn(receiver, found.receiver, permissionsOf("prune"), places))
  const needs = yield* Effect.forEach(replicas.length > 0 ? options.readers : [], ask)
  const dry_run = receiver.dryRun ?? false
  const summaryOf = Effect.fnUntraced(function* (results: ReadonlyArray<ReplicaResult>, errors?: readonly [string]) {
    const seconds = ((yield* Clock.currentTimeMillis) - started) / 1000
    const about = { job, run, started_at_utc: utcSeconds(started), seconds, dry_run }
    return summarize({ ...about, replicas: results, ...(errors === undefined ? {} : { errors }) })
  })
  const done: Array<ReplicaResult> = []
  const pruned = yield* Effect.forEach(replicas, pruneReplica(retention, retries, needs, done)).pipe(
    Effect.onInterrupt(() =>
      Effect.flatMap(summaryOf(done, [stoppedBySignal]), options.onUnfinished ?? (() => Effect.void))
    )
  )
  const results: ReadonlyArray<ReplicaResult> = [
    ...pruned,
    ...(yield* Effect.forEach(orphans, ({ name, why }) =>
      spare(null, name, `${why ?? "its source is gone"}: nothing of it is destroyed`)
    )),
    ...(yield* Effect.forEach(lost, ({ dataset, target, why }) => {
      const replica = target === undefined ? "" : `, and no replica ${target} on ${receiver.label}`
      return notFound(dataset, target ?? null, `${why}${replica}`)
    })),
    ...(yield* Effect.forEach(found.unplaced, ({ dataset, error, target }) => notFound(dataset, target, error))),
    ...(yield* Effect.forEach(absent, ({ source: { name }, target }) => {
      const why = `there is no replica of it on ${receiver.label}: nothing is at ${target}, or it has no snapshot`
      // It may be that there is none yet; where no dataset of the job has one, the place is wrong.
      return some ? withoutReplica(name, target, why) : notFound(name, target, why)
    }))
  ]
  const summary = yield* summaryOf(results)
  yield* Effect.logInfo(totals(summary))
  return summary
}, Effect.scoped)

/** Excludes other runs for these replicas, and those of the readers: what they will end at is not known yet. */
const acquireLocks = Effect.fnUntraced(function* ({ lockWait, lockfile, readers }: PruneOptions) {
  const lock = yield* Lock
  yield* lock.acquire(lockfile).pipe(waitForLock(lockWait))
  const others = new Map(readers.map((reader) => [reader.lockfile, reader.job]))
  others.delete(lockfile)
  for (const [path, job] of others) {
    yield* Effect.mapError(
      lock.acquire(path).pipe(waitForLock(lockWait)),
      (error) => new LockError({ ...error, message: `the job ${job} sends these replicas on: ${error.message}` })
    )
  }
})

/** What a reader has at its other end, by the name of the replica that it reads. */
type Needs = ReadonlyMap<string, TargetDataset | undefined>

const ask = (reader: Reader) =>
  reader.ask.pipe(
    Effect.tap(({ unplaced }) => failPreflight(unplaced.map(({ dataset, error }) => `${dataset}: ${error}`))),
    Effect.map(
      ({ items, targets }): Needs => new Map(items.map(({ source, target }) => [source.name, targets.get(target)]))
    ),
    Effect.mapError(
      ({ message }) =>
        new PreflightError({
          message: `the job ${reader.job} sends these replicas on and could not be asked what it still needs of them, so nothing is destroyed: ${message}`
        })
    ),
    Effect.annotateLogs("dataset", reader.job)
  )

/** guid of what the reader's next stream starts from: the earliest while nothing has arrived, of which half may have. */
const neededBy = (replica: TargetDataset, needs: Needs): ReadonlyArray<string> => {
  if (!needs.has(replica.name)) return []
  const reader = needs.get(replica.name)
  const first = reader === undefined || reader.snapshots.length === 0
  const needed = first ? replica.snapshots[0] : newestHeldBy(replica, reader)
  return needed === undefined ? [] : [needed.guid]
}

interface Replica {
  readonly source: SourceDataset
  readonly target: TargetDataset
}

/** `done` gets each result, also of a replica that a signal left half pruned. */
const pruneReplica = (retention: Retention, retries: number, needs: ReadonlyArray<Needs>, done: Array<ReplicaResult>) =>
  Effect.fnUntraced(
    function* ({ source, target }: Replica) {
      const { name } = target
      const newest = commonWith(source, target).at(-1)
      if (newest === undefined) {
        const why = "it has no snapshot in common with its source: nothing of it is destroyed"
        return yield* Effect.tap(spare(source.name, name, why), (spared) => done.push(spared))
      }
      // A bookmark is enough for the next stream; a rollback or a stream by hand needs the snapshot at both ends.
      const held = newestHeldBy(target, source) ?? newest
      const newestCommon = new Set([newest.guid, held.guid, ...needs.flatMap((by) => neededBy(target, by))])
      const choice = yield* Effect.mapError(
        applyRetention(target.snapshots, retention, { newestCommon }),
        (message) => new PreflightError({ message })
      )
      for (const { reasons, snapshot } of choice.keep) {
        const text = `keeping ${name}@${snapshot.name}: ${reasons.join(", ")}`
        // Kept by no rule: it stays until the user releases it.
        const isObstacle = reasons.every((reason) => reason === "held" || reason === "cloned")
        yield* isObstacle ? Effect.logInfo(text) : Effect.logDebug(text)
      }
      const destroyed: Array<string> = []
      const failed: Array<{ readonly snapshot: string; readonly error: string }> = []
      const result = (): ReplicaResult => ({
        dataset: source.name,
        target: name,
        result: failed.length > 0 ? "failed" : "pruned",
        destroyed,
        kept: target.snapshots.length - destroyed.length,
        ...(failed.length > 0 ? { failed } : {})
      })
      yield* Effect.forEach(choice.destroy, (snapshot) =>
        destroy(name, retries, snapshot).pipe(
          // zfs, or the host that it runs on, may still end what it began.
          Effect.onInterrupt(() =>
            Effect.sync(() => failed.push({ snapshot: snapshot.name, error: "stopped by a signal: it may be gone" }))
          ),
          Effect.map((error) =>
            error === undefined ? destroyed.push(snapshot.name) : failed.push({ snapshot: snapshot.name, error })
          )
        )
      ).pipe(Effect.ensuring(Effect.sync(() => done.push(result()))))
      return result()
    },
    (effect, { source }) => Effect.annotateLogs(effect, "dataset", source.name)
  )

/** Gives why the snapshot was not destroyed; undefined when it was. */
const destroy = (target: string, retries: number, snapshot: Snapshot) =>
  Effect.flatMap(Receiver, (receiver) => receiver.destroySnapshot(target, snapshot)).pipe(
    retryTransient(retries),
    Effect.zipRight(Effect.logDebug(`${target}@${snapshot.name} is destroyed`)),
    Effect.as(undefined),
    Effect.catchAll(({ message }) =>
      Effect.as(Effect.logError(`${target}@${snapshot.name} was not destroyed: ${message}`), message)
    )
  )

const spare = (dataset: string | null, target: string, reason: string): Effect.Effect<ReplicaResult> =>
  Effect.as(Effect.logWarning(`${target}: ${reason}`), {
    dataset,
    target,
    result: "left_alone",
    reason,
    destroyed: []
  })

// A name that exists nowhere is a mistake in the job; unnoticed, it lets the pool fill up.
const notFound = (dataset: string, target: string | null, error: string): Effect.Effect<ReplicaResult> =>
  Effect.logError(error).pipe(
    Effect.annotateLogs("dataset", dataset),
    Effect.as({ dataset, target, result: "not_found", error, destroyed: [] })
  )

const withoutReplica = (dataset: string, target: string, reason: string): Effect.Effect<ReplicaResult> =>
  Effect.logWarning(reason).pipe(
    Effect.annotateLogs("dataset", dataset),
    Effect.as({ dataset, target, result: "no_replica", reason, destroyed: [] })
  )

/** `orphans`: replicas whose source is gone; `absent`: sources without a replica; `lost`: named, and on neither end. */
export const sortReplicas = (job: Job, { items, missing, targets, tree }: Survey) => {
  const replicas = items.flatMap(({ source, target: name }): ReadonlyArray<Replica> => {
    const target = targets.get(name)
    return target === undefined || target.snapshots.length === 0 ? [] : [{ source, target }]
  })
  const present = new Set(replicas.map(({ target }) => target.name))
  const placed = (dataset: string) => Either.getOrUndefined(targetOf(job, dataset))
  const roots = job.datasets.flatMap((root) => placed(root) ?? [])
  const known = new Set(tree.flatMap(({ name }) => placed(name) ?? []))
  const gone = Array.from(missing, ([root, why]) => ({ target: placed(root), why }))
  const orphans = [...targets.values()]
    .filter(
      ({ mode, name, snapshots }) =>
        mode !== undefined &&
        snapshots.length > 0 &&
        !known.has(name) &&
        !isBeside(name) &&
        roots.some((root) => isWithin(name, root))
    )
    .map((orphan) => ({
      ...orphan,
      why: gone.find(({ target }) => target !== undefined && isWithin(orphan.name, target))?.why
    }))
  const lost = Array.from(missing, ([dataset, why]) => ({ dataset, target: placed(dataset), why })).filter(
    ({ target }) => target === undefined || !orphans.some(({ name }) => isWithin(name, target))
  )
  const some = replicas.length > 0 || orphans.length > 0
  // A dataset without snapshots needs no replica, unless there is none of any.
  const absent = items.filter(({ source, target }) => !present.has(target) && (source.snapshots.length > 0 || !some))
  return { absent, lost, orphans, replicas, some }
}

/** Jobs of a configuration that send on what `job` pulls. The replicas of a push are on another machine. */
export const readersOf = (job: Job, jobs: ReadonlyArray<Job>): ReadonlyArray<Job> => {
  if (job.direction !== "pull") return []
  const replicas = targetNames(job, job.datasets)
  return jobs.filter(
    ({ datasets, direction }) =>
      direction === "push" &&
      datasets.some((dataset) => replicas.some((replica) => isWithin(dataset, replica) || isWithin(replica, dataset)))
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

/** The newest snapshot of `replica` that a reader of it has too. */
export const newestHeldBy = (
  replica: Pick<TargetDataset, "snapshots">,
  { snapshots }: Pick<TargetDataset, "snapshots">
): Snapshot | undefined => commonWith({ snapshots, bookmarks: [] }, replica).at(-1)
