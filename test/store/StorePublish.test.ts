import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Store, type StoreSettings } from "../../src/store/Store.ts"
import { Disk } from "../../src/system/Disk.ts"
import { flippedWrites } from "../support/program/fileHandles.ts"
import { canMount } from "../support/program/mounts.ts"
import * as DiskFaults from "../support/store/diskFaults.ts"
import { inspect } from "../support/store/storeCheck.ts"
import {
  abcd,
  archive,
  folderName,
  indexOf,
  listing,
  logsOf,
  publicationOf,
  scopedPlace,
  storeOn
} from "../support/store/storeKit.ts"

const on = (place: StoreSettings) => Effect.provide(storeOn(place))
const home = (place: StoreSettings, ...names: ReadonlyArray<string>) => path.join(place.targetPath, "ABCD", ...names)
const sum = (program: string, file: string) =>
  execFileSync(program, ["-c", path.basename(file)], { cwd: path.dirname(file), encoding: "utf8" })
const clean = { problems: [], leftovers: [] }

describe("publish", () => {
  it.scoped("keeps the newest two, each with checksums that coreutils accept", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const first = yield* archive("one").pipe(on(place))
      assert.deepStrictEqual(first, { folder: abcd, zip: home(place, "ABCD.zip"), rotated: false })
      assert.deepStrictEqual(inspect(place), { current: "one", previous: undefined, ...clean })
      assert.isTrue((yield* archive("two").pipe(on(place))).rotated)
      assert.deepStrictEqual(inspect(place), { current: "two", previous: "one", ...clean })
      yield* archive("three").pipe(on(place))
      assert.deepStrictEqual(inspect(place), { current: "three", previous: "two", ...clean })
      for (const zip of ["ABCD.zip", "ABCD.prev.zip"]) {
        assert.strictEqual(sum("md5sum", home(place, `${zip}.md5`)), `${zip}: OK\n`)
        assert.strictEqual(sum("sha256sum", home(place, `${zip}.sha256`)), `${zip}: OK\n`)
      }
    })
  )

  it.scoped("the same bytes replace the files beside the archive, and push out no previous archive", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
      const metadata = fs.readFileSync(home(place, "metadata.prev.json"), "utf8")
      fs.rmSync(home(place, "ABCD.zip.md5"))
      fs.writeFileSync(home(place, "ABCD.zip.sha256"), "garbled")
      const again = yield* archive("two").pipe(on(place))
      assert.deepStrictEqual([again.rotated, again.same], [false, true])
      assert.deepStrictEqual(inspect(place), { current: "two", previous: "one", ...clean })
      assert.strictEqual(fs.readFileSync(home(place, "metadata.prev.json"), "utf8"), metadata)
      // Without a state, the archive itself tells.
      fs.rmSync(home(place, ".state.json"))
      assert.isTrue((yield* archive("two").pipe(on(place))).same)
      assert.deepStrictEqual(inspect(place), { current: "two", previous: "one", ...clean })
    })
  )

  it.scoped("stages in the target when there is no tmp_dir", () =>
    Effect.gen(function* () {
      const { root, ...place } = { ...(yield* scopedPlace), tmpDir: undefined }
      yield* Effect.scoped(
        Effect.gen(function* () {
          const staging = yield* Effect.flatMap(Store, (store) => store.stage(abcd))
          assert.strictEqual(staging.zip, home(place, ".publish/next/ABCD.zip"))
        })
      ).pipe(on(place))
      for (const content of ["one", "two", "three"]) yield* archive(content).pipe(on(place))
      assert.deepStrictEqual(inspect(place), { current: "three", previous: "two", ...clean })
      assert.isTrue(fs.existsSync(root))
    })
  )

  it.scoped("follows umask, and lets nobody else into the work area", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      const mode = (file: string) => (fs.statSync(file).mode & 0o777).toString(8)
      const umask = process.umask(0o027)
      try {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const staging = yield* Effect.flatMap(Store, (store) => store.stage(abcd))
            assert.strictEqual(mode(home(place, ".publish")), "700")
            assert.strictEqual(mode(path.dirname(staging.zip)), "700")
            assert.strictEqual(mode(path.join(place.tmpDir, "zipper-test")), "700")
          })
        ).pipe(on(place))
        for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
      } finally {
        process.umask(umask)
      }
      assert.strictEqual(mode(home(place)), "750")
      for (const name of fs.readdirSync(home(place))) assert.strictEqual(mode(home(place, name)), "640", name)
    })
  )

  it.scoped("does not put a damaged archive in the place of a good one", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
      fs.truncateSync(home(place, "ABCD.zip"), 2)
      const { lines, value } = yield* logsOf(archive("three").pipe(on(place)))
      assert.isFalse(value.rotated)
      assert.include(lines, "WARN the current archive ABCD.zip is damaged: it has 2 bytes and was published with 3")
      assert.deepStrictEqual(inspect(place), { current: "three", previous: "one", ...clean })
    })
  )

  it.scoped("keeps the previous one when the current is gone", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
      fs.unlinkSync(home(place, "ABCD.zip"))
      yield* archive("three").pipe(on(place))
      assert.deepStrictEqual(inspect(place), { current: "three", previous: "one", ...clean })
    })
  )

  it.scoped("takes over an archive of the older tool: MD5 and metadata only", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(on(place))
      const { zip_sha256: _, ...older } = publicationOf("one").metadata
      fs.writeFileSync(home(place, "metadata.json"), JSON.stringify(older))
      fs.unlinkSync(home(place, ".state.json"))
      fs.unlinkSync(home(place, "ABCD.zip.sha256"))
      assert.isTrue((yield* archive("two").pipe(on(place))).rotated)
      assert.deepStrictEqual(inspect(place), { current: "two", previous: "one", ...clean })
    })
  )

  it.scoped("without a state, an archive that contradicts its MD5 is damaged", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
      fs.unlinkSync(home(place, ".state.json"))
      fs.writeFileSync(home(place, "ABCD.zip"), "TWO")
      assert.isFalse((yield* archive("three").pipe(on(place))).rotated)
      assert.deepStrictEqual(inspect(place), { current: "three", previous: "one", ...clean })
    })
  )

  it.scoped("keeps an archive that nothing is known of, without inventing metadata for it", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
      for (const name of [".state.json", "metadata.json", "ABCD.zip.md5", "ABCD.zip.sha256"]) {
        fs.unlinkSync(home(place, name))
      }
      const { lines, value } = yield* logsOf(archive("three").pipe(on(place)))
      assert.isTrue(value.rotated)
      assert.include(lines, "there is no metadata for the current archive ABCD.zip")
      const found = inspect(place)
      assert.strictEqual(found.previous, "two")
      assert.deepStrictEqual(found.problems, ["metadata.prev.json is missing"])
      assert.strictEqual(sum("sha256sum", home(place, "ABCD.prev.zip.sha256")), "ABCD.prev.zip: OK\n")
    })
  )

  it.scoped("two names of one file as current and previous are no obstacle", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(on(place))
      fs.linkSync(home(place, "ABCD.zip"), home(place, "ABCD.prev.zip"))
      yield* archive("two").pipe(on(place))
      assert.deepStrictEqual(inspect(place), { current: "two", previous: "one", ...clean })
    })
  )

  it.scoped("refuses a zip that is not the one that was verified", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(on(place))
      const error = yield* Effect.scoped(
        Effect.gen(function* () {
          const store = yield* Store
          const staging = yield* store.stage(abcd)
          fs.writeFileSync(staging.zip, "tw")
          return yield* Effect.flip(store.publish(staging, publicationOf("two")))
        })
      ).pipe(on(place))
      assert.include(error.message, "it has 2 bytes instead of 3")
      assert.deepStrictEqual(inspect(place), { current: "one", previous: undefined, ...clean })
    })
  )

  it.scoped("has synced everything before it relies on it", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
      const log: Array<string> = []
      const disk = DiskFaults.layer({
        after: ({ name, path: file }) => {
          log.push(`${name} ${path.relative(place.targetPath, path.resolve(file)) || "."}`)
          return undefined
        }
      })
      yield* archive("three").pipe(Effect.provide(storeOn(place, disk)))
      const next = "ABCD/.publish/next"
      const committed = log.indexOf("rename ABCD/.publish/commit")
      const lastBefore = (entry: string, end: number) => log.lastIndexOf(entry, end)
      // Contents and names of new files, of the links to old ones and of all folders above, then the journal.
      const lastChange = log.findLastIndex(
        (entry, index) => index < committed && /^(link|rename|makeFolder|write) .*\/(next|old)\b/.test(entry)
      )
      const relied = [next, "ABCD/.publish/old", "ABCD/.publish", "ABCD", "."].map((folder) => `sync ${folder}`)
      for (const entry of [...relied, "write ABCD/.publish/journal"]) {
        assert.isAbove(lastBefore(entry, committed), lastChange, entry)
      }
      for (const zip of ["ABCD.zip", "ABCD.prev.zip"]) {
        assert.isAbove(lastBefore(`sync ${next}/${zip}`, committed), 0, zip)
      }
      // The journal's name before the first file, the files before the journal goes, that before what it needs.
      const order = [
        committed,
        log.indexOf("sync ABCD/.publish", committed),
        log.indexOf("rename ABCD/ABCD.prev.zip"),
        log.indexOf("rename ABCD/.state.json"),
        log.lastIndexOf("sync ABCD"),
        log.indexOf("remove ABCD/.publish/commit"),
        log.lastIndexOf("sync ABCD/.publish"),
        log.indexOf(`removeFolder ${next}`)
      ]
      assert.deepStrictEqual(
        order,
        [...order].sort((a, b) => a - b)
      )
      assert.notInclude(order, -1)
    })
  )

  it.scoped("copies where a hard link is refused, by any error that a copy would not meet too", () =>
    Effect.gen(function* () {
      for (const code of ["EIO", "EPERM", "ENOTSUP", "ENOSYS", "EACCES", "EINVAL", "EMLINK"]) {
        const place = yield* scopedPlace
        const disk = DiskFaults.layer({ before: ({ name }) => (name === "link" ? code : undefined) })
        for (const content of ["one", "two", "three"])
          yield* archive(content).pipe(Effect.provide(storeOn(place, disk)))
        assert.deepStrictEqual(inspect(place), { current: "three", previous: "two", problems: [], leftovers: [] }, code)
      }
    })
  )

  it.scoped("a copy that fails after a refused link names both reasons; a full disk is not copied to", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      yield* archive("one").pipe(on(place))
      const both = DiskFaults.layer({
        before: ({ name }) => (name === "link" ? "EIO" : name === "copy" ? "ENOSPC" : undefined)
      })
      const error = yield* Effect.flip(archive("two").pipe(Effect.provide(storeOn(place, both))))
      assert.match(error.message, /injected ENOSPC; it is copied since no hard link can be made there \(.*EIO/)
      assert.strictEqual(error.transient, false)
      for (const code of ["ENOSPC", "EDQUOT", "EEXIST", "ENOENT"]) {
        let copies = 0
        const full = DiskFaults.layer({
          before: ({ name }) => {
            if (name === "copy") copies += 1
            return name === "link" ? code : undefined
          }
        })
        const refused = yield* Effect.flip(archive("two").pipe(Effect.provide(storeOn(place, full))))
        assert.include(refused.message, `injected ${code}`)
        assert.strictEqual(copies, 0, code)
      }
      assert.strictEqual(inspect(place).current, "one")
    })
  )

  it.scoped("a publication that is interrupted before it is committed leaves everything as it was", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
      const before = listing(home(place))
      yield* interruptAt(place, (operation) => operation.name === "write" && operation.path.endsWith("journal"))
      assert.deepStrictEqual(
        listing(home(place)).map((line) => line.split(" ")[0]),
        before.map((line) => line.split(" ")[0])
      )
      assert.deepStrictEqual(inspect(place), { current: "two", previous: "one", ...clean })
    })
  )

  it.scoped("one that is interrupted after it is finished", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
      yield* Effect.flatMap(Store, (store) =>
        store.recordFailure({ folder: abcd, run: "r", failed_at_utc: "2025-01-01T12:00:00Z", error: "no" })
      ).pipe(on(place))
      yield* interruptAt(place, (operation) => operation.name === "rename" && operation.path.endsWith("/ABCD.zip.md5"))
      assert.deepStrictEqual(inspect(place), { current: "three", previous: "two", ...clean })
      // With the failure noted still, the next run would push "two" out by a copy of "three".
      const records = yield* Effect.flatMap(Store, (store) => store.records).pipe(on(place))
      assert.isUndefined(records.get(abcd)?.failure)
      const { index } = yield* Effect.flatMap(Store, (store) => store.previous(abcd)).pipe(
        Effect.map((previous) => ({ index: previous?.index.sha256 })),
        on(place)
      )
      assert.strictEqual(index, indexOf("three").sha256)
    })
  )

  it.scoped("a file system that fills up costs nothing but the attempt", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      for (const content of ["one", "two"]) yield* archive(content).pipe(on(place))
      const full = DiskFaults.layer({
        before: ({ name, path: file }) =>
          name === "write" && file.endsWith("metadata.prev.json") ? "ENOSPC" : undefined
      })
      const error = yield* Effect.flip(archive("three").pipe(Effect.provide(storeOn(place, full))))
      assert.strictEqual(error.reason, "NoSpace")
      assert.isFalse(error.transient)
      assert.match(error.message, /^cannot publish ABCD: cannot write .*; free some space or raise the quota$/)
      assert.deepStrictEqual(inspect(place), { current: "two", previous: "one", ...clean })
    })
  )
})

