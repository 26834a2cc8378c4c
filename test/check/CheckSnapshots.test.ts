import { mkdirSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { checkSnapshots } from "../../src/check/CheckSnapshots.ts"
import type { Cursor } from "../../src/store/Records.ts"
import { Disk } from "../../src/system/Disk.ts"
import { encodeMark } from "../../src/zfs/SnapshotPrune.ts"
import { emptyStore, memoryStore } from "../doubles/Store.ts"
import { makeZfsMemory, memoryZfs } from "../doubles/Zfs.ts"
import { temporaryFolder } from "../support/program/log.ts"

const source_path = "/mnt/tank/data"
const source = { path: source_path, dataset: "tank/data", datasets: ["tank/data"] }

interface Other {
  readonly cursor?: Cursor
  readonly job?: string
  readonly name?: string
}

/** What check says of one snapshot that another id than that of the job is in, or another prefix. */
const said = Effect.fnUntraced(function* (
  target_path: string,
  markedTarget: string,
  { cursor, job = "0123456789abcdef", name = "auto-zip-20250101120000" }: Other = {}
) {
  const mark = encodeMark({
    host: "nas",
    pid: 1,
    start: "s",
    run: "r",
    job,
    layout: "l",
    target: markedTarget
  })
  const snapshot = { name: `tank/data@${name}`, guid: "1", createtxg: 1n, creation: 0, mark }
  const marked = [{ ...snapshot, holds: 0, clones: [] }]
  const store = yield* Ref.make({ ...emptyStore, cursor })
  const config = { source_path, target_path, snapshot_prefix: "auto-zip" }
  const findings = yield* checkSnapshots(config, source).pipe(
    Effect.provide(Layer.mergeAll(memoryZfs(makeZfsMemory(source_path, { marked })), memoryStore(store), Disk.layer))
  )
  return findings.map(({ detail }) => detail).join("\n")
})

describe("snapshots of a job that is not found", () => {
  it.scoped("are those of this job as well, as long as its target may only not be mounted", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const target = `${root}/target`
      assert.strictEqual(yield* said(target, target), "")
      mkdirSync(target)
      assert.strictEqual(yield* said(target, target), "")
      // Its state is there, and names another job.
      mkdirSync(`${target}/.zipper`)
      assert.include(yield* said(target, target), "zfs destroy tank/data@auto-zip-20250101120000")
      assert.include(yield* said(target, `${root}/other`), "no run destroys them")
      writeFileSync(`${target}/.zipper/job.json`, "{")
      assert.strictEqual(yield* said(target, target), "")
    })
  )
})

describe("snapshots of this job under another prefix", () => {
  const other = { job: "memory", name: "former-20250101120000" }
  const kept = (guid: string): Cursor => ({
    version: 1,
    source_path,
    base: { name: "auto-zip-20250201120000", guids: { "tank/data": "2" } },
    kept: [{ name: "former-20250101120000", guids: { "tank/data": guid } }],
    archives: {},
    run: "r",
    advanced_at_utc: "2025-02-01T12:00:00Z"
  })

  it.effect("are named, unless the cursor still keeps them", () =>
    Effect.gen(function* () {
      const target = "/mnt/safe/archives"
      assert.strictEqual(yield* said(target, target, { job: "memory" }), "")
      const stray =
        "1 of tank/data were taken by this job when snapshot_prefix was not auto-zip, and no run destroys them. If no other configuration or host archives tank/data: zfs destroy tank/data@former-20250101120000"
      assert.strictEqual(yield* said(target, target, other), stray)
      assert.strictEqual(yield* said(target, target, { ...other, cursor: kept("7") }), stray)
      assert.strictEqual(yield* said(target, target, { ...other, cursor: kept("1") }), "")
    })
  )
})
