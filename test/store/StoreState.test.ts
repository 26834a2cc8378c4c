import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metadata from "../../src/store/Metadata.ts"
import { digestOf } from "../../src/store/PublishPlan.ts"
import type { Cursor } from "../../src/store/Records.ts"
import { Store, type StoreSettings } from "../../src/store/Store.ts"
import { Disk, DiskError } from "../../src/system/Disk.ts"
import * as DiskFaults from "../support/store/diskFaults.ts"
import { inspect } from "../support/store/storeCheck.ts"
import { abcd, archive, folderName, logsOf, publicationOf, scopedPlace, storeOn } from "../support/store/storeKit.ts"

const on = (place: StoreSettings) => Effect.provide(storeOn(place))
const at = (place: StoreSettings, ...names: ReadonlyArray<string>) => path.join(place.targetPath, ...names)
const records = Effect.flatMap(Store, (store) => store.records)
const recover = Effect.flatMap(Store, (store) => store.recover)
const preflight = Effect.flatMap(Store, (store) => store.preflight)
const readCursor = Effect.flatMap(Store, (store) => store.cursor)
const failed = (run: string, folder = abcd) =>
  Effect.flatMap(Store, (store) =>
    store.recordFailure({ folder, run, failed_at_utc: "2025-01-01T12:00:00Z", error: "disk on fire" })
  )
const cursor: Cursor = {
  version: 1,
  source_path: "/mnt/tank/data",
  base: { name: "auto-zip-20250101120000", guids: { "tank/data": "123" } },
  kept: [],
  archives: { ABCD: "a".repeat(64) },
  run: "r1",
  advanced_at_utc: "2025-01-01T12:00:00Z"
}

describe("records", () => {
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
        failure: undefined
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
      // The archive that nobody can vouch for does not become the previous one.
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

describe("a target that does not tell upper case from lower", () => {
  // All of a folder is found by either name; listed, it has the one that it was made with.
  const caseless = Layer.effect(
    Disk,
    Effect.map(Disk, (disk) => {
      const real = (name: string) => name.replace("/target/ABCD", "/target/abcd")
      return {
        ...disk,
        stat: (name: string) => disk.stat(real(name)),
        makeFolder: (name: string, mode?: number) => disk.makeFolder(real(name), mode)
      }
    })
  ).pipe(Layer.provide(Disk.layer))

  it.scoped("has a folder only by the name that it is listed with", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      fs.mkdirSync(at(place, "abcd"))
      const error = yield* Effect.flip(
        Effect.scoped(Effect.flatMap(Store, (store) => store.stage(abcd))).pipe(
          Effect.provide(storeOn(place, caseless))
        )
      )
      assert.strictEqual(
        error.message,
        `${place.targetPath} does not tell upper case from lower, and abcd is there: rename it to ABCD if it is its folder, or else move it away`
      )
      assert.deepStrictEqual(fs.readdirSync(at(place, "abcd")), [])
    })
  )
})

