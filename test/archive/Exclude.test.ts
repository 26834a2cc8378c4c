import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { missing } from "../../src/archive/Changes.ts"
import type { ExcludeRules } from "../../src/source/Exclude.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { folder, makeKit, onlyChanged, short } from "../support/program/job.ts"

const abcd = folder("ABCD")
const cache = { exclude: ["cache"] }

/** A folder with a file and a cache. */
const withCache = (content: string, file = "one") => ({
  "a.txt": { content: file },
  "cache/x": { content }
})

describe("a folder of which something is excluded", () => {
  it.effect("is compared, not archived, when zfs diff calls it changed", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ABCD: withCache("1") }, { zfs: { evidence: onlyChanged("ABCD") } })
      const [first] = (yield* kit.run({}, cache)).folders
      assert.deepInclude(first, { result: "archived", files: 1 })
      kit.tree["ABCD"] = withCache("2")
      assert.deepStrictEqual(short((yield* kit.run({}, cache)).folders), ["ABCD unchanged"])
      kit.tree["ABCD"] = withCache("2", "another")
      assert.deepInclude((yield* kit.run({}, cache)).folders[0], { result: "archived", reason: "changed" })
    })
  )

  it.effect(
    "is archived once when the rules are others, and not for their order, also where zfs diff shows no change",
    () =>
      Effect.gen(function* () {
        const kit = yield* makeKit({ ABCD: withCache("1") }, { zfs: { evidence: onlyChanged() } })
        const reasons = (rules: Partial<ExcludeRules>) =>
          Effect.map(kit.run({}, rules), ({ folders }) =>
            folders.map((found) => (found.result === "archived" ? found.reason : found.result))
          )
        const other = "exclude or exclude_caches was changed"
        assert.deepStrictEqual(yield* reasons({}), ["never archived"])
        assert.deepStrictEqual(yield* reasons({}), ["unchanged"])
        for (const rules of [cache, { exclude: ["cache", "b"] }, { ...cache, exclude_caches: true }, {}]) {
          assert.deepStrictEqual(yield* reasons(rules), [other])
          assert.deepStrictEqual(yield* reasons(rules), ["unchanged"])
        }
        assert.deepStrictEqual(yield* reasons({ exclude: ["b", "cache"] }), [other])
        assert.deepStrictEqual(yield* reasons({ exclude: ["cache", "b", "b"] }), ["unchanged"])
      })
  )

  it.effect("fails when that leaves no file of it, until it is accepted", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ABCD: { "cache/x": { content: "1" } }, EFGH: { a: "directory" } })
      const run = (asked: Parameters<typeof kit.run>[0] = {}) =>
        Effect.map(kit.run(asked, cache), ({ folders }) => short(folders))
      assert.deepStrictEqual(yield* run(), ["ABCD failed", "EFGH archived"])
      assert.include(
        kit.lines.join("\n"),
        "ERROR ABCD: nothing to archive: exclude leaves no file of it (1 excluded); change exclude, or accept an archive without files once with: zipper run --config c.json --force --folder ABCD"
      )
      assert.deepStrictEqual(yield* run({ folders: ["ABCD"], force: true }), ["ABCD archived"])
      assert.deepStrictEqual(yield* run(), ["ABCD unchanged", "EFGH unchanged"])
      // An archive that holds files never becomes one without by itself.
      kit.tree["ABCD"] = withCache("2")
      assert.deepStrictEqual(yield* run(), ["ABCD archived", "EFGH unchanged"])
      kit.tree["ABCD"] = { "cache/x": { content: "3" } }
      assert.deepStrictEqual(yield* run(), ["ABCD failed", "EFGH unchanged"])
      assert.include(kit.lines.at(-2) ?? "", "if all of it is mounted, change exclude, or accept")
      // One that was empty before the rules left its files out fails, too.
      kit.tree["EFGH"] = { "cache/x": { content: "1" } }
      assert.deepStrictEqual(yield* run({ folders: ["EFGH"] }), ["EFGH failed"])
    })
  )

  it.effect("does not fail for what cannot be read below a place that is excluded", () =>
    Effect.gen(function* () {
      const locked = { at: RawPath.fromText("ABCD/cache/locked"), reason: "it is locked" }
      const kit = yield* makeKit({ ABCD: withCache("1") }, { zfs: { evidence: onlyChanged(), blocked: [locked] } })
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD failed"])
      assert.deepStrictEqual(short((yield* kit.run({}, cache)).folders), ["ABCD archived"])
      assert.deepStrictEqual(short((yield* kit.run({}, cache)).folders), ["ABCD unchanged"])
      const record = (yield* Ref.get(kit.store)).published.get(abcd)
      assert.deepInclude(record?.current.state, { exclude: ["cache"], excluded: 1 })
    })
  )
})

describe("a mount that is excluded now", () => {
  it("is not missed, and any other one is", () => {
    const rules = { exclude: ["cache"], exclude_caches: true }
    const state = { mounts: ["", "cache/a", "kept", "tagged/b"] }
    assert.isUndefined(missing(abcd, state, { mounts: ["", "kept"], caches: ["tagged"] }, rules, ""))
    assert.match(missing(abcd, state, { mounts: ["", "kept"] }, rules, "") ?? "", /^ABCD\/tagged\/b was a mount/)
    assert.match(missing(abcd, state, { mounts: [""], caches: ["tagged"] }, rules, "") ?? "", /^ABCD\/kept was a mount/)
    assert.match(missing(abcd, { mounts: [""] }, { mounts: [], caches: [""] }, rules, "") ?? "", /^it was a mount/)
  })
})
