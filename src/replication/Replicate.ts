import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { alertsKeyOf, type Job, targetOf } from "../config/ReplicationJob.ts"
import { type NotifyOn, replicationMessages } from "../runs/Notifications.ts"
import { nextReplicationState, replicationHistory } from "../runs/nextState.ts"
import { type DatasetResult, summarize, totals } from "../runs/ReplicationResult.ts"
import { retryTransient } from "../runs/Retry.ts"
import { asPreflight, PreflightError } from "../runs/Run.ts"
import { superviseRun } from "../runs/superviseRun.ts"
import { utcSeconds } from "../store/Metadata.ts"
import { count } from "../text/Text.ts"
import { ancestorsOf, parentOf } from "../zfs/DatasetName.ts"
import { plan } from "./Plan.ts"
import { bareRoots, logRemarks, noSnapshots } from "./Remarks.ts"
import { replicateDataset, tell } from "./ReplicateDataset.ts"
import { Sender } from "./Sender.ts"
import { type DatasetPair, missingPermissions, type Survey, survey } from "./Survey.ts"
import { Transfer } from "./Transfer.ts"

/** What the configuration and the command line add to a job. */
export interface ReplicateOptions {
  /** Short id of this run, in every log line. */
  readonly run: string
  /** Targets that went their own way may be taken back to the latest common snapshot. */
  readonly rollback: boolean
  readonly retries: number
  /** Is given each result as soon as there is one: of a run that is stopped, nothing else is left. */
  readonly noted?: (result: DatasetResult) => Effect.Effect<void>
}

/**
 * One replication job (DESIGN, section 9), to be run with its lock held (see Attend). Fails with PreflightError when it
 * cannot start, with nothing sent; a dataset that fails or is refused is in the summary and stops no
 * other, but for those below it.
 */
export const replicate = Effect.fn("Replicate")(function* (job: Job, options: ReplicateOptions) {
  const started = yield* Clock.currentTimeMillis
  const found = yield* survey(job, options.retries)
  yield* mustHaveSnapshots(found)
  yield* mustBeAllowed(found, options)
  yield* (yield* Transfer).tools.pipe(retryTransient(options.retries), asPreflight)
  yield* warnOfEncryption(job, found)
  const remarks = yield* logRemarks(job, found)
  const missing = yield* Effect.forEach(found.missing, notThere(job))
  const worked = yield* eachDataset(job, options, found)
  return yield* finish(job, options, started, { datasets: [...missing, ...worked], remarks })
}, Effect.scoped)

// A job that has nothing at all to send is one of which no snapshots are taken, and not one that went well.
const mustHaveSnapshots = Effect.fnUntraced(function* ({ items }: Survey) {
  if (items.length === 0 || items.some(({ source }) => source.snapshots.length > 0)) return
  const first = items[0]?.source.name ?? ""
  return yield* new PreflightError({
    message:
      items.length === 1
        ? `${first} has no snapshot: there is nothing to send; is something taking snapshots there?`
        : `none of the ${count(items.length, "dataset")} has a snapshot (the first is ${first}): there is nothing to send; is something taking snapshots there?`
  })
})

/** All that is missing on both ends, at once. */
const mustBeAllowed = Effect.fnUntraced(function* (found: Survey, { rollback }: ReplicateOptions) {
  const lines = yield* missingPermissions(found, rollback)
  if (lines.length > 0) return yield* new PreflightError({ message: lines.join("\n") })
})

/** Says, of datasets that are sent for the first time, what their encryption comes to at the target. */
const warnOfEncryption = Effect.fnUntraced(function* (job: Job, { items, targets, tree }: Survey) {
  const encrypted = new Set(tree.filter((dataset) => dataset.encrypted).map(({ name }) => name))
  const first = items.filter(
    ({ source, target }) =>
      source.encrypted && plan(source, targets.get(target), { mode: job.mode, rollback: false })._tag === "Full"
  )
  if (job.mode === "plain" && first.length > 0) {
    yield* Effect.logWarning(
      `${named(first)} encrypted and will be stored in the clear, unless the target is encrypted itself: send raw to keep it as it is (pull with --raw, push without --no-raw)`
    )
  }
  const children = first.filter(({ source }) => encrypted.has(parentOf(source.name) ?? ""))
  if (job.mode === "raw" && children.length > 0) {
    yield* Effect.logWarning(
      `${named(children)} sent raw below an encrypted parent: at the target each has to be unlocked by itself (it becomes its own encryption root; the README says how to restore)`
    )
  }
})

