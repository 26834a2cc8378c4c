import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { Store, type StoreSettings } from "../../src/store/Store.ts"
import { Disk } from "../../src/system/Disk.ts"
import { Hasher } from "../../src/system/Hasher.ts"
import { type ArchiveIndex, decode, encode, type PreviousArchive } from "../../src/zip/ArchiveIndex.ts"
import * as DiskFaults from "../support/store/diskFaults.ts"
import { inspect } from "../support/store/storeCheck.ts"
import {
  abcd,
  archive,
  emptyPlace,
  hasher,
  indexOf,
  logsOf,
  publicationOf,
  storeOn
} from "../support/store/storeKit.ts"
import { fastFolder } from "../support/zip/reuse.ts"

const scopedPlace = Effect.map(fastFolder, (root) => ({ ...emptyPlace(root), root }))

const previous = Effect.flatMap(Store, (store) => store.previous(abcd))

const indexFile = (place: StoreSettings) => path.join(place.targetPath, ".zipper", "index", "ABCD")
const zipFile = (place: StoreSettings) => path.join(place.targetPath, "ABCD", "ABCD.zip")

const sha256 = (content: string) => createHash("sha256").update(content).digest("hex")

/** What it gives for that place, and what it says at debug. */
const found = (place: StoreSettings) =>
  previous.pipe(Effect.provide(storeOn(place)), Logger.withMinimumLogLevel(LogLevel.Debug), logsOf)

/** A store where the archive "one" lies. */
const published = Effect.tap(scopedPlace, (place) => archive("one").pipe(Effect.provide(storeOn(place))))

/** A Hasher that keeps what it was asked for. */
const counting = (asked: Array<string>): Layer.Layer<Hasher> =>
  Layer.effect(
    Hasher,
    Effect.map(Hasher, (real) => ({
      ...real,
      hash: (file: string) => {
        asked.push(path.basename(file))
        return real.hash(file)
      },
      hashInPieces: (file: string) => {
        asked.push(path.basename(file))
        return real.hashInPieces(file)
      }
    }))
  ).pipe(Layer.provide(hasher))

const storeWith = (place: StoreSettings, hashing: Layer.Layer<Hasher>) =>
  Layer.provide(Store.layer(place), [Disk.layer, hashing])

/** The next archive, published with what is known of the one before. */
const next = (content: string, known: PreviousArchive | undefined, before = Effect.void) =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = yield* Store
      const staging = yield* store.stage(abcd)
      fs.writeFileSync(staging.zip, content)
      yield* before
      return yield* store.publish(staging, {
        ...publicationOf(content),
        index: indexOf(content),
        previous: known
      })
    })
  )

describe("the archive before", () => {
  it.scoped("is given with its index when it is what was published", () =>
    Effect.gen(function* () {
      const place = yield* published
      const { lines, value } = yield* found(place)
      assert.deepStrictEqual(value?.index, indexOf("one"))
      assert.strictEqual(value?.zip, zipFile(place))
      assert.strictEqual(value?.checksums.sha256, sha256("one"))
      assert.strictEqual(value?.file.ino, fs.statSync(zipFile(place)).ino)
      assert.strictEqual(lines, "")
    })
  )

  it.scoped("is not there before there is one, which is nothing to speak of", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      assert.deepStrictEqual(yield* found(place), { value: undefined, lines: "" })
    })
  )

  const damages: ReadonlyArray<{
    readonly name: string
    readonly damage: (place: StoreSettings) => void
    readonly said: RegExp
  }> = [
    { name: "the index is gone", damage: (place) => fs.rmSync(indexFile(place)), said: /^$/ },
    {
      name: "the index is cut off",
      damage: (place) => fs.truncateSync(indexFile(place), 80),
      said: /index\/ABCD cannot be understood/
    },
    {
      name: "the index is empty",
      damage: (place) => fs.truncateSync(indexFile(place), 0),
      said: /index\/ABCD cannot be understood/
    },
    {
      name: "the index is a folder",
      damage: (place) => {
        fs.rmSync(indexFile(place))
        fs.mkdirSync(indexFile(place))
      },
      said: /cannot read .*ABCD/
    },
    {
      name: "the index is of another archive",
      damage: (place) => fs.writeFileSync(indexFile(place), Buffer.concat(encode(indexOf("two")))),
      said: /index\/ABCD is of another archive/
    },
    {
      name: "the state is gone",
      damage: (place) => fs.rmSync(path.join(place.targetPath, "ABCD", ".state.json")),
      said: /index\/ABCD is of another archive/
    },
    {
      name: "the archive is gone",
      damage: (place) => fs.rmSync(zipFile(place)),
      said: /ABCD.zip is not there/
    },
    {
      name: "the archive grew",
      damage: (place) => fs.appendFileSync(zipFile(place), "x"),
      said: /ABCD.zip is not there, or not of the size/
    }
  ]

  it.scoped.each(damages)("is not given when $name", ({ damage, said }) =>
    Effect.gen(function* () {
      const place = yield* published
      damage(place)
      const { lines, value } = yield* found(place)
      assert.isUndefined(value)
      assert.match(lines, said)
      assert.notInclude(lines, "WARN")
      // And the next archive is published as ever.
      if (fs.existsSync(zipFile(place))) yield* archive("two").pipe(Effect.provide(storeOn(place)))
    })
  )

  it.scoped("is not given when any bit of it flipped, and then does not become the previous one", () =>
    Effect.gen(function* () {
      const place = yield* published
      for (let bit = 0; bit < 24; bit += 1) {
        const content = Buffer.from("one")
        content[bit >> 3] = (content[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        fs.writeFileSync(zipFile(place), content)
        const { lines, value } = yield* found(place)
        assert.isUndefined(value, `bit ${bit}`)
        assert.include(lines, "its SHA-256 is not the one that was published")
      }
      const { lines } = yield* logsOf(archive("two").pipe(Effect.provide(storeOn(place))))
      assert.include(lines, "WARN the current archive ABCD.zip is damaged")
      assert.deepInclude(inspect(place), { current: "two", previous: undefined, problems: [] })
    })
  )

  it.scoped("is read once, where it is given and then becomes the previous one", () =>
    Effect.gen(function* () {
      const place = yield* published
      const asked: Array<string> = []
      yield* Effect.flatMap(previous, (known) => next("two", known)).pipe(
        Effect.provide(storeWith(place, counting(asked)))
      )
      assert.deepStrictEqual(asked, ["ABCD.zip"])
      assert.deepInclude(inspect(place), { current: "two", previous: "one", problems: [], leftovers: [] })
    })
  )

  it.scoped("is read again before it becomes the previous one, when it could have changed in between", () =>
    Effect.gen(function* () {
      const place = yield* published
      const asked: Array<string> = []
      const rot = Effect.sync(() => fs.writeFileSync(zipFile(place), "eno"))
      const { lines } = yield* Effect.flatMap(previous, (known) => next("two", known, rot)).pipe(
        Effect.provide(storeWith(place, counting(asked))),
        logsOf
      )
      assert.deepStrictEqual(asked, ["ABCD.zip", "ABCD.zip"])
      assert.include(lines, "its SHA-256 is not the one that was published")
      assert.deepInclude(inspect(place), { current: "two", previous: undefined, problems: [] })
    })
  )

  it.scoped("is not given in a dry run", () =>
    Effect.gen(function* () {
      const place = yield* published
      const store = Layer.provide(Store.layerDryRun(place), Disk.layer)
      assert.isUndefined(yield* previous.pipe(Effect.provide(store)))
    })
  )
})

