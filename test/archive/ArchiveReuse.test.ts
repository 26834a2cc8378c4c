import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { describe as told } from "../../src/runs/ArchiveResult.ts"
import * as LeftOut from "../../src/source/LeftOut.ts"
import { identityOfState, withResult } from "../../src/store/FolderState.ts"
import { ArchiveError } from "../../src/zip/ZipError.ts"
import { folder, type JobKit, makeKit, short } from "../support/program/job.ts"
import { indexOf } from "../support/store/storeKit.ts"

const abcd = folder("ABCD")

const failure = (reason: ArchiveError["reason"], message: string) =>
  new ArchiveError({ reason, path: "ABCD.zip", message, transient: false })

/** A job whose folder was archived, changed since, and has an index in the store. */
const changed = Effect.gen(function* () {
  const kit = yield* makeKit({ ABCD: { a: { content: "one" } } })
  yield* kit.run()
  yield* Ref.update(kit.store, (store) => {
    const sets = store.published.get(abcd)
    if (sets === undefined) throw new Error("not published")
    const current = { ...sets.current, index: indexOf("one") }
    return { ...store, published: new Map(store.published).set(abcd, { ...sets, current }) }
  })
  kit.tree["ABCD"] = { a: { content: "one" }, b: { content: "two" } }
  kit.archiver.archived.length = 0
  kit.lines.length = 0
  return kit
})

const warnings = (kit: JobKit) => kit.lines.filter((line) => line.startsWith("WARN"))

describe("a folder that changed", () => {
  it.effect("is archived from the archive before, which is handed on to publication", () =>
    Effect.gen(function* () {
      const kit = yield* changed
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived"])
      assert.lengthOf(kit.archiver.copied, 1)
      const { published } = yield* Ref.get(kit.store)
      const current = published.get(abcd)?.current
      assert.deepStrictEqual(current?.previous?.index, indexOf("one"))
      // The bare name, without the dataset.
      assert.match(current?.metadata.snapshot ?? "", /^auto-zip-[0-9]{14}$/)
      assert.strictEqual(current?.state.snapshot, current?.metadata.snapshot)
      assert.deepStrictEqual(warnings(kit), [])
    })
  )

  it.effect("is read and compressed as a whole where verify found the archive before damaged", () =>
    Effect.gen(function* () {
      const kit = yield* changed
      const { published } = yield* Ref.get(kit.store)
      const found = {
        ...identityOfState(published.get(abcd)?.current.state),
        verified_at_utc: "1970-01-01T00:00:00Z",
        result: "damaged" as const
      }
      yield* Ref.update(kit.state.jobStates, (memory) => ({
        ...memory,
        verified: new Map([[abcd, withResult(undefined, abcd, "current", found)]])
      }))
      const [result] = (yield* kit.run()).folders
      assert.strictEqual(result?.result === "archived" ? result.reason : "", "verify found its archive damaged")
      assert.deepStrictEqual(kit.archiver.copied, [])
    })
  )

  it.effect("is read and compressed as a whole with --force", () =>
    Effect.gen(function* () {
      const kit = yield* changed
      assert.deepStrictEqual(short((yield* kit.run({ force: true })).folders), ["ABCD archived"])
      assert.lengthOf(kit.archiver.archived, 1)
      assert.lengthOf(kit.archiver.copied, 0)
    })
  )

  it.effect("is archived anew at once, with a warning, when the archive before cannot be read", () =>
    Effect.gen(function* () {
      const kit = yield* changed
      kit.archiver.failures["ABCD"] = [failure("Previous", "cannot copy: input/output error (EIO)")]
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived"])
      assert.lengthOf(kit.archiver.archived, 1)
      assert.lengthOf(kit.archiver.copied, 0)
      assert.deepStrictEqual(warnings(kit), [
        "WARN ABCD: cannot copy: input/output error (EIO); everything is compressed anew"
      ])
      const { calls, failures } = yield* Ref.get(kit.store)
      assert.strictEqual(failures.size, 0)
      assert.lengthOf(
        calls.filter((call) => call === "stage ABCD"),
        3
      )
    })
  )

  for (const reason of ["Corrupt", "Mismatch"] as const) {
    it.effect(`is archived anew, with a warning, when what was copied does not verify (${reason})`, () =>
      Effect.gen(function* () {
        const kit = yield* changed
        kit.archiver.verifyFailures["ABCD"] = [failure(reason, "ABCD.zip is damaged at a")]
        assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived"])
        assert.lengthOf(kit.archiver.archived, 2)
        assert.lengthOf(kit.archiver.copied, 1)
        assert.lengthOf(warnings(kit), 1)
        assert.match(warnings(kit)[0] ?? "", /copied from the one before .*ABCD.zip is damaged at a; everything/)
      })
    )
  }

  it.effect("fails when it does not verify though nothing was copied", () =>
    Effect.gen(function* () {
      const kit = yield* changed
      const damaged = () => failure("Corrupt", "ABCD.zip is damaged at a")
      kit.archiver.verifyFailures["ABCD"] = [damaged(), damaged()]
      const { folders: results } = yield* kit.run()
      assert.deepStrictEqual(short(results), ["ABCD failed"])
      assert.lengthOf(warnings(kit), 1)
    })
  )

  it.effect("is not looked up twice: one that turns out to be unchanged does not read its archive", () =>
    Effect.gen(function* () {
      const kit = yield* changed
      kit.tree["ABCD"] = { a: { content: "one" } }
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD unchanged"])
      const { calls } = yield* Ref.get(kit.store)
      assert.lengthOf(
        calls.filter((call) => call === "previous ABCD"),
        1
      )
    })
  )
})

describe("what is told of a folder", () => {
  const archived = {
    folder: abcd,
    result: "archived",
    reason: "changed",
    files: 3,
    bytes: 1024,
    zip_bytes: 512,
    copied_files: 0,
    left_out: LeftOut.nothing,
    seconds: 0.4,
    rotated: true,
    sha256: "0".repeat(64),
    dry_run: false
  } as const

  it("says how many files were copied, where there are any", () => {
    assert.strictEqual(told(archived), "archived 3 files, 1.0 KiB in 512 B, 0.4 s (changed)")
    assert.strictEqual(
      told({ ...archived, copied_files: 2 }),
      "archived 3 files, 1.0 KiB in 512 B, 0.4 s (changed; 2 files copied from the archive before)"
    )
  })
})
