import { assert, describe, it } from "@effect/vitest"
import { isGraftedAsBefore, isMountedAsBefore, missing, missingWhole } from "../../src/archive/Changes.ts"
import { noRules } from "../../src/source/Exclude.ts"
import { places } from "../../src/source/SourceView.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { folder } from "../support/program/job.ts"

const raw = RawPath.fromText
const abcd = folder("ABCD")

describe("places that were mounts of their own", () => {
  it("are kept in order, each once, and as people read them", () => {
    assert.deepStrictEqual(places([raw("b"), raw(""), raw("ä/\n"), raw("b")]), ["", "b", "ä/\\x0a"])
  })

  it("fail the folder when one of them is none any more, by name and with what to do", () => {
    assert.strictEqual(
      missing(abcd, { mounts: ["a/b"] }, { mounts: [] }, noRules),
      "ABCD/a/b was a mount of its own when the folder was last archived, and nothing is mounted there now: mount it, or accept it as it is: zipper run --force --folder ABCD"
    )
    assert.match(missing(abcd, { mounts: ["", "x", "y"] }, { mounts: ["y"] }, noRules) ?? "", /^it \(and 1 more\) was/)
    assert.match(missing(abcd, { mounts: ["a"] }, {}, noRules) ?? "", /^ABCD\/a was a mount/)
    assert.match(missingWhole({ mounts: ["", "a"] }) ?? "", /is not in the source now: mount it/)
  })

  it("are not missed where nothing is known, or more is mounted than before", () => {
    assert.isUndefined(missing(abcd, undefined, { mounts: [] }, noRules))
    assert.isUndefined(missing(abcd, {}, { mounts: [] }, noRules))
    assert.isUndefined(missing(abcd, { mounts: ["a"] }, { mounts: ["", "a"] }, noRules))
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
      missing(abcd, { mounts: [] }, { mounts: [], hollow: ["cache"] }, noRules) ?? "",
      /^ABCD\/cache was a btrfs subvolume .*zipper run --force --folder ABCD$/
    )
    assert.isUndefined(missing(abcd, { hollow: ["cache"] }, { hollow: ["cache"] }, noRules))
  })
})
