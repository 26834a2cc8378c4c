import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type JobKey, jobFileName } from "../../src/config/ReplicationJob.ts"
import { page } from "../../src/report/Page.ts"
import { reportOf } from "../../src/report/Report.ts"
import { JobStates, type ReplicationJobState } from "../../src/runs/JobState.ts"
import { render as metricsOf } from "../../src/runs/Metrics.ts"
import type { VerifyReplicasDocument } from "../../src/runs/VerifyReplicasResult.ts"
import { replicationStatus } from "../../src/status/Status.ts"
import { statusDocument } from "../../src/status/StatusDocument.ts"
import { render, replicas, replicasSummary } from "../../src/status/StatusText.ts"
import { Disk } from "../../src/system/Disk.ts"
import { capturedLog, temporaryFolder } from "../support/program/log.ts"

const at = "2026-11-20T12:00:00Z"
const now = Date.parse("2026-11-22T12:00:00Z")
const key: JobKey = { kind: "replication", name: "nas" }

const found: VerifyReplicasDocument = {
  version: 1,
  job: "nas",
  direction: "pull",
  host: "nas",
  run: "ab12cd",
  started_at_utc: at,
  seconds: 3,
  read: true,
  good: 1,
  bad: 1,
  unknown: 0,
  bytes: 4096,
  replicas: [
    { dataset: "tank/a", target: "backup/a", result: "good", findings: [], last_read: { at_utc: at, bytes: 4096 } },
    { dataset: "tank/b", target: "backup/b", result: "bad", findings: ["lags: it ends at @1"] }
  ],
  pools: [{ pool: "backup", findings: ["the pool backup is DEGRADED"] }]
}

const state: ReplicationJobState = {
  version: 1,
  kind: "replication",
  job: "nas",
  direction: "pull",
  host: "nas",
  last_run: { run: "r", started_at_utc: at, seconds: 1, outcome: "ok", bytes: 0, failures: 0 },
  datasets: ["a", "b"].map((name) => ({
    ...{ dataset: `tank/${name}`, target: `backup/${name}`, result: "up_to_date" as const },
    ...{ last_success_utc: at, last_attempt_utc: at }
  }))
}

describe("what verify found of replicas", () => {
  it("is in the status, which is not all well then", () => {
    const job = { name: "nas", direction: "pull", host: "nas", datasets: ["tank"] } as const
    const statusOf = (verified?: VerifyReplicasDocument) => ({
      now,
      maxAge: undefined,
      archive: undefined,
      replications: [
        replicationStatus({ now, maxAge: undefined }, job, {
          ...{ state, verified, activity: { _tag: "Idle" }, undelivered: [] }
        })
      ]
    })
    const status = statusOf(found)
    const document = statusDocument(status, at)
    assert.strictEqual(document.bad_replicas, 2)
    assert.deepStrictEqual(
      document.replication[0]?.datasets.map(({ verified }) => verified),
      [
        { at_utc: at, read_utc: at, problem: null },
        { at_utc: at, read_utc: null, problem: "lags: it ends at @1" }
      ]
    )
    const text = render(status, { width: 200, ellipsis: "…" }).map((line) => line.text)
    assert.match(text[0] ?? "", /nothing failed in it$/)
    assert.match(
      text.join("\n"),
      /DATASET .* VERIFIED +SENT +RESULT\n.* 2 d +- +up to date\n.* 2 d +- +NOT GOOD, up to date/
    )
    assert.include(text, "backup/b: verify found: lags: it ends at @1")
    assert.deepStrictEqual(replicas(status)[1], "pool backup: verify found: the pool backup is DEGRADED")
    assert.strictEqual(replicasSummary(status), "2 replicas or pools are not good, as verify found")
    const never = statusOf()
    assert.match(render(never, { width: 200, ellipsis: "…" })[0]?.text ?? "", /all well$/)
    assert.notInclude(
      render(never, { width: 200, ellipsis: "…" })
        .map((line) => line.text)
        .join(),
      "VERIFIED"
    )
  })

  it("is in the metrics", () => {
    const lines = metricsOf([state], new Map(), [undefined, found]).split("\n")
    assert.include(lines, 'zipper_last_verify_failed{job="nas",dataset="tank/a"} 0')
    assert.include(lines, 'zipper_last_verify_failed{job="nas",dataset="tank/b"} 1')
    assert.include(lines, 'zipper_last_verify_failed{job="nas",pool="backup"} 1')
    assert.include(lines, `zipper_last_verified_timestamp_seconds{job="nas",dataset="tank/a"} ${Date.parse(at) / 1000}`)
  })

  it("needs a look in the report", () => {
    const report = reportOf(
      { runs: [], unreadable: 0 },
      {
        ...{ host: "nas", now, days: 90, archives: 0, jobs: [{ key, state, begun: undefined }] },
        found: { lost: [], verified: new Map(), undelivered: [], replicas: [found] }
      }
    )
    const texts = report.problems.map(({ subject, text }) => `${subject}: ${text}`)
    assert.include(texts, "backup/b (nas): verify found: lags: it ends at @1")
    assert.include(texts, "pool backup (nas): verify found: the pool backup is DEGRADED")
    assert.match(page(report, { script: undefined, style: "", policy: "" }), /not good/)
  })

  it.scoped("is kept in the state folder; a file that cannot be understood is set aside with a warning", () =>
    Effect.gen(function* () {
      const dir = path.join(yield* temporaryFolder, "state")
      const asidePath = (job: JobKey, what: string) => `${dir}.${jobFileName(job)}.${what}`
      const layer = JobStates.layer({ dir, inTarget: false, asidePath })
      const states = yield* JobStates.pipe(Effect.provide(layer), Effect.provide(Disk.layer))
      assert.isUndefined(yield* states.verifiedReplicas(key))
      yield* states.saveVerifiedReplicas(key, found)
      assert.deepStrictEqual(yield* states.verifiedReplicas(key), found)
      fs.writeFileSync(path.join(dir, "standing", "replication-nas.verified"), "{")
      const log = capturedLog()
      assert.isUndefined(yield* states.verifiedReplicas(key).pipe(Effect.provide(log.layer)))
      assert.match(log.lines.join(), /replication-nas\.verified cannot be understood/)
    })
  )
})
