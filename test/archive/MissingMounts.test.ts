import { assert, describe, it } from "@effect/vitest"
import * as Changes from "../../src/archive/Changes.ts"
import { isGraftedAsBefore, isMountedAsBefore, missingWhole } from "../../src/archive/Changes.ts"
import { noRules } from "../../src/source/Exclude.ts"
import { places } from "../../src/source/SourceView.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { folder } from "../support/program/job.ts"

const raw = RawPath.fromText
const abcd = folder("ABCD")

const missing = (state: Parameters<typeof Changes.missing>[1], now: Parameters<typeof Changes.missing>[2]) =>
  Changes.missing(abcd, state, now, noRules, "zipper run --force --folder ABCD")

describe("places that were mounts of their own", () => {
  it("are kept in order, each once, and as people read them", () => {
    assert.deepStrictEqual(places([raw("b"), raw(""), raw("ä/\n"), raw("b")]), ["", "b", "ä/\\x0a"])
  })

  it("fail the folder when one of them is none any more, by name and with what to do", () => {
    assert.strictEqual(
      missing({ mounts: ["a/b"] }, { mounts: [] }),
      "ABCD/a/b was a mount of its own when the folder was last archived, and nothing is mounted there now: mount it, or accept it as it is: zipper run --force --folder ABCD"
    )
    assert.match(missing({ mounts: ["", "x", "y"] }, { mounts: ["y"] }) ?? "", /^it \(and 1 more\) was/)
    assert.match(missing({ mounts: ["a"] }, {}) ?? "", /^ABCD\/a was a mount/)
    assert.match(missingWhole({ mounts: ["", "a"] }) ?? "", /is not in the source now: mount it/)
  })

  it("are not missed where nothing is known, or more is mounted than before", () => {
    assert.isUndefined(missing(undefined, { mounts: [] }))
    assert.isUndefined(missing({}, { mounts: [] }))
    assert.isUndefined(missing({ mounts: ["a"] }, { mounts: ["", "a"] }))
    assert.isUndefined(missingWhole({ mounts: ["a"] }))
    assert.isUndefined(missingWhole({}))
  })

  it("make a folder due when there are others", () => {
    assert.isTrue(isMountedAsBefore({}, { mounts: [], hollow: [] }))
    assert.isFalse(isMountedAsBefore({}, { mounts: ["a"] }))
    assert.isFalse(isMountedAsBefore({ mounts: ["a"] }, { mounts: ["b"] }))
    assert.isFalse(isMountedAsBefore({ mounts: [] }, { mounts: [], hollow: ["a"] }))
    const grafts = [
      { at: raw("ABCD/a"), root: raw("/x") },
      { at: raw("EFGH"), root: raw("/y") }
    ]
    assert.isTrue(isGraftedAsBefore({ mounts: ["a"] }, { grafts }, abcd))
    assert.isTrue(isGraftedAsBefore({ mounts: [""] }, { grafts }, folder("EFGH")))
    assert.isFalse(isGraftedAsBefore({ mounts: [""] }, { grafts }, folder("IJKL")))
    assert.isTrue(isGraftedAsBefore({}, { grafts }, folder("IJKL")))
  })
})

describe("an empty folder in place of a btrfs subvolume", () => {
  it("fails the folder until it is accepted", () => {
    assert.match(
      missing({ mounts: [] }, { mounts: [], hollow: ["cache"] }) ?? "",
      /^ABCD\/cache was a btrfs subvolume .*zipper run --force --folder ABCD$/
    )
    assert.isUndefined(missing({ hollow: ["cache"] }, { hollow: ["cache"] }))
  })
})
