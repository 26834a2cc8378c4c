import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as SnapshotName from "../../src/zfs/SnapshotPrune.ts"

const millis = FastCheck.integer({ min: 0, max: Date.UTC(9999, 11, 31, 23, 59, 59) })

describe("SnapshotName", () => {
  it("is prefix and time in UTC", () => {
    assert.strictEqual(
      SnapshotName.formatName("auto-zip", Date.UTC(2025, 0, 1, 12, 0, 0, 999)),
      "auto-zip-20250101120000"
    )
  })

  it.prop("reads back the second it was made from", [millis], ([time]) => {
    const seconds = Math.floor(time / 1000) * 1000
    return SnapshotName.parseName("a.b-c", SnapshotName.formatName("a.b-c", time)) === seconds
  })

  it.prop(
    "takes no other name for one of ours",
    [FastCheck.string(), FastCheck.stringMatching(/^[0-9]{14}$/)],
    ([text, digits]) => {
      assert.isUndefined(SnapshotName.parseName("auto-zip", text))
      const time = SnapshotName.parseName("auto-zip", `auto-zip-${digits}`)
      if (time !== undefined) assert.strictEqual(SnapshotName.formatName("auto-zip", time), `auto-zip-${digits}`)
    }
  )

  it("is exact", () => {
    for (const name of [
      "auto-zip-2025010112000",
      "auto-zip-202501011200000",
      "auto-zip-20250101120000x",
      "auto-zip-20250101120000\n",
      "xauto-zip-20250101120000",
      "auto-zip_20250101120000",
      "auto-zip-20251301120000",
      "auto-zip-20250230120000",
      "auto-zip-20250101250000",
      "auto-zip-weekly-20250101120000",
      "auto-zip-"
    ]) {
      assert.isUndefined(SnapshotName.parseName("auto-zip", name), name)
    }
    assert.isUndefined(SnapshotName.parseName("a.c", "abc-20250101120000"))
  })
})
