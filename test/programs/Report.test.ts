import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { archiveKey } from "../../src/domain/JobKey.ts"
import { makeReport, writeReport } from "../../src/programs/Report.ts"
import { statusOfArchive } from "../../src/programs/Status.ts"
import { Disk, DiskError } from "../../src/services/Disk.ts"
import { Lock } from "../../src/services/Lock.ts"
import { Store } from "../../src/services/Store.ts"
import { makeState } from "../support/state.ts"

const failure = new DiskError({
  operation: "rename",
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
    const { layer } = yield* makeState([archiveKey])
    return yield* makeReport({ host: "nas", days: 90, target }, [archiveKey], parts).pipe(
      Effect.provide(Layer.mergeAll(layer, Disk.layer, Lock.layerMemory()))
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
      const { layer } = yield* makeState([archiveKey])
      const config = { source_path: "/source", target_path: target, lockfile_path: "/lock" }
      const status = yield* statusOfArchive(config, undefined).pipe(
        Effect.provide(Layer.mergeAll(layer, Disk.layer, Lock.layerMemory(), Layer.mock(Store, {}))),
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
      assert.match(
        report.problems[0]?.text ?? "",
        /^there are archives of 1 folder in the target, and nothing/
      )
      assert.include(html, "there are archives of 1 folder in the target")
      assert.strictEqual((yield* made(undefined)).report.problems.length, 1)
    })
  )
})

describe("a page that cannot be written", () => {
  for (const name of ["write", "setMode", "rename"] as const) {
    it.scoped(`leaves the one before, and no part of itself (${name})`, () =>
      Effect.gen(function* () {
        const folder = yield* place
        const file = join(folder, "page.html")
        writeFileSync(file, "before")
        const exit = yield* Effect.exit(writeReport(file, "after").pipe(Effect.provide(failing(name))))
        assert.isTrue(Exit.isFailure(exit))
        assert.deepStrictEqual(readdirSync(folder), ["page.html"])
        assert.strictEqual(readFileSync(file, "utf8"), "before")
      })
    )
  }
})
