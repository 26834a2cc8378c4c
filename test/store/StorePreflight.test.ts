import * as fs from "node:fs"
import { hostname } from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Store, type StoreSettings } from "../../src/store/Store.ts"
import { Disk } from "../../src/system/Disk.ts"
import { capturedLog } from "../support/program/log.ts"
import * as DiskFaults from "../support/store/diskFaults.ts"
import { inspect } from "../support/store/storeCheck.ts"
import { abcd, archive, cursor, scopedPlace, storeOn } from "../support/store/storeKit.ts"

const on = (place: StoreSettings) => Effect.provide(storeOn(place))
const at = (place: StoreSettings, ...names: ReadonlyArray<string>) => path.join(place.targetPath, ...names)
const host = hostname().replace(/\W/g, "_")
const preflight = Effect.flatMap(Store, (store) => store.preflight)

describe("preflight", () => {
  it.scopedLive("proves that target and tmp_dir can be written to, and leaves nothing", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      // Of runs that ended in the middle of their probe, also of earlier versions.
      for (const name of ["", ".new", ".link", "-check", "-check.new", "-check-12345678-ABCD", "-other-1.new"]) {
        fs.writeFileSync(at(place, `.zipper-probe-test${name}`), "")
        fs.utimesSync(at(place, `.zipper-probe-test${name}`), 0, 0)
      }
      // One pid is above any that Linux gives; a container gives each process the same.
      for (const end of ["99999999.new", "99999999-0123abcd-ABCD", process.pid, `${process.pid}.link`])
        fs.writeFileSync(at(place, `.zipper-probe-test-${host}-${end}`), "")
      const recycled = at(place, `.zipper-probe-test-${host}-${process.ppid}`)
      fs.writeFileSync(recycled, "")
      fs.utimesSync(recycled, 0, 0)
      const report = yield* preflight.pipe(on(place))
      assert.isTrue(report.stagesInTmp)
      assert.isAbove(report.free ?? 0, 0)
      assert.deepStrictEqual([...fs.readdirSync(place.targetPath), ...fs.readdirSync(place.tmpDir)], [])
      assert.isFalse((yield* preflight.pipe(on({ ...place, tmpDir: undefined }))).stagesInTmp)
    })
  )

  it.scopedLive("leaves the files of another process alone that probes a new target at the same time", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const others = [`${host}-${process.ppid}`, `${host}-${process.ppid}.new`, "other-99999999"]
        .map((name) => `.zipper-probe-test-${name}`)
        .sort()
      for (const name of others) fs.writeFileSync(at(place, name), "theirs")
      // What cannot be removed is no reason to refuse the target.
      const folder = at(place, ".zipper-probe-test-old")
      fs.mkdirSync(folder)
      fs.utimesSync(folder, 0, 0)
      yield* preflight.pipe(on(place))
      fs.rmdirSync(folder)
      assert.deepStrictEqual(fs.readdirSync(place.targetPath).sort(), others)
      for (const name of others) assert.strictEqual(fs.readFileSync(at(place, name), "utf8"), "theirs")
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

  it.scoped("does not say that a file stays where none could be made", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const log = capturedLog()
      // What a file system that is read-only refuses, also for a name that is not there.
      const refused: ReadonlySet<string> = new Set(["write", "link", "rename", "remove"])
      const readOnly = DiskFaults.layer({ before: ({ name }) => (refused.has(name) ? "EROFS" : undefined) })
      const error = yield* Effect.flip(preflight).pipe(Effect.provide(Layer.merge(storeOn(place, readOnly), log.layer)))
      assert.include(error.message, "cannot be written to")
      assert.deepStrictEqual(log.lines, [])
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
