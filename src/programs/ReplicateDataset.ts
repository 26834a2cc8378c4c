import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { ancestorsOf } from "../domain/replication/DatasetName.ts"
import type { Job } from "../domain/replication/Job.ts"
import { type Plan, plan, type Rollback } from "../domain/replication/Plan.ts"
import { type DatasetResult, describe, type How } from "../domain/replication/ReplicationResult.ts"
import type { SourceDataset, TargetDataset } from "../domain/replication/State.ts"
import type { Stream } from "../domain/replication/Stream.ts"
import { bytes } from "../domain/Units.ts"
import { Receiver } from "../services/Receiver.ts"
import { Sender } from "../services/Sender.ts"
import { Stuck, sendStream, type Work } from "./ReplicateStream.ts"
import type { Item } from "./ReplicationSurvey.ts"
import { retryTransient } from "./Retry.ts"

/** How every dataset of a job is worked on. */
export interface DatasetSettings {
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
    function* (item: Item, listed: TargetDataset | undefined) {
      const started = yield* Clock.currentTimeMillis
      const names = { dataset: item.source.name, target: item.target }
      const work: Work = { how: undefined, bytes: 0, before: undefined, after: [] }
      const failed = (error: string): DatasetResult => ({ _tag: "Failed", ...names, error })
      const outcome = yield* carryOut(settings, item, listed, work).pipe(
        Effect.map((end) => resultOf(end, names)),
        Effect.catchAll((error) => Effect.succeed(failed(error.message))),
        Effect.catchAllDefect((defect) => Effect.succeed(failed(internal(defect))))
      )
      const result =
        outcome._tag === "UpToDate" && work.how !== undefined
          ? yield* sent(names, work, work.how, started)
          : outcome
      yield* tell(result)
      return result
    },
    (effect, item) => Effect.annotateLogs(effect, "dataset", item.source.name)
  )

/** Plans at which work on a dataset ends. */
type Settled = Extract<Plan, { readonly _tag: "UpToDate" | "NothingToSend" | "Diverged" | "Blocked" }>
type Active = Exclude<Plan, Settled>
type End =
  | { readonly _tag: "UpToDate" | "NothingToSend" }
  | Extract<Plan, { readonly _tag: "Diverged" | "Blocked" }>

const isSettled = (next: Plan): next is Settled =>
  next._tag === "UpToDate" ||
  next._tag === "NothingToSend" ||
  next._tag === "Diverged" ||
  next._tag === "Blocked"

/** Most datasets have nothing new: what was listed is enough to see that. */
const carryOut = Effect.fnUntraced(function* (
  settings: DatasetSettings,
  item: Item,
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

const isOutdated = ({ reason }: { readonly reason: string }): boolean =>
  reason === "Vanished" || reason === "Modified"

const attempt = Effect.fnUntraced(function* (settings: DatasetSettings, item: Item, work: Work) {
  let advanced = false
  for (let round = 0; round < mostRounds; round += 1) {
    const source = yield* readSource(item.source.name)
    const target = yield* (yield* Receiver).read(item.target)
    work.after = target?.snapshots ?? []
    work.before ??= work.after
    const next = planFor(settings, source, target)
    if (isSettled(next)) return next
    advanced = yield* act(settings, { source, target: item.target }, next, target, work)
  }
  // The source gets snapshots faster than they are sent: what was its newest is at the target.
  if (advanced) return { _tag: "UpToDate" } satisfies End
  return yield* new Stuck({
    message: `no end after ${mostRounds} plans, though each was carried out (please report)`
  })
})

const readSource = Effect.fnUntraced(function* (dataset: string) {
  const sender = yield* Sender
  const source = yield* sender.read(dataset)
  return source ?? (yield* new Stuck({ message: `it is gone from ${sender.label} since the run began` }))
})

/** Carries out a plan; gives whether the target has new snapshots by it. */
const act = Effect.fnUntraced(function* (
  settings: DatasetSettings,
  item: Item,
  next: Active,
  target: TargetDataset | undefined,
  work: Work
) {
  if (next._tag === "Resume") return yield* resume(settings, item, next.token, work)
  if (next._tag === "Full" && target === undefined) yield* makeParents(item.target)
  if (next._tag === "Incremental" && next.rollback !== undefined) yield* rollBack(item.target, next.rollback)
  const how = next._tag === "Full" ? "full" : "incremental"
  for (const stream of next.streams) yield* sendStream(settings.job.mode, item, stream, how, work)
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

const rollBack = Effect.fnUntraced(function* (target: string, rollback: Rollback) {
  const { destroys, to, written } = rollback
  const lost = [
    ...destroys.map(({ name }) => `@${name}`),
    ...(written > 0 ? [`${bytes(written)} written since`] : [])
  ]
  yield* Effect.logWarning(`${target} goes back to @${to.name} (--rollback) and loses ${lost.join(", ")}`)
  yield* (yield* Receiver).rollback(target, rollback)
})

/** The rest of a stream that was cut; when its snapshot is gone, what was received of it is no use any more. */
const resume = Effect.fnUntraced(function* (
  settings: DatasetSettings,
  item: Item,
  token: string,
  work: Work
) {
  const found = yield* (yield* Sender).resumable(token)
  if (found._tag === "Resumable") {
    const stream: Stream = { _tag: "Resume", token, toGuid: found.toGuid, toName: found.toName }
    yield* sendStream(settings.job.mode, item, stream, "resumed", work)
    return true
  }
  yield* Effect.logWarning(
    `what ${item.target} has of a stream that was cut cannot go on and is thrown away: ${found.reason}`
  )
  yield* (yield* Receiver).abort(item.target)
  return false
})

const resultOf = (end: End, names: { readonly dataset: string; readonly target: string }): DatasetResult => {
  switch (end._tag) {
    case "UpToDate":
    case "NothingToSend":
      return { _tag: end._tag, ...names }
    case "Diverged":
      return { _tag: "Refused", ...names, reason: end.reason, loss: end.loss }
    case "Blocked":
      return { _tag: "Failed", ...names, error: end.reason }
  }
}

const sent = Effect.fnUntraced(function* (
  names: { readonly dataset: string; readonly target: string },
  work: Work,
  how: How,
  started: number
) {
  const had = new Set(work.before?.map(({ guid }) => guid))
  const result: DatasetResult = {
    _tag: "Sent",
    ...names,
    how,
    snapshots: work.after.filter(({ guid }) => !had.has(guid)).length,
    bytes: work.bytes,
    millis: (yield* Clock.currentTimeMillis) - started,
    rehearsed: (yield* Receiver).rehearsal ?? false
  }
  return result
})

/** Each result in its tier. */
export const tell = (result: DatasetResult) => {
  const text = describe(result)
  switch (result._tag) {
    case "Sent":
      return Effect.logInfo(text)
    case "UpToDate":
      return Effect.logDebug(text)
    case "NothingToSend":
      return Effect.logWarning(text)
    case "Refused":
    case "Failed":
      return Effect.logError(text)
  }
}

const internal = (defect: unknown): string =>
  `internal error: ${defect instanceof Error ? defect.message : String(defect)} (please report)`
