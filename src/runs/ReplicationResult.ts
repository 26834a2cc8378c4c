import * as Schema from "effect/Schema"
import type { Job } from "../config/ReplicationJob.ts"
import { ExitStatus } from "../system/ExitStatus.ts"
import {
  countField,
  document,
  flag,
  instant,
  optional,
  orNull,
  seconds,
  secondsOf,
  text,
  undelivered
} from "../text/Document.ts"
import { bytes, count, duration } from "../text/Text.ts"
import type { Snapshot } from "../zfs/Dataset.ts"
import { onEnd } from "../zfs/Endpoint.ts"

/** What the documents of all runs of a replication job have in common. */
export const jobRun = {
  job: text("name of the job; pull-HOST or push-HOST when the command line was the job"),
  direction: Schema.Literal("pull", "push"),
  host: text("the other host"),
  run: text("id of the run, as in the log"),
  started_at_utc: instant("when it began"),
  seconds: seconds("time it took")
}

const dataset = text("its name at the source")
const target = text("name of its replica")
const loss = {
  snapshots: Schema.Array(text("name after the @")),
  bytes: countField("written on the replica since the latest common snapshot")
}
const rolledBack = {
  rolled_back: optional(
    Schema.Struct({ to: orNull(text("the latest common snapshot, name after the @")), ...loss }).annotations({
      description: "what the replica lost because --rollback allowed it"
    })
  )
}
const names = { dataset, target }
const maybeNowhere = { dataset, target: orNull(target) }
const sentBefore = countField("sent before it came to that")

/** What became of one dataset. */
const ReplicationDataset = Schema.Union(
  Schema.Struct({
    ...names,
    result: Schema.Literal("sent"),
    how: Schema.Literal("full", "incremental", "resumed"),
    snapshots: countField("how many the replica has now that it had not"),
    bytes: countField("sent"),
    seconds: seconds("time it took"),
    ...rolledBack
  }),
  Schema.Struct({ ...names, result: Schema.Literal("up_to_date"), ...rolledBack }),
  Schema.Struct({ ...names, result: Schema.Literal("nothing_to_send"), ...rolledBack }),
  Schema.Struct({
    ...names,
    result: Schema.Literal("refused"),
    error: text("why going on would destroy something"),
    bytes: sentBefore,
    would_lose: Schema.Struct(loss),
    ...rolledBack
  }),
  Schema.Struct({
    ...maybeNowhere,
    result: Schema.Literal("failed"),
    error: text("why"),
    bytes: sentBefore,
    ...rolledBack
  })
)

/** What `pull --json` and `push --json` print. */
export const ReplicationDocument = document({
  dry_run: flag("nothing was changed: sent are those that a run would send"),
  ...jobRun,
  sent: countField("datasets of which something was sent"),
  up_to_date: countField("datasets whose replica has everything"),
  nothing_to_send: countField("datasets without a snapshot"),
  refused: countField("datasets left alone so that nothing is destroyed; above 0 the exit status is 4"),
  failed: countField("datasets that failed"),
  bytes: countField("sent, also of datasets that failed after all"),
  undelivered,
  datasets: Schema.Array(ReplicationDataset)
})
export type ReplicationDocument = typeof ReplicationDocument.Type

/** How the first stream of a dataset was made. */
export type How = "full" | "incremental" | "resumed"

/** What became of one dataset. `dataset` is its name at the source, `target` that of its replica. */
export type DatasetResult = Outcome & {
  /** What the replica lost because --rollback allowed it, however it went on from there. */
  readonly rolledBack?: Loss
}

