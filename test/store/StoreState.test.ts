import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metadata from "../../src/store/Metadata.ts"
import { digestOf } from "../../src/store/Records.ts"
import { Store, type StoreSettings } from "../../src/store/Store.ts"
import { Disk, DiskError } from "../../src/system/Disk.ts"
import * as DiskFaults from "../support/store/diskFaults.ts"
import {
  abcd,
  archive,
  cursor,
  folderName,
  logsOf,
  publicationOf,
  scopedPlace,
  storeOn
} from "../support/store/storeKit.ts"

const on = (place: StoreSettings) => Effect.provide(storeOn(place))
const at = (place: StoreSettings, ...names: ReadonlyArray<string>) => path.join(place.targetPath, ...names)
const records = Effect.flatMap(Store, (store) => store.records)
const recover = Effect.flatMap(Store, (store) => store.recover)
const readCursor = Effect.flatMap(Store, (store) => store.cursor)
const failed = (run: string, folder = abcd) =>
  Effect.flatMap(Store, (store) =>
    store.recordFailure({ folder, run, failed_at_utc: "2025-01-01T12:00:00Z", error: "disk on fire" })
  )

describe("recovery", () => {
  it.scoped("leaves the trial of a check alone that is under way, and removes other drafts", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(on(place))
      const draft = at(place, ".zipper", "cursor.json.new")
      const trial = at(place, ".zipper", ".zipper-probe-test-check.new")
      for (const file of [draft, trial]) fs.writeFileSync(file, "")
      yield* recover.pipe(on(place))
      assert.deepStrictEqual([draft, trial].map(fs.existsSync), [false, true])
    })
  )
})

describe("records", () => {
  it.scoped("do not call an archive lost whose folder cannot be looked at", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(on(place))
      const disk = DiskFaults.layer({
        before: ({ name, path }) => (name === "stat" && path === at(place, "ABCD") ? "EIO" : undefined)
      })
      const found = (yield* records.pipe(Effect.provide(storeOn(place, disk)))).get(abcd)
      const unknown = { state: undefined, zipSize: undefined, failure: undefined, unknown: true as const }
      assert.deepStrictEqual(found, unknown)
      // Moved to another disk: nothing is read there.
      fs.renameSync(at(place, "ABCD"), at(place, "moved"))
      fs.symlinkSync("moved", at(place, "ABCD"))
      assert.deepStrictEqual((yield* records.pipe(on(place))).get(abcd), unknown)
    })
  )

  it.scoped("are state, size and failure of every folder", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const wxyz = folderName("WXYZ")
      yield* archive("one").pipe(on(place))
      yield* failed("r1", wxyz).pipe(on(place))
      fs.mkdirSync(at(place, "not-one-of-ours"))
      fs.symlinkSync(at(place, "ABCD"), at(place, "LINK"))
      const found = yield* records.pipe(on(place))
      assert.deepStrictEqual([...found.keys()], [abcd, folderName("LINK"), wxyz])
      const { metadata, state } = publicationOf("one")
      assert.deepStrictEqual(found.get(abcd), {
        state: { ...state, metadata_sha256: digestOf(Metadata.encode(metadata)) },
        zipSize: 3,
        failure: undefined
      })
      assert.strictEqual(found.get(wxyz)?.failure?.error, "disk on fire")
      // Nothing is read through a symlink.
      assert.deepStrictEqual(found.get(folderName("LINK")), {
        state: undefined,
        zipSize: undefined,
        failure: undefined,
        unknown: true
      })
    })
  )

  it.scoped("show an archive that is gone or has another size", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(on(place))
      fs.truncateSync(at(place, "ABCD", "ABCD.zip"), 1)
      assert.strictEqual((yield* records.pipe(on(place))).get(abcd)?.zipSize, 1)
      fs.unlinkSync(at(place, "ABCD", "ABCD.zip"))
      assert.isUndefined((yield* records.pipe(on(place))).get(abcd)?.zipSize)
    })
  )

  it.scoped("a state that cannot be understood is set aside, with a warning", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(on(place))
      const file = at(place, "ABCD", ".state.json")
      const good = fs.readFileSync(file, "utf8")
      const bad = [
        "",
        good.slice(0, 40),
        good.replace('"version": 1', '"version": 2'),
        good.replace('"ABCD"', '"WXYZ"')
      ]
      for (const [index, content] of bad.entries()) {
        fs.writeFileSync(file, content)
        const { lines, value } = yield* logsOf(records.pipe(on(place)))
        assert.deepStrictEqual(value.get(abcd), { state: undefined, zipSize: 3, failure: undefined })
        const aside = `${file}.corrupt-${index + 1}`
        assert.include(lines, `WARN ${file} cannot be understood (damaged, or of another version): kept as ${aside}`)
        assert.strictEqual(fs.readFileSync(aside, "utf8"), content)
        assert.isFalse(fs.existsSync(file))
      }
    })
  )

  it.scoped("one folder that cannot be read does not hide the others", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const wxyz = folderName("WXYZ")
      yield* archive("one").pipe(on(place))
      yield* archive("two", wxyz).pipe(on(place))
      const disk = DiskFaults.layer({
        before: ({ name, path: file }) => (name === "read" && file.includes("ABCD/.state.json") ? "EACCES" : undefined)
      })
      const { lines, value } = yield* logsOf(records.pipe(Effect.provide(storeOn(place, disk))))
      assert.isUndefined(value.get(abcd)?.state)
      assert.strictEqual(value.get(abcd)?.zipSize, 3)
      assert.isDefined(value.get(wxyz)?.state)
      assert.include(lines, "WARN ABCD is archived anew, its state is not known: cannot read")
    })
  )
})

