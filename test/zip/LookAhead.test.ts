import { assert, describe, it } from "@effect/vitest"
import { lookAhead } from "../../src/zip/LookAhead.ts"

/** Work that ends when it is told to, or fails. */
const work = () => {
  const begun: Array<number> = []
  const ended: Array<number> = []
  const run = async (item: number) => {
    begun.push(item)
    for (let turn = 0; turn < 20 - item; turn += 1) await Promise.resolve()
    if (item === 7) throw new Error("seven")
    ended.push(item)
    return item * 10
  }
  return { begun, ended, run }
}

describe("lookAhead", () => {
  it("gives results in order, at most so many ahead", async () => {
    const { begun, ended, run } = work()
    let item = 0
    for await (const result of lookAhead([0, 1, 2, 3, 4, 5, 6], 3, run)) {
      assert.strictEqual(result, item * 10)
      assert.isAtMost(begun.length, item + 3)
      item += 1
    }
    assert.strictEqual(ended.length, 7)
  })

  it("fails when it is the failure's turn, and leaves nothing running behind", async () => {
    const { begun, ended, run } = work()
    const seen: Array<number> = []
    const failure = await (async () => {
      for await (const result of lookAhead([5, 6, 7, 1, 2, 3], 4, run)) seen.push(result)
    })().catch((cause: unknown) => cause)
    assert.instanceOf(failure, Error)
    assert.deepStrictEqual(seen, [50, 60])
    assert.sameMembers([...ended, 7], begun)
  })

  it("gives the results of all items that came before they failed themselves", async () => {
    const { begun, ended, run } = work()
    async function* items() {
      yield* [5, 4, 3]
      throw new Error("no more")
    }
    const seen: Array<number> = []
    const failure = await (async () => {
      for await (const result of lookAhead(items(), 8, run)) seen.push(result)
    })().catch((cause: unknown) => cause)
    assert.instanceOf(failure, Error)
    assert.deepStrictEqual(seen, [50, 40, 30])
    assert.sameMembers(ended, begun)
  })

  it("leaves nothing running when its caller leaves", async () => {
    const { begun, ended, run } = work()
    for await (const _ of lookAhead([5, 4, 3, 2, 1], 4, run)) break
    assert.sameMembers(ended, begun)
  })
})
