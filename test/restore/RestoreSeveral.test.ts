import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { PublishedArchive } from "../../src/store/PublishedArchive.ts"
import type { Extractor } from "../../src/zip/Archiver.ts"
import { nothingRestored, type RestorePlan } from "../../src/zip/RestorePlan.ts"
import { ExtractError } from "../../src/zip/ZipError.ts"
import { folder } from "../support/program/job.ts"
import { plan, run } from "../support/program/restoring.ts"
import * as sets from "../support/zip/sets.ts"

describe("restore of several folders", () => {
  const folders = ["ABCD", "EFGH", "IJKL"].map(folder)
  const setsOf = (...changes: ReadonlyArray<Partial<PublishedArchive>>) =>
    Effect.forEach(folders, (name, index) => sets.setOf(name, "current", changes[index] ?? {}))
  const planned = (all: ReadonlyArray<PublishedArchive>, ...changes: ReadonlyArray<Partial<RestorePlan>>) =>
    Object.fromEntries(
      all.map(({ folder, zip }, index) => [zip, { ...plan, directory: `/back/${folder}`, ...changes[index] }])
    )
  const resultsOf = ({ result }: Effect.Effect.Success<ReturnType<typeof run>>) =>
    Either.match(result, {
      onLeft: (error) => [error.message],
      onRight: (summaries) => summaries.map(({ folder, result }) => `${folder} ${result}`)
    })

  it.effect("makes every plan before it writes: what is in the way of one stops all", () =>
    Effect.gen(function* () {
      const all = yield* setsOf()
      const conflict = { path: "a", is: "file", wanted: "file" } as const
      const requests: Array<Parameters<typeof Extractor.Service.prepare>[0]> = []
      const plans = planned(all, {}, {}, { conflicts: { count: 1, first: [conflict] } })
      const done = yield* run(all, { plans, requests }, { folders: [], below: true })
      assert.deepStrictEqual(resultsOf(done), ["ABCD refused", "EFGH refused", "IJKL refused"])
      assert.deepStrictEqual(done.carriedOut, [])
      assert.deepStrictEqual(
        requests.map(({ name, to }) => [to, name]),
        folders.map((name) => ["back", name])
      )
    })
  )

  it.effect("does not keep the others out for one that is damaged or was replaced again and again", () =>
    Effect.gen(function* () {
      const all = yield* setsOf({}, { file: undefined })
      const changed = () => new ExtractError({ reason: "Changed", message: "it was replaced" })
      const memory = { plans: planned(all), failures: Array.from({ length: 4 }, changed) }
      const done = yield* run(all, memory, { folders, below: true })
      assert.deepStrictEqual(resultsOf(done), ["ABCD refused", "EFGH refused", "IJKL restored"])
      assert.include(done.lines, "Error: it was replaced")
      assert.strictEqual(done.lines.at(-1), "Error: not restored: ABCD, EFGH")
      const target = new ExtractError({ reason: "Target", message: "no folder" })
      const nowhere = yield* run(all, { failures: [target] }, { folders: [], below: true })
      assert.deepStrictEqual([resultsOf(nowhere), nowhere.carriedOut], [["no folder"], []])
    })
  )

  it.effect("adds up the room that they need, by device, and takes a pattern that means something in one", () =>
    Effect.gen(function* () {
      const all = yield* setsOf()
      const half = { needed: 600 }
      const request = { folders: [], below: true }
      const full = yield* run(all, { plans: planned(all, half, half) }, request)
      assert.deepStrictEqual(full.carriedOut, [])
      assert.include(full.lines.join("\n"), "1.2 KiB are needed in /back/ABCD and 2 other folders, and 1000 B are free")
      const two = yield* run(all, { plans: planned(all, half, { ...half, device: "2" }) }, request)
      assert.lengthOf(two.carriedOut, 3)
      const only = { ...request, only: ["x", "y"] }
      const some = yield* run(
        all,
        { plans: planned(all, { unmatched: ["x"] }, { unmatched: ["y"] }, { unmatched: ["x", "y"] }) },
        only
      )
      assert.deepStrictEqual(
        some.carriedOut,
        all.slice(0, 2).map(({ zip }) => zip)
      )
      const none = yield* run(
        all,
        { plans: planned(all, ...Array.from({ length: 3 }, () => ({ unmatched: ["x"] }))) },
        only
      )
      assert.deepStrictEqual(none.carriedOut, [])
      assert.include(none.lines, 'Error: --only "x": nothing in these archives has that name')
    })
  )

  it.effect("tells restored folders from those that are incomplete, and from those of which nothing is there", () =>
    Effect.gen(function* () {
      const all = [...(yield* setsOf()), yield* sets.setOf(folder("MNOP"), "current")]
      const whole = { ...nothingRestored, files: 2, bytes: 30 }
      const unsynced = { ...whole, unsynced: "input/output error" }
      const missing = { count: 1, first: [{ path: "b", error: "x", kind: "missing" as const }] }
      const partly = { ...unsynced, files: 1, missing: 1, failures: missing }
      const outcomes = [whole, unsynced, partly, { ...partly, files: 0 }]
      const results = Object.fromEntries(
        all.flatMap(({ zip }, index) => (outcomes[index] ? [[zip, outcomes[index]]] : []))
      )
      const done = yield* run(all, { plans: planned(all), results }, { folders: [], below: true })
      assert.deepStrictEqual(resultsOf(done), [
        "ABCD restored",
        "EFGH incomplete",
        "IJKL incomplete",
        "MNOP incomplete"
      ])
      assert.match(done.lines.at(-4) ?? "", /^Info: restored 1 of 4 folders in back: 2 files, 30 B, /)
      assert.deepStrictEqual(done.lines.slice(-3), [
        "Error: restored, but not synced (a power cut may lose some of it): EFGH",
        "Error: incomplete: IJKL",
        "Error: not restored: MNOP"
      ])
    })
  )

  it.effect("begins no further folder once the disk is full", () =>
    Effect.gen(function* () {
      const all = yield* setsOf()
      const failures = { count: 1, first: [{ path: "b", error: "no space left", kind: "missing" as const }] }
      const full = { ...nothingRestored, failures, missing: 1, gaveUp: "no space left" }
      const memory = { plans: planned(all), results: { [all[0]?.zip ?? ""]: full } }
      const done = yield* run(all, memory, { folders: [], below: true })
      assert.deepStrictEqual(resultsOf(done), ["ABCD incomplete", "EFGH refused", "IJKL refused"])
      assert.include(done.lines, "Error: not begun (no space left): EFGH, IJKL")
    })
  )
})
