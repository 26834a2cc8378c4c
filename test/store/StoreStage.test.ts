import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Store, type StoreSettings } from "../../src/store/Store.ts"
import { Disk } from "../../src/system/Disk.ts"
import * as DiskFaults from "../support/store/diskFaults.ts"
import { inspect } from "../support/store/storeCheck.ts"
import { abcd, archive, folderName, scopedPlace, storeOn } from "../support/store/storeKit.ts"

const on = (place: StoreSettings) => Effect.provide(storeOn(place))
const home = (place: StoreSettings, ...names: ReadonlyArray<string>) => path.join(place.targetPath, "ABCD", ...names)
const at = (place: StoreSettings, ...names: ReadonlyArray<string>) => path.join(place.targetPath, ...names)
const clean = { problems: [], leftovers: [] }

describe("stage", () => {
  const stage = (folder = abcd) => Effect.flatMap(Store, (store) => store.stage(folder))

  it.scoped("everything is gone when the scope closes, and nothing else", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* Effect.scoped(
        Effect.gen(function* () {
          const staging = yield* stage()
          assert.strictEqual(staging.zip, path.join(place.tmpDir, "zipper-test", "ABCD", "ABCD.zip"))
          fs.writeFileSync(staging.zip, "half")
          fs.writeFileSync(`${staging.zip}.part`, "half")
        })
      ).pipe(on(place))
      assert.deepStrictEqual(fs.readdirSync(place.targetPath), [".zipper"])
      assert.deepStrictEqual(fs.readdirSync(path.join(place.targetPath, ".zipper")), [])
      assert.deepStrictEqual(fs.readdirSync(place.tmpDir), [])
      // A folder that the store did not make stays.
      fs.mkdirSync(home(place))
      yield* Effect.scoped(stage()).pipe(on(place))
      assert.isTrue(fs.existsSync(home(place)))
    })
  )

  it.scoped("many folders at once do not get into each other's way", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const folders = Array.from({ length: 30 }, (_, n) => folderName(`F${String(n).padStart(3, "0")}`))
      yield* Effect.forEach(folders, (folder) => archive(`zip of ${folder}`, folder), {
        concurrency: 8,
        discard: true
      }).pipe(on(place))
      for (const folder of folders) {
        assert.deepStrictEqual(inspect(place, folder).problems, [])
        assert.deepStrictEqual(inspect(place, folder).leftovers, [])
      }
    })
  )

  it.scoped("one folder is staged once at a time", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* stage()
          const error = yield* Effect.flip(Effect.scoped(stage()))
          assert.include(error.message, "ABCD is being archived already")
          const report = yield* Effect.flatMap(Store, (store) => store.recover)
          assert.deepStrictEqual(report, { healed: [], broken: [] })
          assert.isTrue(fs.existsSync(home(place, ".publish")))
        })
      ).pipe(on(place))
    })
  )

  it.scoped("refuses a symlink, a file and what belongs to somebody else", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const elsewhere = path.join(place.root, "elsewhere")
      fs.mkdirSync(elsewhere)
      fs.writeFileSync(path.join(elsewhere, "precious"), "")
      const refused = (what: string) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(Effect.scoped(stage())).pipe(on(place))
          assert.strictEqual(error.reason, "Unsafe", what)
          assert.include(error.message, what)
          assert.deepStrictEqual(fs.readdirSync(elsewhere), ["precious"])
        })
      fs.symlinkSync(elsewhere, home(place))
      yield* refused(`${home(place)} is a symlink, not a folder`)
      fs.unlinkSync(home(place))
      fs.writeFileSync(home(place), "")
      yield* refused(`${home(place)} is a file, not a folder`)
      fs.unlinkSync(home(place))
      fs.mkdirSync(home(place))
      fs.symlinkSync(elsewhere, home(place, ".publish"))
      yield* refused(".publish is a symlink, not a folder")
      fs.unlinkSync(home(place, ".publish"))
      const staging = path.join(place.tmpDir, "zipper-test")
      fs.symlinkSync(elsewhere, staging)
      yield* refused("zipper-test is a symlink, not a folder")
      fs.unlinkSync(staging)
      fs.mkdirSync(path.join(place.targetPath, ".zipper"), { recursive: true })
      fs.mkdirSync(home(place, "ABCD.zip"))
      const error = yield* Effect.flip(archive("one")).pipe(on(place))
      assert.include(error.message, "ABCD.zip is a folder, not a file; move it away")
      assert.deepStrictEqual(fs.readdirSync(home(place)), ["ABCD.zip"])
    })
  )

  it.scoped.runIf(process.getuid?.() === 0)("refuses a staging folder of another user", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const staging = path.join(place.tmpDir, "zipper-test")
      fs.mkdirSync(staging)
      fs.chownSync(staging, 12345, 12345)
      const error = yield* Effect.flip(Effect.scoped(stage())).pipe(on(place))
      assert.include(error.message, "zipper-test belongs to user 12345, and this runs as user 0")
      assert.isTrue(fs.existsSync(staging))
    })
  )

  it.scoped("an attempt that could not clean up does not spoil the next one", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
      // The last rename fails, and so does everything after it: undoing, cleaning up.
      let dead = false
      const disk = DiskFaults.layer({
        before: ({ name, path: file }) => {
          if (name === "rename" && file.endsWith("/ABCD/.state.json")) dead = true
          return dead ? "EIO" : undefined
        }
      })
      const error = yield* Effect.flip(archive("three").pipe(Effect.provide(storeOn(place, disk))))
      assert.include(error.message, "could not be undone either")
      yield* archive("four").pipe(on(place))
      assert.deepStrictEqual(inspect(place), { current: "four", previous: "three", ...clean })
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
        `${place.targetPath} takes "ABCD" and "abcd" for one name, and "abcd" is there: rename it to "ABCD" if it is its folder, or else move it away`
      )
      assert.deepStrictEqual(fs.readdirSync(at(place, "abcd")), [])
    })
  )
})
