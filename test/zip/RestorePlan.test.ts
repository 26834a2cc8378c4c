import { assert, describe, it } from "vitest"
import {
  failureLines,
  leftoverText,
  nothingRestored,
  obstacleLines,
  type RestoreFailure,
  type RestoreOutcome,
  type RestorePlan,
  stoppedLines,
  summaryText
} from "../../src/zip/RestorePlan.ts"

const nothing = { count: 0, first: [] }

const planOf = (change: Partial<RestorePlan>): RestorePlan => ({
  directory: "/back",
  device: "1",
  files: 6,
  bytes: 60,
  folders: 1,
  replaced: 6,
  conflicts: nothing,
  meeting: { count: 0, first: [] },
  untried: { count: 0, first: [] },
  unmatched: [],
  privileged: nothing,
  free: 1000,
  needed: 60,
  neededAtMost: 60,
  leftovers: nothing,
  ...change
})

const resultOf = (failures: ReadonlyArray<RestoreFailure>, change: Partial<RestoreOutcome> = {}): RestoreOutcome => ({
  ...nothingRestored,
  failures: { count: failures.length, first: failures },
  missing: failures.filter(({ kind }) => kind === "missing").length,
  kept: failures.filter(({ kind }) => kind === "kept").length,
  ...change
})

describe("what keeps a restore from beginning", () => {
  it("is too little space where that is known, and not where the file system does not tell", () => {
    const options = { overwrite: false, zip: "ABCD.zip" }
    assert.deepStrictEqual(obstacleLines(planOf({ free: 0 }), options), [
      "nothing was written: 60 B are needed in /back, and 0 B are free there"
    ])
    assert.deepStrictEqual(obstacleLines(planOf({ free: undefined }), options), [])
  })
})

describe("what is told of a restore", () => {
  it("that failed says what is there: nothing, the file before, or one without its mode", () => {
    const error = "no space left"
    assert.deepStrictEqual(failureLines(planOf({}), nothingRestored), [])
    assert.deepStrictEqual(
      failureLines(planOf({}), resultOf([{ path: "a", error, kind: "kept", cannot: "replace" }], { gaveUp: error })),
      [
        "cannot replace a: no space left; the file that was there is unchanged",
        "/back is INCOMPLETE: 0 of 6 files are restored; 6 files that were to be replaced are as before; stopped: no space left; what was written of files that failed was removed"
      ]
    )
    const lost = resultOf([{ path: "a", error, kind: "missing", cannot: "write" }], { files: 5, replaced: 5 })
    assert.deepStrictEqual(failureLines(planOf({ replaced: 5 }), lost), [
      "cannot write a: no space left",
      "/back is INCOMPLETE: 5 of 6 files are restored; what was written of files that failed was removed"
    ])
    assert.include(
      failureLines(planOf({ files: 1, replaced: 0 }), { ...lost, files: 0 }).at(-1),
      "0 of 1 file is restored;"
    )
    const attributes = resultOf([{ path: "a", error: "EPERM", kind: "attributes", cannot: "set mode and time of" }], {
      files: 6,
      replaced: 6
    })
    assert.deepStrictEqual(failureLines(planOf({}), attributes), [
      "cannot set mode and time of a: EPERM",
      "/back has every file, but 1 file or folder without the right mode and time"
    ])
  })

  it("that a signal stopped says what is there, and what failed before", () => {
    const stopped = stoppedLines(
      planOf({ replaced: 1 }),
      resultOf([{ path: "a", error: "x", kind: "missing" }], { files: 1 })
    )
    assert.strictEqual(stopped.length, 2)
    assert.include(
      stopped.at(-1),
      "stopped by a signal: /back is INCOMPLETE: 1 of 6 files is restored; 1 file that was to be replaced is as before"
    )
  })

  it("that a signal stopped before its first file does not say that something is incomplete", () => {
    const stopped = (change: Partial<RestoreOutcome>) => stoppedLines(planOf({}), resultOf([], change))
    const none = "stopped by a signal: no file was restored to /back"
    assert.deepStrictEqual(stopped({}), [`${none}; the files at work were removed`])
    assert.deepStrictEqual(stopped({ folders: 2 }), [
      `${none}, only 2 folders made there; the files at work were removed`
    ])
  })

  it("that a signal stopped while it was synced says so, and not that files are missing", () => {
    const last = stoppedLines(planOf({ replaced: 0 }), resultOf([], { files: 6, unsynced: "it was stopped" })).at(-1)
    const all = "stopped by a signal: /back was not synced: 6 of 6 files are restored"
    assert.strictEqual(last, `${all}, and a power cut may lose some of it`)
  })

  it("that was done counts what was done, not what was planned", () => {
    const done = resultOf([], { files: 6, bytes: 60, folders: 1, replaced: 2 })
    assert.strictEqual(
      summaryText(planOf({}), done, { seconds: 1, dryRun: true }),
      "would restore 6 files, 60 B to /back (1 folder made, 2 files replaced)"
    )
  })

  it("names what stands where a file belongs as what it is", () => {
    const conflict = { path: "blob.bin", is: "other", wanted: "file" } as const
    const told = obstacleLines(planOf({ conflicts: { count: 1, first: [conflict] } }), {
      overwrite: false,
      zip: "a.zip"
    })
    assert.strictEqual(told[0], "blob.bin: there is a device, socket or fifo already, where a file belongs")
  })

  it("names the folder of the archives as what it is, and offers no --overwrite", () => {
    const conflict = { path: "a/target", is: "archives", wanted: "directory" } as const
    for (const overwrite of [false, true]) {
      const told = obstacleLines(planOf({ conflicts: { count: 1, first: [conflict] } }), {
        overwrite,
        zip: "a.zip"
      })
      assert.include(told[0], "a/target: this is the folder that the archives are in")
      assert.notInclude(told.at(-1), "--overwrite")
    }
  })

  it("names what killed ones left, with a way to be rid of it", () => {
    assert.isUndefined(leftoverText(planOf({}), true))
    const plan = planOf({ leftovers: { count: 12, first: ["a/.zipper-restore-1"] } })
    assert.include(leftoverText(plan, false), "12 temporary files in /back, left by a restore that was killed, can be")
    assert.include(leftoverText(plan, false), "--overwrite does: a/.zipper-restore-1, and 11 more files")
    assert.include(leftoverText(plan, true), "are removed")
  })
})
