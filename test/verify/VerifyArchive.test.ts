import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { PublishedArchives, type Which } from "../../src/store/PublishedArchive.ts"
import { makeFileNames } from "../../src/verify/MetadataText.ts"
import { examineArchive } from "../../src/verify/VerifyArchive.ts"
import {
  filesOf,
  findings,
  flipEach,
  isUnchanged,
  publish,
  published,
  reading,
  scopedPlace
} from "../support/program/verify.ts"
import { abcd, noise, put } from "../support/zip/archive.ts"
import { foreignZip } from "../support/zip/handMade.ts"

/** What is wrong once `change` was made to a file; the file is then put back. */
const changed = (
  place: { readonly file: (name: string) => string },
  which: Which,
  name: string,
  change: (file: string, content: Buffer) => void
) =>
  Effect.gen(function* () {
    const file = place.file(name)
    const content = fs.readFileSync(file)
    change(file, Buffer.from(content))
    const found = yield* findings(which)
    fs.rmSync(file, { force: true, recursive: true })
    fs.writeFileSync(file, content)
    return found ?? []
  })

const otherDigests = "ABCD.zip: is not what was published: it has another MD5 and another SHA-256"

describe("examine", () => {
  it("names three files that are in the list alone, and counts the others", () => {
    const names = makeFileNames([..."abcdef"])
    names.add(["c"])
    const only = "in the list of files and not in the archive"
    assert.deepStrictEqual(names.end(), [
      ...["a", "b", "d"].map((name) => `"${name}" is ${only}`),
      `2 more files are ${only}`
    ])
  })

  it.scoped("finds nothing wrong with what was published", () =>
    Effect.gen(function* () {
      const place = yield* published
      for (const which of ["current", "previous"] as const) {
        for (const depth of ["checksums", "content"] as const) {
          const found = yield* findings(which, depth).pipe(Effect.provide(reading(place.targetPath)))
          assert.deepStrictEqual(found, [])
        }
        const set = yield* Effect.flatMap(PublishedArchives, (archives) => archives.open(abcd, which)).pipe(
          Effect.provide(reading(place.targetPath))
        )
        assert.isTrue(set && (yield* isUnchanged(set).pipe(Effect.provide(reading(place.targetPath)))))
      }
    })
  )

  // All eight bits of each byte of both: VerifyArchive.long.test.ts.
  const sampled: ReadonlyArray<readonly [Which, string, number]> = [
    ["current", "every fourth position", 4],
    ["previous", "every eleventh position", 11]
  ]
  for (const [which, where, step] of sampled) {
    it.scoped(`finds a flipped bit at ${where} of the ${which} archive, and names its file`, () =>
      Effect.gen(function* () {
        const place = yield* published
        yield* flipEach(place, which, (at) => (at % step === 0 ? [(at / step) % 8] : [])).pipe(
          Effect.provide(reading(place.targetPath))
        )
      })
    )
  }

  it.scoped("names the entry and the key", () =>
    Effect.gen(function* () {
      const place = yield* published
      const zip = fs.readFileSync(place.file("ABCD.zip"))
      const flip = (at: number) => (file: string, content: Buffer) => {
        content[at] = (content[at] ?? 0) ^ 1
        fs.writeFileSync(file, content)
      }
      const replace = (from: string, to: string) => (file: string, content: Buffer) => {
        assert.include(content.toString(), from)
        fs.writeFileSync(file, content.toString().replace(from, to))
      }
      const metadata = (which: Which, from: string, to: string) =>
        changed(place, which, which === "current" ? "metadata.json" : "metadata.prev.json", replace(from, to))
      yield* Effect.gen(function* () {
        // The data of d/100% sure is stored as it is.
        assert.deepStrictEqual(yield* changed(place, "current", "ABCD.zip", flip(zip.indexOf(noise(20)))), [
          'ABCD.zip "d/100% sure": its CRC-32 is wrong',
          otherDigests
        ])
        assert.deepStrictEqual(yield* changed(place, "current", "ABCD.zip", flip(zip.indexOf("a.txt"))), [
          'ABCD.zip "a.txt": its local header and the central directory differ',
          otherDigests
        ])
        assert.deepStrictEqual(yield* metadata("current", '"a.txt"', '"b.txt"'), [
          'metadata.json: files: "b.txt" is in the list of files and not in the archive',
          'metadata.json: files: "a.txt" is in the archive and not in the list of files'
        ])
        assert.deepStrictEqual(yield* metadata("current", '"total_files": 4', '"total_files": 5'), [
          "metadata.json: total_files is 5; the archive has 4"
        ])
        assert.deepStrictEqual(yield* metadata("current", "12:00:00Z", "13:00:00Z"), [
          "metadata.json: created_at_utc is another one than in .state.json"
        ])
        assert.deepStrictEqual(yield* metadata("previous", "tank/data@one", "tank/data@two"), [
          "metadata.prev.json: created_at_utc or snapshot is not the one that was published, by prev_metadata_sha256 in .state.json"
        ])
        assert.deepStrictEqual(yield* metadata("current", '"zip_name": ', '"zip_name":'), [
          "metadata.json: zip_name: it does not say this in the way in which it was written"
        ])
        assert.deepStrictEqual(yield* changed(place, "current", "ABCD.zip.md5", replace("  ABCD", " *ABCD")), [
          "ABCD.zip.md5: is damaged: it is not one line with the checksum of ABCD.zip"
        ])
        assert.deepStrictEqual(
          yield* changed(place, "current", ".state.json", replace("tank/data@two", "tank/data@one")),
          [".state.json: cannot be understood: it is damaged, or not the state of ABCD"]
        )
      }).pipe(Effect.provide(reading(place.targetPath)))
    })
  )

  it.scoped("tells what is missing, or something else in the place of a file", () =>
    Effect.gen(function* () {
      const place = yield* published
      yield* Effect.gen(function* () {
        for (const which of ["current", "previous"] as const) {
          for (const name of filesOf(which)) {
            const absent = yield* changed(place, which, name, (file) => fs.rmSync(file))
            assert.deepStrictEqual(absent, [`${name}: is missing`])
            const linked = yield* changed(place, which, name, (file, content) => {
              fs.writeFileSync(`${file}.elsewhere`, content)
              fs.rmSync(file)
              fs.symlinkSync(`${file}.elsewhere`, file)
            })
            assert.deepStrictEqual(linked, [`${name}: is a symlink, not a file`])
            const folder = yield* changed(place, which, name, (file) => {
              fs.rmSync(file)
              fs.mkdirSync(file)
            })
            assert.deepStrictEqual(folder, [`${name}: is a folder, not a file`])
          }
        }
      }).pipe(Effect.provide(reading(place.targetPath)))
    })
  )

  it.scoped("tells a zip that is cut off, longer, another one or made anew", () =>
    Effect.gen(function* () {
      const place = yield* published
      const previous = fs.readFileSync(place.file("ABCD.prev.zip"))
      const { size } = fs.statSync(place.file("ABCD.zip"))
      const zip = (change: (content: Buffer) => Buffer) =>
        changed(place, "current", "ABCD.zip", (file, content) => fs.writeFileSync(file, change(content)))
      yield* Effect.gen(function* () {
        for (const length of [0, 1, 21, 100, size - 1]) {
          const found = yield* zip((content) => content.subarray(0, length))
          assert.include(found[0], "ABCD.zip: is damaged", `cut off at ${length}`)
        }
        for (const extra of [Buffer.from("x"), Buffer.alloc(22)]) {
          assert.include((yield* zip((content) => Buffer.concat([content, extra])))[0], "ABCD.zip")
          assert.include((yield* zip((content) => Buffer.concat([extra, content])))[0], "ABCD.zip")
        }
        // A good archive, but another one.
        assert.deepStrictEqual(yield* zip(() => previous), [
          otherDigests,
          'metadata.json: files: "empty" is in the list of files and not in the archive',
          "metadata.json: total_files is 4; the archive has 3",
          `.state.json: zip_size is ${size}; the archive has ${previous.length}`,
          ".state.json: files is 4; the archive has 3"
        ])
      }).pipe(Effect.provide(reading(place.targetPath)))
      // The same files, by a program that makes zips of its own kind.
      fs.rmSync(place.file("ABCD.zip"))
      fs.writeFileSync(place.file("ABCD.zip"), foreignZip({ "a.txt": "a".repeat(200) }))
      const anew = yield* findings("current").pipe(Effect.provide(reading(place.targetPath)))
      assert.include(anew ?? [], otherDigests)
    })
  )

  it.scoped("compares only what is known of archives from before the state knew their metadata", () =>
    Effect.gen(function* () {
      const place = yield* published
      const state: unknown = JSON.parse(fs.readFileSync(place.file(".state.json"), "utf8"))
      assert(typeof state === "object" && state !== null)
      const older = Object.entries(state).filter(([key]) => key !== "sha256" && !key.includes("metadata_sha256"))
      fs.writeFileSync(place.file(".state.json"), JSON.stringify(Object.fromEntries(older)))
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* findings("current"), [])
        assert.deepStrictEqual(yield* findings("previous"), [])
      }).pipe(Effect.provide(reading(place.targetPath)))
    })
  )

  it.scoped("takes nothing for unchanged that lacks a file which says so", () =>
    Effect.gen(function* () {
      const place = yield* published
      yield* Effect.gen(function* () {
        for (const name of [...filesOf("current"), ".state.json"]) {
          const file = place.file(name)
          const content = fs.readFileSync(file)
          fs.rmSync(file)
          const set = yield* Effect.flatMap(PublishedArchives, (archives) => archives.open(abcd, "current"))
          assert.isFalse(set !== undefined && (yield* isUnchanged(set)), name)
          fs.writeFileSync(file, content)
        }
        const set = yield* Effect.flatMap(PublishedArchives, (archives) => archives.open(abcd, "current"))
        assert(set?.state !== undefined)
        assert.isTrue(yield* isUnchanged(set))
        const { metadata_sha256, ...before } = set.state
        const all = { ...before, metadata_sha256: metadata_sha256 ?? "" }
        for (const state of [before, { ...all, files: 7 }, { ...all, bytes: 9 }, { ...all, snapshot: "another" }]) {
          assert.isFalse(yield* isUnchanged({ ...set, state }), JSON.stringify(state))
        }
      }).pipe(Effect.provide(reading(place.targetPath)))
    })
  )

  it.scoped("tells that a state is missing where there must have been one", () =>
    Effect.gen(function* () {
      const place = yield* published
      fs.rmSync(place.file(".state.json"))
      const index = `${place.targetPath}/.zipper/index`
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* findings("current"), [".state.json: is missing"])
        assert.deepStrictEqual(yield* findings("previous"), [])
        // The metadata does not tell any more, but the index of the archive does.
        fs.rmSync(place.file("metadata.json"))
        assert.deepStrictEqual(yield* findings("current"), ["metadata.json: is missing"])
        fs.mkdirSync(index, { recursive: true })
        fs.writeFileSync(`${index}/ABCD`, "")
        assert.deepStrictEqual(yield* findings("current"), [".state.json: is missing", "metadata.json: is missing"])
      }).pipe(Effect.provide(reading(place.targetPath)))
    })
  )

  it.scoped("takes an archive of another program by its checksums, before and after a run", () =>
    Effect.gen(function* () {
      const place = yield* scopedPlace
      put(`${place.source}/ABCD/a.txt`, "a")
      fs.mkdirSync(`${place.targetPath}/ABCD`)
      // As the tool before this one did it.
      const zip = foreignZip({ "a.txt": "a".repeat(200), "b.txt": "b" })
      const md5 = createHash("md5").update(zip).digest("hex")
      fs.writeFileSync(place.file("ABCD.zip"), zip)
      fs.writeFileSync(place.file("ABCD.zip.md5"), `${md5}  ABCD.zip\n`)
      const metadata = {
        zip_name: "ABCD.zip",
        files: ["a.txt", "b.txt"],
        zip_md5: md5,
        total_files: 2,
        total_bytes: 201,
        created_at_utc: "2025-01-01T12:00:00Z",
        snapshot: "tank/data@zero"
      }
      fs.writeFileSync(place.file("metadata.json"), JSON.stringify(metadata))
      const look = (which: Which) =>
        Effect.gen(function* () {
          const set = yield* Effect.fromNullable(yield* (yield* PublishedArchives).open(abcd, which))
          const { findings: found, foreign } = yield* examineArchive(set, "content")
          return { found, foreign }
        }).pipe(Effect.provide(reading(place.targetPath)))
      const flipped = (name: string, at: number, which: Which) =>
        Effect.gen(function* () {
          const content = fs.readFileSync(place.file(name))
          const other = Buffer.from(content)
          other[at] = (content[at] ?? 0) ^ 1
          fs.writeFileSync(place.file(name), other)
          const { found } = yield* look(which)
          fs.writeFileSync(place.file(name), content)
          return found.map(({ file }) => file)
        })
      const fine = { found: [], foreign: true }
      assert.deepStrictEqual(yield* look("current"), fine)
      for (const at of [4, 40, 60]) assert.include(yield* flipped("ABCD.zip", at, "current"), "ABCD.zip")
      assert.deepStrictEqual(yield* flipped("ABCD.zip.md5", 3, "current"), ["ABCD.zip.md5"])
      yield* publish(place)
      assert.deepStrictEqual(yield* look("current"), { found: [], foreign: false })
      assert.deepStrictEqual(yield* look("previous"), fine)
      assert.include(yield* flipped("ABCD.prev.zip", 40, "previous"), "ABCD.prev.zip")
      assert.deepStrictEqual(yield* flipped("ABCD.prev.zip.sha256", 3, "previous"), ["ABCD.prev.zip.sha256"])
      const when = fs.readFileSync(place.file("metadata.prev.json")).indexOf("2025-")
      assert.deepStrictEqual(yield* flipped("metadata.prev.json", when + 3, "previous"), ["metadata.prev.json"])
    })
  )

  it.scoped("a run does not make damaged metadata look good", () =>
    Effect.gen(function* () {
      const place = yield* published
      const file = place.file("metadata.json")
      fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace("2025-", "2016-"))
      put(`${place.source}/ABCD/third`, "")
      yield* publish(place, "tank/data@three")
      assert.isFalse(fs.existsSync(place.file("metadata.prev.json")))
      yield* Effect.gen(function* () {
        for (const which of ["current", "previous"] as const) {
          assert.deepStrictEqual(yield* findings(which), [])
        }
      }).pipe(Effect.provide(reading(place.targetPath)))
    })
  )
})
