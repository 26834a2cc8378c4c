import { mkdirSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { checkSnapshots } from "../../src/check/Check.ts"
import { Disk } from "../../src/system/Disk.ts"
import { encode } from "../../src/zfs/SnapshotPrune.ts"
import { emptyStore, memoryStore } from "../doubles/Store.ts"
import { makeZfsMemory, memoryZfs } from "../doubles/Zfs.ts"
import { temporaryFolder } from "../support/program/log.ts"

const source_path = "/mnt/tank/data"
const source = { path: source_path, dataset: "tank/data", datasets: ["tank/data"] }

/** What check says of one snapshot that another id than that of the job is in. */
const said = Effect.fnUntraced(function* (target_path: string, markedTarget: string) {
  const mark = encode({
    host: "nas",
    pid: 1,
    start: "s",
    run: "r",
    job: "0123456789abcdef",
    layout: "l",
    target: markedTarget
  })
  const snapshot = { name: "tank/data@auto-zip-20250101120000", guid: "1", createtxg: 1n, creation: 0, mark }
  const marked = [{ ...snapshot, holds: 0, clones: [] }]
  const store = yield* Ref.make(emptyStore)
  const findings = yield* checkSnapshots({ source_path, target_path }, source).pipe(
    Effect.provide(
      Layer.mergeAll(memoryZfs(makeZfsMemory(source_path, { marked })), memoryStore(store), Disk.layer)
    )
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
