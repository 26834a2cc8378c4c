import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { type ArchiveIndex, decode, encode, settledStamps } from "../../src/zip/ArchiveIndex.ts"

const index: ArchiveIndex = {
  method: "auto",
  level: 6,
  sha256: "0123456789abcdef".repeat(4),
  stamps: BigInt64Array.of(1n, 1_700_000_000_000_000_001n, -1n, 2n ** 63n - 1n)
}

const encoded = (given: ArchiveIndex) => Buffer.concat(encode(given))

const methods: ReadonlyArray<ArchiveIndex["method"]> = ["auto", "deflate"]

const int64 = FastCheck.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })

const stamps = FastCheck.array(FastCheck.tuple(int64, int64), {
  maxLength: 20
}).map((pairs) => BigInt64Array.from(pairs.flat()))

describe("an index of an archive", () => {
  it("comes back as it went in", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.record({
          method: FastCheck.constantFrom(...methods),
          level: FastCheck.integer({ min: 0, max: 9 }),
          sha256: FastCheck.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) =>
            Buffer.from(bytes).toString("hex")
          ),
          stamps
        }),
        (any) => assert.deepStrictEqual(decode(encoded(any)), any)
      )
    )
  })

  it("does not depend on where its bytes lie in memory", () => {
    const bytes = encoded(index)
    const shifted = new Uint8Array(bytes.length + 3).subarray(3)
    shifted.set(bytes)
    assert.deepStrictEqual(decode(shifted), index)
  })

  it("is ignored when a bit of it is another one", () => {
    const bytes = encoded(index)
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const flipped = Uint8Array.from(bytes)
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      assert.isUndefined(decode(flipped), `bit ${bit}`)
    }
  })

  it("is ignored when it is cut off, longer than it says, or something else", () => {
    const bytes = encoded(index)
    for (let length = 0; length < bytes.length; length += 1)
      assert.isUndefined(decode(bytes.subarray(0, length)), `${length} bytes`)
    assert.isUndefined(decode(Buffer.concat([bytes, Buffer.alloc(16)])))
    assert.isUndefined(decode(Buffer.from("{}\n".repeat(100))))
  })
})

describe("settled", () => {
  const started = 1_700_000_000_000
  const at = (millis: number) => BigInt(millis) * 1_000_000n

  it("keeps what was changed long before the run began, and nothing younger", () => {
    const given = BigInt64Array.of(
      ...[1n, at(started - 900_001), 2n, at(started - 900_000) - 1n],
      ...[3n, at(started - 900_000), 4n, at(started), 5n, at(started + 5000)]
    )
    const before = given.slice()
    assert.deepStrictEqual(
      settledStamps(given, started),
      BigInt64Array.of(1n, at(started - 900_001), 2n, at(started - 900_000) - 1n, 0n, 0n, 0n, 0n, 0n, 0n)
    )
    assert.deepStrictEqual(given, before)
  })
})
