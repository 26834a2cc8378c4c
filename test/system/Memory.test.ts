import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { ownBuffer, ownMemory, release } from "../../src/system/WorkerJob.ts"
import { makePlace, run } from "../support/program/built.ts"

const { poolSize } = Buffer

/** As large as in any version of node, or larger. */
beforeEach(() => {
  Buffer.poolSize = 1024 * 1024
  // The pool so far is used up.
  for (let left = 0; left < 64; left += 1) Buffer.allocUnsafe(2048)
})
afterEach(() => {
  Buffer.poolSize = poolSize
})

/** A small buffer that shares its memory. */
const pooled = (): Buffer => {
  const bytes = Buffer.allocUnsafe(1000).fill(7)
  assert.isAbove(bytes.buffer.byteLength, 64 * 1024)
  return bytes
}

describe("memory that goes to another thread", () => {
  it("is a buffer's own: all of it, or as much as was asked for", () => {
    const all = Buffer.allocUnsafeSlow(100_000)
    assert.strictEqual(ownBuffer(all), all.buffer)
    assert.strictEqual(ownBuffer(all.subarray(0, 10), 100_000), all.buffer)
    assert.strictEqual(ownBuffer(new Uint32Array(5))?.byteLength, 20)
    assert.isUndefined(ownBuffer(all.subarray(0, 10)))
    assert.isUndefined(ownBuffer(all.subarray(10)))
    assert.isUndefined(ownBuffer(new Uint8Array(new SharedArrayBuffer(10))))
  })

  it("is never that of node's pool", () => {
    assert.isUndefined(ownBuffer(pooled()))
    assert.isUndefined(ownBuffer(pooled(), 2000))
  })

  it("stays where it is when it is released and belongs to others too", () => {
    const others = pooled()
    const bytes = pooled()
    release(bytes)
    release(bytes, 2000)
    assert.isTrue(bytes.equals(Buffer.alloc(1000, 7)))
    assert.isTrue(others.equals(Buffer.alloc(1000, 7)))
  })

  it("is given back when it is released and belongs to nothing else", () => {
    const bytes = Buffer.allocUnsafeSlow(5_000)
    release(bytes.subarray(0, 10), 5_000)
    assert.strictEqual(bytes.length, 0)
  })

  it("is copied in an answer where it is shared, and sent where it is not", () => {
    const crc32 = new Uint32Array(100_000)
    const pool = pooled()
    const value = { crc32, compressedSize: new Uint32Array(1), deflated: pool }
    const sent = structuredClone(value, { transfer: [...ownMemory(value)] })
    assert.strictEqual(crc32.length, 0)
    assert.strictEqual(sent.crc32.length, 100_000)
    assert.isTrue(Buffer.from(sent.deflated).equals(Buffer.alloc(1000, 7)))
    assert.isTrue(pool.equals(Buffer.alloc(1000, 7)))
  })
})

/** At the end of the process many objects are made and kept for a while, as a large folder does. */
const young = `
  import { writeFileSync } from "node:fs"
  import { getHeapSpaceStatistics } from "node:v8"
  import { isMainThread } from "node:worker_threads"
  if (isMainThread) process.on("exit", () => {
    const kept = []
    for (let i = 0; i < 3e6; i++) kept[i % 60000] = { i, list: [i] }
    const { space_size } = getHeapSpaceStatistics().find((space) => space.space_name === "new_space")
    writeFileSync(process.env.YOUNG, String(space_size))
  })
`

describe("the space for young objects", () => {
  it.each([1, 2])("does not grow on the main thread of a run with %i threads", async (threads) => {
    const place = makePlace()
    try {
      place.put("ABCD/a", "one")
      place.configure({ compression: { threads } })
      const [preload, out] = [join(place.root, "young.mjs"), join(place.root, "young")]
      writeFileSync(preload, young)
      const ended = await run(["run", "--config", place.config], {
        env: { NODE_OPTIONS: `--import=${preload}`, YOUNG: out }
      })
      assert.strictEqual(ended.status, 0, ended.stderr)
      assert.isBelow(Number(readFileSync(out, "utf8")), 20 * 2 ** 20)
    } finally {
      place.remove()
    }
  })
})