type Outcome =
  | {
      readonly _tag: "Sent"
      readonly dataset: string
      readonly target: string
      readonly how: How
      /** How many snapshots the target has now that it did not have. */
      readonly snapshots: number
      readonly bytes: number
      readonly millis: number
      /** Nothing was sent: a real run would do it. */
      readonly rehearsed: boolean
    }
  | { readonly _tag: "UpToDate"; readonly dataset: string; readonly target: string }
  | { readonly _tag: "NothingToSend"; readonly dataset: string; readonly target: string }
  | {
      /** Going on would destroy something on the target. */
      readonly _tag: "Refused"
      readonly dataset: string
      readonly target: string
      readonly reason: string
      readonly loss: Loss
      /** Sent before it came to that; what stayed at the target of them is there. */
      readonly bytes: number
    }
  | {
      readonly _tag: "Failed"
      readonly dataset: string
      /** Undefined when it never came to that. */
      readonly target: string | undefined
      readonly error: string
      /** Sent before it failed. */
      readonly bytes: number
    }

/** Plans at which work on a dataset ends. */
export type End =
  | { readonly _tag: "UpToDate" | "NothingToSend" }
  | { readonly _tag: "Diverged"; readonly loss: Loss; readonly reason: string }
  | { readonly _tag: "Blocked"; readonly reason: string }

/**
 * What an end of the work comes to. Its reasons speak of the receiving end, which may have the same names as the
 * sending one: they say which machine they mean.
 */
export const resultOf = (
  end: End,
  names: { readonly dataset: string; readonly target: string },
  { bytes: sent, receiver }: { readonly bytes: number; readonly receiver: string }
): DatasetResult => {
  switch (end._tag) {
    case "UpToDate":
    case "NothingToSend":
      return { _tag: end._tag, ...names }
    case "Diverged":
      return { _tag: "Refused", ...names, reason: onEnd(receiver) + end.reason, loss: end.loss, bytes: sent }
    case "Blocked":
      return { _tag: "Failed", ...names, error: onEnd(receiver) + end.reason, bytes: sent }
  }
}

/** A whole run of a replication job. */
export interface ReplicationSummary {
  readonly job: string
  readonly direction: Job["direction"]
  /** The remote host. */
  readonly host: string
  readonly run: string
  /** UTC, to the second. */
  readonly startedAt: string
  readonly seconds: number
  /** In the order in which they were worked on. */
  readonly results: ReadonlyArray<DatasetResult>
  /** What needs a look though nothing of it failed. */
  readonly remarks: ReadonlyArray<string>
  /** Nothing was sent: those that were are those that a real run would send. */
  readonly rehearsed: boolean
  readonly sent: number
  readonly upToDate: number
  readonly nothingToSend: number
  readonly refused: number
  readonly failed: number
  /** Bytes sent, as zfs counts them, also of datasets that failed after all. */
  readonly bytes: number
  /** Why a message about it could not be delivered, once that was tried. */
  readonly undelivered?: string
}

/** Counts and sums of a run's results. */
export const summarize = (options: {
  readonly job: Pick<Job, "name" | "direction" | "remote">
  readonly run: string
  readonly startedAt: string
  readonly seconds: number
  readonly results: ReadonlyArray<DatasetResult>
  readonly remarks?: ReadonlyArray<string>
}): ReplicationSummary => {
  const { job, results } = options
  const tagged = (tag: DatasetResult["_tag"]) => results.filter(({ _tag }) => _tag === tag).length
  const sent = results.filter((result) => result._tag === "Sent")
  return {
    ...options,
    remarks: options.remarks ?? [],
    job: job.name,
    direction: job.direction,
    host: job.remote.host,
    rehearsed: sent.some(({ rehearsed }) => rehearsed),
    sent: sent.length,
    upToDate: tagged("UpToDate"),
    nothingToSend: tagged("NothingToSend"),
    refused: tagged("Refused"),
    failed: tagged("Failed"),
    bytes: results.reduce((sum, result) => sum + ("bytes" in result ? result.bytes : 0), 0)
  }
}

/** What became of one dataset, for the log: `sent 3 snapshots, 1.2 GiB, 12 s (incremental)`. */
export const describe = (result: DatasetResult): string => {
  switch (result._tag) {
    case "Sent": {
      const what = `${count(result.snapshots, "snapshot")}, ${bytes(result.bytes)}`
      return result.rehearsed
        ? `would send ${what} to ${result.target} (${result.how})`
        : `sent ${what} to ${result.target}, ${duration(result.millis)} (${result.how})`
    }
    case "UpToDate":
      return `${result.target} is up to date`
    case "NothingToSend":
      return "it has no snapshot: nothing to send"
    case "Refused":
      return `refused: ${result.reason}`
    case "Failed":
      return result.error
  }
}

