import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { ownBuffer, ownMemory } from "../../src/system/WorkerJob.ts"
import { release } from "../../src/zip/ReadSlice.ts"

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
    const bytes = Buffer.allocUnsafeSlow(100_000)
    release(bytes.subarray(0, 10), 100_000)
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