/** Interrupts the third publication while the operation is under way. */
const interruptAt = (place: StoreSettings, at: (operation: DiskFaults.Operation) => boolean) =>
  Effect.gen(function* () {
    const reached = yield* Deferred.make<void>()
    const go = yield* Deferred.make<void>()
    const disk = Layer.effect(
      Disk,
      Effect.map(Disk, (real) => {
        const hold = <A, E>(name: string, file: string, effect: Effect.Effect<A, E>) =>
          at({ number: 0, name, path: file, changes: true })
            ? Deferred.succeed(reached, undefined).pipe(
                Effect.zipRight(Effect.uninterruptible(Deferred.await(go))),
                Effect.zipRight(effect)
              )
            : effect
        return {
          ...real,
          write: (file: string, content: string | Uint8Array) => hold("write", file, real.write(file, content)),
          rename: (from: string, to: string) => hold("rename", to, real.rename(from, to))
        }
      })
    ).pipe(Layer.provide(Disk.layer))
    const fiber = yield* Effect.fork(archive("three").pipe(Effect.provide(storeOn(place, disk))))
    yield* Deferred.await(reached)
    const interruption = yield* Effect.fork(Fiber.interrupt(fiber))
    yield* Effect.yieldNow()
    yield* Deferred.succeed(go, undefined)
    yield* Fiber.join(interruption)
  })

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
      // A folder that somebody else made stays.
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
      assert.include(error.message, "ABCD.zip is a directory, not a regular file; move it away")
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
