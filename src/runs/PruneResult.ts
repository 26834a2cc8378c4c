import { sumAll } from "effect/Number"
import * as Schema from "effect/Schema"
import type { Job } from "../config/ReplicationJob.ts"
import { ExitStatus } from "../system/ExitStatus.ts"
import { countField, document, errors, flag, optional, orNull, text, undelivered } from "../text/Document.ts"
import { count, duration } from "../text/Text.ts"
import { jobRun, namesOfJob } from "./ReplicationResult.ts"

const dataset = text("its name at the source")
const target = text("name of the replica")
const destroyed = Schema.Array(text("name after the @, oldest first"))

const PruneReplica = Schema.Union(
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

export const PruneDocument = document({
  dry_run: flag("nothing was destroyed: destroyed are those that a run would destroy"),
  ...jobRun,
  destroyed: countField("snapshots, over all replicas"),
  kept: countField("snapshots that stay"),
  failed: countField("snapshots that should have gone and could not; above 0 the exit status is 1"),
  not_found: countField("datasets that neither end has; above 0 the exit status is 1"),
  errors,
  undelivered,
  replicas: Schema.Array(PruneReplica)
})
export type PruneDocument = typeof PruneDocument.Type

export type ReplicaResult = typeof PruneReplica.Type

export const summarize = ({
  job,
  ...run
}: Pick<PruneDocument, "dry_run" | "run" | "started_at_utc" | "seconds" | "replicas" | "errors"> & {
  readonly job: Job
}): PruneDocument => {
  const pruned = prunedOf(run.replicas)
  return {
    version: 1,
    ...namesOfJob(job),
    ...run,
    seconds: Math.max(0, run.seconds),
    destroyed: sumAll(pruned.map(({ destroyed }) => destroyed.length)),
    kept: sumAll(pruned.map(({ kept }) => kept)),
    failed: sumAll(pruned.map(({ failed = [] }) => failed.length)),
    not_found: run.replicas.filter(({ result }) => result === "not_found").length
  }
}

const prunedOf = (replicas: ReadonlyArray<ReplicaResult>) =>
  replicas.flatMap((replica) => (replica.result === "pruned" || replica.result === "failed" ? [replica] : []))

/** `31 destroyed, 54 kept, 0 failed in 3 replicas; 2.1 s`: the last line of a run. */
export const totals = (summary: PruneDocument): string => {
  const counted = (which: ReplicaResult["result"]) => summary.replicas.filter(({ result }) => result === which).length
  const spared = counted("left_alone")
  const without = counted("no_replica")
  const counts = [
    `${summary.destroyed} ${summary.dry_run ? "would be destroyed" : "destroyed"}`,
    `${summary.kept} kept`,
    `${summary.failed} failed in ${count(prunedOf(summary.replicas).length, "replica")}`,
    ...(spared > 0 ? [`${count(spared, "replica")} left alone`] : []),
    ...(without > 0 ? [`${count(without, "dataset")} without a replica`] : []),
    ...(summary.not_found > 0 ? [`${count(summary.not_found, "dataset")} not found`] : [])
  ].join(", ")
  return `${counts}; ${duration(summary.seconds * 1000)}`
}

export const exitStatusOf = (summary: PruneDocument): ExitStatus =>
  summary.failed > 0 || summary.not_found > 0 ? ExitStatus.someFailed : ExitStatus.ok
