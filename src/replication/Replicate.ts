import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { alertsKeyOf, type Job, targetOf } from "../config/ReplicationJob.ts"
import { type MessageOptions, replicationMessages } from "../runs/MessageTexts.ts"
import { nextReplicationState, replicationHistory, replicationSummary } from "../runs/nextState.ts"
import { type DatasetResult, type ReplicationSummary, summarize, totals } from "../runs/ReplicationResult.ts"
import { asPreflight, makeWorkList, PreflightError, retryTransient, type WorkList } from "../runs/Run.ts"
import { superviseRun } from "../runs/superviseRun.ts"
import { count } from "../text/Text.ts"
import { utcSeconds } from "../text/Time.ts"
import { ancestorsOf, parentOf } from "../zfs/DatasetName.ts"
import { bookmarkPlaces } from "./Bookmarks.ts"
import { plan } from "./Plan.ts"
import { Receiver } from "./Receiver.ts"
import { bareRoots, findRenamed, logRemarks, noSnapshots, type Renamed } from "./Remarks.ts"
import { logResult, replicateDataset } from "./ReplicateDataset.ts"
import { type SurveyWithSnapshots, takeSnapshots, thinOutSource } from "./SourceSnapshots.ts"
import { formatOf } from "./Stream.ts"
import { type DatasetPair, failPreflight, missingPermissions, placeOf, type Survey, survey } from "./Survey.ts"
import { Transfer } from "./Transfer.ts"

/** What the configuration, the command line and the process add to a job. */
export interface RunReplicationOptions extends MessageOptions {
  /** Targets that have diverged may be taken back to the latest common snapshot. */
  readonly rollback: boolean
  readonly retries: number
  readonly lockfile: string
  /** See SupervisedRun. */
  readonly lockWait?: number
  readonly pid: number
  /** Whether it is a job of the configuration: only those have a state. */
  readonly named: boolean
  /** Gets what was done by a run that a signal or an error ended. */
  readonly onUnfinished?: (summary: ReplicationSummary) => Effect.Effect<void>
}

/**
 * A replication job as a supervised run. A dataset that fails or is refused is in the summary and stops no other but
 * those below it that have no parent at the target then. Fails with LockError when another run is at work, and with
 * PreflightError when it cannot start.
 */
export const runReplication = Effect.fn("Replication.run")(function* (job: Job, options: RunReplicationOptions) {
  const { lockWait, lockfile, named, pid, reminder_hours, run } = options
  const kept = "what was received stays, and the next run goes on there"
  const list = makeWorkList({ noun: "dataset", done: "replicated", kept: [kept, kept] })
  return yield* superviseRun(
    {
      stopped: list.stopped,
      run,
      whole: true,
      pid,
      lockfile,
      lockWait,
      job: named ? { kind: "replication", name: job.name } : undefined,
      historyOf: (end, done: ReadonlyArray<DatasetResult>) => replicationHistory(job, end, done),
      nextState: (before, end, done: ReadonlyArray<DatasetResult>) => nextReplicationState(before, end, job, done),
      succeeded: ({ failed, refused }) => failed === 0 && refused === 0,
      onUnfinished: (end, done) => {
        const results = list.inOrder(done, ({ dataset }) => dataset)
        return options.onUnfinished?.(replicationSummary(end, job, results)) ?? Effect.void
      },
      messages: {
        of: { job: alertsKeyOf(job, named), task: "run" },
        reminder_hours,
        ...replicationMessages(options, job.name)
      }
    },
    (note) => replicate(job, options, list, (result) => Effect.map(note(result), () => list.end(result.dataset)))
  )
})

