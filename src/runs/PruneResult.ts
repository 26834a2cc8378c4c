import * as Schema from "effect/Schema"
import type { Job } from "../config/ReplicationJob.ts"
import { ExitStatus } from "../system/ExitStatus.ts"
import { countField, document, flag, optional, orNull, text, undelivered } from "../text/Document.ts"
import { count, duration } from "../text/Text.ts"
import { jobRun } from "./ReplicationResult.ts"

const dataset = text("its name at the source")
const target = text("name of the replica")
const destroyed = Schema.Array(text("name after the @, oldest first"))

/** What became of one replica. */
export const PruneReplica = Schema.Union(
  Schema.Struct({
    dataset,
    target,
    result: Schema.Literal("pruned", "failed"),
    destroyed,
    kept: countField("snapshots that stay"),
    failed: optional(
      Schema.Array(Schema.Struct({ snapshot: text("name after the @"), error: text("why it could not go") }))
    )
  }),
  Schema.Struct({
    dataset: orNull(dataset),
    target,
    result: Schema.Literal("left_alone"),
    reason: text("why nothing of it was destroyed"),
    destroyed
  }),
  Schema.Struct({
    dataset,
    target,
    result: Schema.Literal("no_replica"),
    reason: text("why there is none"),
    destroyed
  }),
  Schema.Struct({
    dataset,
    target: orNull(target),
    result: Schema.Literal("not_found"),
    error: text("where it was looked for"),
    destroyed
  })
)

/** What `prune --json` prints. */
export const PruneDocument = document({
  dry_run: flag("nothing was destroyed: destroyed are those that a run would destroy"),
  ...jobRun,
  destroyed: countField("snapshots, over all replicas"),
  kept: countField("snapshots that stay"),
  failed: countField("snapshots that should have gone and could not; above 0 the exit status is 1"),
  not_found: countField("datasets that neither end has; above 0 the exit status is 1"),
  undelivered,
  replicas: Schema.Array(PruneReplica)
})
export type PruneDocument = typeof PruneDocument.Type

/** What became of one replica. `dataset` is the source's name; undefined when its source is gone. */
export type ReplicaResult =
  | {
      readonly _tag: "Pruned"
      readonly dataset: string
      readonly target: string
      /** Names after the @, oldest first. */
      readonly destroyed: ReadonlyArray<string>
      readonly kept: number
      /** Those that should have gone and could not. */
      readonly failed: ReadonlyArray<{ readonly snapshot: string; readonly error: string }>
    }
  /** Nothing of it was destroyed, for a reason that is no failure. */
  | {
      readonly _tag: "Spared"
      readonly dataset: string | undefined
      readonly target: string
      readonly reason: string
    }
  /** Its source has snapshots, and there is no replica of it. */
  | { readonly _tag: "NoReplica"; readonly dataset: string; readonly target: string; readonly reason: string }
  /** It is not where it should be, and nobody knows of a reason for that. */
  | {
      readonly _tag: "NotFound"
      readonly dataset: string
      /** Undefined when it has no place. */
      readonly target: string | undefined
      readonly error: string
    }

/** A whole run of prune. */
export interface PruneSummary {
  readonly job: string
  readonly direction: Job["direction"]
  readonly host: string
  readonly run: string
  /** UTC, to the second. */
  readonly startedAt: string
  readonly seconds: number
  readonly results: ReadonlyArray<ReplicaResult>
  /** Nothing was destroyed. */
  readonly rehearsed: boolean
  /** Snapshots, over all replicas. */
  readonly destroyed: number
  readonly kept: number
  /** Snapshots that should have gone and could not. */
  readonly failed: number
  /** Replicas of which nothing was destroyed because nobody can tell what they still need. */
  readonly spared: number
  /** Datasets that have no replica yet. */
  readonly withoutReplica: number
  /** Datasets that were asked for in vain. */
  readonly notFound: number
  /** Why a message about it could not be delivered, once that was tried. */
  readonly undelivered?: string
}

/** Counts of a run's results. */
export const summarize = (options: {
  readonly job: Job
  readonly run: string
  readonly startedAt: string
  readonly seconds: number
  readonly results: ReadonlyArray<ReplicaResult>
  readonly rehearsed: boolean
}): PruneSummary => {
  const { job, results } = options
  const pruned = results.filter((result) => result._tag === "Pruned")
  const tagged = (tag: ReplicaResult["_tag"]) => results.filter(({ _tag }) => _tag === tag).length
  return {
    ...options,
    job: job.name,
    direction: job.direction,
    host: job.remote.host,
    destroyed: pruned.reduce((sum, { destroyed }) => sum + destroyed.length, 0),
    kept: pruned.reduce((sum, { kept }) => sum + kept, 0),
    failed: pruned.reduce((sum, { failed }) => sum + failed.length, 0),
    spared: tagged("Spared"),
    withoutReplica: tagged("NoReplica"),
    notFound: tagged("NotFound")
  }
}

/** `31 destroyed, 54 kept, 0 failed in 3 replicas; 2.1 s`: the last line of a run. */
export const totals = (summary: PruneSummary): string => {
  const pruned = summary.results.filter(({ _tag }) => _tag === "Pruned").length
  const counts = [
    `${summary.destroyed} ${summary.rehearsed ? "would be destroyed" : "destroyed"}`,
    `${summary.kept} kept`,
    `${summary.failed} failed in ${count(pruned, "replica")}`,
    ...(summary.spared > 0 ? [`${count(summary.spared, "replica")} left alone`] : []),
    ...(summary.withoutReplica > 0 ? [`${count(summary.withoutReplica, "dataset")} without a replica`] : []),
    ...(summary.notFound > 0 ? [`${count(summary.notFound, "dataset")} not found`] : [])
  ].join(", ")
  return `${counts}; ${duration(summary.seconds * 1000)}`
}

/** Exit status that the run ends with. */
export const exitStatusOf = (summary: PruneSummary): ExitStatus =>
  summary.failed > 0 || summary.notFound > 0 ? ExitStatus.someFailed : ExitStatus.ok

/** The document of `prune --json`. */
export const documentOf = (summary: PruneSummary, dryRun: boolean): PruneDocument => ({
  version: 1,
  dry_run: dryRun,
  job: summary.job,
  direction: summary.direction,
  host: summary.host,
  run: summary.run,
  started_at_utc: summary.startedAt,
  seconds: Math.max(0, summary.seconds),
  destroyed: summary.destroyed,
  kept: summary.kept,
  failed: summary.failed,
  not_found: summary.notFound,
  ...(summary.undelivered === undefined ? {} : { undelivered: summary.undelivered }),
  replicas: summary.results.map(replicaDocument)
})

const replicaDocument = (result: ReplicaResult): PruneDocument["replicas"][number] => {
  switch (result._tag) {
    case "Spared":
      return {
        dataset: result.dataset ?? null,
        target: result.target,
        result: "left_alone",
        reason: result.reason,
        destroyed: []
      }
    case "NoReplica":
      return {
        dataset: result.dataset,
        target: result.target,
        result: "no_replica",
        reason: result.reason,
        destroyed: []
      }
    case "NotFound":
      return {
        dataset: result.dataset,
        target: result.target ?? null,
        result: "not_found",
        error: result.error,
        destroyed: []
      }
    case "Pruned":
      return {
        dataset: result.dataset,
        target: result.target,
        result: result.failed.length > 0 ? "failed" : "pruned",
        destroyed: result.destroyed,
        kept: result.kept,
        ...(result.failed.length > 0 ? { failed: result.failed } : {})
      }
  }
}
