import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { Tree } from "../../src/source/Tree.ts"
import { Archiver } from "../../src/zip/Archiver.ts"
import { capturedLog } from "../support/program/log.ts"
import { installed } from "../support/programs.ts"
import { abcd, layers, noise, put, run, viewOf } from "../support/zip/archive.ts"
import { archiveFrom, fastFolder, nextTick, previousOf } from "../support/zip/reuse.ts"

/** A folder with some of everything, and its archive. */
const archived = Effect.gen(function* () {
  const root = yield* fastFolder
  const source = `${root}/ABCD`
  for (const name of ["b 1", "b 2", "d/1", "d/2", "d/e/3", "z 1", "z 2"])
    put(`${source}/${name}`, `content of ${name}\n`.repeat(20))
  put(`${source}/empty`, "")
  put(`${source}/large noise`, noise(1_300_000))
  put(`${source}/large text`, "all work and no play makes a dull boy\n".repeat(40_000))
  put(Buffer.concat([Buffer.from(`${source}/not utf8 `), Buffer.from([0xff])]), "bytes")
  put(Buffer.concat([Buffer.from(`${source}/x`), Buffer.from([0xfe]), Buffer.from("/below")]), "bytes")
  mkdirSync(`${source}/y empty`)
  nextTick(root)
  const { manifest } = yield* archiveFrom(viewOf(root), `${root}/1.zip`)
  utimesSync(`${root}/1.zip`, 1_700_000_000, 1_700_000_000)
  return { root, source, files: manifest.files, previous: previousOf(`${root}/1.zip`, manifest) }
})

/** What happens to the folder, and how many of the files that it holds then have to be read again. */
interface Change {
  readonly name: string
  readonly change: (source: string) => void
  readonly uncopied: number
}

const remove = (...paths: ReadonlyArray<string>): void => {
  for (const path of paths) rmSync(path, { recursive: true })
}

const changes: ReadonlyArray<Change> = [
  { name: "nothing", change: () => undefined, uncopied: 0 },
  { name: "a file is written, size and time as before", change: (s) => overwrite(`${s}/d/1`), uncopied: 1 },
  { name: "a large one likewise", change: (s) => overwrite(`${s}/large text`), uncopied: 1 },
  { name: "a file is made anew, bytes and time as before", change: (s) => replace(`${s}/d/1`), uncopied: 1 },
  { name: "two files change places", change: (s) => swap(`${s}/b 1`, `${s}/b 2`), uncopied: 2 },
  { name: "a file is renamed", change: (s) => renameSync(`${s}/b 1`, `${s}/b 1 new`), uncopied: 1 },
  { name: "the first file goes", change: (s) => remove(`${s}/b 1`), uncopied: 0 },
  { name: "the last file goes", change: (s) => remove(`${s}/z 2`), uncopied: 0 },
  {
    name: "most files go",
    change: (s) => remove(...["d", "b 1", "b 2", "z 1", "empty", "large noise", "large text"].map((n) => `${s}/${n}`)),
    uncopied: 0
  },
  { name: "a file comes before all others", change: (s) => put(`${s}/a`, "new"), uncopied: 1 },
  { name: "a file comes behind all others", change: (s) => put(`${s}/zz`, "new"), uncopied: 1 },
  { name: "a file comes in between", change: (s) => put(`${s}/d/1a`, "new"), uncopied: 1 },
  { name: "a file gets another mode", change: (s) => chmodSync(`${s}/d/2`, 0o600), uncopied: 1 },
  { name: "a file gets another time", change: (s) => utimesSync(`${s}/d/2`, 1, 1), uncopied: 1 },
  { name: "a directory gets another mode", change: (s) => chmodSync(`${s}/d`, 0o700), uncopied: 0 },
  { name: "a directory gets another time", change: (s) => utimesSync(`${s}/d`, 1, 1), uncopied: 0 },
  {
    name: "a directory becomes a file",
    change: (s) => {
      remove(`${s}/d`)
      put(`${s}/d`, "")
    },
    uncopied: 1
  },
  {
    name: "a file becomes a directory",
    change: (s) => {
      remove(`${s}/z 1`)
      mkdirSync(`${s}/z 1`)
    },
    uncopied: 0
  },
  {
    name: "a file becomes a symlink",
    change: (s) => {
      remove(`${s}/z 1`)
      symlinkSync("z 2", `${s}/z 1`)
    },
    uncopied: 0
  },
  { name: "a file gets a second name", change: (s) => linkSync(`${s}/b 1`, `${s}/b 3`), uncopied: 2 },
  {
    name: "everything goes",
    change: (s) => {
      remove(s)
      mkdirSync(s)
    },
    uncopied: 0
  }
]