/** `note` gets the results as they come: of a run that is stopped, only they are left. */
const replicate = Effect.fn("Replicate")(function* (
  job: Job,
  options: RunReplicationOptions,
  list: WorkList,
  note: (result: DatasetResult) => Effect.Effect<void>
) {
  const started = yield* Clock.currentTimeMillis
  const surveyed = yield* survey(job, options.retries)
  if (!job.snapshot) yield* mustHaveSnapshots(surveyed)
  yield* failPreflight(yield* missingPermissions(job, surveyed, options.rollback))
  yield* (yield* Transfer).tools.pipe(retryTransient(options.retries), asPreflight)
  const bookmarks = yield* bookmarkPlaces(job, surveyed)
  const found = yield* takeSnapshots(job, surveyed, options.retries)
  yield* warnOfEncryption(job, found)
  const moved = yield* findRenamed(job, found)
  const remarks = [...(yield* logRemarks(job, found, moved))]
  const absent = [
    ...Array.from(found.missing, ([dataset, error]) => ({
      dataset,
      target: Either.getOrNull(targetOf(job, dataset)),
      error
    })),
    ...found.unplaced
  ]
  list.begin([...absent.map(({ dataset }) => dataset), ...found.items.map(({ source }) => source.name)])
  const failed = yield* Effect.forEach(absent, ({ dataset, error, target }) =>
    Effect.tap(fail(dataset, target, error), note)
  )
  const datasets = [...failed, ...(yield* replicateAll(job, { ...options, bookmarks }, { ...found, moved }, note))]
  remarks.push(...(yield* thinOutSource(job, found, datasets)))
  const seconds = ((yield* Clock.currentTimeMillis) - started) / 1000
  const summary = summarize({ job, run: options.run, started_at_utc: utcSeconds(started), seconds, datasets, remarks })
  yield* Effect.logInfo(totals(summary))
  return summary
}, Effect.scoped)

// A job that has nothing at all to send is one of which no snapshots are taken, and not one that went well.
const mustHaveSnapshots = Effect.fnUntraced(function* ({ items }: Survey) {
  if (items.length === 0 || items.some(({ source }) => source.snapshots.length > 0)) return
  const first = items[0]?.source.name ?? ""
  const who =
    items.length === 1
      ? `${first} has no snapshot`
      : `none of the ${count(items.length, "dataset")} has a snapshot (the first is ${first})`
  const message = `${who}: there is nothing to send; is something taking snapshots there?`
  return yield* new PreflightError({ message })
})

/** Warns, of datasets that are sent for the first time, what becomes of their encryption at the target. */
const warnOfEncryption = Effect.fnUntraced(function* (job: Job, found: Survey) {
  const { items, targets, tree } = found
  const encrypted = new Set(tree.filter((dataset) => dataset.encrypted).map(({ name }) => name))
  const fresh = items.filter(
    ({ source, target }) => plan(source, targets.get(target), { mode: job.mode, rollback: false })._tag === "Full"
  )
  const first = fresh.filter(({ source }) => source.encrypted)
  const open = fresh.filter(({ source, target }) => formatOf(source, placeOf(found, target), job.mode) === "compressed")
  const root = placeOf(found, open[0]?.target ?? "")?.key?.root
  if (root !== undefined) {
    yield* Effect.logWarning(
      `${named(open)} not encrypted, and on ${(yield* Receiver).label} ${root} encrypts what lies below: sent readable (-Lc) and not raw, so that each run needs the key of ${root} loaded there`
    )
  }
  const clear = first.filter(({ target }) => placeOf(found, target)?.key === undefined)
  if (job.mode === "plain" && clear.length > 0) {
    yield* Effect.logWarning(
      `${named(clear)} encrypted and will be stored in the clear: send raw to keep it as it is (pull with --raw, push without --no-raw)`
    )
  }
  const children = first.filter(({ source }) => encrypted.has(parentOf(source.name) ?? ""))
  if (job.mode === "raw" && children.length > 0) {
    yield* Effect.logWarning(
      `${named(children)} sent raw below an encrypted parent: at the target each has to be unlocked by itself (it becomes its own encryption root; zipper recover joins them again)`
    )
  }
})

const named = (items: ReadonlyArray<DatasetPair>): string => {
  const first = items[0]?.source.name ?? ""
  return items.length === 1 ? `${first} is` : `${count(items.length, "dataset")} (the first is ${first}) are`
}

/**
 * As many at a time as the job says, parents first; nothing is received below a parent that could not be and is not
 * there. The results are in the order of the items.
 */
