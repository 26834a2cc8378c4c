import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { alertsKeyOf, type Job, type Retention, targetOf } from "../config/ReplicationJob.ts"
import { type Alerts, type AlertsOf, recoveredOf } from "../runs/Alerts.ts"
import { Lock, LockError } from "../runs/Lock.ts"
import { withMessages } from "../runs/Messages.ts"
import * as Announcement from "../runs/Notifications.ts"
import { type PruneDocument, type ReplicaResult, summarize, totals } from "../runs/PruneResult.ts"
import { retryTransient, waitForLock } from "../runs/Retry.ts"
import { PreflightError } from "../runs/Run.ts"
import { utcSeconds } from "../store/Metadata.ts"
import { permissionsOf } from "../zfs/Allow.ts"
import { byCreatetxg, type Snapshot, type SourceDataset, type TargetDataset } from "../zfs/Dataset.ts"
import { isWithin } from "../zfs/DatasetName.ts"
import { Receiver } from "./Receiver.ts"
import { Sender } from "./Sender.ts"
import { type DatasetPair, missingOn, type PermissionScope, type Survey, survey } from "./Survey.ts"

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

/** The newest snapshot of `replica` that one who reads from it has too. */
export const newestHeldBy = (
  replica: Pick<TargetDataset, "snapshots">,
  reader: Pick<TargetDataset, "snapshots">
): Snapshot | undefined => {
  const guids = new Set(reader.snapshots.map(({ guid }) => guid))
  return replica.snapshots.findLast(({ guid }) => guids.has(guid))
}

/** Why a snapshot is kept. */
export type Reason = "newest" | "newest common" | "held" | "cloned" | "hourly" | "daily" | "weekly" | "monthly"

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
export const sortReplicas = (job: Job, { items, missing, targets, tree }: Survey) => {
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
      mode !== undefined && snapshots.length > 0 && !known.has(name) && roots.some((root) => isWithin(name, root))
  )
  const lost = missing
    .map((dataset) => ({ dataset, target: placed(dataset) }))
    .filter(({ target }) => target === undefined || !orphans.some(({ name }) => isWithin(name, target)))
  const some = replicas.length > 0 || orphans.length > 0
  // A dataset without snapshots needs no replica, unless there is none of any.
  const absent = items.filter(({ source, target }) => !present.has(target) && (source.snapshots.length > 0 || !some))
  return { absent, lost, orphans, replicas, some }
}

/** What a job that sends the replicas on has at its other end, by the name of the replica. */
export const ask = ({ ask: asked, job }: Reader) =>
  asked.pipe(
    Effect.map(
      ({ items, targets }): Needs => new Map(items.map(({ source, target }) => [source.name, targets.get(target)]))
    ),
    Effect.mapError(
      ({ message }) =>
        new PreflightError({
          message: `the job ${job} sends these replicas on and could not be asked what it still needs of them, so nothing is destroyed: ${message}`
        })
    ),
    Effect.annotateLogs("dataset", job)
  )

/** What a reader has of the replicas that it is to have, by the name of the replica. */
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

/** What the configuration and the command line add to a job. */
interface PruneOptions {
  /** Short id of this run, in every log line. */
  readonly run: string
  readonly retries: number
  readonly lockfile: string
  /** How many seconds to wait for a lock that is held; left out: none. */
  readonly lockWait?: number
  /** Who else needs snapshots of these replicas, as far as anybody knows. */
  readonly readers: ReadonlyArray<Reader>
}

/**
 * Thins out the snapshots of a job's replicas. The source is asked for what both have, so that the next stream
 * has something to start from, and so are those who read from the replicas; when one of them does not answer,
 * nothing is destroyed and this fails with PreflightError; while one of them is at work, with LockError. What there is
 * nothing of is in the summary.
 */
