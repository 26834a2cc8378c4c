import * as Effect from "effect/Effect"
import { ancestorsOf } from "../domain/replication/DatasetName.ts"
import type { Loss, Plan, Rollback } from "../domain/replication/Plan.ts"
import type { SendMode, TargetDataset } from "../domain/replication/State.ts"
import type { Stream } from "../domain/replication/Stream.ts"
import { bytes } from "../domain/Units.ts"
import { Receiver } from "../services/Receiver.ts"
import type { Resumable } from "../services/replication/contract.ts"
import { Sender } from "../services/Sender.ts"
import { Stuck, sendStream, type Work } from "./ReplicateStream.ts"
import type { Item } from "./ReplicationSurvey.ts"

/** Plans that there is something to do about. */
export type Active = Extract<Plan, { readonly _tag: "Full" | "Incremental" | "Resume" }>

/** Carries out a plan; gives whether the target has new snapshots by it. */
export const act = Effect.fnUntraced(function* (
  mode: SendMode,
  item: Item,
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
    if (snapshots.length > 0)
      work.rolledBack = { back: to, snapshots, written: work.rolledBack?.written ?? 0 }
  },
  Effect.catchAll((error) => Effect.logDebug(error.message))
)

const rollBack = Effect.fnUntraced(function* (target: string, rollback: Rollback) {
  const { destroys, to, written } = rollback
  const lost = [
    ...destroys.map(({ name }) => `@${name}`),
    ...(written > 0 ? [`${bytes(written)} written since`] : [])
  ]
  // In the tier that --quiet does not hide: without a configuration there is no log, and this is all that is left of them.
  yield* Effect.logError(`${target} is to go back to @${to.name} (--rollback) and to lose ${lost.join(", ")}`)
  yield* (yield* Receiver).rollback(target, rollback)
})

/** The rest of a stream that was cut; when its snapshot is gone, what was received of it is no use any more. */
const resume = Effect.fnUntraced(function* (
  mode: SendMode,
  item: Item,
  { force, token }: Extract<Plan, { readonly _tag: "Resume" }>,
  work: Work
) {
  const found = yield* (yield* Sender).resumable(token)
  if (found._tag === "Resumable") {
    const what = strangeHalf(mode, item, found)
    if (what !== undefined) {
      return yield* new Stuck({
        message: `${item.target} has ${what}; on ${(yield* Receiver).label}, if nobody wants that one any more: zfs receive -A '${item.target}'`
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
 * A token says what is sent and how, whoever asks. The half may be one of another dataset, sent here by mistake, or
 * somebody else's of this one, whose rest would tell the other end in the clear what was to stay encrypted.
 */
const strangeHalf = (
  mode: SendMode,
  { source }: Item,
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
