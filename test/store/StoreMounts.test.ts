import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Store, type StoreSettings } from "../../src/store/Store.ts"
import { Disk } from "../../src/system/Disk.ts"
import { abcd, folderName, logsOf, scopedPlace, storeOn } from "../support/store/storeKit.ts"

/** The real disk, on which the kernel has file systems mounted at these places only, besides `/`. */
const diskWith = (...mountpoints: ReadonlyArray<string>): Layer.Layer<Disk> =>
  Layer.effect(
    Disk,
    Effect.map(Disk, (disk) => ({
      ...disk,
      readBytes: (file: string) =>
        file === "/proc/self/mountinfo"
          ? Effect.succeed(
              Buffer.from(["/", ...mountpoints].map((at) => `1 1 8:1 / ${at} rw - ext4 /dev/sda1 rw\n`).join(""))
            )
          : disk.readBytes(file)
    }))
  ).pipe(Layer.provide(Disk.layer))

const placed = Effect.map(scopedPlace, (place) => {
  for (const folder of ["log", "run", "source"]) fs.mkdirSync(path.join(place.root, folder))
  const at = (name: string) => path.join(place.root, name)
  const settings = { ...place, sourcePath: at("source"), placesPaths: [at("log/mounts"), at("run/mounts")] }
  return { settings, at }
})

const preflight = (settings: StoreSettings, ...mountpoints: ReadonlyArray<string>) =>
  Effect.flatMap(Store, (store) => store.preflight).pipe(Effect.provide(storeOn(settings, diskWith(...mountpoints))))

const unmounted = (settings: StoreSettings, accepted: ReadonlyArray<string>, ...mountpoints: ReadonlyArray<string>) =>
  Effect.flatMap(Store, (store) => store.unmounted(accepted.map(folderName), ["--config", "c.json"])).pipe(
    Effect.provide(storeOn(settings, diskWith(...mountpoints))),
    Effect.map((broken) => broken.map(({ folder, reason }) => `${folder}: ${reason}`))
  )

