import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
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
import { retryTransient } from "../runs/Retry.ts"
import { Progress } from "../system/Progress.ts"
import { secondsOf } from "../text/Document.ts"
import { bytes } from "../text/Text.ts"
import type { SendMode, Snapshot, SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import { ancestorsOf } from "../zfs/DatasetName.ts"
import { type Plan, plan, type Rollback } from "./Plan.ts"
import { Receiver } from "./Receiver.ts"
import { type Resumable, Sender } from "./Sender.ts"
import { endOf, type Stream } from "./Stream.ts"
import type { DatasetPair } from "./Survey.ts"
import { Transfer } from "./Transfer.ts"

/** The dataset cannot be replicated as it is; trying again would not help. */
export class Stuck extends Data.TaggedError("Stuck")<{ readonly message: string }> {
  readonly transient = false
  readonly reason = "Stuck"
}

/** What was done about a dataset so far, over all attempts. */
export interface Work {
  how: How | undefined
  bytes: number
  /** The target's snapshots before the first change. */
  before: ReadonlyArray<Snapshot> | undefined
  after: ReadonlyArray<Snapshot>
  /** Guids of the snapshots that the first plan with a rollback listed. */
  agreed: ReadonlySet<string> | undefined
  /** What rollbacks took. */
  rolledBack: Loss | undefined
}

/** Sends one stream, shows how far it is, and looks whether the target has it. */
export const sendStream = Effect.fnUntraced(function* (
  mode: SendMode,
  { source, target }: DatasetPair,
  stream: Stream,
  how: How,
  work: Work
) {
  const show = yield* (yield* Progress).start(source.name)
  let sent = 0
  yield* Effect.logDebug(`sending ${inWords(stream)} to ${target}`)
  const report = yield* (yield* Transfer)
    .send({
      source: source.name,
      target,
      kind: source.kind,
      stream,
      mode,
      onProgress: (progress) => {
        sent = progress.sent
        show({ done: sent, total: progress.total })
      }
    })
    .pipe(
      Effect.tapError(() =>
        Effect.sync(() => {
          work.bytes += sent
        })
      )
    )
  work.bytes += report.bytes
  work.how ??= how
  yield* verify(target, stream, work)
}, Effect.scoped)

const inWords = (stream: Stream): string => {
  switch (stream._tag) {
    case "Full":
      return `@${stream.to.name} in full`
    case "Incremental":
      return `@${stream.from.name} to @${stream.to.name}`
    case "FromBookmark":
      return `#${stream.from.name} to @${stream.to.name}`
    case "Resume":
      return `the rest of ${stream.toName}`
  }
}

/** The target has what was sent, and cannot be mounted by itself. */
const verify = Effect.fnUntraced(function* (target: string, stream: Stream, work: Work) {
  const receiver = yield* Receiver
  const received = yield* receiver.read(target)
  work.after = received?.snapshots ?? []
  const newest = work.after.at(-1)
  if (received === undefined || newest?.guid !== endOf(stream)) {
    const found = newest === undefined ? "has no snapshot" : `ends at @${newest.name} (guid ${newest.guid})`
    return yield* new Stuck({
      message: `zfs took the stream of ${inWords(stream)}, but ${target} ${found} and not at guid ${endOf(stream)}: another program may be at work on it; look at it before the next run`
    })
  }
  if (received.kind === "filesystem" && received.canmount !== "off") {
    yield* Effect.logWarning(
      `${target} has canmount=${received.canmount ?? "unknown"} and may be mounted over something; on ${receiver.label}: zfs set canmount=off '${target}'`
    )
  }
})

/** Plans that there is something to do about. */
export type Active = Extract<Plan, { readonly _tag: "Full" | "Incremental" | "Resume" }>

/** Carries out a plan; gives whether the target has new snapshots by it. */
export const act = Effect.fnUntraced(function* (
  mode: SendMode,
  item: DatasetPair,
  next: Active,
  target: TargetDataset | undefined,
  work: Work
) {
  if (next._tag === "Resume") return yield* resume(mode, item, next, work)
  if (next._tag === "Full" && target === undefined) yield* makeParents(item.target)
  if (next._tag === "Incremental" && next.rollback !== undefined) {
    const { rollback } = next
    yield* Effect.tapError(rollBack(item.target, rollback), () => noteLoss(item.target, rollback, work))
    work.rolledBack = lossBy(rollback, target, work)
  }
  const how = next._tag === "Full" ? "full" : "incremental"
  for (const stream of next.streams) yield* sendStream(mode, item, stream, how, work)
  return next.streams.length > 0
})

/** Makes what lies above a replica, from the top down; never the pool. */
const makeParents = Effect.fnUntraced(function* (target: string) {
  const receiver = yield* Receiver
  for (const parent of ancestorsOf(target).slice(1)) {
    if ((yield* receiver.read(parent)) !== undefined) continue
    yield* Effect.logDebug(`making ${parent} on ${receiver.label}`)
    yield* receiver.createParent(parent)
  }
})

/** All that is gone: an attempt before this one may have come half the way. */
const lossBy = ({ destroys, to, written }: Rollback, target: TargetDataset | undefined, work: Work): Loss => {
  const gone = new Set(destroys)
  const left = new Set(target?.snapshots.filter((each) => !gone.has(each)).map(({ guid }) => guid))
  return {
    back: to,
    snapshots: (work.before ?? []).filter(({ guid }) => !left.has(guid)),
    written: Math.max(written, work.rolledBack?.written ?? 0)
  }
}

/** A rollback destroys one snapshot after the other: what is gone when it fails is told all the same. */
const noteLoss = Effect.fnUntraced(
  function* (target: string, { to }: Rollback, work: Work) {
    const found = yield* (yield* Receiver).read(target)
    const left = new Set(found?.snapshots.map(({ guid }) => guid))
    const snapshots = (work.before ?? []).filter(({ guid }) => !left.has(guid))
    if (snapshots.length > 0) work.rolledBack = { back: to, snapshots, written: work.rolledBack?.written ?? 0 }
  },
  Effect.catchAll((error) => Effect.logDebug(error.message))
)

const rollBack = Effect.fnUntraced(function* (target: string, rollback: Rollback) {
  const { destroys, to, written } = rollback
  const lost = [...destroys.map(({ name }) => `@${name}`), ...(written > 0 ? [`${bytes(written)} written since`] : [])]
  // In the tier that --quiet does not hide: without a configuration there is no log, and this is all that is left of them.
  yield* Effect.logError(`${target} is to go back to @${to.name} (--rollback) and to lose ${lost.join(", ")}`)
  yield* (yield* Receiver).rollback(target, rollback)
})

/** The rest of a stream that was cut; when its snapshot is gone, what was received of it is no use any more. */
const resume = Effect.fnUntraced(function* (
  mode: SendMode,
  item: DatasetPair,
  { force, token }: Extract<Plan, { readonly _tag: "Resume" }>,
  work: Work
) {
  const found = yield* (yield* Sender).resumable(token)
  if (found._tag === "Resumable") {
    const what = strangeHalf(mode, item, found)
    if (what !== undefined) {
      return yield* new Stuck({
        message: `${item.target} has ${what}; on ${(yield* Receiver).label}, if that one is not wanted any more: zfs receive -A '${item.target}'`
      })
    }
    const { toGuid, toName } = found
    const stream: Stream = { _tag: "Resume", token, force, toGuid, toName }
    yield* sendStream(mode, item, stream, "resumed", work)
    return true
  }
  yield* Effect.logWarning(
    `what ${item.target} has of a stream that was cut cannot go on and is thrown away: ${found.reason}`
  )
  yield* (yield* Receiver).abort(item.target)
  return false
})

/**
 * A token says what is sent and how, whichever host asks. The half may be one of another dataset, sent here by mistake, or
 * of this one but from another user, whose rest would tell the other end in the clear what was to stay encrypted.
 */
const strangeHalf = (
  mode: SendMode,
  { source }: DatasetPair,
  { raw, toGuid, toName }: Extract<Resumable, { readonly _tag: "Resumable" }>
): string | undefined => {
  if (!source.snapshots.some(({ guid }) => guid === toGuid)) {
    return `half a stream of ${toName}, which is no snapshot of this dataset`
  }
  if (!source.encrypted || raw === (mode === "raw")) return undefined
  return raw
    ? `half a raw stream of ${toName}, and this job sends plain (not raw)`
    : `half a stream of ${toName} that is not raw, and this job sends raw`
}

/** How every dataset of a job is worked on. */
interface DatasetSettings {
  readonly job: Job
  readonly rollback: boolean
  readonly retries: number
  /** Shared by a run's datasets. While an end is out of reach they are tried once each, so that a run comes to its end. */
  readonly link: { lost: boolean }
}

// A resumed stream, a dropped token and a rollback are a round each; a source that is written to gives more.
const mostRounds = 10
const mostOutdated = 5

/**
 * One dataset: plan, act, look whether it is there, and plan again until there is nothing to do. Transient errors are
 * tried again, snapshots that vanish meanwhile are planned around. Never fails, not even by a defect: what
 * went wrong is in the result.
 */
export const replicateDataset = (settings: DatasetSettings) =>
  Effect.fn("ReplicateDataset")(
    function* (item: DatasetPair, listed: TargetDataset | undefined) {
      const started = yield* Clock.currentTimeMillis
      const names = { dataset: item.source.name, target: item.target }
      const work: Work = {
        how: undefined,
        bytes: 0,
        before: undefined,
        after: [],
        agreed: undefined,
        rolledBack: undefined
      }
      const failed = (error: string): DatasetResult => ({
        ...names,
        result: "failed",
        error,
        bytes: work.bytes
      })
      const { label: receiver } = yield* Receiver
      const outcome = yield* carryOut(settings, item, listed, work).pipe(
        Effect.map((end) => resultOf(end, names, { bytes: work.bytes, receiver })),
        Effect.catchAll((error) => Effect.succeed(failed(error.message))),
        Effect.catchAllDefect((defect) => Effect.succeed(failed(internal(defect))))
      )
      const became =
        outcome.result === "up_to_date" && work.how !== undefined
          ? yield* sent(names, work, work.how, started)
          : outcome
      const { rolledBack } = work
      const result: DatasetResult =
        rolledBack === undefined ? became : { ...became, rolled_back: rolledBackOf(rolledBack) }
      yield* tell(result)
      return result
    },
    (effect, item) => Effect.annotateLogs(effect, "dataset", item.source.name)
  )

/** Nothing more can be done about the dataset. */
const isSettled = (next: Plan): next is Exclude<Plan, Active> =>
  next._tag === "UpToDate" || next._tag === "NothingToSend" || next._tag === "Diverged" || next._tag === "Blocked"

/** Most datasets have nothing new: what was listed is enough to see that. */
const carryOut = Effect.fnUntraced(function* (
  settings: DatasetSettings,
  item: DatasetPair,
  listed: TargetDataset | undefined,
  work: Work
) {
  const next = planFor(settings, item.source, listed)
  if (next._tag === "UpToDate" || next._tag === "NothingToSend") return next
  const { link, retries } = settings
  return yield* attempt(settings, item, work).pipe(
    planAgain,
    retryTransient(link.lost ? 0 : retries),
    Effect.tapBoth({
      onFailure: ({ reason }) => noteLink(settings, reason === "Unreachable"),
      onSuccess: () => noteLink(settings, false)
    })
  )
})

const noteLink = ({ link }: DatasetSettings, lost: boolean) =>
  Effect.sync(() => {
    link.lost = lost
  })

const planFor = (settings: DatasetSettings, source: SourceDataset, target: TargetDataset | undefined) =>
  plan(source, target, { mode: settings.job.mode, rollback: settings.rollback })

/** Plans again at once when something went away or was changed between the look and the sending. */
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

const attempt = Effect.fnUntraced(function* (settings: DatasetSettings, item: DatasetPair, work: Work) {
  let advanced = false
  for (let round = 0; round < mostRounds; round += 1) {
    const source = yield* readSource(item.source.name)
    const target = yield* (yield* Receiver).read(item.target)
    work.after = target?.snapshots ?? []
    work.before ??= work.after
    const next = withinAgreed(settings, planFor(settings, source, target), source, target, work)
    if (isSettled(next)) return next
    advanced = yield* act(settings.job.mode, { source, target: item.target }, next, target, work)
  }
  // The source gets snapshots faster than they are sent: what was its newest is at the target.
  if (advanced) return { _tag: "UpToDate" } satisfies End
  return yield* new Stuck({
    message: `no end after ${mostRounds} plans, though each was carried out (please report)`
  })
})

/** What --rollback allows is what the first plan listed: a snapshot that another program makes meanwhile is not part of that. */
const withinAgreed = (
  settings: DatasetSettings,
  next: Plan,
  source: SourceDataset,
  target: TargetDataset | undefined,
  work: Work
): Plan => {
  if (next._tag !== "Incremental" || next.rollback === undefined) return next
  const { destroys } = next.rollback
  work.agreed ??= new Set(destroys.map(({ guid }) => guid))
  const agreed = work.agreed
  return destroys.every(({ guid }) => agreed.has(guid))
    ? next
    : plan(source, target, { mode: settings.job.mode, rollback: false })
}

const readSource = Effect.fnUntraced(function* (dataset: string) {
  const sender = yield* Sender
  const source = yield* sender.read(dataset)
  return source ?? (yield* new Stuck({ message: `it is gone from ${sender.label} since the run began` }))
})

const sent = Effect.fnUntraced(function* (
  names: { readonly dataset: string; readonly target: string },
  work: Work,
  how: How,
  started: number
) {
  const had = new Set(work.before?.map(({ guid }) => guid))
  const result: DatasetResult = {
    ...names,
    result: "sent",
    how,
    snapshots: work.after.filter(({ guid }) => !had.has(guid)).length,
    bytes: work.bytes,
    seconds: secondsOf((yield* Clock.currentTimeMillis) - started),
    dry_run: (yield* Receiver).dryRun ?? false
  }
  return result
})

/** Each result in its tier. */
export const tell = (result: DatasetResult) => {
  const text = describe(result)
  switch (result.result) {
    case "sent":
      return Effect.logInfo(text)
    case "up_to_date":
      return Effect.logDebug(text)
    case "nothing_to_send":
      return Effect.logWarning(text)
    case "refused":
    case "failed":
      return Effect.logError(text)
  }
}

const internal = (defect: unknown): string =>
  `internal error: ${defect instanceof Error ? defect.message : String(defect)} (please report)`
