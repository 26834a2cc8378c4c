import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import {
  type DatasetResult,
  describe as inWords,
  ReplicationDocument,
  type ReplicationSummary,
  resultOf,
  summarize,
  totals
} from "../../src/runs/ReplicationResult.ts"
import { job } from "../support/replication/replication.ts"

const names = { dataset: "tank/data", target: "tank/data" }
const refusal = {
  _tag: "Diverged",
  reason: "move it out of the way (there: zfs rename 'tank/data' 'tank/data-old')",
  loss: { back: undefined, snapshots: [], written: 1 }
} as const

const documentOf = (summary: ReplicationSummary) =>
  Schema.encodeSync(ReplicationDocument)({ ...summary, dry_run: false })

const summaryOf = (...datasets: ReadonlyArray<DatasetResult>) =>
  summarize({ job, run: "ab12cd", started_at_utc: "2025-01-01T00:00:00Z", seconds: 1, datasets })

describe("what work on a dataset comes to", () => {
  it("names the other machine when what is to be done is to be done there", () => {
    const there = { bytes: 0, receiver: "backup@nas" }
    const refused = resultOf(refusal, names, there)
    assert.strictEqual(inWords(refused), `refused: on backup@nas: ${refusal.reason}`)
    const blocked = resultOf({ _tag: "Blocked", reason: "it is held" }, names, there)
    assert.strictEqual(inWords(blocked), "on backup@nas: it is held")
    assert.deepStrictEqual(
      documentOf(summaryOf(refused, blocked)).datasets.map((each) => "error" in each && each.error),
      [`on backup@nas: ${refusal.reason}`, "on backup@nas: it is held"]
    )
    assert.strictEqual(
      inWords(resultOf(refusal, names, { bytes: 0, receiver: "this host" })),
      `refused: ${refusal.reason}`
    )
  })

  it("counts the bytes of what failed or was refused after all", () => {
    const failed: DatasetResult = { ...names, result: "failed", error: "no", bytes: 1024 }
    const refused = resultOf(refusal, names, { bytes: 1024, receiver: "nas" })
    const summary = summaryOf(failed, refused)
    assert.strictEqual(totals(summary), "0 sent, 0 up to date, 1 refused, 1 failed; 2.0 KiB, 1.0 s")
    const document = documentOf(summary)
    assert.strictEqual(document.bytes, 2048)
    assert.deepStrictEqual(
      document.datasets.map((each) => "bytes" in each && each.bytes),
      [1024, 1024]
    )
    const none = summaryOf({ ...failed, bytes: 0 })
    assert.strictEqual(totals(none), "0 sent, 0 up to date, 0 refused, 1 failed; 1.0 s")
  })
})
