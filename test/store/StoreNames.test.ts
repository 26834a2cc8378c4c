import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { encodeChecksums, parseChecksums } from "../../src/store/Metadata.ts"
import { PublishedArchives } from "../../src/store/PublishedArchive.ts"
import { Store } from "../../src/store/Store.ts"
import { type Content, Disk } from "../../src/system/Disk.ts"
import { archive, folderName, hasher, logsOf, scopedPlace, storeOn } from "../support/store/storeKit.ts"

const placeOf = (folders: RegExp) => Effect.map(scopedPlace, (place) => ({ ...place, folders }))
const every = /^[^.].*$/u

/** Takes names for one that differ in case, or by dots at the end. */
const folding = Layer.effect(
  Disk,
  Effect.map(Disk, (disk) => {
    const real = (name: string) => name.replace(/[^/]+$/, (last) => last.toLowerCase().replace(/\.+$/, ""))
    return {
      ...disk,
      stat: (name: string) => disk.stat(real(name)),
      writeUnsynced: (name: string, content: Content) => disk.writeUnsynced(real(name), content),
      write: (name: string, content: Content, mode?: number) => disk.write(real(name), content, mode),
      remove: (name: string) => disk.remove(real(name)),
      removeFolder: (name: string) => disk.removeFolder(real(name)),
      list: (name: string) => disk.list(real(name)),
      makeFolder: (name: string, mode?: number) => disk.makeFolder(real(name), mode)
    }
  })
).pipe(Layer.provide(Disk.layer))

/** Gives a file another inode number under each name by which it is found, as FUSE does. */
const renumbering = Layer.effect(
  Disk,
  Effect.map(Disk, (disk) => ({
    ...disk,
    stat: (name: string) =>
      Effect.map(disk.stat(name), (stat) => stat && { ...stat, ino: stat.ino + (/photos$/.test(name) ? 1 : 2) })
  }))
).pipe(Layer.provide(folding))

describe("names that the target takes for one", () => {
  const judged = (disk: Layer.Layer<Disk>, ...names: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const place = yield* placeOf(every)
      const error = yield* Effect.flatMap(Store, (store) => store.requireDistinct(names.map(folderName))).pipe(
        Effect.provide(storeOn(place, disk)),
        Effect.flip,
        Effect.map(({ message }) => message),
        Effect.catchAll(() => Effect.succeed("none"))
      )
      assert.deepStrictEqual(fs.readdirSync(place.targetPath), [])
      return error.replace(place.targetPath, "TARGET")
    })

  it.scoped("are refused, both by name, and nothing stays in the target", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* judged(folding, "Documents", "Photos", "mail", "photos"),
        'target_path TARGET takes "Photos" and "photos" for one name, and their archives would replace each other: rename one of the two in the source, or leave it out by "folders"'
      )
      assert.include(yield* judged(folding, "a", "b", "a."), '"a" and "a."')
    })
  )

  it.scoped("are nothing but two names where the target tells them apart", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* judged(Disk.layer, "Photos", "photos", "\u00c4", "A\u0308", "a", "a."), "none")
      assert.strictEqual(yield* judged(folding, "Photos", "photos 2024"), "none")
    })
  )

  it.scoped("are seen by a dry run where both have a folder", () =>
    Effect.gen(function* () {
      const place = yield* placeOf(every)
      fs.mkdirSync(path.join(place.targetPath, "photos"))
      for (const disk of [folding, renumbering]) {
        const store = Store.layerDryRun(place).pipe(Layer.provide([disk, hasher]))
        const error = yield* Effect.flatMap(Store, ({ requireDistinct }) =>
          requireDistinct([folderName("Photos"), folderName("photos")])
        ).pipe(Effect.provide(store), Effect.flip)
        assert.include(error.message, '"Photos" and "photos" for one name')
      }
      assert.deepStrictEqual(fs.readdirSync(place.targetPath), ["photos"])
    })
  )

  it.scoped("fail their folder where the target changes a name, and leave no folder there", () =>
    Effect.gen(function* () {
      const place = yield* placeOf(every)
      const error = yield* Effect.flip(
        Effect.scoped(Effect.flatMap(Store, (store) => store.stage(folderName("dots.."))))
      ).pipe(Effect.provide(storeOn(place, folding)))
      assert.include(error.message, '"dots.."')
      assert.deepStrictEqual(fs.readdirSync(place.targetPath), [".zipper"])
      assert.deepStrictEqual(fs.readdirSync(path.join(place.targetPath, ".zipper")), [])
    })
  )
})

