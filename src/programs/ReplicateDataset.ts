import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Job } from "../domain/replication/Job.ts"
import { type Plan, plan } from "../domain/replication/Plan.ts"
import {
  type DatasetResult,
  describe,
  type End,
  type How,
  resultOf
} from "../domain/replication/ReplicationResult.ts"
import type { SourceDataset, TargetDataset } from "../domain/replication/State.ts"
import { Receiver } from "../services/Receiver.ts"
import { Sender } from "../services/Sender.ts"
import { type Active, act } from "./ReplicateAct.ts"
import { Stuck, type Work } from "./ReplicateStream.ts"
import type { Item } from "./ReplicationSurvey.ts"
import { retryTransient } from "./Retry.ts"

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
    function* (item: Item, listed: TargetDataset | undefined) {
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
        _tag: "Failed",
        ...names,
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
        outcome._tag === "UpToDate" && work.how !== undefined
          ? yield* sent(names, work, work.how, started)
          : outcome
      const { rolledBack } = work
      const result: DatasetResult = rolledBack === undefined ? became : { ...became, rolledBack }
      yield* tell(result)
      return result
    },
    (effect, item) => Effect.annotateLogs(effect, "dataset", item.source.name)
  )

/** Nothing more can be done about the dataset. */
const isSettled = (next: Plan): next is Exclude<Plan, Active> =>
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

/** What --rollback allows is what the first plan listed: a snapshot that somebody makes meanwhile is not part of that. */
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