describe("the file system of the target", () => {
  it.scoped("has to be mounted once it was, and nothing is written where it is not", () =>
    Effect.gen(function* () {
      const { at, settings } = yield* placed
      yield* preflight(settings, at("target"))
      const error = yield* Effect.flip(preflight(settings))
      assert.strictEqual(error.reason, "NotMounted")
      assert.strictEqual(
        error.message,
        `target_path ${at("target")} lay on the ext4 file system that was mounted at ${at("target")} at the last run, and nothing is mounted there now: mount it; or, if it is not to be mounted any more, remove ${at("log/mounts")}`
      )
      assert.deepStrictEqual(fs.readdirSync(at("target")), [])
      const dry = yield* Effect.flip(
        Effect.flatMap(Store, (store) => store.preflight).pipe(
          Effect.provide(Store.layerDryRun(settings)),
          Effect.provide(diskWith())
        )
      )
      assert.strictEqual(dry.reason, "NotMounted")
      yield* preflight(settings, at("target"))
      fs.rmSync(at("log/mounts"))
      yield* preflight(settings)
      // The target may be a folder deep inside what is mounted.
      const deep = { ...settings, targetPath: at("target/backup/zips") }
      fs.mkdirSync(deep.targetPath, { recursive: true })
      yield* preflight(deep, at("target"))
      assert.include((yield* Effect.flip(preflight(deep))).message, `was mounted at ${at("target")} at the last`)
    })
  )

  it.scoped("is not remembered on itself, nor where nothing can be missing", () =>
    Effect.gen(function* () {
      const { at, settings } = yield* placed
      yield* preflight(settings)
      assert.isFalse(fs.existsSync(at("log/mounts")))
      yield* preflight(settings, at("target"), at("run"))
      assert.isTrue(fs.existsSync(at("log/mounts")))
      fs.rmSync(at("log/mounts"))
      const linked = { ...settings, placesPaths: [at("target/mounts"), at("run/mounts")] }
      yield* preflight(linked, at("target"))
      assert.isFalse(fs.existsSync(at("target/mounts")))
      assert.isTrue(fs.existsSync(at("run/mounts")))
      assert.strictEqual((yield* Effect.flip(preflight(linked))).reason, "NotMounted")
      // Of another target, or of another source, it says nothing.
      fs.mkdirSync(at("other"))
      yield* preflight({ ...linked, targetPath: at("other") })
    })
  )

  it.scoped("is asked for once when it holds nothing, although an earlier run used it", () =>
    Effect.gen(function* () {
      const { at, settings } = yield* placed
      const said = Effect.map(logsOf(preflight(settings, at("target"))), ({ lines }) => lines)
      assert.strictEqual(yield* said, "")
      const question = `ERROR target_path ${at("target")} holds no archive and no state of this job, although an earlier run used it: is it the right disk? If it is, every folder is archived anew`
      assert.strictEqual(yield* said, question)
      fs.mkdirSync(at("target/lost+found"))
      assert.strictEqual(yield* said, question)
      fs.mkdirSync(at("target/ABCD"))
      assert.strictEqual(yield* said, question)
      fs.writeFileSync(at("target/ABCD/ABCD.zip"), "")
      assert.strictEqual(yield* said, "")
      fs.rmSync(at("target/ABCD"), { recursive: true })
      fs.mkdirSync(at("target/.zipper"))
      assert.strictEqual(yield* said, "")
    })
  )

  it.scoped("that cannot be remembered is said", () =>
    Effect.gen(function* () {
      const { at, settings } = yield* placed
      const { lines } = yield* logsOf(preflight({ ...settings, placesPaths: [at("gone/mounts")] }, at("target")))
      assert.match(lines, /WARN a later run will not notice .*gone.*no such file/)
      const other = yield* logsOf(
        preflight({ ...settings, placesPaths: [at("target/mounts"), at("gone/mounts")] }, at("target"))
      )
      assert.match(other.lines, /WARN a later run will not notice .*gone.*no such file/)
      // The second place serves where the first one cannot.
      yield* preflight({ ...settings, placesPaths: [at("gone/mounts"), at("run/mounts")] }, at("target"))
      assert.isTrue(fs.existsSync(at("run/mounts")))
    })
  )
})

describe("the file system of the source", () => {
  it.scoped("has to be mounted once it was", () =>
    Effect.gen(function* () {
      const { at, settings } = yield* placed
      yield* preflight(settings, at("source"))
      const error = yield* Effect.flip(preflight(settings))
      assert.match(error.message, /^source_path .* was mounted at .*source at the last run, .*: mount it; or/)
    })
  )
})

describe("a folder of the target that is a mount of its own", () => {
  it.scoped("is missed when it is none any more, until that is accepted", () =>
    Effect.gen(function* () {
      const { at, settings } = yield* placed
      for (const name of ["ABCD", "EFGH"]) fs.mkdirSync(at(`target/${name}`))
      assert.deepStrictEqual(yield* unmounted(settings, [], at("target/ABCD"), at("target/EFGH/deeper")), [])
      const missed = `ABCD: its folder of the target, ${at("target/ABCD")}, was a mount of its own at the last run, and nothing is mounted there now: mount it, or accept that it is archived without: zipper run --config c.json --force --folder ABCD`
      assert.deepStrictEqual(yield* unmounted(settings, []), [missed])
      assert.deepStrictEqual(yield* unmounted(settings, ["EFGH"], at("target/EFGH")), [missed])
      assert.deepStrictEqual(yield* unmounted(settings, [abcd], at("target/EFGH")), [])
      assert.deepStrictEqual(yield* unmounted(settings, [], at("target/EFGH")), [])
      assert.lengthOf(yield* unmounted(settings, []), 1)
    })
  )
})
