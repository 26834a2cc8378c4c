import { mkdirSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Archiver } from "../../src/zip/Archiver.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { installed } from "../support/programs.ts"
import { archiveAndVerify, entryOf, layers, manifestOf, put, run, viewOf } from "../support/zip/archive.ts"

describe("a large archive", () => {
  // Directories need no files on disk. Were the work quadratic, this would take minutes.
  it.scoped("has more entries than 16 bits count", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const archiver = yield* Archiver
      const entries = Array.from({ length: 150_000 }, (_, index) => entryOf(`${1_000_000 + index}`))
      const manifest = manifestOf(entries)
      yield* archiver.archive(viewOf(root), manifest, `${root}/a.zip`)
      yield* archiver.verify(`${root}/a.zip`, manifest)
      if (installed("unzip")) {
        const { output, status } = run("unzip", ["-tq", `${root}/a.zip`])
        assert.strictEqual(status, 0, output)
      }
      if (installed("python3")) {
        const script = "import sys, zipfile; print(len(zipfile.ZipFile(sys.argv[1]).namelist()))"
        assert.strictEqual(run("python3", ["-c", script, `${root}/a.zip`]).output, "150000\n")
      }
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("has 10,000 small files", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      mkdirSync(`${root}/ABCD`)
      for (let file = 0; file < 10_000; file += 1) writeFileSync(`${root}/ABCD/${file}`, `content of ${file}\n`)
      const { report } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      assert.strictEqual(report.entries, 10_000)
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("holds a file of more than 4 GiB, in memory that stays flat, and what comes after it", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const size = 2 ** 32 + 2 ** 20 + 17
      put(`${root}/ABCD/1 sparse`, "")
      truncateSync(`${root}/ABCD/1 sparse`, size)
      put(`${root}/ABCD/2 after`, "the end")
      const before = process.memoryUsage.rss()
      const { report } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      assert.isBelow(process.memoryUsage.rss() - before, 200e6)
      assert.deepStrictEqual(report, {
        zipSize: statSync(`${root}/a.zip`).size,
        entries: 2,
        bytes: size + 7,
        madeWith: { method: "auto", level: 1 },
        copiedFiles: 0,
        copied: []
      })
      if (installed("unzip")) {
        assert.include(run("unzip", ["-l", `${root}/a.zip`]).output, `${size}  `)
        assert.strictEqual(run("unzip", ["-p", `${root}/a.zip`, "2 after"]).output, "the end")
      }
      if (installed("7zz")) {
        const { output, status } = run("7zz", ["l", "-slt", `${root}/a.zip`])
        assert.strictEqual(status, 0)
        assert.include(output, `Size = ${size}`)
        assert.notMatch(output, /warning|error/i)
      }
      if (installed("python3")) {
        const script =
          "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print([i.file_size for i in z.infolist()], z.read('2 after'), len(z.open('1 sparse').read(1 << 20)))"
        assert.strictEqual(
          run("python3", ["-c", script, `${root}/a.zip`]).output,
          `[${size}, 7] b'the end' ${1 << 20}\n`
        )
      }
    }).pipe(Effect.provide(layers("auto", 1)))
  )
})