const replicateAll = Effect.fnUntraced(function* (
  job: Job,
  { bookmarks, retries, rollback }: RunReplicationOptions & Pick<Parameters<typeof replicateDataset>[0], "bookmarks">,
  found: SurveyWithSnapshots & { readonly moved: Renamed },
  note: (result: DatasetResult) => Effect.Effect<void>
) {
  const work = replicateDataset({ job, rollback, retries, bookmarks, link: { lost: false } })
  const bare = bareRoots(job, found)
  // Why of those that failed or were refused, and below which zfs has nothing to put a dataset.
  const fallen = new Map<string, string>()
  const one = Effect.fnUntraced(function* (item: DatasetPair) {
    const { name } = item.source
    const parent = ancestorsOf(name).findLast((ancestor) => fallen.has(ancestor))
    if (parent !== undefined) {
      return yield* Effect.tap(fail(name, item.target, `not tried: its parent ${parent} ${fallen.get(parent)}`), note)
    }
    const rename = found.moved.get(name)
    if (rename !== undefined) {
      fallen.set(name, "failed")
      return yield* Effect.tap(fail(name, item.target, rename.advice), note)
    }
    const untaken = found.untaken.get(name)
    if (bare.has(name)) return yield* Effect.tap(fail(name, item.target, untaken ?? noSnapshots), note)
    const result = yield* work(item, found.targets.get(item.target))
    const why = result.result === "failed" ? "failed" : result.result === "refused" ? "was refused" : undefined
    if (why !== undefined && !(yield* canHoldOthers(item.target, found))) fallen.set(name, why)
    // What there is was sent, and yet it is not what the job is for.
    const isFinal = untaken === undefined || why !== undefined
    return yield* Effect.tap(isFinal ? Effect.succeed(result) : fail(name, item.target, untaken, result), note)
  })
  const { mostAtOnce = job.concurrency } = yield* Transfer
  if (Math.min(mostAtOnce, job.concurrency) === 1) return yield* Effect.forEach(found.items, one)
  // All begin at once and wait: for what lies above them, unless the target has it, and then for their turn.
  const turns = yield* Effect.makeSemaphore(job.concurrency)
  const all = yield* Effect.forEach(found.items, (item) => Effect.map(Deferred.make<void>(), (end) => ({ item, end })))
  const isThere = ({ target }: DatasetPair) => (found.targets.get(target)?.snapshots.length ?? 0) > 0
  const ends = new Map(all.flatMap(({ end, item }) => (isThere(item) ? [] : [[item.source.name, end] as const])))
  return yield* Effect.forEach(
    all,
    Effect.fnUntraced(function* ({ end, item }) {
      for (const above of ancestorsOf(item.source.name)) yield* ends.get(above) ?? Effect.void
      return yield* Effect.ensuring(turns.withPermits(1)(one(item)), Deferred.succeed(end, undefined))
    }),
    { concurrency: "unbounded" }
  )
})

/** Whether datasets can be received below a target: one that came with half a stream may go again with it. */
const canHoldOthers = Effect.fnUntraced(function* (name: string, { targets }: Survey) {
  const listed = targets.get(name)
  const read = Effect.flatMap(Receiver, (receiver) => receiver.read(name))
  // It may have come, whole or half, before the failure.
  const target = listed ?? (yield* Effect.catchAll(read, ({ message }) => Effect.logDebug(message)))
  if (target === undefined || target.kind === "volume") return false
  return target.resumeToken === undefined || target.placeholder || target.snapshots.length > 0
})

const fail = Effect.fnUntraced(
  function* (dataset: string, target: string | null, error: string, done?: DatasetResult) {
    const bytes = done !== undefined && "bytes" in done ? done.bytes : 0
    const lost = done?.rolled_back === undefined ? {} : { rolled_back: done.rolled_back }
    const result: DatasetResult = { dataset, target, result: "failed", error, bytes, ...lost }
    yield* logResult(result)
    return result
  },
  (effect, dataset) => Effect.annotateLogs(effect, "dataset", dataset)
)
