import { mkdirSync, truncateSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { temporaryFolder } from "../support/program/log.ts"
import { installed } from "../support/programs.ts"
import { layers, put, run, viewOf } from "../support/zip/archive.ts"
import { archiveFrom, previousOf } from "../support/zip/reuse.ts"

const size = 2 ** 32 + 2 ** 20 + 17
const files = 66_000

describe("what is copied from an archive before", () => {
  it.scoped("may be an entry beyond 4 GiB and more entries than 16 bits count, for every reader", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/1 sparse`, "")
      truncateSync(`${root}/ABCD/1 sparse`, size)
      mkdirSync(`${root}/ABCD/many`)
      for (let file = 0; file < files; file += 1) writeFileSync(`${root}/ABCD/many/${file}`, `${file}\n`)
      const first = yield* archiveFrom(viewOf(root), `${root}/first.zip`)
      put(`${root}/ABCD/0 new`, "in front of everything")
      put(`${root}/ABCD/z new`, "behind everything")
      const previous = previousOf(`${root}/first.zip`, first.manifest, { method: "auto", level: 1 })
      const { report } = yield* archiveFrom(viewOf(root), `${root}/a.zip`, previous)
      assert.strictEqual(report.copiedFiles, files + 1)

      const zip = `${root}/a.zip`
      const passes = (
        program: "unzip" | "7zz" | "bsdtar" | "python3",
        args: ReadonlyArray<string>,
        expected?: string
      ) => {
        if (!installed(program)) return
        const { output, status } = run(program, args)
        assert.strictEqual(status, 0, output)
        if (expected !== undefined) assert.strictEqual(output, expected)
      }
      passes("unzip", ["-tqq", zip], "")
      passes("7zz", ["t", "-bso0", "-bsp0", zip], "")
      passes("bsdtar", ["-xOf", zip, "z new"], "behind everything")
      if (installed("bsdtar")) {
        assert.strictEqual(run("sh", ["-c", 'cat "$0" | bsdtar -tf - | wc -l', zip]).output, `${files + 4}\n`)
      }
      const script =
        "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(z.testzip(), len(z.namelist()), z.getinfo('1 sparse').file_size)"
      passes("python3", ["-c", script, zip], `None ${files + 4} ${size}\n`)
    }).pipe(Effect.provide(layers("auto", 1)))
  )
})
