import { sumAll } from "effect/Number"
import * as Schema from "effect/Schema"
import type { Job } from "../config/ReplicationJob.ts"
import { ExitStatus } from "../system/ExitStatus.ts"
import {
  countField,
  document,
  errors,
  flag,
  instant,
  optional,
  orNull,
  seconds,
  text,
  undelivered
} from "../text/Document.ts"
import { bytes, count, duration } from "../text/Text.ts"
import type { Snapshot } from "../zfs/Dataset.ts"
import { onEnd } from "../zfs/Endpoint.ts"

export const jobRun = {
  job: text("name of the job; pull-HOST or push-HOST when the command line was the job"),
  direction: Schema.Literal("pull", "push"),
  host: text("the other host"),
  run: text("id of the run, as in the log"),
  started_at_utc: instant("when it began"),
  seconds: seconds("time it took")
}

export const namesOfJob = ({ direction, name, remote }: Pick<Job, "name" | "direction" | "remote">) => ({
  job: name,
  direction,
  host: remote.host
})

const target = text("name of its replica")
const loss = {
  snapshots: Schema.Array(text("name after the @")),
  bytes: countField("written on the replica since the latest common snapshot")
}
const rolledBack = {
  rolled_back: optional(
    Schema.Struct({ to: orNull(text("the snapshot that it went back to, name after the @")), ...loss }).annotations({
      description: "what the replica lost because --rollback allowed it"
    })
  )
}
const names = { dataset: text("its name at the source"), target }
const sentBefore = countField("sent before it came to that")

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
    ...names,
    target: orNull(target),
    result: Schema.Literal("failed"),
    error: text("why"),
    bytes: sentBefore,
    ...rolledBack
  })
)

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
  errors,
  datasets: Schema.Array(ReplicationDataset)
})
export type ReplicationDocument = typeof ReplicationDocument.Type

/** One dataset. `dry_run`: nothing was sent, and a real run would send it. */
export type DatasetResult =
  | (DatasetDocument & { readonly result: "sent"; readonly dry_run: boolean })
  | Exclude<DatasetDocument, { readonly result: "sent" }>

type DatasetDocument = ReplicationDocument["datasets"][number]

export type How = Extract<DatasetDocument, { readonly result: "sent" }>["how"]

/** A whole run of a replication job. The caller adds whether it is a dry run. */
export interface ReplicationSummary extends Omit<ReplicationDocument, "dry_run" | "datasets"> {
  readonly datasets: ReadonlyArray<DatasetResult>
  /** What needs attention even if nothing failed. */
  readonly remarks: ReadonlyArray<string>
}

export const summarize = ({
  job,
  remarks = [],
  ...run
}: Pick<ReplicationSummary, "run" | "started_at_utc" | "seconds" | "datasets" | "errors"> & {
  readonly job: Pick<Job, "name" | "direction" | "remote">
  readonly remarks?: ReadonlyArray<string>
}): ReplicationSummary => {
  const { datasets } = run
  const counted = (which: DatasetResult["result"]) => datasets.filter(({ result }) => result === which).length
  return {
    version: 1,
    ...namesOfJob(job),
    ...run,
    seconds: Math.max(0, run.seconds),
    sent: counted("sent"),
    up_to_date: counted("up_to_date"),
    nothing_to_send: counted("nothing_to_send"),
    refused: counted("refused"),
    failed: counted("failed"),
    bytes: sumAll(datasets.map((result) => ("bytes" in result ? result.bytes : 0))),
    remarks
  }
}

/** Plans at which work on a dataset ends. */
export type End =
  | { readonly _tag: "UpToDate" | "NothingToSend" }
  | { readonly _tag: "Diverged"; readonly loss: Loss; readonly reason: string }
  | { readonly _tag: "Blocked"; readonly reason: string }

/** The result of an end. Both ends may have the same names, so its reasons name the machine of the receiver. */
export const resultOf = (
  end: End,
  names: { readonly dataset: string; readonly target: string },
  { bytes: sent, receiver }: { readonly bytes: number; readonly receiver: string }
): DatasetResult => {
  switch (end._tag) {
    case "UpToDate":
      return { ...names, result: "up_to_date" }
    case "NothingToSend":
      return { ...names, result: "nothing_to_send" }
    case "Diverged":
    case "Blocked": {
      const failure = { ...names, error: onEnd(receiver) + end.reason, bytes: sent }
      return end._tag === "Blocked"
        ? { ...failure, result: "failed" }
        : { ...failure, result: "refused", would_lose: lossOf(end.loss) }
    }
  }
}

export const rolledBackOf = (loss: Loss) => ({ to: loss.back?.name ?? null, ...lossOf(loss) })

const lossOf = ({ snapshots, written }: Loss) => ({
  snapshots: snapshots.map(({ name }) => name),
  bytes: written
})

/** For the log: `sent 3 snapshots, 1.2 GiB, 12 s (incremental)`. */
export const describe = (result: DatasetResult): string => {
  switch (result.result) {
    case "sent": {
      const what = `${count(result.snapshots, "snapshot")}, ${bytes(result.bytes)}`
      return result.dry_run
        ? `would send ${what} to ${result.target} (${result.how})`
        : `sent ${what} to ${result.target}, ${duration(result.seconds * 1000)} (${result.how})`
    }
    case "up_to_date":
      return `${result.target} is up to date`
    case "nothing_to_send":
      return "it has no snapshot: nothing to send"
    case "refused":
      return `refused: ${result.error}`
    case "failed":
      return result.error
  }
}

/** `2 sent, 11 up to date, 0 refused, 0 failed; 1.2 GiB, 12 s`: the last line of a run. */
export const totals = (summary: ReplicationSummary): string => {
  const dryRun = summary.datasets.some((result) => result.result === "sent" && result.dry_run)
  const counts = [
    `${summary.sent} ${dryRun ? "would be sent" : "sent"}`,
    `${summary.up_to_date} up to date`,
    ...(summary.nothing_to_send > 0 ? [`${summary.nothing_to_send} without snapshots`] : []),
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

export interface Loss {
  /** Where `--rollback` goes back to: the latest common snapshot, or one after it in which nothing changed. */
  readonly back: Snapshot | undefined
  /** Those that only the target has, oldest first. */
  readonly snapshots: ReadonlyArray<Snapshot>
  readonly written: number
}
