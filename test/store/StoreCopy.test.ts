import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Store, type StoreSettings } from "../../src/store/Store.ts"
import { flippedWrites } from "../support/program/fileHandles.ts"
import { canMount } from "../support/program/mounts.ts"
import * as DiskFaults from "../support/store/diskFaults.ts"
import { inspect } from "../support/store/storeCheck.ts"
import { abcd, archive, publicationOf, scopedPlace, storeOn } from "../support/store/storeKit.ts"

const on = (place: StoreSettings) => Effect.provide(storeOn(place))
const home = (place: StoreSettings, ...names: ReadonlyArray<string>) => path.join(place.targetPath, "ABCD", ...names)
const clean = { problems: [], leftovers: [] }

describe("an archive that has to be copied", () => {
  /** A disk without hard links, and where an archive cannot be renamed out of tmp_dir. */
  const copying = DiskFaults.layer({
    before: ({ name, path: file }) =>
      name === "link" ? "EPERM" : name === "rename" && file.endsWith("next/ABCD.zip") ? "EXDEV" : undefined
  })

  it.scoped("is not published with a bit flipped, and the good one stays", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(on(place))
      const store = Effect.provide(storeOn(place, copying))
      yield* archive("two").pipe(store)
      assert.deepStrictEqual(inspect(place), { current: "two", previous: "one", ...clean })
      for (const copy of ["/next/ABCD.zip", "/next/ABCD.prev.zip", "/old/ABCD.zip", "/old/ABCD.zip.md5"]) {
        const error = yield* Effect.scoped(
          Effect.zipRight(flippedWrites(copy), Effect.flip(archive("three").pipe(store)))
        )
        assert.include(error.message, "was read back with another SHA-256", copy)
        assert.isFalse(error.transient)
        assert.deepStrictEqual(inspect(place), { current: "two", previous: "one", ...clean }, copy)
      }
    })
  )

  it.scoped("is not published when it is not what was verified any more", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const error = yield* Effect.scoped(
        Effect.gen(function* () {
          const store = yield* Store
          const staging = yield* store.stage(abcd)
          fs.writeFileSync(staging.zip, "0ne")
          return yield* Effect.flip(store.publish(staging, publicationOf("one")))
        })
      ).pipe(Effect.provide(storeOn(place, copying)))
      assert.include(error.message, "was read with another SHA-256")
      assert.isFalse(fs.existsSync(home(place)))
    })
  )

  it.scoped.runIf(canMount)("is not copied from another mount of the target's file system: it is staged inside", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const real = path.join(place.root, "real")
      fs.mkdirSync(real)
      execFileSync("mount", ["--bind", real, place.tmpDir])
      yield* Effect.addFinalizer(() => Effect.sync(() => execFileSync("umount", [place.tmpDir])))
      assert.strictEqual(fs.statSync(place.tmpDir).dev, fs.statSync(place.targetPath).dev)
      const store = yield* Effect.provide(Store, storeOn(place))
      assert.isFalse((yield* store.preflight).stagesInTmp)
      assert.deepStrictEqual([...fs.readdirSync(place.targetPath), ...fs.readdirSync(real)], [])
      const staging = yield* store.stage(abcd)
      assert.strictEqual(staging.zip, home(place, ".publish/next/ABCD.zip"))
      assert.deepStrictEqual(fs.readdirSync(path.dirname(staging.zip)), [])
    })
  )
})

describe("a disk that is really full", () => {
  it.scoped.runIf(canMount)("leaves the good archives, and takes the next one when there is space", () =>
    Effect.gen(function* () {
      const { root, tmpDir: _, ...settings } = yield* scopedPlace
      const place = { ...settings, tmpDir: undefined }
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", place.targetPath])
      yield* Effect.addFinalizer(() => Effect.sync(() => execFileSync("umount", [place.targetPath])))
      const large = (name: string) => name.repeat(10_000)
      for (const name of ["one", "two"]) yield* archive(large(name)).pipe(on(place))
      const ballast = path.join(place.targetPath, ".zipper", "failures")
      fs.mkdirSync(ballast, { recursive: true })
      let refused = 0
      // From no page left for anything to enough: each amount of space stops it somewhere else.
      for (let pages = 1; pages < 200; pages += 2) {
        const free = fs.statfsSync(place.targetPath).bavail
        fs.writeFileSync(path.join(ballast, "ballast"), Buffer.alloc(Math.max(0, free - pages) * 4096))
        const result = yield* Effect.either(
          Effect.scoped(
            Effect.gen(function* () {
              const store = yield* Store
              const staging = yield* store.stage(abcd)
              // Writing the zip itself is not the store's business.
              const written = yield* Effect.either(Effect.try(() => fs.writeFileSync(staging.zip, large("six"))))
              if (written._tag === "Left") return "no room for the zip"
              yield* store.publish(staging, publicationOf(large("six")))
              return "published"
            })
          )
        ).pipe(on(place))
        const found = inspect(place)
        assert.deepStrictEqual(found.problems, [], `${pages} pages`)
        assert.deepStrictEqual(found.leftovers, [], `${pages} pages`)
        fs.unlinkSync(path.join(ballast, "ballast"))
        if (result._tag === "Right" && result.right === "published") break
        if (result._tag === "Left") {
          refused += 1
          assert.strictEqual(result.left.reason, "NoSpace")
          assert.isFalse(result.left.transient)
        }
        assert.strictEqual(found.current, large("two"))
        assert.strictEqual(found.previous, large("one"))
      }
      assert.isAbove(refused, 3)
      assert.deepStrictEqual(inspect(place), { current: large("six"), previous: large("two"), ...clean })
      assert.isTrue(fs.existsSync(root))
    })
  )
})
