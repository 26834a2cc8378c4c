import { assert, describe, it } from "vitest"
import {
  describe as describeResult,
  documentOf,
  type FolderResult,
  summarize
} from "../../src/runs/ArchiveResult.ts"
import { FolderName } from "../../src/source/FolderName.ts"
import * as LeftOut from "../../src/source/LeftOut.ts"

const archived: FolderResult = {
  _tag: "Archived",
  folder: FolderName.make("ABCD"),
  reason: "changed",
  files: 12,
  bytes: 2048,
  zipSize: 1024,
  copied: 0,
  millis: 400,
  rotated: true,
  sha256: "0".repeat(64),
  rehearsed: false
}
const some = { ...LeftOut.nothing, symlinks: 3, fifos: 1 }

describe("what was left out of an archive", () => {
  it("stands on the folder's line, when there was something", () => {
    const line = "archived 12 files, 2.0 KiB in 1.0 KiB, 0.4 s (changed)"
    assert.strictEqual(describeResult(archived), line)
    assert.strictEqual(describeResult({ ...archived, leftOut: LeftOut.nothing }), line)
    assert.strictEqual(
      describeResult({ ...archived, leftOut: some }),
      `${line}; 3 symlinks and 1 fifo left out`
    )
    assert.match(
      describeResult({
        ...archived,
        rehearsed: true,
        leftOut: { symlinks: 1, fifos: 0, sockets: 2, devices: 1 }
      }),
      /; 1 symlink, 2 sockets and 1 device left out$/
    )
  })

  it("is in the document of the run", () => {
    const document = documentOf(
      summarize({
        run: "r1",
        source: "live",
        startedAt: "2025-01-01T12:00:00Z",
        seconds: 1,
        results: [{ ...archived, leftOut: some }]
      }),
      false
    )
    assert.deepInclude(document.folders[0], { left_out: { symlinks: 3, fifos: 1, sockets: 0, devices: 0 } })
  })
})