const named = (items: ReadonlyArray<DatasetPair>): string => {
  const first = items[0]?.source.name ?? ""
  return items.length === 1 ? `${first} is` : `${count(items.length, "dataset")} (the first is ${first}) are`
}

const notThere = (job: Job) =>
  Effect.fnUntraced(
    function* (dataset: string) {
      const { label } = yield* Sender
      const result: DatasetResult = {
        dataset,
        target: Either.getOrNull(targetOf(job, dataset)),
        result: "failed",
        error: `there is no such dataset on ${label}`,
        bytes: 0
      }
      yield* tell(result)
      return result
    },
    (effect, dataset) => Effect.annotateLogs(effect, "dataset", dataset)
  )

/** One after the other, parents first; nothing is received below a parent that could not be. */
const eachDataset = Effect.fnUntraced(function* (job: Job, options: ReplicateOptions, found: Survey) {
  const work = replicateDataset({
    job,
    rollback: options.rollback,
    retries: options.retries,
    link: { lost: false }
  })
  const noted = options.noted ?? (() => Effect.void)
  const bare = bareRoots(job, found)
  const fallen = new Map<string, string>()
  return yield* Effect.forEach(
    found.items,
    Effect.fnUntraced(function* (item) {
      const { name } = item.source
      const parent = ancestorsOf(name).findLast((ancestor) => fallen.has(ancestor))
      const what = parent === undefined ? undefined : fallen.get(parent)
      if (what !== undefined) return yield* notTried(item, what)
      if (bare.has(name)) return yield* Effect.tap(withoutSnapshots(item), noted)
      const result = yield* work(item, found.targets.get(item.target)).pipe(Effect.tap(noted))
      if (result.result === "failed") fallen.set(name, `its parent ${name} failed`)
      if (result.result === "refused") fallen.set(name, `its parent ${name} was refused`)
      return result
    })
  )
})

const withoutSnapshots = Effect.fnUntraced(
  function* ({ source, target }: DatasetPair) {
    const result: DatasetResult = {
      dataset: source.name,
      target,
      result: "failed",
      error: noSnapshots,
      bytes: 0
    }
    yield* tell(result)
    return result
  },
  (effect, { source }) => Effect.annotateLogs(effect, "dataset", source.name)
)

const notTried = Effect.fnUntraced(
  function* ({ source, target }: DatasetPair, why: string) {
    const result: DatasetResult = {
      dataset: source.name,
      target,
      result: "failed",
      error: `not tried: ${why}`,
      bytes: 0
    }
    yield* tell(result)
    return result
  },
  (effect, { source }) => Effect.annotateLogs(effect, "dataset", source.name)
)

const finish = Effect.fnUntraced(function* (
  job: Job,
  options: ReplicateOptions,
  started: number,
  done: { readonly datasets: ReadonlyArray<DatasetResult>; readonly remarks: ReadonlyArray<string> }
) {
  const now = yield* Clock.currentTimeMillis
  const summary = summarize({
    job,
    run: options.run,
    started_at_utc: utcSeconds(started),
    seconds: (now - started) / 1000,
    ...done
  })
  yield* Effect.logInfo(totals(summary))
  return summary
})

/** What the configuration, the command line and the process add to a job. */
export interface RunReplicationOptions extends ReplicateOptions {
  readonly lockfile: string
  /** See SupervisedRun. */
  readonly lockWait?: number
  /** Name of this machine. */
  readonly host: string
  /** Of this process. */
  readonly pid: number
  /** Whether it is a job of the configuration: only those have a standing. */
  readonly named: boolean
  readonly notify_on: ReadonlyArray<NotifyOn>
  readonly reminder_hours: number
}

/** A replication job as a supervised run. Fails with LockError when another run is at work, and otherwise as the job does. */
export const runReplication = Effect.fn("AnnouncedReplication")(function* (job: Job, options: RunReplicationOptions) {
  const { host, lockWait, lockfile, named, notify_on, pid, reminder_hours, run } = options
  return yield* superviseRun(
    {
      run,
      whole: true,
      pid,
      lockfile,
      lockWait,
      job: named ? { kind: "replication", name: job.name } : undefined,
      historyOf: (end, done: ReadonlyArray<DatasetResult>) => replicationHistory(job, end, done),
      nextState: (before, end, done: ReadonlyArray<DatasetResult>) => nextReplicationState(before, end, job, done),
      succeeded: ({ failed, refused }) => failed === 0 && refused === 0,
      messages: {
        of: { job: alertsKeyOf(job, named), task: "run" },
        reminder_hours,
        ...replicationMessages(host, notify_on, { run, job: job.name })
      }
    },
    (noted) => replicate(job, { ...options, noted })
  )
})