describe("preflight", () => {
  it.scoped("proves that target and tmp_dir can be written to, and leaves nothing", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      // Of a run that ended in the middle of its probe.
      fs.writeFileSync(at(place, ".zipper-probe-test"), "")
      const report = yield* preflight.pipe(on(place))
      assert.isTrue(report.stagesInTmp)
      assert.isAbove(report.free ?? 0, 0)
      assert.deepStrictEqual([...fs.readdirSync(place.targetPath), ...fs.readdirSync(place.tmpDir)], [])
      assert.isFalse((yield* preflight.pipe(on({ ...place, tmpDir: undefined }))).stagesInTmp)
    })
  )

  it.scoped("refuses a target that cannot rename one file over another, and leaves nothing", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const refusing = DiskFaults.layer({ before: ({ name }) => (name === "rename" ? "EPERM" : undefined) })
      const error = yield* Effect.flip(preflight).pipe(Effect.provide(storeOn(place, refusing)))
      assert.include(error.message, "a file cannot be renamed over another one there")
      assert.deepStrictEqual([...fs.readdirSync(place.targetPath), ...fs.readdirSync(place.tmpDir)], [])
    })
  )

  it.scoped.runIf(fs.existsSync("/dev/shm"))("notices a tmp_dir on another file system, and stages in the target", () =>
    Effect.gen(function* () {
      const place = { ...(yield* scopedPlace), tmpDir: "/dev/shm" }
      if (fs.statSync("/dev/shm").dev === fs.statSync(place.targetPath).dev) return
      assert.isFalse((yield* preflight.pipe(on(place))).stagesInTmp)
      const staging = yield* Effect.scoped(Effect.flatMap(Store, (store) => store.stage(abcd))).pipe(on(place))
      assert.strictEqual(staging.zip, at(place, "ABCD", ".publish", "next", "ABCD.zip"))
    })
  )

  it.scoped("says what is wrong with the target or tmp_dir", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const refused = (settings: Partial<StoreSettings>) =>
        Effect.map(Effect.flip(preflight).pipe(on({ ...place, ...settings })), (error) => [error.reason, error.message])
      const file = path.join(place.root, "file")
      const dangling = path.join(place.root, "dangling")
      const missing = path.join(place.root, "missing")
      fs.writeFileSync(file, "")
      fs.symlinkSync(missing, dangling)
      assert.deepStrictEqual(yield* refused({ targetPath: missing }), [
        "NotAFolder",
        `target_path ${missing} does not exist; create it, or mount the dataset that holds it`
      ])
      assert.deepStrictEqual(yield* refused({ targetPath: file }), [
        "NotAFolder",
        `target_path ${file} is not a folder; configure a folder, or move that file away`
      ])
      assert.deepStrictEqual(yield* refused({ targetPath: dangling }), [
        "NotAFolder",
        `target_path ${dangling} is a symlink to nothing; mount the dataset that holds it`
      ])
      assert.deepStrictEqual(yield* refused({ tmpDir: missing }), [
        "NotAFolder",
        `tmp_dir ${missing} does not exist; create it, or mount the dataset that holds it`
      ])
    })
  )

  it.scoped("refuses a target or a tmp_dir that a symlink puts into the source", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const sourcePath = path.join(place.root, "source")
      const inside = path.join(sourcePath, "ABCD", "deep")
      const link = path.join(place.root, "link")
      fs.mkdirSync(inside, { recursive: true })
      fs.symlinkSync(inside, link)
      const refused = (settings: Partial<StoreSettings>) =>
        Effect.map(Effect.flip(preflight).pipe(on({ ...place, sourcePath, ...settings })), ({ message }) => message)
      const tail = ", by a symlink or another mount: archives would be archived again. Configure a folder elsewhere"
      assert.strictEqual(
        yield* refused({ targetPath: link }),
        `target_path ${link} lies inside source_path ${sourcePath}${tail}`
      )
      assert.strictEqual(
        yield* refused({ tmpDir: link }),
        `tmp_dir ${link} lies inside source_path ${sourcePath}${tail}`
      )
      const alias = path.join(place.root, "alias")
      fs.symlinkSync(place.targetPath, alias)
      assert.strictEqual(
        yield* refused({ sourcePath: alias }),
        `target_path ${place.targetPath} is the same folder as source_path ${alias}${tail}`
      )
      yield* preflight.pipe(on({ ...place, sourcePath }))
      yield* preflight.pipe(on({ ...place, sourcePath: path.join(place.root, "not-there") }))
    })
  )

  it.scoped("a symlink that the operator configured is fine, from first to last", () =>
    Effect.gen(function* () {
      const real = yield* scopedPlace
      const link = path.join(real.root, "link")
      fs.symlinkSync(real.targetPath, link)
      const place = { ...real, targetPath: link }
      yield* preflight.pipe(on(place))
      for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
      yield* Effect.flatMap(Store, (store) => store.advance(cursor)).pipe(on(place))
      assert.deepStrictEqual(inspect(place), {
        current: "two",
        previous: "one",
        problems: [],
        leftovers: []
      })
    })
  )

  it.scoped("a folder that cannot be written to is a clear error that no retry mends", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const [code, reason, advice] of [
        ["EACCES", "NotWritable", "give the user that runs this job permission"],
        ["EROFS", "NotWritable", "remount it writable"],
        ["ENOSPC", "NoSpace", "free some space"],
        ["EDQUOT", "NoSpace", "raise the quota"]
      ] as const) {
        const disk = DiskFaults.layer({
          before: ({ name, path: file }) => (name === "write" && file.startsWith(place.tmpDir) ? code : undefined)
        })
        const error = yield* Effect.flip(preflight).pipe(Effect.provide(storeOn(place, disk)))
        assert.strictEqual(error.reason, reason)
        assert.isFalse(error.transient)
        assert.include(error.message, `tmp_dir ${place.tmpDir} cannot be written to: `)
        assert.include(error.message, advice)
      }
    })
  )

  it.scoped("no inodes left is said as such; a file system that does not tell is not a full one", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const space = (bytes: number | undefined, inodes: number | undefined) =>
        Layer.effect(
          Disk,
          Effect.map(Disk, (disk) => ({
            ...disk,
            free: () => Effect.succeed(bytes),
            freeInodes: () => Effect.succeed(inodes)
          }))
        ).pipe(Layer.provide(Disk.layer))
      const error = yield* Effect.flip(preflight).pipe(Effect.provide(storeOn(place, space(1e9, 0))))
      assert.strictEqual(error.reason, "NoSpace")
      assert.include(
        error.message,
        `target_path ${place.targetPath} cannot be written to: its file system has no inodes left`
      )
      assert.isFalse(error.transient)
      const report = yield* preflight.pipe(Effect.provide(storeOn(place, space(undefined, undefined))))
      assert.isUndefined(report.free)
    })
  )
})
