import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { describe as describeResult, type FolderResult, RunDocument, summarize } from "../../src/runs/ArchiveResult.ts"
import { FolderName } from "../../src/source/FolderName.ts"
import * as LeftOut from "../../src/source/LeftOut.ts"

const archived: FolderResult = {
  folder: FolderName.make("ABCD"),
  result: "archived",
  reason: "changed",
  files: 12,
  bytes: 2048,
  zip_bytes: 1024,
  copied_files: 0,
  left_out: LeftOut.nothing,
  seconds: 0.4,
  rotated: true,
  sha256: "0".repeat(64),
  dry_run: false
}
const some = { ...LeftOut.nothing, symlinks: 3, fifos: 1 }

describe("what was left out of an archive", () => {
  it("stands on the folder's line, when there was something", () => {
    const line = "archived 12 files, 2.0 KiB in 1.0 KiB, 0.4 s (changed)"
    assert.strictEqual(describeResult(archived), line)
    assert.strictEqual(describeResult({ ...archived, left_out: some }), `${line}; 3 symlinks and 1 fifo left out`)
    assert.match(
      describeResult({
        ...archived,
        dry_run: true,
        left_out: { symlinks: 1, fifos: 0, sockets: 2, devices: 1, excluded: 0 }
      }),
      /; 1 symlink, 2 sockets and 1 device left out$/
    )
  })

  it("is in the document of the run", () => {
    const summary = summarize({
      run: "r1",
      source: "live",
      started_at_utc: "2025-01-01T12:00:00Z",
      seconds: 1,
      folders: [{ ...archived, left_out: some }]
    })
    const document = Schema.encodeSync(RunDocument)({ ...summary, dry_run: false })
    assert.deepInclude(document.folders[0], {
      left_out: { symlinks: 3, fifos: 1, sockets: 0, devices: 0, excluded: 0 }
    })
  })
})

describe("the line of a folder in a dry run", () => {
  it("does not promise that the archive before is replaced: only a run learns whether the bytes are the same", () => {
    const line = "would archive 12 files, 2.0 KiB (changed)"
    assert.strictEqual(describeResult({ ...archived, dry_run: true, rotated: false }), line)
    assert.strictEqual(
      describeResult({ ...archived, dry_run: true }),
      `${line}; ABCD.zip would become ABCD.prev.zip, unless the new one has the same bytes`
    )
  })
})
