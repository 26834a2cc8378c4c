import { assert } from "@effect/vitest"
import type { Plan } from "../../../src/replication/Plan.ts"
import type { Snapshot, SourceDataset, TargetDataset } from "../../../src/zfs/Dataset.ts"

// Both ends as a plan sees them.

export const snapshot = (guid: string, name = `s${guid}`, more: Partial<Snapshot> = {}): Snapshot => ({
  name,
  guid,
  createtxg: BigInt(guid),
  creation: 0,
  holds: 0,
  clones: [],
  ...more
})

export const source = (snapshots: ReadonlyArray<Snapshot>, more: Partial<SourceDataset> = {}): SourceDataset => ({
  name: "tank/a",
  kind: "filesystem",
  guid: "100",
  encrypted: false,
  key: undefined,
  snapshots,
  bookmarks: [],
  ...more
})

export const target = (snapshots: ReadonlyArray<Snapshot>, more: Partial<TargetDataset> = {}): TargetDataset => ({
  name: "backup/a",
  kind: "filesystem",
  guid: "200",
  snapshots,
  bookmarks: [],
  written: 0,
  resumeToken: undefined,
  mode: "plain",
  made: false,
  placeholder: false,
  canmount: "off",
  key: undefined,
  ...more
})

export const plain = { mode: "plain", rollback: false } as const
export const allowed = { mode: "plain", rollback: true } as const
export const [s1, s2, s3, t4, t5] = [snapshot("1"), snapshot("2"), snapshot("3"), snapshot("4"), snapshot("5")]

/** The reason of a plan that is of this kind. */
export const reason = (of: Plan, tag: "Blocked" | "Diverged"): string => {
  assert.strictEqual(of._tag, tag)
  return of._tag === "Blocked" || of._tag === "Diverged" ? of.reason : ""
}
