import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Store, type StoreSettings } from "../../src/store/Store.ts"
import * as DiskFaults from "../support/store/diskFaults.ts"
import { inspect } from "../support/store/storeCheck.ts"
import { abcd, archive, folderName, logsOf, scopedPlace, storeOn } from "../support/store/storeKit.ts"

const on = (place: StoreSettings) => Effect.provide(storeOn(place))
const at = (place: StoreSettings, ...names: ReadonlyArray<string>) => path.join(place.targetPath, ...names)
const records = Effect.flatMap(Store, (store) => store.records)
const recover = Effect.flatMap(Store, (store) => store.recover)
const failed = (run: string, folder = abcd) =>
  Effect.flatMap(Store, (store) =>
    store.recordFailure({ folder, run, failed_at_utc: "2025-01-01T12:00:00Z", error: "disk on fire" })
  )

/** Leaves ABCD in the middle of its third publication: archive in place, checksums not. */
const crashed = (place: StoreSettings) =>
  Effect.gen(function* () {
    for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
    let dead = false
    const disk = DiskFaults.layer({
      before: ({ name, path: file }) => {
        if (name === "rename" && file.endsWith("/ABCD/ABCD.zip.md5")) dead = true
        return dead ? "EIO" : undefined
      }
    })
    yield* Effect.ignore(logsOf(archive("three").pipe(Effect.provide(storeOn(place, disk)))))
    assert.isNotEmpty(inspect(place).problems)
  })

describe("recover", () => {
  it.scoped("says what it did, and has nothing to do the second time", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* crashed(place)
      yield* failed("r1").pipe(on(place))
      fs.mkdirSync(at(place, "AAAA"))
      const report = yield* recover.pipe(on(place))
      assert.deepStrictEqual(report.broken, [])
      // It is published, so what failed before that is over.
      assert.isUndefined((yield* records.pipe(on(place))).get(abcd)?.failure)
      assert.strictEqual(report.healed[0], "ABCD: finished the publication that was interrupted")
      assert.match(report.healed[1] ?? "", /^removed .*zipper-test, the staging of an interrupted run$/)
      assert.deepStrictEqual(yield* recover.pipe(on(place)), { healed: [], broken: [] })
      // An empty folder that is not of our making stays.
      assert.isTrue(fs.existsSync(at(place, "AAAA")))
      fs.rmdirSync(at(place, "AAAA"))
      assert.deepStrictEqual(inspect(place), {
        current: "three",
        previous: "two",
        problems: [],
        leftovers: []
      })
    })
  )

  it.scoped("a damaged journal costs nothing: everything is kept, and the folder goes on", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* crashed(place)
      const journal = at(place, "ABCD", ".publish", "commit")
      fs.writeFileSync(journal, fs.readFileSync(journal, "utf8").slice(0, 50))
      const aside = at(place, "ABCD", ".publish.corrupt-1")
      // While it cannot be set aside, the folder cannot be worked on.
      const disk = DiskFaults.layer({
        before: ({ name, path: file }) => (name === "rename" && file === aside ? "EIO" : undefined)
      })
      const stuck = yield* recover.pipe(Effect.provide(storeOn(place, disk)))
      assert.deepStrictEqual(
        stuck.broken.map(({ folder }) => folder),
        [abcd]
      )
      // Once it is, nothing is broken: the run that has just said so archives the folder.
      const { lines, value: report } = yield* logsOf(recover.pipe(on(place)))
      assert.deepStrictEqual(report.broken, [])
      assert.include(lines, `WARN the record of an interrupted publication (${journal}) cannot be understood`)
      assert.include(lines, `kept in ${aside}, and the folder is archived anew`)
      assert.strictEqual(fs.readFileSync(path.join(aside, "old", "ABCD.prev.zip"), "utf8"), "one")
      assert.strictEqual(fs.readFileSync(path.join(aside, "old", "ABCD.zip"), "utf8"), "two")
      assert.isUndefined((yield* records.pipe(on(place))).get(abcd)?.state)
      // An archive of unknown origin does not become the previous one.
      yield* logsOf(archive("four").pipe(on(place)))
      const found = inspect(place)
      assert.deepStrictEqual([found.current, found.previous, found.problems], ["four", "two", []])
      assert.deepStrictEqual(yield* recover.pipe(on(place)), { healed: [], broken: [] })
      assert.isTrue(fs.existsSync(aside))
    })
  )

  it.scoped("one folder that cannot be put right does not stop the others", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* crashed(place)
      fs.mkdirSync(at(place, "AAAA"))
      fs.symlinkSync(place.root, at(place, "AAAA", ".publish"))
      const report = yield* recover.pipe(on(place))
      assert.deepStrictEqual(
        report.broken.map((broken) => broken.folder),
        [folderName("AAAA")]
      )
      assert.include(report.broken[0]?.reason ?? "", ".publish is a symlink, not a folder")
      assert.include(report.healed, "ABCD: finished the publication that was interrupted")
      assert.strictEqual(inspect(place).current, "three")
    })
  )

  it.scoped("a missing file of a committed publication is not passed over", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* crashed(place)
      fs.unlinkSync(at(place, "ABCD", ".publish", "next", "ABCD.zip.md5"))
      fs.unlinkSync(at(place, "ABCD", "ABCD.zip.md5"))
      const report = yield* recover.pipe(on(place))
      assert.include(report.broken[0]?.reason ?? "", "ABCD.zip.md5 is there any more")
      assert.isTrue(fs.existsSync(at(place, "ABCD", ".publish", "commit")))
    })
  )
})