const pruneReplicas = Effect.fn("PruneReplicas")(function* (job: Job, retention: Retention, options: PruneOptions) {
  const started = yield* Clock.currentTimeMillis
  yield* lockOut(options)
  const found = yield* survey(job, options.retries)
  const { absent, lost, orphans, replicas, some } = sortReplicas(job, found)
  yield* mustBeAllowed(found, replicas)
  const needs = yield* Effect.forEach(replicas.length > 0 ? options.readers : [], ask)
  const results = [
    ...(yield* Effect.forEach(replicas, pruneReplica(retention, options.retries, needs))),
    ...(yield* Effect.forEach(orphans, spareOrphan)),
    ...(yield* Effect.forEach(lost, notFound)),
    ...(yield* Effect.forEach(absent, noReplica(some)))
  ]
  return yield* finish(job, options, started, results)
}, Effect.scoped)

/** Keeps out other runs for this job's replicas, and those that read from them: what they will end at is not known yet. */
const lockOut = Effect.fnUntraced(function* ({ lockWait, lockfile, readers }: PruneOptions) {
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

/** The same, and word of how it ended. */
export const runPrune = Effect.fn("AnnouncedPrune")(function* (
  job: Job,
  retention: Retention,
  options: PruneOptions & {
    readonly host: string
    /** Whether it is a job of the configuration. */
    readonly named: boolean
    readonly notify_on: ReadonlyArray<Announcement.NotifyOn>
    readonly reminder_hours: number
  }
) {
  const { host, named, notify_on, reminder_hours, run } = options
  const of: AlertsOf = { job: alertsKeyOf(job, named), task: "prune" }
  return yield* pruneReplicas(job, retention, options).pipe(
    withMessages(
      { of, reminder_hours },
      {
        failing: failuresOf,
        covers: () => true,
        ofFailure: (message) => Announcement.ofFailure(host, notify_on, { run, message, what: "pruned" }),
        ofSummary: (summary: PruneDocument) => {
          const message = Announcement.ofPrune(host, notify_on, summary)
          const recovery = (before: Alerts, after: Alerts) =>
            Announcement.ofRecovery(host, notify_on, {
              run,
              recovered: recoveredOf(before, after),
              noun: "replica",
              job: job.name
            })
          return failuresOf(summary).length > 0 ? { failure: message, recovery } : { success: message, recovery }
        }
      }
    )
  )
})

// By replica: which snapshots are to go differs from run to run.
const failuresOf = ({ replicas }: PruneDocument) =>
  replicas.flatMap((result) => {
    if (result.result === "not_found") return [{ name: result.dataset, reason: result.error }]
    const [first] = result.result === "failed" ? (result.failed ?? []) : []
    return first === undefined ? [] : [{ name: result.target, reason: first.error }]
  })

const mustBeAllowed = Effect.fnUntraced(function* (found: Survey, replicas: ReadonlyArray<Replica>) {
  const places = replicas.map(({ target }): PermissionScope => ({ dataset: target.name, where: "here" }))
  const lines = yield* missingOn(yield* Receiver, found.receiver, permissionsOf("prune"), places)
  if (lines.length > 0) return yield* new PreflightError({ message: lines.join("\n") })
})

/** Chooses, and destroys one by one. */
const pruneReplica = (retention: Retention, retries: number, needs: ReadonlyArray<Needs>) =>
  Effect.fnUntraced(
    function* ({ source, target }: Replica) {
      const common = commonWith(source, target)
      const newest = common.at(-1)
      if (newest === undefined) {
        return yield* spare(
          source.name,
          target.name,
          "it has no snapshot in common with its source: nothing of it is destroyed"
        )
      }
      const newestCommon = new Set([newest.guid, ...needs.flatMap((by) => neededBy(target, by))])
      const choice = select(target.snapshots, retention, { newestCommon })
      if (Either.isLeft(choice)) return yield* new PreflightError({ message: choice.left })
      for (const { reasons, snapshot } of choice.right.keep) {
        const text = `keeping ${target.name}@${snapshot.name}: ${reasons.join(", ")}`
        yield* reasons.every(isObstacle) ? Effect.logInfo(text) : Effect.logDebug(text)
      }
      const outcomes = yield* Effect.forEach(choice.right.destroy, destroy(target.name, retries))
      const destroyed = outcomes.flatMap((each) => (each.error === undefined ? [each.snapshot] : []))
      const failed = outcomes.flatMap(({ error, snapshot }) => (error === undefined ? [] : [{ snapshot, error }]))
      return {
        dataset: source.name,
        target: target.name,
        result: failed.length > 0 ? "failed" : "pruned",
        destroyed,
        kept: target.snapshots.length - destroyed.length,
        ...(failed.length > 0 ? { failed } : {})
      } satisfies ReplicaResult
    },
    (effect, { source }) => Effect.annotateLogs(effect, "dataset", source.name)
  )

// What keeps a snapshot that no rule keeps: worth a line, since it stays until the user releases it.
const isObstacle = (reason: Reason): boolean => reason === "held" || reason === "cloned"

const destroy = (target: string, retries: number) => (snapshot: Snapshot) =>
  Effect.flatMap(Receiver, (receiver) => receiver.destroySnapshot(target, snapshot)).pipe(
    retryTransient(retries),
    Effect.zipRight(Effect.logDebug(`${target}@${snapshot.name} is destroyed`)),
    Effect.as({ snapshot: snapshot.name, error: undefined }),
    Effect.catchAll((error) =>
      Effect.as(Effect.logError(`${target}@${snapshot.name} was not destroyed: ${error.message}`), {
        snapshot: snapshot.name,
        error: error.message
      })
    )
  )

const spare = (dataset: string | null, target: string, reason: string) =>
  Effect.as(Effect.logWarning(`${target}: ${reason}`), {
    dataset,
    target,
    result: "left_alone",
    reason,
    destroyed: []
  } satisfies ReplicaResult)

const spareOrphan = ({ name }: TargetDataset) => spare(null, name, "its source is gone: nothing of it is destroyed")

// A name that exists nowhere is a mistake in the job; unnoticed, it lets the pool fill up.
const notFound = Effect.fnUntraced(function* (given: {
  readonly dataset: string
  readonly target: string | undefined
  readonly error?: string
}) {
  const { dataset, target } = given
  const { label } = yield* Receiver
  const replica = target === undefined ? "" : `, and no replica ${target} on ${label}`
  const error = given.error ?? `there is no such dataset on ${(yield* Sender).label}${replica}`
  yield* Effect.annotateLogs(Effect.logError(error), "dataset", dataset)
  return {
    dataset,
    target: target ?? null,
    result: "not_found",
    error,
    destroyed: []
  } satisfies ReplicaResult
})

/** One that has no replica. It may be that there is none yet; where there are no `others` either, the place is wrong. */
const noReplica = (others: boolean) =>
  Effect.fnUntraced(function* ({ source: { name: dataset }, target }: DatasetPair) {
    const { label } = yield* Receiver
    const reason = `there is no replica of it on ${label}: nothing is at ${target}, or it has no snapshot`
    if (!others) return yield* notFound({ dataset, target, error: reason })
    yield* Effect.annotateLogs(Effect.logWarning(reason), "dataset", dataset)
    return { dataset, target, result: "no_replica", reason, destroyed: [] } satisfies ReplicaResult
  })

const finish = Effect.fnUntraced(function* (
  job: Job,
  options: PruneOptions,
  started: number,
  results: ReadonlyArray<ReplicaResult>
) {
  const now = yield* Clock.currentTimeMillis
  const summary = summarize({
    job,
    run: options.run,
    started_at_utc: utcSeconds(started),
    seconds: (now - started) / 1000,
    replicas: results,
    dry_run: (yield* Receiver).dryRun ?? false
  })
  yield* Effect.logInfo(totals(summary))
  return summary
})