/** Sets the times back, to what they were to the second. */
const keepingTimes = (path: string, change: () => void): void => {
  const { atime, mtime } = statSync(path)
  change()
  utimesSync(path, atime, mtime)
}

const overwrite = (path: string): void =>
  keepingTimes(path, () => writeFileSync(path, Buffer.from(readFileSync(path).map((byte) => byte ^ 1))))

const replace = (path: string): void =>
  keepingTimes(path, () => {
    const content = readFileSync(path)
    rmSync(path)
    writeFileSync(path, content, { mode: 0o644 })
  })

const swap = (a: string, b: string): void => {
  renameSync(a, `${a}.tmp`)
  renameSync(b, a)
  renameSync(`${a}.tmp`, b)
}

describe("an archive that copies from the one before", () => {
  it.scoped.each(changes)("is byte for byte the one that compresses everything: $name", ({ change, uncopied }) =>
    Effect.gen(function* () {
      const { previous, root, source } = yield* archived
      change(source)
      const { manifest, report } = yield* archiveFrom(viewOf(root), `${root}/2.zip`, previous)
      const anew = yield* archiveFrom(viewOf(root), `${root}/3.zip`)
      assert.isTrue(readFileSync(`${root}/2.zip`).equals(readFileSync(`${root}/3.zip`)))
      assert.strictEqual(report.copiedFiles, manifest.files - uncopied)
      assert.strictEqual(report.zipSize, anew.report.zipSize)
      assert.strictEqual(anew.report.copiedFiles, 0)
      assert.deepStrictEqual(anew.report.copied, [])
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("opens no file that it copies, and says what it copied", () =>
    Effect.gen(function* () {
      const { files, previous, root } = yield* archived
      const archiver = yield* Archiver
      const manifest = yield* Effect.flatMap(Tree, (tree) => tree.manifest(viewOf(root), abcd))
      const nowhere = viewOf(`${root}/nothing here`)
      const report = yield* archiver.archive(nowhere, manifest, `${root}/2.zip`, { previous })
      assert.isTrue(readFileSync(`${root}/2.zip`).equals(readFileSync(`${root}/1.zip`)))
      assert.strictEqual(report.copiedFiles, files)
      const [range] = report.copied
      assert.strictEqual(report.copied.length, 1)
      assert.strictEqual(range?.start, 0)
      assert.strictEqual(range?.entries, manifest.entries.length)
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("copies nothing where it is made with another compression, and says so", () =>
    Effect.gen(function* () {
      const log = capturedLog()
      const { manifest, previous, root } = yield* Effect.gen(function* () {
        const made = yield* archived
        const found = yield* Effect.flatMap(Tree, (tree) => tree.manifest(viewOf(made.root), abcd))
        return { ...made, manifest: found }
      }).pipe(Effect.provide(layers()))
      for (const [method, level] of [
        ["auto", 5],
        ["deflate", 6]
      ] as const) {
        const report = yield* Effect.flatMap(Archiver, (archiver) =>
          archiver.archive(viewOf(root), manifest, `${root}/${level}.zip`, { previous })
        ).pipe(Effect.provide([layers(method, level), log.layer]), Logger.withMinimumLogLevel(LogLevel.Debug))
        assert.strictEqual(report.copiedFiles, 0)
        assert.deepStrictEqual(report.madeWith, { method, level })
      }
      assert.strictEqual(log.lines.filter((line) => line.includes("with method auto, level 6")).length, 2)
    })
  )

  it("stays the same over many generations, whatever happens to the folder", () =>
    FastCheck.assert(
      FastCheck.asyncProperty(
        FastCheck.array(FastCheck.array(FastCheck.nat(changes.length - 2), { maxLength: 3 }), {
          minLength: 3,
          maxLength: 3
        }),
        (rounds) =>
          Effect.runPromise(
            Effect.gen(function* () {
              let { previous, root, source } = yield* archived
              for (const [round, steps] of rounds.entries()) {
                for (const step of steps) {
                  // What one change took away, another one may not find.
                  yield* Effect.ignore(Effect.try(() => changes[step]?.change(source)))
                }
                nextTick(root)
                const zip = `${root}/${round + 2}.zip`
                const { manifest } = yield* archiveFrom(viewOf(root), zip, previous)
                yield* archiveFrom(viewOf(root), `${root}/anew`)
                assert.isTrue(readFileSync(zip).equals(readFileSync(`${root}/anew`)))
                rmSync(`${root}/anew`)
                previous = previousOf(zip, manifest)
              }
            }).pipe(Effect.scoped, Effect.provide(layers()))
          )
      ),
      { numRuns: 5 }
    ))

  it.scoped("passes other programs' tests, from a file and from a pipe", () =>
    Effect.gen(function* () {
      const { previous, root, source } = yield* archived
      overwrite(`${source}/b 2`)
      overwrite(`${source}/large noise`)
      rmSync(`${source}/d/1`)
      put(`${source}/new`, "new")
      const { report } = yield* archiveFrom(viewOf(root), `${root}/2.zip`, previous)
      assert.isAbove(report.copied.length, 2)
      const python = "import sys, zipfile; sys.exit(zipfile.ZipFile(sys.argv[1]).testzip() is not None)"
      const readers = [
        ["unzip", "-tq"],
        ["7zz", "t"],
        ["7z", "t"],
        ["bsdtar", "-xOf"],
        ["python3", "-c", python]
      ] as const
      for (const [program, ...args] of readers.filter(([name]) => installed(name))) {
        const { output, status } = run(program, [...args, `${root}/2.zip`])
        assert.strictEqual(status, 0, `${program}: ${output}`)
      }
      if (!installed("bsdtar")) return
      mkdirSync(`${root}/out`)
      const piped = run("bsdtar", ["-xf", "-", "-C", `${root}/out`], { input: readFileSync(`${root}/2.zip`) })
      assert.strictEqual(piped.status, 0, piped.output)
      for (const name of ["b 1", "b 2", "d/2", "large noise", "large text", "new"])
        assert.isTrue(readFileSync(`${root}/out/${name}`).equals(readFileSync(`${source}/${name}`)), name)
    }).pipe(Effect.provide(layers()))
  )
})

describe("an archive before that is not what it was when it was checked", () => {
  const flipped = (zip: string): void => {
    const content = readFileSync(zip)
    const at = content.lastIndexOf("z 2") - 40
    content[at] = (content[at] ?? 0) ^ 4
    writeFileSync(zip, content)
  }

  const damages: ReadonlyArray<{ readonly name: string; readonly damage: (zip: string) => void }> = [
    { name: "it is gone", damage: (zip) => rmSync(zip) },
    { name: "it was made anew", damage: replace },
    { name: "it was written to", damage: (zip) => writeFileSync(zip, "x", { flag: "a" }) },
    { name: "it was cut off", damage: (zip) => truncateSync(zip, 100) },
    {
      name: "it is a symlink",
      damage: (zip) => {
        renameSync(zip, `${zip}.real`)
        symlinkSync(`${zip}.real`, zip)
      }
    },
    {
      name: "a bit of its central directory flipped",
      damage: (zip) => keepingTimes(zip, () => flipped(zip))
    }
  ]

  it.scoped.each(damages)("fails with a reason of its own, and leaves nothing: $name", ({ damage }) =>
    Effect.gen(function* () {
      const { previous, root } = yield* archived
      damage(previous.zip)
      const error = yield* Effect.flip(archiveFrom(viewOf(root), `${root}/2.zip`, previous))
      assert.strictEqual(error._tag === "ArchiveError" ? error.reason : "", "Previous")
      assert.include(error.message, previous.zip)
      assert.isFalse(error.transient)
      assert.isFalse(existsSync(`${root}/2.zip`))
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("is not copied from where a read gives other bytes than it did when all of it was checked", () =>
    Effect.gen(function* () {
      const { previous, root } = yield* archived
      const content = readFileSync(previous.zip)
      // Data of a large stored entry: no header, and nobody inflates it.
      const at = content.length - 400_000
      for (const bit of [0, 3, 7]) {
        const rotten = Buffer.from(content)
        rotten[at] = (content[at] ?? 0) ^ (1 << bit)
        writeFileSync(previous.zip, rotten)
        const { ctimeMs, mtimeMs } = statSync(previous.zip)
        const unnoticed = { ...previous, file: { ...previous.file, ctimeMs, mtimeMs } }
        const error = yield* Effect.flip(archiveFrom(viewOf(root), `${root}/2.zip`, unnoticed))
        assert.strictEqual(error._tag === "ArchiveError" ? error.reason : "", "Previous")
        assert.include(error.message, "it is not what it was when it was checked")
      }
    }).pipe(Effect.provide(layers()))
  )
})
