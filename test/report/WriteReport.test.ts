import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { archiveJobKey } from "../../src/config/ReplicationJob.ts"
import { makeReport, type Reserved, writeReport } from "../../src/report/writeReport.ts"
import { noRules } from "../../src/source/Exclude.ts"
import { statusOfArchive } from "../../src/status/Status.ts"
import { Store } from "../../src/store/Store.ts"
import { type Content, Disk, DiskError } from "../../src/system/Disk.ts"
import { memoryLock } from "../doubles/Lock.ts"
import { fourLetters } from "../support/folders.ts"
import { makeState } from "../support/program/state.ts"

const failure = new DiskError({
  path: "x",
  code: "EIO",
  message: "broken",
  transient: false
})

/** The real disk, on which one operation fails. */
const failing = (name: "write" | "setMode" | "rename") =>
  Layer.effect(
    Disk,
    Effect.map(Disk, (disk) => ({
      ...disk,
      [name]: (path: string, content: string) =>
        name === "write" ? Effect.zipRight(disk.write(path, content.slice(0, 3)), failure) : failure
    }))
  ).pipe(Layer.provide(Disk.layer))

const place = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "zipper-report-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const parts = { script: undefined, style: "", policy: "" }

const made = (target: string | undefined) =>
  Effect.gen(function* () {
    const { layer } = yield* makeState([archiveJobKey])
    return yield* makeReport({ host: "nas", days: 90, target, wanted: fourLetters }, [archiveJobKey], parts).pipe(
      Effect.provide(Layer.mergeAll(layer, Disk.layer, memoryLock()))
    )
  })

describe("a report of a target", () => {
  it.scoped("that is not there is none, in the words of status", () =>
    Effect.gen(function* () {
      const target = join(yield* place, "gone")
      const { message } = yield* Effect.flip(made(target))
      assert.strictEqual(
        message,
        `the target ${target} does not exist: is its dataset mounted, and is target_path right?`
      )
      const { layer } = yield* makeState([archiveJobKey])
      const config = {
        source_path: "/source",
        target_path: target,
        lockfile_path: "/lock",
        folders: "^[A-Z0-9]{4}$",
        ...noRules
      }
      const status = yield* statusOfArchive(config, undefined, []).pipe(
        Effect.provide(Layer.mergeAll(layer, Disk.layer, memoryLock(), Layer.mock(Store, {}))),
        Effect.flip
      )
      assert.strictEqual(status.message, message)
    })
  )

  it.scoped("that holds archives, and of no run, has that as a problem", () =>
    Effect.gen(function* () {
      const target = yield* place
      const fresh = yield* made(target)
      assert.deepStrictEqual(
        fresh.report.problems.map(({ text }) => text),
        ["has not run yet"]
      )
      for (const name of ["ABCD", "EFGH", "none"]) mkdirSync(join(target, name))
      writeFileSync(join(target, "ABCD/ABCD.zip"), "zip")
      const { html, report } = yield* made(target)
      assert.match(report.problems[0]?.text ?? "", /^there are archives of 1 folder in the target, and nothing/)
      assert.include(html, "there are archives of 1 folder in the target")
      assert.strictEqual((yield* made(undefined)).report.problems.length, 1)
    })
  )
})

const nowhere: Reserved = { folders: [], files: [] }

it.scoped("a page that others may not read is not readable for them at any time", () =>
  Effect.gen(function* () {
    const file = join(yield* place, "r.html")
    writeFileSync(file, "", { mode: 0o600 })
    const modes: Array<number | undefined> = []
    const watched = Layer.effect(
      Disk,
      Effect.map(Disk, (disk) => ({
        ...disk,
        write: (path: string, content: Content, mode?: number) =>
          Effect.tap(disk.write(path, content, mode), () => modes.push(statSync(path).mode & 0o777))
      }))
    ).pipe(Layer.provide(Disk.layer))
    yield* writeReport(file, start, nowhere).pipe(Effect.provide(watched))
    assert.deepStrictEqual(modes, [0o600])
    assert.strictEqual(statSync(file).mode & 0o777, 0o600)
  })
)

