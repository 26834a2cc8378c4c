import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { parseMoment } from "../../src/text/Time.ts"

const now = Date.parse("2026-11-28T12:00:00Z")

describe("parseMoment", () => {
  it("reads dates and times, local unless they say otherwise, and ages", () => {
    assert.strictEqual(parseMoment("2026-11-28", now), new Date(2026, 10, 28).getTime())
    assert.strictEqual(parseMoment("2026-11-28T10:00", now), new Date(2026, 10, 28, 10).getTime())
    assert.strictEqual(parseMoment("2026-11-28 10:00:30", now), new Date(2026, 10, 28, 10, 0, 30).getTime())
    assert.strictEqual(parseMoment("2026-11-28T10:00Z", now), Date.parse("2026-11-28T10:00:00Z"))
    assert.strictEqual(parseMoment("2026-11-28T10:00+02:00", now), Date.parse("2026-11-28T08:00:00Z"))
    assert.strictEqual(parseMoment("3d", now), now - 3 * 86_400_000)
    for (const text of ["", "2026-02-30", "2026-13-01", "2026-11-28T25:00", "28.11.2026", "d3", "0d", "yesterday"]) {
      assert.isUndefined(parseMoment(text, now), text)
    }
  })

  it.prop(
    "takes back every instant that it is given in UTC",
    [FastCheck.integer({ min: 0, max: 4e9 })],
    ([seconds]) => {
      const text = `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`
      assert.strictEqual(parseMoment(text, now), seconds * 1000)
    }
  )
})
