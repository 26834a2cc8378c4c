import * as Effect from "effect/Effect"
import type { Job } from "../domain/replication/Job.ts"
import { count } from "../domain/Units.ts"
import { Sender } from "../services/Sender.ts"
import { Transfer } from "../services/Transfer.ts"
import { type Finding, ok, problem, warning } from "./Finding.ts"
import { missingPermissions } from "./ReplicationPermissions.ts"
import { survey } from "./ReplicationSurvey.ts"

/**
 * Looks at what a replication job depends on and changes nothing: both hosts, datasets, places, rights, programs. Never
 * fails: a problem is a finding.
 */
export const checkReplication = Effect.fn("CheckReplication")(
  function* (job: Job) {
    const { label } = yield* Sender
    const found = yield* survey(job, 0)
    const lacking = yield* missingPermissions(found, false)
    yield* (yield* Transfer).tools
    const bare = found.items.filter(({ source }) => source.snapshots.length === 0).length
    const findings: Array<Finding> = [
      ok(subjectOf(job), `${job.direction} of ${count(found.items.length, "dataset")} on ${label}`),
      ...found.missing.map((dataset) =>
        problem(subjectOf(job), `there is no dataset ${dataset} on ${label}`)
      ),
      ...lacking.map((line) => problem(subjectOf(job), line))
    ]
    if (bare > 0)
      findings.push(
        warning(subjectOf(job), `${count(bare, "dataset")} without a snapshot: nothing of it is sent`)
      )
    return findings
  },
  (effect, job) =>
    Effect.catchAll(effect, (error) => Effect.succeed([problem(subjectOf(job), error.message)]))
)

const subjectOf = ({ name }: Job): string => `replication ${name}`