const start = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
`
const policy = (script: string) =>
  `<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; script-src &#39;${script}&#39;; style-src &#39;sha256-47DEQpj8HBSa+/TImW=&#39;; img-src data:">`

const tried = (path: string, reserved = nowhere) =>
  writeReport(path, "new", reserved).pipe(
    Effect.as("written"),
    Effect.catchTag("ReportError", ({ message }) => Effect.succeed(message)),
    Effect.provide(Disk.layer)
  )

describe("a file that is there", () => {
  it.scoped("is replaced when it is a page of this version or one before, or empty", () =>
    Effect.gen(function* () {
      const file = join(yield* place, "page.html")
      const { html } = yield* made(undefined)
      for (const page of [
        html,
        "",
        `${start}${policy("none")}\n`,
        `${start}${policy("sha256-0aZ+/=")}\n<meta name="viewport"`
      ]) {
        writeFileSync(file, page)
        assert.strictEqual(yield* tried(file), "written", page.slice(0, 200))
        assert.strictEqual(readFileSync(file, "utf8"), "new")
      }
    })
  )

  it.scoped("is left alone when it is anything else", () =>
    Effect.gen(function* () {
      const file = join(yield* place, "page.html")
      for (const other of [
        "PK\u0003\u0004",
        '{"version":1}\n',
        "# zipper state: /x\n",
        start,
        `${start}<title>Mine</title>`,
        `${start}<title><meta name="generator" content="zipper">`
      ]) {
        writeFileSync(file, other)
        assert.strictEqual(
          yield* tried(file),
          `"${file}" is no report that zipper wrote, and was left as it is: give --out another name`
        )
        assert.strictEqual(readFileSync(file, "utf8"), other)
      }
      // More than fits into memory.
      truncateSync(file, 2 ** 40)
      assert.match(yield* tried(file), /is no report/)
    })
  )
})

describe("a place of the configuration's own", () => {
  it.scoped("gets no page, whatever path leads there", () =>
    Effect.gen(function* () {
      const root = yield* place
      mkdirSync(join(root, "target/ABCD"), { recursive: true })
      mkdirSync(join(root, "beside"))
      symlinkSync("target", join(root, "link"))
      symlinkSync("../target/ABCD", join(root, "beside/deep"))
      const reserved: Reserved = {
        folders: [
          ["target_path", join(root, "link")],
          ["source_path", join(root, "none")]
        ],
        files: [["lockfile_path", join(root, "link/../lock")]]
      }
      for (const folder of ["target", "target/ABCD", "link", "link/ABCD", "beside/deep", "beside/../target"]) {
        const path = `${root}/${folder}/page.html`
        assert.strictEqual(
          yield* tried(path, reserved),
          `"${path}" lies in target_path, where no report is written: give --out a name elsewhere`
        )
      }
      for (const path of [join(root, "lock"), `${root}/beside/../lock`]) {
        assert.match(yield* tried(path, reserved), /" is the place of lockfile_path, where no report/)
      }
      assert.deepStrictEqual(readdirSync(root), ["beside", "link", "target"])
      assert.deepStrictEqual(readdirSync(join(root, "target")), ["ABCD"])
      assert.strictEqual(yield* tried(join(root, "beside/page.html"), reserved), "written")
      assert.strictEqual(yield* tried(join(root, "target.html"), reserved), "written")
    })
  )
})

describe("a page that cannot be written", () => {
  for (const name of ["write", "setMode", "rename"] as const) {
    it.scoped(`leaves the one before, and no part of itself (${name})`, () =>
      Effect.gen(function* () {
        const folder = yield* place
        const file = join(folder, "page.html")
        const before = `${start}${policy("none")}before`
        writeFileSync(file, before)
        const exit = yield* Effect.exit(writeReport(file, "after", nowhere).pipe(Effect.provide(failing(name))))
        assert.isTrue(Exit.isFailure(exit))
        assert.deepStrictEqual(readdirSync(folder), ["page.html"])
        assert.strictEqual(readFileSync(file, "utf8"), before)
      })
    )
  }
})
