import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { minimalRoots, select } from "../../src/replication/Selection.ts"
import type { SourceDataset } from "../../src/zfs/Dataset.ts"
import { isWithin } from "../../src/zfs/DatasetName.ts"

const dataset = (name: string): SourceDataset => ({
  name,
  kind: "filesystem",
  guid: name,
  encrypted: false,
  key: undefined,
  snapshots: [],
  bookmarks: []
})

/** What `select` chooses, by name. */
const choose = (roots: ReadonlyArray<string>, exclude: ReadonlyArray<string>, tree: ReadonlyArray<string>) => {
  const { selected, ...rest } = select({ roots, exclude }, tree.map(dataset))
  return { ...rest, selected: selected.map(({ name }) => name) }
}

const part = FastCheck.constantFrom("a", "aa", "0", "b c")
const name = FastCheck.array(part, { minLength: 1, maxLength: 3 }).map((parts) => `tank/${parts.join("/")}`)
const names = FastCheck.array(name, { maxLength: 8 })

/** With all that is above, in the order of zfs list. */
const tree = FastCheck.uniqueArray(name, { maxLength: 12 }).map((all) =>
  [
    ...new Set(
      all.flatMap((each) => {
        const parts = each.split("/")
        return parts.map((_, index) => parts.slice(0, index + 1).join("/"))
      })
    )
  ].sort()
)

describe("minimalRoots", () => {
  it("keeps what is not below another, in order, and knows a prefix from a parent", () => {
    assert.deepStrictEqual(minimalRoots(["tank/b", "tank/a/x", "tank/a", "tank/aa", "tank/b", "tank/a/x"]), [
      "tank/b",
      "tank/a",
      "tank/aa"
    ])
  })

  it.prop("covers all it was given, and nothing twice", [names], ([roots]) => {
    const kept = minimalRoots(roots)
    for (const root of roots) assert.strictEqual(kept.filter((each) => isWithin(root, each)).length, 1, root)
    assert.deepStrictEqual(
      kept,
      [...new Set(roots)].filter((root) => kept.includes(root))
    )
  })
})

describe("select", () => {
  const pool = ["tank", "tank/a", "tank/a/cache", "tank/a/cache/x", "tank/a/data", "tank/aa", "tank/b", "tank/b/cache2"]

  it("takes the roots in their order, with all below them", () => {
    assert.deepStrictEqual(choose(["tank/b", "tank/a"], [], pool).selected, [
      "tank/b",
      "tank/b/cache2",
      "tank/a",
      "tank/a/cache",
      "tank/a/cache/x",
      "tank/a/data"
    ])
    assert.deepStrictEqual(choose(["tank/nosuch"], [], pool).selected, [])
  })

  it("says which roots add nothing", () => {
    assert.deepStrictEqual(choose(["tank/a/data", "tank/b", "tank/a", "tank/b"], [], pool).overlaps, [
      { dropped: "tank/a/data", coveredBy: "tank/a" },
      { dropped: "tank/b", coveredBy: "tank/b" }
    ])
  })

  it("excludes by pattern, with all below, and says by which", () => {
    const found = choose(["tank"], ["cache", "tank/b/*"], pool)
    assert.deepStrictEqual(found.selected, ["tank", "tank/a", "tank/a/data", "tank/aa", "tank/b"])
    assert.deepStrictEqual(found.excluded, [
      { dataset: "tank/a/cache", pattern: "cache" },
      { dataset: "tank/a/cache/x", pattern: "cache" },
      { dataset: "tank/b/cache2", pattern: "tank/b/*" }
    ])
    assert.deepStrictEqual(found.unusedPatterns, [])
  })

  it("understands *, ** and ?, and takes everything else as it is", () => {
    const alone = (pattern: string, each: string) => choose([each], [pattern], [each]).excluded.length > 0
    const excludedBy = (pattern: string) => pool.filter((each) => alone(pattern, each))
    assert.deepStrictEqual(excludedBy("cache*"), ["tank/a/cache", "tank/b/cache2"])
    assert.deepStrictEqual(excludedBy("cache?"), ["tank/b/cache2"])
    assert.deepStrictEqual(excludedBy("?"), ["tank/a", "tank/a/cache/x", "tank/b"])
    assert.deepStrictEqual(excludedBy("tank/*/cache"), ["tank/a/cache"])
    assert.deepStrictEqual(excludedBy("tank/**x"), ["tank/a/cache/x"])
    assert.deepStrictEqual(excludedBy("tank/*x"), [])
    assert.deepStrictEqual(excludedBy("**/cache*"), ["tank/a/cache", "tank/b/cache2"])
    assert.deepStrictEqual(excludedBy("tank/a"), ["tank/a"])
    assert.deepStrictEqual(excludedBy("tank/a?cache"), [])
    assert.deepStrictEqual(excludedBy("a."), [])
    assert.deepStrictEqual(excludedBy("[ab]"), [])
  })

  it("says which patterns match nothing; one that is not needed is no slip", () => {
    assert.deepStrictEqual(choose(["tank"], ["cahce", "cache", "tank/a/cache/*", "cahce"], pool).unusedPatterns, [
      "cahce"
    ])
    // Above the root nothing is looked at.
    assert.deepStrictEqual(choose(["tank/a/data"], ["a"], pool).selected, ["tank/a/data"])
  })

  it.prop(
    "chooses what lies in a root and is not excluded, once, parents first, whatever the order of the list",
    [names, tree, FastCheck.subarray(["a", "0", "tank/a/*", "**/b c", "tank/a?"]), FastCheck.boolean()],
    ([roots, all, exclude, backwards]) => {
      const found = choose(roots, exclude, backwards ? all.toReversed() : all)
      const inRoots = all.filter((each) => roots.some((root) => isWithin(each, root)))
      assert.sameMembers([...found.selected, ...found.excluded.map(({ dataset: each }) => each)], inRoots)
      for (const [index, each] of found.selected.entries()) {
        assert.isFalse(
          found.selected.slice(0, index).some((earlier) => isWithin(earlier, each)),
          each
        )
      }
      for (const { dataset: each } of found.excluded) {
        assert.isFalse(
          found.selected.some((other) => isWithin(other, each)),
          each
        )
      }
      const rootsInOrder = minimalRoots(roots).filter((root) => found.selected.some((each) => isWithin(each, root)))
      assert.deepStrictEqual(
        [...new Set(found.selected.map((each) => rootsInOrder.find((root) => isWithin(each, root))))],
        rootsInOrder
      )
    }
  )
})
