import { secondsOf } from "../documents/Fields.ts"
import type { ReplicationDocument } from "../documents/Replication.ts"
import { ExitStatus } from "../ExitStatus.ts"
import { bytes, count, duration } from "../Units.ts"
import { on } from "./Endpoint.ts"
import type { Job } from "./Job.ts"
import type { Loss, Plan } from "./Plan.ts"

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
  | Extract<Plan, { readonly _tag: "Diverged" | "Blocked" }>

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
      return { _tag: "Refused", ...names, reason: on(receiver) + end.reason, loss: end.loss, bytes: sent }
    case "Blocked":
      return { _tag: "Failed", ...names, error: on(receiver) + end.reason, bytes: sent }
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
