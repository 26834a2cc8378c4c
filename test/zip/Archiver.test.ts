import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
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
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { Manifest } from "../../src/source/Manifest.ts"
import type { SourceView } from "../../src/source/SourceView.ts"
import { Tree } from "../../src/source/Tree.ts"
import { Archiver } from "../../src/zip/Archiver.ts"
import { ArchiveError } from "../../src/zip/ZipError.ts"
import { memoryArchiver } from "../doubles/Archiver.ts"
import { failingCloseSyncs, failingCloses } from "../support/program/fileHandles.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { readZip } from "../support/readZip.ts"
import { abcd, archiveAndVerify, entryOf, layers, manifestOf, noise, put, run, viewOf } from "../support/zip/archive.ts"

const signal = new AbortController().signal

const manifestIn = (view: SourceView) => Effect.flatMap(Tree, (tree) => tree.manifest(view, abcd))
const archive = (view: SourceView, manifest: Manifest, zip: string) =>
  Effect.flatMap(Archiver, (archiver) => archiver.archive(view, manifest, zip))
const verify = (zip: string, manifest: Manifest) =>
  Effect.flatMap(Archiver, (archiver) => archiver.verify(zip, manifest))

/** Files of this process that are open, where the system tells. */
const openFiles = (below: string) =>
  process.platform !== "linux"
    ? []
    : readdirSync("/proc/self/fd").filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith(below)
        } catch {
          return false
        }
      })

/** Waits until the archive has at least this size. */
const grown = (zip: string, size: number) =>
  Effect.async<void>((resume) => {
    const look = () =>
      (statSync(zip, { throwIfNoEntry: false })?.size ?? -1) >= size ? resume(Effect.void) : setImmediate(look)
    look()
  })