describe("the folders of the target", () => {
  it.scoped("are those with a name of folders, and those that hold a state of ours", () =>
    Effect.gen(function* () {
      const place = yield* placeOf(every)
      for (const name of ["Documents", "photos 2024", "日本"]) {
        yield* archive(`content of ${name}`, folderName(name)).pipe(Effect.provide(storeOn(place)))
      }
      const at = (name: string) => path.join(place.targetPath, name)
      fs.cpSync(at("日本"), at("copy of another"), { recursive: true })
      for (const name of ["empty", "other"]) fs.mkdirSync(at(name))
      fs.writeFileSync(at("other/.state.json"), "{}")
      fs.symlinkSync("日本", at("link"))
      const archives = (wanted?: RegExp) =>
        Effect.flatMap(PublishedArchives, ({ folders }) => folders).pipe(
          Effect.provide(PublishedArchives.layer(place.targetPath, wanted)),
          Effect.provide(Disk.layer)
        )
      const mine = ["Documents", "photos 2024", "日本"].map(folderName)
      assert.deepStrictEqual(yield* archives(/^Documents$/u), mine)
      assert.deepStrictEqual(yield* archives(), mine)
      const records = yield* Effect.flatMap(Store, (store) => store.records).pipe(
        Effect.provide(storeOn({ ...place, folders: /^Documents$/u }))
      )
      assert.deepStrictEqual([...records.keys()].sort(), mine)
      assert.strictEqual(fs.readFileSync(at("other/.state.json"), "utf8"), "{}")
      // Without its state, its zip says what it is where no pattern does.
      fs.rmSync(at("日本/.state.json"))
      assert.deepStrictEqual(yield* archives(), mine)
      assert.deepStrictEqual(yield* archives(/^Documents$/u), mine.slice(0, 2))
    })
  )

  it.scoped("with names like those of our own files keep their records", () =>
    Effect.gen(function* () {
      const place = yield* placeOf(every)
      const names = ["x", "x.new", "x.json", "x.json.new", "x.zip", "index", "made-x", "made-x.new", "cursor.json"].map(
        folderName
      )
      const job = path.join(place.targetPath, ".zipper")
      const failed = { run: "r1", failed_at_utc: "2025-01-01T12:00:00Z", error: "no" }
      yield* Effect.gen(function* () {
        const store = yield* Store
        for (const name of names) yield* archive(`content of ${name}`, name)
        for (const name of names) yield* store.recordFailure({ ...failed, folder: name })
      }).pipe(Effect.provide(storeOn(place)))
      // As a crashed run leaves them: a draft of an index, a marker of a folder that could not be put right.
      fs.writeFileSync(path.join(job, "index/.x.new"), "half")
      fs.writeFileSync(path.join(job, "failures/x.json.new"), "half")
      fs.writeFileSync(path.join(job, "made-y.new"), "")
      fs.mkdirSync(path.join(place.targetPath, "y.new/.publish"), { recursive: true })
      fs.writeFileSync(path.join(place.targetPath, "y.new/.publish/commit"), "{")
      fs.chmodSync(path.join(place.targetPath, "y.new/.publish"), 0o700)
      const { value: report } = yield* logsOf(
        Effect.flatMap(Store, (store) => store.recover).pipe(Effect.provide(storeOn(place)))
      )
      assert.deepStrictEqual(report.broken, [])
      assert.deepStrictEqual(fs.readdirSync(path.join(job, "index")).sort(), [...names].sort())
      const records = yield* Effect.flatMap(Store, (store) => store.records).pipe(Effect.provide(storeOn(place)))
      for (const name of names) {
        const record = records.get(name)
        assert.strictEqual(record?.state?.folder, name)
        assert.strictEqual(record?.failure?.folder, name)
      }
      assert.deepStrictEqual(
        fs.readdirSync(path.join(job, "failures")).sort(),
        names.map((name) => `${name}.json`).sort()
      )
    })
  )
})

describe("a checksum file", () => {
  it("names its archive as coreutils does", () => {
    const digest = "d".repeat(64)
    assert.strictEqual(encodeChecksums(digest, "photos 2024.zip"), `${digest}  photos 2024.zip\n`)
    assert.strictEqual(encodeChecksums(digest, "a\\b.zip"), `\\${digest}  a\\\\b.zip\n`)
    for (const name of ["a.zip", "a\\b\\\\c.zip", " x.zip", "-rf.zip", "*.zip"]) {
      assert.deepStrictEqual(parseChecksums(encodeChecksums(digest, name)), { digest, name })
    }
  })
})
