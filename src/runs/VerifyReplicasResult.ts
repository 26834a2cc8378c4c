import { sumAll } from "effect/Number"
import * as Schema from "effect/Schema"
import type { Job } from "../config/ReplicationJob.ts"
import { ExitStatus } from "../system/ExitStatus.ts"
import { countField, document, flag, instant, optional, orNull, text, undelivered } from "../text/Document.ts"
import { bytes, count, duration } from "../text/Text.ts"
import { jobRun, namesOfJob } from "./ReplicationResult.ts"

const findings = (what: string) =>
  Schema.Array(text(what)).annotations({ description: "all that is wrong, if anything" })

const LastRead = Schema.Struct({
  at_utc: instant("when"),
  bytes: countField("of its newest snapshot, as they are on the disk"),
  problem: optional(text("why not all of it could be read"))
})

const ReplicaVerdict = Schema.Struct({
  dataset: text("its name at the source"),
  target: orNull(text("name of its replica")),
  result: Schema.Literal("good", "bad", "unknown", "orphan", "none").annotations({
    description:
      "unknown: nothing is wrong with the replica, and its source could not be asked; orphan: the source is gone; none: no replica is to be there yet"
  }),
  findings: findings("what is wrong with the replica"),
  last_read: optional(LastRead).annotations({ description: "the last time that verify --read read it" })
})
export type ReplicaVerdict = typeof ReplicaVerdict.Type

const PoolVerdict = Schema.Struct({
  pool: text("a pool that replicas are in"),
  findings: findings("what is wrong with the pool"),
  remark: optional(text("why it is not known that all of its blocks can be read; no failure"))
})
export type PoolVerdict = typeof PoolVerdict.Type

/** What `verify --job` prints, and `standing/JOB.verified` in the state folder holds. */
export const VerifyReplicasDocument = document({
  ...jobRun,
  read: flag("every block of the newest snapshots was read (--read)"),
  good: countField("replicas with which nothing is wrong"),
  bad: countField("replicas with which something is; above 0 the exit status is 1, as with a pool that has findings"),
  unknown: countField("replicas whose source could not be asked; above 0 the exit status is 1"),
  bytes: countField("read"),
  source_error: optional(text("why the source could not be asked")),
  undelivered,
  replicas: Schema.Array(ReplicaVerdict),
  pools: Schema.Array(PoolVerdict)
})
export type VerifyReplicasDocument = typeof VerifyReplicasDocument.Type

export const summarize = ({
  job,
  ...run
}: Pick<VerifyReplicasDocument, "run" | "started_at_utc" | "seconds" | "read" | "replicas" | "pools"> &
  Pick<VerifyReplicasDocument, "source_error"> & { readonly job: Job }): VerifyReplicasDocument => {
  const counted = (which: ReplicaVerdict["result"]) => run.replicas.filter(({ result }) => result === which).length
  const read = run.replicas.flatMap(({ last_read: last }) => (last?.at_utc === run.started_at_utc ? [last.bytes] : []))
  return {
    version: 1,
    ...namesOfJob(job),
    ...run,
    good: counted("good"),
    bad: counted("bad"),
    unknown: counted("unknown"),
    bytes: sumAll(read)
  }
}

/** All that is not good: replicas, pools, and a source that could not be asked. */
export const failuresOf = ({ job, pools, replicas, source_error }: VerifyReplicasDocument) => [
  ...(source_error === undefined ? [] : [{ name: `source of ${job}`, reason: source_error }]),
  ...[
    ...replicas.map(({ dataset, findings, target }) => ({ name: target ?? dataset, findings })),
    ...pools.map(({ findings, pool }) => ({ name: `pool ${pool}`, findings }))
  ].flatMap(({ findings, name }) => (findings.length === 0 ? [] : [{ name, reason: findings.join("; ") }]))
]

/** `3 good, 1 bad; 5.2 GiB read in 34 s`. */
export const totals = (summary: VerifyReplicasDocument): string => {
  const { bad, good, pools, read, replicas, unknown } = summary
  const counted = (which: ReplicaVerdict["result"]) => replicas.filter(({ result }) => result === which).length
  const sick = pools.filter(({ findings }) => findings.length > 0).length
  const parts = [
    `${good} good`,
    `${bad} bad`,
    ...(unknown > 0 ? [`${unknown} unknown`] : []),
    ...(counted("orphan") > 0 ? [`${counted("orphan")} without a source`] : []),
    ...(counted("none") > 0 ? [`${counted("none")} not there yet`] : []),
    ...(sick > 0 ? [`${count(sick, "pool")} to look at`] : [])
  ]
  const time = duration(summary.seconds * 1000)
  return `${parts.join(", ")}; ${read ? `${bytes(summary.bytes)} read in ${time}` : time}`
}

export const exitStatusOf = (summary: VerifyReplicasDocument): ExitStatus =>
  failuresOf(summary).length > 0 ? ExitStatus.someFailed : ExitStatus.ok
