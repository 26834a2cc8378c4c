import type { PruneDocument } from "../documents/Prune.ts"
import { ExitStatus } from "../ExitStatus.ts"
import { count, duration } from "../Units.ts"
import type { Job } from "./Job.ts"

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
