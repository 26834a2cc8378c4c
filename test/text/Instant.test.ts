import { assert, describe, it } from "@effect/vitest"
import { isAhead, isInstant, parseDuration } from "../../src/text/Time.ts"

describe("an instant", () => {
  it("is UTC to the second, of a day and a time that there are", () => {
    for (const good of ["2025-01-01T12:00:00Z", "2024-02-29T23:59:59Z", "1970-01-01T00:00:00Z"]) {
      assert.isTrue(isInstant(good), good)
    }
    for (const wrong of [
      "",
      "2025-01-01",
      "2025-01-01T12:00:00",
      "2025-01-01T12:00:00.000Z",
      "2025-02-30T12:00:00Z",
      "2025-13-01T12:00:00Z",
      "2025-01-01T24:00:00Z",
      "2025-01-01T12:60:00Z",
      "2025-01-01T12:00:00Z\n"
    ]) {
      assert.isFalse(isInstant(wrong), wrong)
    }
  })

  it("is ahead when it is later than clocks differ", () => {
    assert.deepStrictEqual(
      [-1, 0, 300_000, 300_001].map((millis) => isAhead(1e12, 1e12 + millis)),
      [false, false, false, true]
    )
  })
})

describe("--max-age", () => {
  it("takes minutes, hours and days, and nothing else", () => {
    assert.deepStrictEqual(["90m", "26h", "2d", "30s"].map(parseDuration), [
      90 * 60_000,
      26 * 3_600_000,
      48 * 3_600_000,
      30_000
    ])
    for (const wrong of ["", "26", "h", "-1h", "1.5h", "0h", "2 d", "1w", "9999999d"]) {
      assert.isUndefined(parseDuration(wrong), wrong)
    }
  })
})
