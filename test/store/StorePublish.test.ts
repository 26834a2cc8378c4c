import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Store, type StoreSettings } from "../../src/store/Store.ts"
import { type Content, Disk } from "../../src/system/Disk.ts"
import * as DiskFaults from "../support/store/diskFaults.ts"
import { inspect } from "../support/store/storeCheck.ts"
import {
  abcd,
  archive,
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
      // Without a state, the archive itself is hashed.
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
      const isJournal = ({ name, path: file }: DiskFaults.Operation) => name === "write" && file.endsWith("journal")
      assert.isFalse(yield* interruptAt(place, isJournal))
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
      const isLast = ({ name, path: file }: DiskFaults.Operation) => name === "rename" && file.endsWith("/ABCD.zip.md5")
      assert.isTrue(yield* interruptAt(place, isLast), "the caller hears of it")
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
      assert.match(
        error.message,
        /^cannot publish ABCD: cannot write .*; free some space \(or inodes, .*df -i.*\) or raise the quota$/
      )
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
          write: (file: string, content: Content) => hold("write", file, real.write(file, content)),
          rename: (from: string, to: string) => hold("rename", to, real.rename(from, to))
        }
      })
    ).pipe(Layer.provide(Disk.layer))
    let published = false
    const onPublished = Effect.sync(() => {
      published = true
    })
    const fiber = yield* Effect.fork(archive("three", abcd, onPublished).pipe(Effect.provide(storeOn(place, disk))))
    yield* Deferred.await(reached)
    const interruption = yield* Effect.fork(Fiber.interrupt(fiber))
    yield* Effect.yieldNow()
    yield* Deferred.succeed(go, undefined)
    yield* Fiber.join(interruption)
    return published
  })
