import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { Tree } from "../../src/source/Tree.ts"
import { ArchiveReader, Archiver, Extractor } from "../../src/zip/Archiver.ts"
import { makeRandom } from "../fuzz/mutate.ts"
import { isSeen } from "../fuzz/Target.ts"
import { abcd, layers, noise, put, viewOf } from "../support/zip/archive.ts"
import { spoil } from "../support/zip/hostileZip.ts"
import { contentOf, requestFor } from "../support/zip/restore.ts"
import { fastFolder, nextTick, previousOf } from "../support/zip/reuse.ts"

// ZIPPER_SPOILED=20000 for many more, ZIPPER_SEED for others.
const count = Number(process.env["ZIPPER_SPOILED"] ?? 60)
const seed = Number(process.env["ZIPPER_SEED"] ?? 1)

/** A folder with a few of each kind, its archive, and what stands in the archive. */
const archived = Effect.gen(function* () {
  const root = yield* fastFolder
  const source = `${root}/ABCD`
  for (const name of ["b 1", "d/1", "d/e/3"]) put(`${source}/${name}`, `content of ${name}\n`.repeat(20))
  put(`${source}/empty`, "")
  put(`${source}/noise`, noise(3000))
  put(Buffer.concat([Buffer.from(`${source}/x`), Buffer.from([0xfe])]), "bytes")
  mkdirSync(`${source}/y empty`)
  nextTick(root)
  const archiver = yield* Archiver
  const manifest = yield* Effect.flatMap(Tree, (tree) => tree.manifest(viewOf(root), abcd))
  yield* archiver.archive(viewOf(root), manifest, `${root}/whole.zip`)
  return { root, source, manifest, whole: readFileSync(`${root}/whole.zip`) }
})

const bytesIn = (lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.map((line) => /^f .* [0-7]+ \d+ ([0-9a-f]*)$/.exec(line)?.[1] ?? "a folder").sort()

const auditing = { content: true, onFiles: () => {}, onRead: () => {} }

/** What it came to, which is never a defect. */
const outcome = <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    if (Exit.isSuccess(exit)) return { value: exit.value, message: "" }
    assert.isFalse(Cause.isDie(exit.cause), Cause.pretty(exit.cause))
    const { message } = Cause.squash(exit.cause) as E
    assert.isBelow(message.length, 2000)
    return { value: undefined, message }
  })

describe("a zip that somebody changed", () => {
  it.scoped("is read, restored and copied from without harm", () =>
    Effect.gen(function* () {
      const { manifest, root, source, whole } = yield* archived
      const archiver = yield* Archiver
      const reader = yield* ArchiveReader
      const extractor = yield* Extractor
      const random = makeRandom(seed)
      const published = previousOf(`${root}/whole.zip`, manifest)
      const { pieces } = published
      const before = readdirSync(root).sort()
      const content = contentOf(source)
      const zip = `${root}/spoiled.zip`
      const fresh = `${root}/new.zip`
      let taken = 0
      for (let n = 0; n < count; n += 1) {
        // The first one is as it was: what refuses everything would do no harm either.
        const spoiled = n === 0 ? whole : spoil(whole, random)
        writeFileSync(zip, spoiled)
        const told = `seed ${seed}, number ${n}`

        const audit = yield* outcome(reader.audit(zip, auditing))
        for (const { problem } of audit.value?.flaws ?? []) assert.isTrue(isSeen(problem), `${told}: ${problem}`)
        const isWhole = spoiled.equals(whole)
        const good = audit.value?.complete === true && audit.value.flaws.length === 0

        const to = `${root}/out`
        const request = requestFor(zip, to, { files: manifest.files, bytes: manifest.bytes })
        const restored = yield* Effect.scoped(
          outcome(Effect.flatMap(extractor.prepare(request), ({ carryOut }) => carryOut))
        )
        if (good && restored.value?.failures.first.length === 0) {
          taken += 1
          // A mode, or a name that was changed in both places, is told by the checksums beside the zip.
          assert.deepStrictEqual(bytesIn(contentOf(to)), bytesIn(content), told)
        } else assert.isFalse(isWhole, told)
        rmSync(to, { recursive: true, force: true })
        assert.deepStrictEqual(readdirSync(root).sort(), [...before, "spoiled.zip"].sort(), told)
        assert.deepStrictEqual(contentOf(source), content, told)

        // As the archive before: with its checksums forged, and with those of the archive that was published.
        const forged = previousOf(zip, manifest)
        for (const previous of [forged, { ...forged, pieces, checksums: published.checksums }]) {
          const made = yield* outcome(archiver.archive(viewOf(root), manifest, fresh, { previous }))
          if (made.value !== undefined) {
            const { copied } = made.value
            const verified = yield* outcome(archiver.verify(fresh, manifest, { copied }))
            assert.isAtMost(statSync(fresh).size, 2 * whole.length, told)
            // What was forged well enough is taken over; what only went bad is not.
            if (previous !== forged) {
              assert.strictEqual(verified.message, "", told)
              assert.deepStrictEqual(readFileSync(fresh), whole, told)
            }
          } else assert.match(made.message, /cannot copy unchanged files from the archive before/, told)
          rmSync(fresh, { force: true })
        }
      }
      assert.isBelow(taken, count)
    }).pipe(Effect.provide(Layer.mergeAll(layers(), ArchiveReader.layer, Extractor.layer)))
  )
})
