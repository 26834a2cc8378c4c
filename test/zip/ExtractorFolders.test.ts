import { chmodSync, mkdirSync, renameSync, statSync, symlinkSync, utimesSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Struct from "effect/Struct"
import type { Runner } from "../../src/system/WorkerJob.ts"
import { Workers } from "../../src/system/Workers.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { Extractor } from "../../src/zip/Archiver.ts"
import { openKnown } from "../../src/zip/ExtractFolders.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { archiveAndVerify, put, viewOf } from "../support/zip/archive.ts"
import { contentOf, onThreads, requestFor, restorePlace } from "../support/zip/restore.ts"

/** More entries than a thread is given at a time, and folders that several threads fill, or that more is put into later. */
const fill = (source: string): void => {
  const folders = ["only/below", "only"]
  for (const name of ["a/a", "a/m/", "a/m/z/", "a/x", "b/a"]) {
    for (let index = 0; index < 300; index += 1) put(`${source}/${name}${index}`, `${index}`)
  }
  for (let index = 0; index < 1100; index += 1) mkdirSync(`${source}/b/m${index}`)
  put(`${source}/only/below/file`, "x")
  let deep = "c"
  for (let level = 0; level < 20; level += 1) {
    put(`${source}/${deep}/a`, "before")
    put(`${source}/${deep}/z`, "behind")
    folders.push(deep)
    deep += "/m"
  }
  for (const [index, folder] of [...folders, "a/m/z", "a/m", "a", "b"].entries()) {
    chmodSync(`${source}/${folder}`, 0o700 + index)
    utimesSync(`${source}/${folder}`, 1, 1_500_000_000 + index)
  }
}

describe("folders that are filled by several threads", () => {
  it.scoped("have their times and modes in the end, whether they were made or were there", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(`${root}/ABCD`)
      const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      mkdirSync(`${root}/there/a/m`, { recursive: true })
      const { bytes, files } = manifest
      for (const to of ["new", "there"]) {
        const request = requestFor(`${root}/a.zip`, `${root}/${to}`, { files, bytes, overwrite: to === "there" })
        const { carryOut } = yield* (yield* Extractor).prepare(request)
        assert.deepStrictEqual((yield* carryOut).failures.first, [])
        assert.deepStrictEqual(contentOf(`${root}/${to}`), contentOf(`${root}/ABCD`))
      }
    }).pipe(Effect.provide(onThreads))
  )

  it.scoped(
    "get their modes when all is written, where others may write to them or another thread puts more into them",
    () =>
      Effect.gen(function* () {
        const { out, prepare } = yield* restorePlace
        const base = yield* Workers
        const modeOf = (name: string) => statSync(`${out}/${name}`).mode & 0o777
        const modes = { all: 0o777, group: 0o775, own: 0o755, wide: 0o755 }
        const names = Struct.keys(modes)
        const entries = names.flatMap((name) => [
          { name: `${name}/`, mode: 0o040_000 | modes[name] },
          { name: `${name}/file`, content: "content" }
        ])
        // More than a slice has.
        const more = Array.from({ length: 1100 }, (_, index) => ({ name: `wide/m${1000 + index}/` }))
        const written: Array<ReadonlyArray<number>> = []
        const run: Runner["run"] = async (job, input, signal) => {
          const output = await base.run(job, input, signal)
          if (job.name === "extract") written.push(names.map(modeOf))
          return output
        }
        const { carryOut } = yield* prepare([...entries, ...more]).pipe(
          Effect.provide(Extractor.layer),
          Effect.provideService(Workers, { ...base, run })
        )
        assert.deepStrictEqual((yield* carryOut).failures.first, [])
        assert.deepStrictEqual([written, names.map(modeOf)], [[[0o700, 0o700, 0o755, 0o700]], Object.values(modes)])
      })
  )
})

describe("a folder that has another inode number than before", () => {
  it.scoped("is opened where numbers change by themselves, through no symlink and on its device", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      mkdirSync(`${root}/a/b`, { recursive: true })
      const { dev, ino } = statSync(`${root}/a/b`, { bigint: true })
      const path = RawPath.fromText("a/b")
      const open = (changes: boolean, known = { path, dev, ino: ino + 1n }) =>
        openKnown(RawPath.fromText(root), known, () => changes).close()
      open(true)
      open(false, { path, dev, ino })
      assert.throws(() => open(false), "replaced by another one")
      assert.throws(() => open(true, { path, dev: dev + 1n, ino }), "replaced by another one")
      renameSync(`${root}/a`, `${root}/moved`)
      symlinkSync("moved", `${root}/a`)
      open(false, { path, dev, ino })
      assert.throws(() => open(true), /E(LOOP|NOTDIR)/)
    })
  )
})
