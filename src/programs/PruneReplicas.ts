import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type Alerts, type AlertsOf, recoveredOf } from "../domain/Alerts.ts"
import * as Announcement from "../domain/Announcement.ts"
import { utcSeconds } from "../domain/Metadata.ts"
import { alertsKeyOf, type Job, type Retention } from "../domain/replication/Job.ts"
import {
  type PruneSummary,
  type ReplicaResult,
  summarize,
  totals
} from "../domain/replication/PruneResult.ts"
import { commonWith } from "../domain/replication/Readers.ts"
import { type Reason, select } from "../domain/replication/Retention.ts"
import { permissionsOf } from "../domain/replication/Roles.ts"
import type { Snapshot, TargetDataset } from "../domain/replication/State.ts"
import { Lock, LockError } from "../services/Lock.ts"
import { Receiver } from "../services/Receiver.ts"
import { Sender } from "../services/Sender.ts"
import { telling } from "./Messages.ts"
import { PreflightError } from "./Preflight.ts"
import { ask, type Needs, neededBy, type Reader, type Replica, sort } from "./PruneSurvey.ts"
import { missingOn, type Place } from "./ReplicationPermissions.ts"
import { type Item, type Survey, survey } from "./ReplicationSurvey.ts"
import { retryTransient } from "./Retry.ts"
import { waitForLock } from "./WaitForLock.ts"

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
const pruneReplicas = Effect.fn("PruneReplicas")(function* (
  job: Job,
  retention: Retention,
  options: PruneOptions
) {
  const started = yield* Clock.currentTimeMillis
  yield* lockOut(options)
  const found = yield* survey(job, options.retries)
  const { absent, lost, orphans, replicas, some } = sort(job, found)
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

/** Keeps out other runs for this job's replicas, and those that read from them: what they will end at nobody can tell yet. */
const lockOut = Effect.fnUntraced(function* ({ lockWait, lockfile, readers }: PruneOptions) {
  const lock = yield* Lock
  yield* lock.acquire(lockfile).pipe(waitForLock(lockWait))
  const others = new Map(readers.map((reader) => [reader.lockfile, reader.job]))
  others.delete(lockfile)
  for (const [path, job] of others) {
    yield* Effect.mapError(
      lock.acquire(path).pipe(waitForLock(lockWait)),
      (error) =>
        new LockError({ ...error, message: `the job ${job} sends these replicas on: ${error.message}` })
    )
  }
})

/** The same, and word of how it ended. */
export const announcedPrune = Effect.fn("AnnouncedPrune")(function* (
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
    telling(
      { of, reminder_hours },
      {
        failing: failuresOf,
        covers: () => true,
        ofFailure: (message) => Announcement.ofFailure(host, notify_on, { run, message, what: "pruned" }),
        ofSummary: (summary: PruneSummary) => {
          const message = Announcement.ofPrune(host, notify_on, summary)
          const recovery = (before: Alerts, after: Alerts) =>
            Announcement.ofRecovery(host, notify_on, {
              run,
              recovered: recoveredOf(before, after),
              noun: "replica",
              job: job.name
            })
          return failuresOf(summary).length > 0
            ? { failure: message, recovery }
            : { success: message, recovery }
        }
      }
    )
  )
})

// By replica: which snapshots are to go differs from run to run.
const failuresOf = ({ results }: PruneSummary) =>
  results.flatMap((result) => {
    if (result._tag === "NotFound") return [{ name: result.dataset, reason: result.error }]
    const [first] = result._tag === "Pruned" ? result.failed : []
    return first === undefined ? [] : [{ name: result.target, reason: first.error }]
  })

const mustBeAllowed = Effect.fnUntraced(function* (found: Survey, replicas: ReadonlyArray<Replica>) {
  const places = replicas.map(({ target }): Place => ({ dataset: target.name, where: "here" }))
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
      const failed = outcomes.flatMap(({ error, snapshot }) =>
        error === undefined ? [] : [{ snapshot, error }]
      )
      return {
        _tag: "Pruned",
        dataset: source.name,
        target: target.name,
        destroyed,
        kept: target.snapshots.length - destroyed.length,
        failed
      } satisfies ReplicaResult
    },
    (effect, { source }) => Effect.annotateLogs(effect, "dataset", source.name)
  )

// What keeps a snapshot that nobody wants any more: worth a line, since it is kept until somebody lets go of it.
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

const spare = (dataset: string | undefined, target: string, reason: string) =>
  Effect.as(Effect.logWarning(`${target}: ${reason}`), {
    _tag: "Spared",
    dataset,
    target,
    reason
  } satisfies ReplicaResult)

const spareOrphan = ({ name }: TargetDataset) =>
  spare(undefined, name, "its source is gone: nothing of it is destroyed")

// A name that nobody has is a mistake in the job, and a pool that fills up if nobody is told.
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
  return { _tag: "NotFound", dataset, target, error } satisfies ReplicaResult
})

/** One that has no replica. It may be that there is none yet; where there are no `others` either, the place is wrong. */
const noReplica = (others: boolean) =>
  Effect.fnUntraced(function* ({ source: { name: dataset }, target }: Item) {
    const { label } = yield* Receiver
    const reason = `there is no replica of it on ${label}: nothing is at ${target}, or it has no snapshot`
    if (!others) return yield* notFound({ dataset, target, error: reason })
    yield* Effect.annotateLogs(Effect.logWarning(reason), "dataset", dataset)
    return { _tag: "NoReplica", dataset, target, reason } satisfies ReplicaResult
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
    startedAt: utcSeconds(started),
    seconds: (now - started) / 1000,
    results,
    rehearsed: (yield* Receiver).rehearsal ?? false
  })
  yield* Effect.logInfo(totals(summary))
  return summary
})
