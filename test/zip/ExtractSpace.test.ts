import { assert, describe, it } from "vitest"
import { makeSpace } from "../../src/zip/ExtractSurvey.ts"

/** Files in their order: size, and what the one frees whose place it takes. */
const needed = (writers: number, files: ReadonlyArray<readonly [number, number?]>, removed = 0): number => {
  const space = makeSpace(writers)
  for (const [size, freed] of files) {
    space.writes(size)
    if (freed !== undefined) space.replaces(size, freed)
    space.settle()
  }
  space.removes(removed)
  return space.needed()
}

describe("the room that a restore needs", () => {
  it("is that of all files where nothing is replaced", () => {
    assert.strictEqual(needed(2, [[5], [7]]), 12)
    assert.strictEqual(needed(2, []), 0)
  })

  it("is that of the largest ones that are at work at once where everything is replaced", () => {
    const same: ReadonlyArray<readonly [number, number]> = [10, 40, 30, 20].map((size) => [size, size])
    assert.strictEqual(needed(1, same), 40)
    assert.strictEqual(needed(2, same), 70)
    assert.strictEqual(needed(9, same), 100)
  })

  it("knows that what frees much comes late", () => {
    assert.strictEqual(needed(1, [[100], [1, 1000]]), 101)
    assert.strictEqual(needed(1, [[1, 1000], [100]]), 1)
  })

  it("takes off what is removed before, but never more than there is to take off", () => {
    assert.strictEqual(needed(1, [[100]], 30), 70)
    assert.strictEqual(needed(1, [[100]], 300), 0)
  })
})