/** `2 sent, 11 up to date, 0 refused, 0 failed; 1.2 GiB, 12 s`: the last line of a run. */
export const totals = (summary: ReplicationSummary): string => {
  const counts = [
    `${summary.sent} ${summary.rehearsed ? "would be sent" : "sent"}`,
    `${summary.upToDate} up to date`,
    ...(summary.nothingToSend > 0 ? [`${summary.nothingToSend} without snapshots`] : []),
    `${summary.refused} refused`,
    `${summary.failed} failed`
  ].join(", ")
  const time = duration(summary.seconds * 1000)
  return summary.sent === 0 && summary.bytes === 0
    ? `${counts}; ${time}`
    : `${counts}; ${bytes(summary.bytes)}, ${time}`
}

/** Exit status that the run ends with: a refusal to destroy data weighs more than a failure. */
export const exitStatusOf = (summary: { readonly refused: number; readonly failed: number }): ExitStatus =>
  summary.refused > 0 ? ExitStatus.refused : summary.failed > 0 ? ExitStatus.someFailed : ExitStatus.ok

/** The document of `pull --json` and `push --json`. */
export const documentOf = (summary: ReplicationSummary, dryRun: boolean): ReplicationDocument => ({
  version: 1,
  dry_run: dryRun,
  job: summary.job,
  direction: summary.direction,
  host: summary.host,
  run: summary.run,
  started_at_utc: summary.startedAt,
  seconds: Math.max(0, summary.seconds),
  sent: summary.sent,
  up_to_date: summary.upToDate,
  nothing_to_send: summary.nothingToSend,
  refused: summary.refused,
  failed: summary.failed,
  bytes: summary.bytes,
  ...(summary.undelivered === undefined ? {} : { undelivered: summary.undelivered }),
  datasets: summary.results.map(datasetDocument)
})

const datasetDocument = (result: DatasetResult): ReplicationDocument["datasets"][number] => {
  const { rolledBack } = result
  return {
    ...outcomeDocument(result),
    ...(rolledBack === undefined
      ? {}
      : { rolled_back: { to: rolledBack.back?.name ?? null, ...lossDocument(rolledBack) } })
  }
}

const lossDocument = ({ snapshots, written }: Loss) => ({
  snapshots: snapshots.map(({ name }) => name),
  bytes: written
})

const outcomeDocument = (result: DatasetResult): ReplicationDocument["datasets"][number] => {
  switch (result._tag) {
    case "Sent":
      return {
        ...namesOf(result),
        result: "sent",
        how: result.how,
        snapshots: result.snapshots,
        bytes: result.bytes,
        seconds: secondsOf(result.millis)
      }
    case "UpToDate":
      return { ...namesOf(result), result: "up_to_date" }
    case "NothingToSend":
      return { ...namesOf(result), result: "nothing_to_send" }
    case "Refused":
      return {
        ...namesOf(result),
        result: "refused",
        error: result.reason,
        bytes: result.bytes,
        would_lose: lossDocument(result.loss)
      }
    case "Failed":
      return {
        dataset: result.dataset,
        target: result.target ?? null,
        result: "failed",
        error: result.error,
        bytes: result.bytes
      }
  }
}

const namesOf = ({ dataset, target }: { readonly dataset: string; readonly target: string }) => ({
  dataset,
  target
})

/** What of a target would be destroyed. */
export interface Loss {
  /** The latest common snapshot, by its name on the target, that `--rollback` would go back to; undefined when there is none. */
  readonly back: Snapshot | undefined
  /** Snapshots of the target that the source does not have, oldest first. */
  readonly snapshots: ReadonlyArray<Snapshot>
  /** Bytes written since the newest snapshot. */
  readonly written: number
}
