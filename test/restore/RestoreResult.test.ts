import { assert, describe, it } from "vitest"
import { damageText, noArchiveText, type RestoreOptions, restoreCommand } from "../../src/restore/RestoreResult.ts"
import type { PublishedArchive, Which } from "../../src/store/PublishedArchive.ts"
import { folder } from "../support/program/job.ts"

const options: RestoreOptions = {
  folder: folder("ABCD"),
  which: "current",
  to: "b/new dir",
  below: false,
  only: ["*.kdbx", "-rf"],
  overwrite: true,
  sync: true,
  dryRun: false,
  place: ["--config", "/etc/zipper.json"],
  job: ["--config", "/etc/zipper.json"]
}

const wanted = { ...options, command: (which: Which) => restoreCommand(options, which) }

const set: PublishedArchive = {
  folder: options.folder,
  which: "current",
  zip: "/my target/ABCD/ABCD.zip",
  file: { dev: 1, ino: 1, size: 1, mtimeMs: 1, ctimeMs: 1 },
  md5: undefined,
  sha256: undefined,
  metadata: undefined,
  state: undefined,
  obstacles: [],
  interrupted: false
}

const last = (change: Partial<PublishedArchive>, other: boolean): string | undefined =>
  damageText(options, { ...set, ...change }, [], other).at(-1)

describe("what to do about an archive that cannot be restored", () => {
  it("is a command to be pasted, with all that was asked for", () => {
    assert.strictEqual(
      restoreCommand(options, "previous"),
      "zipper restore ABCD --prev --to 'b/new dir' --only '*.kdbx' '--only=-rf' --overwrite --config /etc/zipper.json"
    )
    assert.strictEqual(
      restoreCommand({ ...options, to: "out", only: [], overwrite: false, dryRun: true }, "current"),
      "zipper restore ABCD --to out --dry-run --config /etc/zipper.json"
    )
  })

  it("is the other archive where there is one, and what unzip can still read where there is none", () => {
    assert.strictEqual(
      last({}, true),
      `nothing was written: /my target/ABCD/ABCD.zip cannot be relied on; the archive before may be good: ${restoreCommand(options, "previous")}`
    )
    assert.strictEqual(
      last({}, false),
      "nothing was written: /my target/ABCD/ABCD.zip cannot be relied on; there is no archive before it; unzip takes what can still be read of it: unzip '/my target/ABCD/ABCD.zip' -d 'b/new dir'"
    )
    assert.include(
      damageText({ ...options, which: "previous" }, set, [], true).at(-1),
      `the newest archive may be good: ${restoreCommand(options, "current")}; unzip takes what can still be read of this one: unzip `
    )
    assert.include(noArchiveText(wanted, true), "there is one before it: zipper restore ABCD --prev")
    assert.notInclude(noArchiveText(wanted, false), "zipper restore")
  })

  it("makes the folder above those of several folders, which may not be there", () => {
    const several = { ...options, to: "-new dir", below: true, only: [], overwrite: false }
    const text = (other: boolean) => damageText(several, set, [], other).at(-1)
    assert.include(
      text(true),
      "may be good: mkdir -p './-new dir' && zipper restore ABCD --prev '--to=-new dir/ABCD' --config /etc/zipper.json"
    )
    assert.include(text(false), "of it: mkdir -p './-new dir' && unzip '/my target/ABCD/ABCD.zip' -d './-new dir/ABCD'")
  })

  it("does not call an archive changed that is missing, cannot be read, or is being published", () => {
    const zip = "ABCD.zip"
    assert.strictEqual(
      last({ file: undefined }, false),
      "nothing was written: /my target/ABCD/ABCD.zip is missing; there is no archive before it"
    )
    assert.include(
      last({ file: undefined, obstacles: [{ file: zip, problem: "is a symlink" }] }, true),
      "ABCD.zip cannot be read; the archive before may be good"
    )
    assert.include(
      last({ interrupted: true }, true),
      "was interrupted, and the next run finishes or undoes it (zipper run --config /etc/zipper.json)"
    )
  })
})
