import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Ref from "effect/Ref"
import { Store } from "../../src/store/Store.ts"
import { StoreError } from "../../src/store/StoreError.ts"
import { Disk } from "../../src/system/Disk.ts"
import { emptyStore, type MemoryStore, memoryStore } from "../doubles/Store.ts"
import {
  abcd,
  archive,
  folderName,
  listing,
  logsOf,
  publicationOf,
  scopedPlace,
  storeOn
} from "../support/store/storeKit.ts"

const failure = { folder: abcd, run: "r1", failed_at_utc: "2025-01-01T12:00:00Z", error: "disk on fire" }
const cursor = {
  version: 1,
  source_path: "/mnt/tank/data",
  base: { name: "auto-zip-20250101120000", guids: {} },
  kept: [],
  archives: {},
  run: "r1",
  advanced_at_utc: "2025-01-01T12:00:00Z"
} as const

/** All that a run asks of the store. */
const publishing = Effect.fnUntraced(function* (content: string) {
  const store = yield* Store
  const report = yield* store.preflight
  const recovery = yield* store.recover
  const records = yield* store.records
  const before = yield* store.cursor
  const published = yield* Effect.scoped(
    Effect.flatMap(store.stage(abcd), (staging) => store.publish(staging, publicationOf(content)))
  )
  yield* store.recordFailure(failure)
  yield* store.advance(cursor)
  return { report, recovery, records, before, published }
})
const everything = publishing("three")

describe("layerDryRun", () => {
  it.scoped("reads what is there, says what it would do, and writes not one byte", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const content of ["one", "two"]) yield* archive(content).pipe(Effect.provide(storeOn(place)))
      // What a crash leaves, and files that cannot be understood.
      const wxyz = path.join(place.targetPath, "WXYZ")
      fs.mkdirSync(path.join(wxyz, ".publish", "next"), { recursive: true })
      fs.writeFileSync(path.join(wxyz, ".state.json"), "{")
      fs.writeFileSync(path.join(place.targetPath, ".zipper", "cursor.json"), "{")
      const before = listing(place.root)
      const dryRun = Layer.provide(Store.layerDryRun(place), Disk.layer)
      const { lines, value } = yield* logsOf(
        everything.pipe(Effect.provide(dryRun), Logger.withMinimumLogLevel(LogLevel.Debug))
      )
      assert.deepStrictEqual(listing(place.root), before)
      assert.isTrue(value.report.stagesInTmp)
      assert.deepStrictEqual(value.recovery, {
        healed: ["WXYZ: would remove what an interrupted run had prepared but not published"],
        broken: []
      })
      assert.strictEqual(value.records.get(abcd)?.zipSize, 3)
      assert.isUndefined(value.records.get(folderName("WXYZ"))?.state)
      assert.isUndefined(value.before)
      assert.isTrue(value.published.rotated)
      const zip = path.join(place.targetPath, "ABCD", "ABCD.zip")
      assert.include(
        lines,
        `DEBUG would publish ${zip}; the current archive would become ABCD.prev.zip, unless the new one has the same bytes`
      )
      assert.include(lines, "INFO would compare the next run with auto-zip-20250101120000")
      assert.include(lines, "would be set aside")
      fs.truncateSync(zip, 1)
      const damaged = yield* logsOf(everything.pipe(Effect.provide(dryRun), Logger.withMinimumLogLevel(LogLevel.Debug)))
      assert.isFalse(damaged.value.published.rotated)
      assert.include(damaged.lines, "would be replaced without becoming ABCD.prev.zip")
    })
  )

  it.scoped("counts on what recovery would do with a damaged journal: the folder is archived anew", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(Effect.provide(storeOn(place)))
      const journal = path.join(place.targetPath, "ABCD", ".publish", "commit")
      fs.mkdirSync(path.dirname(journal))
      fs.writeFileSync(journal, "{")
      const before = listing(place.root)
      const dryRun = Layer.provide(Store.layerDryRun(place), Disk.layer)
      const { lines, value } = yield* logsOf(
        everything.pipe(Effect.provide(dryRun), Logger.withMinimumLogLevel(LogLevel.Debug))
      )
      assert.deepStrictEqual(value.recovery, { healed: [], broken: [] })
      assert.include(lines, `WARN the record of an interrupted publication (${journal}) cannot be understood`)
      assert.include(lines, "would be set aside, and the folder archived anew")
      assert.isUndefined(value.records.get(abcd)?.state)
      assert.deepStrictEqual(listing(place.root), before)
    })
  )

  it.scoped("finds a target that is not there", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      fs.rmdirSync(place.targetPath)
      const error = yield* Effect.flip(Effect.flatMap(Store, (store) => store.preflight)).pipe(
        Effect.provide(Layer.provide(Store.layerDryRun(place), Disk.layer))
      )
      assert.include(error.message, "does not exist")
    })
  )
})

describe("memoryStore", () => {
  it.effect("publishes, rotates, fails and remembers like the real one", () =>
    Effect.gen(function* () {
      const ref = yield* Ref.make(emptyStore)
      const memory = memoryStore(ref)
      yield* Effect.flatMap(Store, (store) => store.recordFailure(failure)).pipe(Effect.provide(memory))
      assert.strictEqual((yield* Ref.get(ref)).failures.get(abcd)?.failures, 1)
      const first = yield* everything.pipe(Effect.provide(memory))
      assert.isFalse(first.published.rotated)
      const second = yield* publishing("four").pipe(Effect.provide(memory))
      assert.isTrue(second.published.rotated)
      assert.isFalse((yield* publishing("four").pipe(Effect.provide(memory))).published.rotated)
      assert.strictEqual(second.records.get(abcd)?.zipSize, 5)
      const store = yield* Ref.get(ref)
      assert.deepStrictEqual(store.cursor, cursor)
      assert.strictEqual(store.staged.size, 0)
      assert.deepStrictEqual(store.published.get(abcd)?.previous, publicationOf("three"))
      assert.include(store.calls, "publish ABCD")
    })
  )

  it.effect("fails as often as it is told to", () =>
    Effect.gen(function* () {
      const error = new StoreError({ reason: "NoSpace", path: "/", message: "full", transient: false })
      const ref = yield* Ref.make<MemoryStore>({ ...emptyStore, publishErrors: new Map([[abcd, [error]]]) })
      const attempt = Effect.scoped(
        Effect.flatMap(Store, (store) =>
          Effect.flatMap(store.stage(abcd), (staging) => store.publish(staging, publicationOf("one")))
        )
      ).pipe(Effect.provide(memoryStore(ref)))
      assert.strictEqual(yield* Effect.flip(attempt), error)
      assert.strictEqual((yield* attempt).folder, abcd)
    })
  )
})