describe("the index of an archive", () => {
  const read = (place: StoreSettings): ArchiveIndex | undefined =>
    fs.existsSync(indexFile(place)) ? decode(fs.readFileSync(indexFile(place))) : undefined

  it.scoped("is replaced with the archive, and goes when nothing is known of the new one", () =>
    Effect.gen(function* () {
      const place = yield* published
      yield* archive("two").pipe(Effect.provide(storeOn(place)))
      assert.deepStrictEqual(read(place), indexOf("two"))
      yield* Effect.scoped(
        Effect.gen(function* () {
          const store = yield* Store
          const staging = yield* store.stage(abcd)
          fs.writeFileSync(staging.zip, "three")
          yield* store.publish(staging, publicationOf("three"))
        })
      ).pipe(Effect.provide(storeOn(place)))
      assert.isFalse(fs.existsSync(indexFile(place)))
      assert.deepStrictEqual(fs.readdirSync(path.dirname(indexFile(place))), [])
    })
  )

  it.scoped("cannot be written: a warning, and the archive is published", () =>
    Effect.gen(function* () {
      const place = yield* published
      const hooks = {
        before: ({ name, path: file }: DiskFaults.Operation) =>
          name === "writeUnsynced" && file.includes("/index/") ? "ENOSPC" : undefined
      }
      const { lines } = yield* logsOf(archive("two").pipe(Effect.provide(storeOn(place, DiskFaults.layer(hooks)))))
      assert.match(lines, /^WARN the archive was published, but the next one takes longer than it need: /)
      assert.deepInclude(inspect(place), { current: "two", previous: "one", problems: [], leftovers: [] })
      assert.isUndefined((yield* found(place)).value)
    })
  )

  it.scoped(
    "of a run that ended between publication and index is of another archive, and recovery removes the rest",
    () =>
      Effect.gen(function* () {
        const place = yield* published
        for (const dead of ["writeUnsynced", "rename"]) {
          const content = `after ${dead}`
          let down = false
          const hooks = {
            before: ({ name, path: file }: DiskFaults.Operation) => {
              if (name === dead && file.includes("/index/")) down = true
              return down ? "EIO" : undefined
            }
          }
          yield* archive(content).pipe(Effect.provide(storeOn(place, DiskFaults.layer(hooks))), Effect.exit)
          assert.isTrue(down)
          assert.isUndefined((yield* found(place)).value)
          yield* Effect.flatMap(Store, (store) => store.recover).pipe(Effect.provide(storeOn(place)))
          assert.deepInclude(inspect(place), { current: content, problems: [], leftovers: [] })
          assert.isUndefined((yield* found(place)).value)
        }
        yield* archive("last").pipe(Effect.provide(storeOn(place)))
        assert.deepStrictEqual((yield* found(place)).value?.index, indexOf("last"))
      })
  )
})
