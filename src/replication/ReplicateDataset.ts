import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Job } from "../config/ReplicationJob.ts"
import {
  type DatasetResult,
  describe,
  type End,
  type How,
  type Loss,
  resultOf,
  rolledBackOf
} from "../runs/ReplicationResult.ts"
import { retryTransient } from "../runs/Run.ts"
import { Progress } from "../system/Progress.ts"
import { secondsOf } from "../text/Document.ts"
import { bytes } from "../text/Text.ts"
import type { Snapshot, SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import { ancestorsOf, isWithin, parentOf, poolOf } from "../zfs/DatasetName.ts"
import { unreadableIn } from "../zfs/PoolHealth.ts"
import { ZfsError } from "../zfs/ZfsCommand.ts"
import { type BookmarkPlace, keepBookmarks } from "./Bookmarks.ts"
import { unloadedKey } from "./Keys.ts"
import { limitsCommand, limitsText } from "./Limits.ts"
import { longNames, type Plan, plan, type Rollback } from "./Plan.ts"
import { Receiver } from "./Receiver.ts"
import { besideOf, findMoved, needsReplacement, replacementObstacle, takePlace } from "./ReplaceParent.ts"
import { type Resumable, Sender } from "./Sender.ts"
import { describeRange, endOf, formatOf, type SendFormat, type Stream } from "./Stream.ts"
import { type DatasetPair, nearestOf, poolMissing } from "./Survey.ts"
import { Transfer } from "./Transfer.ts"

interface DatasetSettings {
  readonly job: Job
  readonly rollback: boolean
  readonly retries: number
  /** See TransferRequest. */
  readonly mark?: string
  /** Shared by the datasets of a run. While `lost`, an end was out of reach last, and datasets are tried only once each. */
  readonly link: { lost: boolean }
  /** As bookmarkPlaces gives it. */
  readonly bookmarks: (item: DatasetPair) => BookmarkPlace
}

/**
 * One dataset: plan, carry out, check what arrived, and plan again until there is nothing to do. `listed` is the target
 * as the survey found it. Transient errors are retried; snapshots that vanish meanwhile are planned around. Never fails,
 * not even by a defect: the error is in the result, which is logged too.
 */
export const replicateDataset = (settings: DatasetSettings) =>
  Effect.fn("ReplicateDataset")(
    function* (item: DatasetPair, listed: TargetDataset | undefined) {
      const started = yield* Clock.currentTimeMillis
      const { label: receiver } = yield* Receiver
      const names = { dataset: item.source.name, target: item.target }
      const work: Work = { settings, ...names, place: settings.bookmarks(item), bytes: 0, after: [] }
      const failed = (error: string): DatasetResult => ({ ...names, result: "failed", error, bytes: work.bytes })
      const outcome = yield* planAndCarryOut(work, item.source, listed).pipe(
        Effect.map((end) => resultOf(end, names, { bytes: work.bytes, receiver })),
        Effect.catchAll((error) => Effect.map(withAdvice(item, error), failed)),
        Effect.catchAllDefect((defect) => Effect.succeed(failed(internal(defect))))
      )
      const { how, rolledBack } = work
      const became = outcome.result === "up_to_date" && how !== undefined ? yield* sent(work, how, started) : outcome
      const result: DatasetResult =
        rolledBack === undefined ? became : { ...became, rolled_back: rolledBackOf(rolledBack) }
      yield* logResult(result)
      return result
    },
    (effect, item) => Effect.annotateLogs(effect, "dataset", item.source.name)
  )

export const logResult = (result: DatasetResult): Effect.Effect<void> => levels[result.result](describe(result))

const levels = {
  sent: Effect.logInfo,
  up_to_date: Effect.logDebug,
  nothing_to_send: Effect.logWarning,
  refused: Effect.logError,
  failed: Effect.logError
} as const

interface Work {
  readonly settings: DatasetSettings
  readonly dataset: string
  readonly target: string
  readonly place: BookmarkPlace
  /** Of the first stream that was received whole. */
  how?: How
  bytes: number
  /** The target's snapshots before the first change. */
  before?: ReadonlyArray<Snapshot>
  after: ReadonlyArray<Snapshot>
  /** Guids of the snapshots that the first plan with a rollback listed. */
  agreed?: ReadonlySet<string>
  rolledBack?: Loss
}

/** The dataset cannot be replicated as it is; trying again would not help. */
class Stuck extends Data.TaggedError("Stuck")<{ readonly message: string }> {
  readonly transient = false
  readonly reason = "Stuck"
}

const internal = (defect: unknown): string =>
  `internal error: ${defect instanceof Error ? defect.message : String(defect)} (please report)`

// zfs names neither the file of a block that it cannot read, nor what would get the next run past it, nor which limit is reached.
const withAdvice = Effect.fnUntraced(function* (
  { source: { name: dataset }, target }: DatasetPair,
  { message, reason }: { readonly reason: string; readonly message: string }
) {
  if (reason === "NoSpace") {
    const asked = Effect.map((yield* Receiver).limits(target), limitsText)
    const limits = yield* Effect.orElseSucceed(asked, () => limitsCommand(target))
    return limits === "" ? message : `${message}; ${limits}`
  }
  if (reason !== "Unreadable") return message
  const { label, pool } = yield* Sender
  const health = yield* Effect.option(pool(poolOf(dataset)))
  const places = unreadableIn(Option.getOrUndefined(health), poolOf(dataset))
  return `${message}; ${places}. Each run stops there until, on ${label}, the file is restored and the snapshots that hold the block are destroyed, or zfs sends a marked block in its place (module parameter zfs_send_corrupt_data=1)`
})

const sent = Effect.fnUntraced(function* (work: Work, how: How, started: number) {
  const had = new Set(work.before?.map(({ guid }) => guid))
  return {
    dataset: work.dataset,
    target: work.target,
    result: "sent",
    how,
    snapshots: work.after.filter(({ guid }) => !had.has(guid)).length,
    bytes: work.bytes,
    seconds: secondsOf((yield* Clock.currentTimeMillis) - started),
    dry_run: (yield* Receiver).dryRun ?? false
  } satisfies DatasetResult
})

// Most datasets have nothing new: what was listed is enough to see that.
const planAndCarryOut = Effect.fnUntraced(function* (
  work: Work,
  source: SourceDataset,
  listed: TargetDataset | undefined
) {
  const { job, link, retries } = work.settings
  const next = plan(source, listed, { mode: job.mode, rollback: false })
  if (next._tag === "UpToDate" || next._tag === "NothingToSend") {
    yield* keepBookmarks(work.place, { source, target: listed }, next._tag)
    return next
  }
  const noteLink = (lost: boolean) =>
    Effect.sync(() => {
      link.lost = lost
    })
  return yield* attempt(work).pipe(
    planAgain,
    retryTransient(link.lost ? 0 : retries),
    Effect.tapBoth({ onFailure: ({ reason }) => noteLink(reason === "Unreachable"), onSuccess: () => noteLink(false) })
  )
})

const mostOutdated = 5

/** Plans again at once when something vanished or changed between the plan and its stream. */
const planAgain = <A, E extends { readonly reason: string; readonly message: string }, R>(
  effect: Effect.Effect<A, E, R>
) =>
  effect.pipe(
    Effect.tapError((error) =>
      isOutdated(error)
        ? Effect.logInfo(`planning again, since something has changed meanwhile: ${error.message}`)
        : Effect.void
    ),
    Effect.retry({ times: mostOutdated, while: isOutdated }),
    Effect.mapError((error) =>
      isOutdated(error)
        ? new Stuck({
            message: `planned ${mostOutdated + 1} times, and each time something changed before it was sent; keep what takes, destroys or writes there from running at the same time: ${error.message}`
          })
        : error
    )
  )

const isOutdated = ({ reason }: { readonly reason: string }): boolean => reason === "Vanished" || reason === "Modified"

// A resumed stream, a dropped token and a rollback are a round each; a source that is written to gives more.
const mostRounds = 10

const attempt = Effect.fnUntraced(function* (work: Work) {
  const [sender, receiver] = [yield* Sender, yield* Receiver]
  let advanced = false
  for (let round = 0; round < mostRounds; round += 1) {
    const source = yield* sender.read(work.dataset)
    if (source === undefined) {
      const pool = poolOf(work.dataset)
      const away = (yield* sender.read(pool)) === undefined
      return yield* new Stuck({
        message: away ? poolMissing(sender.label, pool) : `it is gone from ${sender.label} since the run began`
      })
    }
    const target = yield* receiver.read(work.target)
    work.after = target?.snapshots ?? []
    work.before ??= work.after
    const next = planFor(work, source, target)
    if (!isActive(next)) {
      yield* keepBookmarks(work.place, { source, target }, next._tag)
      return next
    }
    const long = longNames(next, source, work.target)
    if (long !== undefined) return yield* new Stuck({ message: long })
    advanced = yield* carryOut(work, source, target, next)
  }
  // The source gets snapshots faster than they are sent: what was its newest is at the target.
  if (advanced) return { _tag: "UpToDate" } satisfies End
  return yield* new Stuck({ message: `no end after ${mostRounds} plans, though each was carried out (please report)` })
})

/** --rollback allows what the first plan listed: a snapshot that another program makes meanwhile is not part of that. */
const planFor = (work: Work, source: SourceDataset, target: TargetDataset | undefined): Plan => {
  const { job, rollback } = work.settings
  const next = plan(source, target, { mode: job.mode, rollback })
  if (next._tag !== "Incremental" || next.rollback === undefined) return next
  const destroys = next.rollback.destroys.map(({ guid }) => guid)
  work.agreed ??= new Set(destroys)
  const { agreed } = work
  return destroys.every((guid) => agreed.has(guid)) ? next : plan(source, target, { mode: job.mode, rollback: false })
}

type Active = Extract<Plan, { readonly _tag: "Full" | "Incremental" | "Resume" }>

const isActive = (next: Plan): next is Active =>
  next._tag === "Full" || next._tag === "Incremental" || next._tag === "Resume"

/** Gives whether the target has new snapshots by the plan. */
const carryOut = Effect.fnUntraced(function* (
  work: Work,
  source: SourceDataset,
  target: TargetDataset | undefined,
  next: Active
) {
  const receiver = yield* Receiver
  // What a new replica gets its encryption from, unless its stream brings a key.
  const place = target ?? (yield* nearestOf(parentOf(work.target) ?? work.target, receiver.read))?.found
  const keys = { mode: work.settings.job.mode, target: work.target, place }
  const ends = { source: (yield* Sender).label, target: receiver.label }
  const unloaded = unloadedKey(source, keys, ends)
  if (unloaded !== undefined) return yield* new Stuck({ message: unloaded })
  yield* keepBookmarks(work.place, { source, target }, next._tag)
  if (next._tag === "Resume") return yield* resume(work, source, next)
  const { mode } = work.settings.job
  if (next._tag === "Full") {
    if (target === undefined) {
      if (yield* moveBack(work.target)) return true
      yield* makeParents(work.target, place)
    } else if (needsReplacement(source, target, mode)) return yield* replaceParent(work, source, target)
  }
  if (next._tag === "Incremental" && next.rollback !== undefined) yield* rollBack(work, next.rollback, target)
  const format = formatOf(source, place, mode)
  for (const stream of next.streams) yield* sendStream(work, source, stream, format)
  return next.streams.length > 0
})

/** Puts a replica in its place that a run left beside it. */
const moveBack = Effect.fnUntraced(function* (target: string) {
  const found = yield* findMoved(target)
  if (found === undefined) return false
  if (found.name !== besideOf(target)) {
    return yield* new Stuck({ message: `it is at ${found.name}, until what lies above it has taken its place` })
  }
  yield* (yield* Receiver).rename(found.name, target)
  return true
})

/** A step at a time, so that each is planned by what is there: the first stream beside the parent, then the exchange. */
const replaceParent = Effect.fnUntraced(function* (work: Work, source: SourceDataset, parent: TargetDataset) {
  const { mode } = work.settings.job
  const beside = besideOf(work.target)
  const obstacle = yield* replacementObstacle(source, parent, mode)
  const why = "zfs cannot overwrite a parent that zipper made where it or the stream is encrypted"
  if (obstacle !== undefined) return yield* new Stuck({ message: `${why}: ${obstacle}` })
  const found = yield* (yield* Receiver).read(beside)
  if (found?.mode !== undefined && found.snapshots.length > 0) {
    yield* takePlace(work.target)
    return true
  }
  const next = plan(source, found, { mode, rollback: false })
  if (next._tag === "Resume") return yield* resume(work, source, next, beside)
  const [first] = next._tag === "Full" ? next.streams : []
  if (first === undefined) {
    return yield* new Stuck({
      message: `${why}, and what is to take its place is not received into ${beside}: rename or destroy what is there`
    })
  }
  yield* sendStream(work, source, first, formatOf(source, parent, mode), beside)
  return true
})

/** Makes what is missing above a replica, from the top down; never the pool. */
const makeParents = Effect.fnUntraced(function* (target: string, nearest: TargetDataset | undefined) {
  const receiver = yield* Receiver
  for (const parent of ancestorsOf(target).slice(1)) {
    if (nearest !== undefined && isWithin(nearest.name, parent)) continue
    yield* Effect.logDebug(`making ${parent} on ${receiver.label}`)
    yield* receiver.createParent(parent)
  }
})

const rollBack = Effect.fnUntraced(function* (work: Work, rollback: Rollback, found: TargetDataset | undefined) {
  const { destroys, to, written } = rollback
  const { target } = work
  const receiver = yield* Receiver
  const lost = [...destroys.map(({ name }) => `@${name}`), ...(written > 0 ? [`${bytes(written)} written since`] : [])]
  // At a level that --quiet does not hide: without a configuration there is no log file that keeps their names.
  yield* Effect.logError(`${target} is to go back to @${to.name} (--rollback) and to lose ${lost.join(", ")}`)
  // Snapshots are destroyed one after the other, so that some may be gone when the rollback fails.
  const notePart = Effect.map(receiver.read(target), (left) => {
    const loss = lossOf(work, to, left?.snapshots ?? [], 0)
    if (loss.snapshots.length > 0) work.rolledBack = loss
  }).pipe(Effect.catchAll((error) => Effect.logDebug(error.message)))
  yield* Effect.tapError(receiver.rollback(target, rollback), () => notePart)
  const gone = new Set(destroys)
  const left = (found?.snapshots ?? []).filter((snapshot) => !gone.has(snapshot))
  work.rolledBack = lossOf(work, to, left, written)
})

/** What all rollbacks took: an attempt before this one may have destroyed a part. */
const lossOf = (work: Work, back: Snapshot, left: ReadonlyArray<Snapshot>, written: number): Loss => {
  const guids = new Set(left.map(({ guid }) => guid))
  return {
    back,
    snapshots: (work.before ?? []).filter(({ guid }) => !guids.has(guid)),
    written: Math.max(written, work.rolledBack?.written ?? 0)
  }
}

/** Sends the rest of a stream that was cut. When its snapshot is gone, what was received of it is thrown away. */
const resume = Effect.fnUntraced(function* (
  work: Work,
  source: SourceDataset,
  { dead, force, token }: Extract<Plan, { readonly _tag: "Resume" }>,
  target = work.target
) {
  const receiver = yield* Receiver
  const found: Resumable = dead === undefined ? yield* (yield* Sender).resumable(token) : { _tag: "Gone", reason: dead }
  if (found._tag === "Gone") {
    yield* Effect.logWarning(
      `what ${target} has of a stream that was cut cannot go on and is thrown away: ${found.reason}`
    )
    yield* receiver.abort(target)
    return false
  }
  const strange = strangeHalf(work, source, found)
  if (strange !== undefined) {
    return yield* new Stuck({
      message: `${target} has ${strange}; on ${receiver.label}, if that one is not wanted any more: zfs receive -A '${target}'`
    })
  }
  const { toGuid, toName } = found
  yield* sendStream(work, source, { _tag: "Resume", token, force, toGuid, toName }, work.settings.job.mode, target)
  return true
})

// A token decides what is sent and how. It may be of another dataset, sent here by mistake, or by another user in plain:
// its rest would show the other end what was to stay encrypted.
const strangeHalf = (
  { settings: { job } }: Work,
  source: SourceDataset,
  { raw, toGuid, toName }: Extract<Resumable, { readonly _tag: "Resumable" }>
): string | undefined => {
  if (!source.snapshots.some(({ guid }) => guid === toGuid)) {
    return `half a stream of ${toName}, which is no snapshot of this dataset`
  }
  if (!source.encrypted || raw === (job.mode === "raw")) return undefined
  return raw
    ? `half a raw stream of ${toName}, and this job sends plain (not raw)`
    : `half a stream of ${toName} that is not raw, and this job sends raw`
}

const sendStream = Effect.fnUntraced(function* (
  work: Work,
  source: SourceDataset,
  stream: Stream,
  format: SendFormat,
  target = work.target
) {
  const { settings } = work
  const { kind, name } = source
  const show = yield* (yield* Progress).start(name)
  let done = 0
  yield* Effect.logDebug(`sending ${describeRange(stream)} to ${target}`)
  const onProgress = ({ sent, total }: { readonly sent: number; readonly total: number | undefined }) => {
    done = sent
    show({ done, total })
  }
  const count = (sent: number) => {
    work.bytes += sent
  }
  const report = yield* (yield* Transfer)
    .send({ source: name, target, kind, stream, mode: settings.job.mode, format, mark: settings.mark, onProgress })
    .pipe(
      Effect.tapError(() => Effect.sync(() => count(done))),
      Effect.catchIf(
        ({ reason }) => reason === "Other",
        (error) => askTarget(work, source, target, error)
      )
    )
  count(report.bytes)
  work.how ??= stream._tag === "Full" ? "full" : stream._tag === "Resume" ? "resumed" : "incremental"
  yield* verify(work, stream, target)
}, Effect.scoped)

/** The failure as Modified where the target has a snapshot that no plan knew of: zfs says that its modules are too old. */
const askTarget = Effect.fnUntraced(function* (work: Work, source: SourceDataset, target: string, error: ZfsError) {
  const known = new Set([...work.after, ...source.snapshots].map(({ guid }) => guid))
  const now = yield* Effect.option((yield* Receiver).read(target))
  const own = Option.getOrUndefined(now)?.snapshots.find(({ guid }) => !known.has(guid))
  if (own === undefined) return yield* error
  const message = `${error.message} (${target}@${own.name} was taken there meanwhile)`
  return yield* new ZfsError({ reason: "Modified", message, transient: false, cause: error })
})

/** The target has what was sent, and no mount of its own accord. */
const verify = Effect.fnUntraced(function* (work: Work, stream: Stream, target: string) {
  const receiver = yield* Receiver
  const received = yield* receiver.read(target)
  work.after = received?.snapshots ?? []
  const newest = work.after.at(-1)
  if (received === undefined || newest?.guid !== endOf(stream)) {
    const found = newest === undefined ? "has no snapshot" : `ends at @${newest.name} (guid ${newest.guid})`
    return yield* new Stuck({
      message: `zfs took the stream of ${describeRange(stream)}, but ${target} ${found} and not at guid ${endOf(stream)}: another program may be at work on it; look at it before the next run`
    })
  }
  if (received.kind === "filesystem" && received.canmount !== "off") {
    yield* Effect.logWarning(
      `${target} has canmount=${received.canmount ?? "unknown"} and may be mounted over something; on ${receiver.label}: zfs set canmount=off '${target}'`
    )
  }
})
