import { assert, describe, it } from "@effect/vitest"
import {
  type FolderVerification,
  identityOfState,
  ofCurrent,
  ofPrevious,
  type Verified,
  withResult
} from "../../src/store/FolderState.ts"
import { folder } from "../support/program/job.ts"

const ABCD = folder("ABCD")

const found = (result: Verified["result"], sha256?: string): Verified => ({
  ...(sha256 === undefined ? {} : { zip_sha256: sha256, archived_at_utc: "2025-01-01T12:00:00Z" }),
  verified_at_utc: "2025-01-02T12:00:00Z",
  result
})

const known: FolderVerification = {
  version: 1,
  folder: ABCD,
  current: found("damaged", "new"),
  previous: found("good", "old")
}

describe("what verify found", () => {
  it("of a damaged archive stays when a later look could not even tell which archive it was", () => {
    const after = withResult(known, ABCD, "current", found("unsettled"))
    const now = { zip_sha256: "new", archived_at_utc: "2025-01-01T12:00:00Z" }
    assert.strictEqual(ofCurrent(after, now)?.result, "damaged")
    assert.strictEqual(ofPrevious(after, "old")?.result, "good")
    const previous = withResult({ ...known, previous: found("damaged", "old") }, ABCD, "previous", found("unsettled"))
    assert.strictEqual(ofPrevious(previous, "old")?.result, "damaged")
  })

  it("of the archive before stays when the current one is lost with all that names it", () => {
    const after = withResult(known, ABCD, "current", found("missing"))
    assert.strictEqual(ofCurrent(after, identityOfState(undefined))?.result, "missing")
    assert.strictEqual(ofPrevious(after, "old")?.result, "good")
  })

  it("goes with the archive when another one is published", () => {
    const after = withResult(known, ABCD, "current", found("good", "newer"))
    assert.strictEqual(ofPrevious(after, "new")?.result, "damaged")
    assert.isUndefined(ofPrevious(after, "old"))
  })
})
