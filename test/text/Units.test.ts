import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Units from "../../src/text/Text.ts"

describe("Units", () => {
  it("writes bytes in the unit that fits", () => {
    assert.deepStrictEqual([0, 1, 1023, 1024, 1536, 1048524, 1048575, 1.5 * 2 ** 30, 2 ** 40, -2048].map(Units.bytes), [
      "0 B",
      "1 B",
      "1023 B",
      "1.0 KiB",
      "1.5 KiB",
      "1023.9 KiB",
      "1.0 MiB",
      "1.5 GiB",
      "1.0 TiB",
      "-2.0 KiB"
    ])
  })

  it("is never off by more than a twentieth of a unit, nor writes 1024 of a unit", () => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    FastCheck.assert(
      FastCheck.property(FastCheck.maxSafeNat(), (n) => {
        const [value, unit] = Units.bytes(n).split(" ")
        const size = 1024 ** units.indexOf(unit ?? "")
        assert.isTrue(Math.abs(Number(value) * size - n) <= size * 0.0501, `${n}: ${value} ${unit}`)
        assert.isTrue(Number(value) < 1024, `${n}: ${value} ${unit}`)
      })
    )
  })

  it("writes durations in two units at most", () => {
    assert.deepStrictEqual(
      [0, 400, 9949, 9960, 12_000, 59_600, 125_000, 3_599_600, 11_220_000, 187_200_000].map(Units.duration),
      ["0.0 s", "0.4 s", "9.9 s", "10 s", "12 s", "1 m 00 s", "2 m 05 s", "1 h 00 m", "3 h 07 m", "2 d 04 h"]
    )
  })

  it("never writes 60 of a smaller unit", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.nat(400_000_000), (millis) => {
        const text = Units.duration(millis)
        assert.notMatch(text, /\b60 [sm]\b|\b24 h\b/, `${millis}: ${text}`)
      })
    )
  })

  it("counts", () => {
    assert.deepStrictEqual(
      [
        Units.count(1, "folder"),
        Units.count(0, "folder"),
        Units.count(1204, "file"),
        Units.count(2, "entry", "entries")
      ],
      ["1 folder", "0 folders", "1,204 files", "2 entries"]
    )
    assert.strictEqual(Units.number(1234567), "1,234,567")
  })
})
