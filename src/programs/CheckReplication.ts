import * as Effect from "effect/Effect"
import { on } from "../domain/replication/Endpoint.ts"
import type { Job } from "../domain/replication/Job.ts"
import { plan } from "../domain/replication/Plan.ts"
import { count } from "../domain/Units.ts"
import { Receiver } from "../services/Receiver.ts"
import { Sender } from "../services/Sender.ts"
import { Transfer } from "../services/Transfer.ts"
import { type Finding, ok, problem, warning } from "./Finding.ts"
import { missingPermissions } from "./ReplicationPermissions.ts"
import { bareRoots, noSnapshots, remarksOn } from "./ReplicationRemarks.ts"
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
    const { label: receiver } = yield* Receiver
    const refusals = found.items.flatMap(({ source, target }) => {
      const next = plan(source, found.targets.get(target), { mode: job.mode, rollback: false })
      return next._tag === "Diverged" || next._tag === "Blocked"
        ? [`${source.name}: ${on(receiver)}${next.reason}`]
        : []
    })
    const bare = found.items.filter(({ source }) => source.snapshots.length === 0).length
    const findings: Array<Finding> = [
      ok(subjectOf(job), `${job.direction} of ${count(found.items.length, "dataset")} on ${label}`),
      ...found.missing.map((dataset) =>
        problem(subjectOf(job), `there is no dataset ${dataset} on ${label}`)
      ),
      ...lacking.map((line) => problem(subjectOf(job), line)),
      ...[...bareRoots(job, found)].map((root) => problem(subjectOf(job), `${root}: ${noSnapshots}`)),
      ...refusals.map((line) => problem(subjectOf(job), line)),
      ...(yield* remarksOn(job, found)).map(({ text }) => warning(subjectOf(job), text))
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
