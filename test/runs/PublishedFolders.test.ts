import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { findFlaws, lostArchives } from "../../src/runs/PublishedFolders.ts"
import { PublishedArchives } from "../../src/store/PublishedArchive.ts"
import { type MemoryJobStates, memoryJobStates, noJobStates } from "../doubles/JobStates.ts"
import { capturedLog } from "../support/program/log.ts"
import * as DiskFaults from "../support/store/diskFaults.ts"
import { archive, folderName, scopedPlace, storeOn } from "../support/store/storeKit.ts"

describe("flaws of archives", () => {
  it.scoped("are not ruled out where a folder cannot be looked at", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(Effect.provide(storeOn(place)))
      const disk = DiskFaults.layer({
        before: ({ name, path }) => (name === "stat" && path.endsWith("/metadata.prev.json") ? "EIO" : undefined)
      })
      const looked = (layer: typeof disk) =>
        findFlaws().pipe(Effect.provide(PublishedArchives.layer(place.targetPath).pipe(Layer.provide(layer))))
      const { flaws, unread } = yield* looked(disk)
      assert.deepStrictEqual(flaws, [])
      assert.match(unread.join(), /^cannot look at the archives of ABCD: .*EIO/)
      assert.deepStrictEqual(yield* looked(DiskFaults.layer({})), { flaws: [], unread: [] })
    })
  )
})

describe("lost archives", () => {
  it.scoped("are looked for with what can be read; the rest is given as unread", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(Effect.provide(storeOn(place)))
      const log = capturedLog()
      const disk = DiskFaults.layer({
        before: ({ name, path }) => (name === "list" && path.endsWith("/index") ? "EIO" : undefined)
      })
      const job = {
        version: 1 as const,
        kind: "archive" as const,
        last_run: {
          run: "r",
          started_at_utc: "2025-01-01T12:00:00Z",
          seconds: 1,
          outcome: "ok" as const,
          bytes: 0,
          failures: 0
        },
        folders: [
          {
            folder: folderName("LOST"),
            result: "archived" as const,
            last_attempt_utc: "2025-01-01T12:00:00Z",
            files: 1
          }
        ]
      }
      const states = yield* Ref.make<MemoryJobStates>({ ...noJobStates, states: new Map([["archive", job]]) })
      const { lost, unread } = yield* lostArchives.pipe(
        Effect.provide(
          Layer.mergeAll(
            PublishedArchives.layer(place.targetPath).pipe(Layer.provide(disk)),
            memoryJobStates(states),
            log.layer
          )
        )
      )
      assert.deepStrictEqual(lost, [folderName("LOST")])
      assert.strictEqual(unread.length, 1)
      assert.match(unread[0] ?? "", /^a folder that lost all its archives may go unnoticed: .*EIO/)
      // The caller shows it, once.
      assert.deepStrictEqual(log.lines, [])
    })
  )
})