describe("records for whoever asks how things stand", () => {
  const asked = (place: StoreSettings, disk = Disk.layer) =>
    Effect.provide(Layer.provide(Store.layerReport(place), disk))
  const failing = (code: string, name: "read" | "stat" = "read") =>
    DiskFaults.layer({
      before: (operation) => (operation.name === name && operation.path.includes("ABCD/.state.json") ? code : undefined)
    })

  it.scoped("fail where the user may not read a state: that says nothing about the archive", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(on(place))
      for (const code of ["EACCES", "EPERM"]) {
        const { lines, value } = yield* logsOf(Effect.flip(records.pipe(asked(place, failing(code)))))
        assert.include(value.message, "cannot read")
        assert.instanceOf(value.cause, DiskError)
        assert.strictEqual(lines, "")
      }
    })
  )

  it.scoped("tell of a state that is not known, and of the archive all the same", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(on(place))
      const known = { state: undefined, zipSize: 3, failure: undefined }
      const broken = yield* logsOf(records.pipe(asked(place, failing("EIO"))))
      assert.deepStrictEqual(broken.value.get(abcd), known)
      assert.include(
        broken.lines,
        "WARN the state of ABCD is not known, and the next run archives it anew: cannot read"
      )
      const file = at(place, "ABCD", ".state.json")
      fs.writeFileSync(file, "{")
      const damaged = yield* logsOf(records.pipe(asked(place)))
      assert.deepStrictEqual(damaged.value.get(abcd), known)
      assert.strictEqual(
        damaged.lines,
        `WARN ${file} cannot be understood (damaged, or of another version): the next run sets it aside; ABCD is then archived anew, and nothing is lost by that`
      )
      assert.strictEqual(fs.readFileSync(file, "utf8"), "{")
    })
  )
})

describe("failures", () => {
  it.scoped("are counted over runs and end with a publication", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const run of ["r1", "r2"]) yield* failed(run).pipe(on(place))
      assert.deepStrictEqual((yield* records.pipe(on(place))).get(abcd)?.failure, {
        version: 1,
        folder: abcd,
        run: "r2",
        failed_at_utc: "2025-01-01T12:00:00Z",
        failures: 2,
        error: "disk on fire"
      })
      yield* archive("one").pipe(on(place))
      assert.isUndefined((yield* records.pipe(on(place))).get(abcd)?.failure)
      assert.deepStrictEqual(fs.readdirSync(at(place, ".zipper", "failures")), [])
    })
  )

  it.scoped("a record that cannot be understood still says that the folder failed", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* failed("r1").pipe(on(place))
      fs.writeFileSync(at(place, ".zipper", "failures", "ABCD.json"), "{")
      const failure = (yield* records.pipe(on(place))).get(abcd)?.failure
      assert.include(failure?.error ?? "", "cannot be understood")
      yield* logsOf(failed("r2").pipe(on(place)))
      assert.strictEqual((yield* records.pipe(on(place))).get(abcd)?.failure?.failures, 1)
      assert.include(fs.readdirSync(at(place, ".zipper", "failures")), "ABCD.json.corrupt-1")
    })
  )
})

describe("cursor", () => {
  it.scoped("comes back as it was left, and is replaced in one step", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      assert.isUndefined(yield* readCursor.pipe(on(place)))
      for (const run of ["r1", "r2"]) {
        yield* Effect.flatMap(Store, (store) => store.advance({ ...cursor, run })).pipe(on(place))
        assert.deepStrictEqual(yield* readCursor.pipe(on(place)), { ...cursor, run })
      }
      assert.deepStrictEqual(fs.readdirSync(at(place, ".zipper")), ["cursor.json"])
    })
  )

  it.scoped("is the old or the new one, whichever operation fails", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* Effect.flatMap(Store, (store) => store.advance(cursor)).pipe(on(place))
      for (let number = 1; ; number++) {
        const fault = DiskFaults.failAt({ number, when: "before", lasting: true, code: "EIO" })
        const result = yield* Effect.flatMap(Store, (store) => store.advance({ ...cursor, run: "r2" })).pipe(
          Effect.provide(storeOn(place, DiskFaults.layer(fault.hooks))),
          Effect.either,
          logsOf
        )
        const run = (yield* readCursor.pipe(on(place)))?.run
        if (!fault.reached()) {
          assert.strictEqual(result.value._tag, "Right")
          assert.strictEqual(run, "r2")
          break
        }
        assert.include(["r1", "r2"], run)
        yield* recover.pipe(on(place))
        assert.deepStrictEqual(fs.readdirSync(at(place, ".zipper")), ["cursor.json"])
      }
    })
  )

  it.scoped("one that cannot be understood is set aside, with a warning", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      fs.mkdirSync(at(place, ".zipper"))
      fs.writeFileSync(at(place, ".zipper", "cursor.json"), '{"version":9}')
      const { lines, value } = yield* logsOf(readCursor.pipe(on(place)))
      assert.isUndefined(value)
      assert.include(lines, "every folder is compared with what was archived")
      assert.deepStrictEqual(fs.readdirSync(at(place, ".zipper")), ["cursor.json.corrupt-1"])
      assert.isUndefined(yield* readCursor.pipe(on(place)))
    })
  )
})
