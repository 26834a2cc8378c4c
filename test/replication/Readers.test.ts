import { assert, describe, it } from "@effect/vitest"
import type { Job } from "../../src/config/ReplicationJob.ts"
import { commonWith, newestHeldBy, readersOf } from "../../src/replication/Prune.ts"
import { job } from "../support/replication/replication.ts"
import { snapshot } from "../support/replication/replicationEnds.ts"

const push = (...datasets: Job["datasets"]): Job => ({
  ...job,
  name: datasets.join(" "),
  direction: "push",
  destination: undefined,
  datasets
})

describe("those who read from replicas", () => {
  it("are the pushes of what a pull brings, of what lies above it and below it", () => {
    const jobs = [
      push("backup"),
      push("backup/nas"),
      push("other", "backup/nas/tank/a"),
      push("backup/nas/tan"),
      push("backup/nas/tank2"),
      push("tank"),
      { ...push("backup/nas/tank"), direction: "pull", destination: "x" } as const
    ]
    assert.deepStrictEqual(
      readersOf(job, jobs).map(({ name }) => name),
      ["backup", "backup/nas", "other backup/nas/tank/a"]
    )
  })

  it("are none of this machine's for a push, whose replicas are elsewhere", () => {
    assert.deepStrictEqual(readersOf(push("tank"), [push("tank")]), [])
  })
})

describe("what two ends have in common", () => {
  const [a, b, c] = [snapshot("a", 1n), snapshot("b", 2n), snapshot("c", 3n)]
  const replica = { snapshots: [a, b, c] }

  it("goes by guid, and by bookmarks of the source too", () => {
    const renamed = { ...b, name: "x", createtxg: 9n }
    const bookmark = { name: "k", guid: c.guid, createtxg: 3n }
    assert.deepStrictEqual(commonWith({ snapshots: [renamed], bookmarks: [bookmark] }, replica), [b, c])
  })

  it("is for a reader the newest that it has, whatever else it has", () => {
    const stranger = { ...c, guid: "other" }
    assert.strictEqual(newestHeldBy(replica, { snapshots: [a, { ...b, name: "x" }, stranger] }), b)
    assert.isUndefined(newestHeldBy(replica, { snapshots: [stranger] }))
  })
})