describe("Archiver", () => {
  it.scoped("archives and verifies an empty folder, and tells what it did", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      mkdirSync(`${root}/ABCD`)
      const { report } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      assert.deepStrictEqual(report, {
        zipSize: 22,
        entries: 0,
        bytes: 0,
        madeWith: { method: "auto", level: 6 },
        copiedFiles: 0,
        copied: []
      })
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("reports sizes and writes with 0666 less umask", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/d/file`, "x".repeat(1000))
      const { report } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const stat = statSync(`${root}/a.zip`)
      assert.deepStrictEqual(report, {
        zipSize: stat.size,
        entries: 2,
        bytes: 1000,
        madeWith: { method: "auto", level: 6 },
        copiedFiles: 0,
        copied: []
      })
      assert.isBelow(stat.size, 400)
      assert.strictEqual(stat.mode & 0o777, 0o666 & ~process.umask())
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("reads sources and zips whatever closing says: what was read has been checked", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/file`, "x".repeat(1000))
      const view = viewOf(root)
      const manifest = yield* manifestIn(view)
      yield* Effect.scoped(Effect.zipRight(failingCloseSyncs, archive(view, manifest, `${root}/a.zip`)))
      yield* failingCloses
      yield* verify(`${root}/a.zip`, manifest)
      assert.strictEqual((yield* Effect.flip(verify(root, manifest)))._tag, "ArchiveError")
      assert.strictEqual((yield* Effect.flip(archive(view, manifest, `${root}/b.zip`))).reason, "Write")
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("makes the same bytes from the same folder, in any time zone", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/file`, "content")
      const zone = process.env["TZ"]
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (zone === undefined) delete process.env["TZ"]
          else process.env["TZ"] = zone
        })
      )
      for (const tz of ["UTC", "America/New_York"]) {
        process.env["TZ"] = tz
        yield* archiveAndVerify(viewOf(root), `${root}/${tz.replace("/", "-")}.zip`)
      }
      assert.isTrue(readFileSync(`${root}/UTC.zip`).equals(readFileSync(`${root}/America-New_York.zip`)))
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("stores what does not shrink and deflates what does, or everything when told", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/1 empty`, "")
      put(`${root}/ABCD/2 noise`, noise(4_000))
      put(`${root}/ABCD/3 text`, "all work and no play ".repeat(40))
      put(`${root}/ABCD/4 large noise`, noise(1_400_000))
      put(`${root}/ABCD/5 large text`, "all work and no play ".repeat(40_000))
      const methods = (zip: string, layer: ReturnType<typeof layers>) =>
        archiveAndVerify(viewOf(root), `${root}/${zip}`).pipe(
          Effect.andThen(
            Stream.runCollect(
              Stream.map(Stream.fromAsyncIterable(readZip(`${root}/${zip}`, signal), String), ({ method }) => method)
            )
          ),
          Effect.map((found) => [...found]),
          Effect.provide(layer)
        )
      const s = "store"
      const d = "deflate"
      assert.deepStrictEqual(yield* methods("auto.zip", layers("auto")), [s, s, d, s, d])
      assert.deepStrictEqual(yield* methods("deflate.zip", layers("deflate")), [s, d, d, d, d])
      assert.deepStrictEqual(yield* methods("level0.zip", layers("auto", 0)), [s, s, s, s, s])
    })
  )

  it.scoped("does not touch what already lies at the destination, be it a symlink", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/file`, "content")
      put(`${root}/a.zip`, "good")
      symlinkSync("elsewhere", `${root}/b.zip`)
      const manifest = yield* manifestIn(viewOf(root))
      for (const name of ["a.zip", "b.zip"]) {
        const error = yield* Effect.flip(archive(viewOf(root), manifest, `${root}/${name}`))
        assert.deepInclude(error, { reason: "Write", transient: false })
        assert.include(error.message, `${root}/${name}: already exists (EEXIST)`)
      }
      assert.strictEqual(readFileSync(`${root}/a.zip`, "utf8"), "good")
      assert.isFalse(existsSync(`${root}/elsewhere`))
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("names a file of the snapshot that cannot be read, and leaves no zip", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const file = `${root}/ABCD/sub/file`
      const spoil: ReadonlyArray<() => void> = [
        () => rmSync(file),
        () => {
          rmSync(file)
          mkdirSync(file)
        },
        () => {
          rmSync(file)
          symlinkSync("other", file)
        },
        () => {
          rmSync(file)
          run("mkfifo", [file])
        },
        () => truncateSync(file, 3)
      ]
      for (const how of spoil) {
        rmSync(`${root}/ABCD`, { recursive: true, force: true })
        put(file, "content")
        put(`${root}/ABCD/sub/other`, "content")
        put(`${root}/ABCD/z`, "content")
        const manifest = yield* manifestIn(viewOf(root))
        how()
        const error = yield* Effect.flip(archive(viewOf(root), manifest, `${root}/a.zip`))
        assert.deepInclude(error, { reason: "Unreadable", transient: false })
        assert.include(error.message, "ABCD/sub/file")
        assert.isFalse(existsSync(`${root}/a.zip`))
        assert.deepStrictEqual(openFiles(root), [])
      }
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("takes a change of a live file for a passing failure that names it", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const file = `${root}/ABCD/file`
      const view = viewOf(root, { frozen: false, label: "live" })
      const change: ReadonlyArray<() => void> = [
        () => rmSync(file),
        () => appendFileSync(file, "more"),
        () => truncateSync(file, 3),
        () => put(file, "CONTENT", { seconds: 1_700_000_001 }),
        () => {
          rmSync(file)
          symlinkSync("other", file)
        },
        () => renameSync(`${root}/ABCD`, `${root}/EFGH`)
      ]
      for (const how of change) {
        rmSync(`${root}/ABCD`, { recursive: true, force: true })
        put(file, "content")
        const manifest = yield* manifestIn(view)
        yield* archive(view, manifest, `${root}/fine.zip`)
        rmSync(`${root}/fine.zip`)
        how()
        const error = yield* Effect.flip(archive(view, manifest, `${root}/a.zip`))
        assert.deepInclude(error, { reason: "Changed", transient: true })
        assert.include(error.message, "ABCD/file changed while it was read")
        assert.isFalse(existsSync(`${root}/a.zip`))
      }
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("notices a live file that changes in the middle, even if its time is set back", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const file = `${root}/ABCD/file`
      put(file, noise(1 << 23))
      const view = viewOf(root, { frozen: false, label: "live" })
      const manifest = yield* manifestIn(view)
      const fiber = yield* Effect.fork(Effect.flip(archive(view, manifest, `${root}/a.zip`)))
      yield* grown(`${root}/a.zip`, 1)
      assert.strictEqual(run("dd", ["if=/dev/zero", `of=${file}`, "bs=1", "count=1", "conv=notrunc"]).status, 0)
      utimesSync(file, 1_700_000_000, 1_700_000_000)
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error, { reason: "Changed", transient: true })
      assert.isFalse(existsSync(`${root}/a.zip`))
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("fails when the destination cannot be written", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/file`, "content")
      const manifest = yield* manifestIn(viewOf(root))
      const error = yield* Effect.flip(archive(viewOf(root), manifest, `${root}/missing/a.zip`))
      assert.deepInclude(error, { reason: "Write", transient: false })
      assert.include(error.message, `cannot create ${root}/missing/a.zip: no such file or directory (ENOENT)`)
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("when interrupted, has closed and removed everything by the time it is", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      for (let file = 0; file < 50; file += 1) put(`${root}/ABCD/${file}`, noise(100_000, file + 1))
      put(`${root}/ABCD/endless`, "")
      truncateSync(`${root}/ABCD/endless`, 2 ** 42)
      const manifest = yield* manifestIn(viewOf(root))
      // At once, among the small files, within the large one.
      for (const size of [0, 1, 5_100_000]) {
        const fiber = yield* Effect.fork(archive(viewOf(root), manifest, `${root}/a.zip`))
        yield* grown(`${root}/a.zip`, size)
        yield* Fiber.interrupt(fiber)
        assert.isFalse(existsSync(`${root}/a.zip`))
        assert.deepStrictEqual(openFiles(root), [])
      }
    }).pipe(Effect.provide(layers("auto", 1)))
  )

  it.scoped("verification says which entry differs from the snapshot, and how", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/a`, "content")
      put(`${root}/ABCD/b`, "content")
      const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const [a, b] = manifest.entries
      assert.isDefined(a)
      assert.isDefined(b)
      const z = entryOf("z", { kind: "file", mode: 0o100644 })
      const raw = entryOf("b", { ...b, path: entryOf("other").path })
      const cases: ReadonlyArray<readonly [ReadonlyArray<typeof a>, string]> = [
        [[a], '"b" is no entry of the snapshot'],
        [[], '"a" is no entry of the snapshot'],
        [[a, b, z], '"z" is missing'],
        [[b, a], '"a" stands where "b" belongs'],
        [[a, a, b], '"b" stands where "a" belongs'],
        [[a, { ...b, size: 8 }], '"b" has 7 bytes instead of 8'],
        [[a, { ...b, mode: 0o100600 }], '"b" has mode 100644 instead of 100600'],
        [[a, { ...b, mtimeNs: 1n }], '"b" has time 1700000000 instead of 0'],
        [[a, { ...b, kind: "directory" }], '"b" stands where "b/" belongs'],
        [[a, raw], '"b" has another original name than in the snapshot']
      ]
      for (const [entries, message] of cases) {
        const error = yield* Effect.flip(verify(`${root}/a.zip`, manifestOf(entries)))
        assert.deepInclude(error, { reason: "Mismatch", transient: false })
        assert.include(error.message, message)
      }
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("verification fails clearly on what is no zip", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      writeFileSync(`${root}/text`, "no zip at all")
      writeFileSync(`${root}/empty`, "")
      symlinkSync("text", `${root}/link`)
      for (const name of ["text", "empty", "link", "missing", "."]) {
        const error = yield* Effect.flip(verify(`${root}/${name}`, manifestOf([])))
        assert.include(["Corrupt", "Unreadable"], error.reason)
        assert.include(error.message, `${root}/${name}`)
      }
    }).pipe(Effect.provide(layers()))
  )
})

describe("Archiver without files", () => {
  const manifest = manifestOf([entryOf("file", { kind: "file", size: 5 })])

  it.effect("writes nothing in a dry run", () =>
    Effect.gen(function* () {
      const report = yield* archive(viewOf("/nowhere"), manifest, "/nowhere/a.zip")
      assert.deepStrictEqual(report, {
        zipSize: 0,
        entries: 1,
        bytes: 5,
        madeWith: { method: "auto", level: 6 },
        copiedFiles: 0,
        copied: []
      })
      yield* verify("/nowhere/a.zip", manifest)
    }).pipe(Effect.provide(Archiver.layerDryRun))
  )

  it.effect("fails in memory as often as it is told", () => {
    const failure = (message: string) => new ArchiveError({ reason: "Changed", path: "x", message, transient: true })
    const archived: Array<string> = []
    const verified: Array<string> = []
    return Effect.gen(function* () {
      const once = archive(viewOf("/"), manifest, "/a.zip")
      assert.strictEqual((yield* Effect.flip(once)).message, "first")
      assert.strictEqual((yield* Effect.flip(once)).message, "second")
      assert.strictEqual((yield* once).bytes, 5)
      assert.strictEqual((yield* Effect.flip(verify("/a.zip", manifest))).message, "verify")
      yield* verify("/a.zip", manifest)
      assert.deepStrictEqual([archived, verified], [["/a.zip"], ["/a.zip"]])
    }).pipe(
      Effect.provide(
        Layer.fresh(
          memoryArchiver({
            failures: { ABCD: [failure("first"), failure("second")] },
            verifyFailures: { ABCD: [failure("verify")] },
            archived,
            verified
          })
        )
      )
    )
  })
})
