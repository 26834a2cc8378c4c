import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { Loss } from "../domain/replication/Plan.ts"
import type { How } from "../domain/replication/ReplicationResult.ts"
import type { SendMode, Snapshot } from "../domain/replication/State.ts"
import { endOf, type Stream } from "../domain/replication/Stream.ts"
import { Progress } from "../services/Progress.ts"
import { Receiver } from "../services/Receiver.ts"
import { Transfer } from "../services/Transfer.ts"
import type { Item } from "./ReplicationSurvey.ts"

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
  { source, target }: Item,
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
      message: `zfs took the stream of ${inWords(stream)}, but ${target} ${found} and not at guid ${endOf(stream)}: somebody else may be at work on it; look at it before the next run`
    })
  }
  if (received.kind === "filesystem" && received.canmount !== "off") {
    yield* Effect.logWarning(
      `${target} has canmount=${received.canmount ?? "unknown"} and may be mounted over something; on ${receiver.label}: zfs set canmount=off '${target}'`
    )
  }
})
