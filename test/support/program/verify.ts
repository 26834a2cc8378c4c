import * as fs from "node:fs"
import * as path from "node:path"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Tree } from "../../../src/source/Tree.ts"
import * as Metadata from "../../../src/store/Metadata.ts"
import { namesOf, type PublishedArchive, PublishedArchives, type Which } from "../../../src/store/PublishedArchive.ts"
import { Store } from "../../../src/store/Store.ts"
import { Disk } from "../../../src/system/Disk.ts"
import { Hasher } from "../../../src/system/Hasher.ts"
import { type Depth, examineArchive, recordedArchive } from "../../../src/verify/VerifyArchive.ts"
import { ArchiveReader, Archiver } from "../../../src/zip/Archiver.ts"
import { fourLetters } from "../folders.ts"
import { emptyPlace, fastTmp } from "../store/storeKit.ts"
import { abcd, layers, noise, put, viewOf } from "../zip/archive.ts"

/** A source and a target in memory where there is such a place; gone when the scope closes. */
export const scopedPlace = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(fastTmp(), "zipper-verify-"))),
  (root) => Effect.sync(() => fs.rmSync(root, { recursive: true, force: true }))
).pipe(
  Effect.map((root) => {
    const { targetPath } = emptyPlace(root)
    return {
      root,
      targetPath,
      source: path.join(root, "source"),
      /** A file of ABCD in the target. */
      file: (name: string) => path.join(targetPath, "ABCD", name)
    }
  })
)

/** What reads archives back, on this thread. */
export const reading = (targetPath: string) =>
  Layer.mergeAll(PublishedArchives.layer(targetPath, fourLetters), ArchiveReader.layer, Hasher.layer).pipe(
    Layer.provide(Disk.layer)
  )

/** Archives and publishes the source's ABCD, as a run does. */
export const publish = (place: { readonly source: string; readonly targetPath: string }, label = "tank/data@one") =>
  Effect.gen(function* () {
    const store = yield* Store
    const view = viewOf(place.source, { label })
    const manifest = yield* (yield* Tree).manifest(view, abcd)
    const staging = yield* store.stage(abcd)
    const report = yield* (yield* Archiver).archive(view, manifest, staging.zip)
    const checksums = yield* (yield* Hasher).hash(staging.zip)
    const metadata = Metadata.make({ manifest, checksums, createdAt: 1_735_732_800_000, snapshot: label })
    yield* store.publish(staging, {
      metadata,
      state: {
        version: 1,
        folder: abcd,
        manifest_sha256: manifest.hash,
        hard_links: false,
        snapshot: label,
        archived_at_utc: metadata.created_at_utc,
        files: manifest.files,
        bytes: manifest.bytes,
        zip_size: report.zipSize,
        zip_md5: checksums.md5,
        zip_sha256: checksums.sha256
      }
    })
  }).pipe(
    Effect.scoped,
    Effect.provide(
      Layer.mergeAll(
        layers(),
        Hasher.layer,
        Store.layer({ targetPath: place.targetPath, tmpDir: undefined, jobId: "test", folders: fourLetters }).pipe(
          Layer.provide(Layer.mergeAll(Disk.layer, Hasher.layer))
        )
      )
    )
  )

/** Whether a restore knows without a look into the zip that the archive is what was published. */
export const isUnchanged = (set: PublishedArchive) => recordedArchive(set)?.isUnchanged() ?? Effect.succeed(false)

/** "FILE [ENTRY]: PROBLEM" of everything that is wrong with a set; undefined when there is no such set. */
export const findings = (which: Which, depth: Depth = "content") =>
  Effect.gen(function* () {
    const set = yield* (yield* PublishedArchives).open(abcd, which)
    if (set === undefined) return undefined
    const { findings: found } = yield* examineArchive(set, depth)
    // What says without a look into the zip that it is as published must never say so of one with a flaw.
    if (found.length > 0) assert.isFalse(yield* Effect.orElseSucceed(isUnchanged(set), () => false))
    return found.map(({ entry, file, problem }) => `${[file, entry].join(" ").trimEnd()}: ${problem}`)
  })

/** Both archives of a small folder: deflated, stored and empty files, a directory, a name with `%`, one that is no UTF-8. */
export const published = Effect.gen(function* () {
  const place = yield* scopedPlace
  put(`${place.source}/ABCD/a.txt`, "a".repeat(200))
  put(`${place.source}/ABCD/d/100% sure`, noise(20))
  put(Buffer.from(`${place.source}/ABCD/\xff`, "latin1"), "x")
  yield* publish(place, "tank/data@one")
  put(`${place.source}/ABCD/empty`, "")
  yield* publish(place, "tank/data@two")
  return place
})

/** Names of the files of a set. */
export const filesOf = (which: Which): ReadonlyArray<string> => Object.values(namesOf(abcd, which))

/**
 * Flips bits of every byte of every file of the set and of the state, one at a time (`bits` says which of a byte), and asserts
 * that each is found, and that nothing but the file that it is in is called damaged.
 */
export const flipEach = Effect.fnUntraced(function* (
  place: { readonly file: (name: string) => string },
  which: Which,
  bits: (position: number) => ReadonlyArray<number>
) {
  for (const name of [...filesOf(which), ...(which === "current" ? [".state.json"] : [])]) {
    const file = place.file(name)
    const content = fs.readFileSync(file)
    for (const [at, byte] of content.entries()) {
      for (const bit of bits(at)) {
        const flipped = Buffer.from(content)
        flipped[at] = byte ^ (1 << bit)
        fs.writeFileSync(file, flipped)
        const found = (yield* findings(which)) ?? []
        if (found.length === 0 || !found.every((line) => line.startsWith(name))) {
          assert.fail(`bit ${bit} of byte ${at} of ${name}: ${found.join(" | ") || "not found"}`)
        }
      }
    }
    fs.writeFileSync(file, content)
  }
  assert.deepStrictEqual(yield* findings(which), [])
})
