import { execFileSync } from "node:child_process"
import {
  linkSync,
  mkdirSync,
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
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as FolderName from "../../src/source/FolderName.ts"
import type { SourceView } from "../../src/source/SourceView.ts"
import { Tree } from "../../src/source/Tree.ts"
import { TreeError } from "../../src/source/TreeError.ts"
import { runPool } from "../../src/source/Walk.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { type MemoryTree, memoryTree } from "../doubles/Tree.ts"
import { fourLetters } from "../support/folders.ts"
import { capturedLog, temporaryFolder } from "../support/program/log.ts"
import { canMount } from "../support/program/mounts.ts"
import { installed } from "../support/programs.ts"
import { abcd, put, run, viewOf } from "../support/zip/archive.ts"

const folders = (view: SourceView) => Effect.flatMap(Tree, (tree) => tree.folders(view, fourLetters))
const manifest = (view: SourceView, folder = abcd) => Effect.flatMap(Tree, (tree) => tree.manifest(view, folder))
const names = (found: { readonly entries: Iterable<{ readonly name: string }> }) =>
  Array.from(found.entries, ({ name }) => name)
const at = RawPath.fromText

describe("Tree.folders", () => {
  it.scoped("lists folders of four letters or digits, and skips everything else with a word about it", () => {
    const log = capturedLog()
    return Effect.gen(function* () {
      const root = yield* temporaryFolder
      for (const name of ["ZZZZ", "0000", "ABCD", "abcd", "ABCDE", "ABC"]) mkdirSync(`${root}/${name}`)
      put(`${root}/FILE`, "a file")
      put(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0x41, 0x42, 0x43, 0xff])]), "bytes")
      symlinkSync("ABCD", `${root}/LINK`)
      run("mkfifo", [`${root}/FIFO`])
      assert.deepStrictEqual(yield* folders(viewOf(root)), {
        folders: [FolderName.FolderName.make("0000"), abcd, FolderName.FolderName.make("ZZZZ")],
        unreadable: [],
        replaced: [
          { folder: FolderName.FolderName.make("FIFO"), type: "fifo" },
          { folder: FolderName.FolderName.make("FILE"), type: "file" },
          { folder: FolderName.FolderName.make("LINK"), type: "symbolic link" }
        ],
        unsafe: [],
        unmatched: new Set(["ABC", "ABCDE", "abcd"]),
        skipped: 7
      })
      assert.include(log.lines, "Debug: skipped LINK (symbolic link)")
      assert.include(log.lines, "Debug: skipped FIFO (fifo)")
      assert.include(log.lines, "Debug: skipped FILE (file)")
    }).pipe(Effect.provide([Tree.layer, log.layer]), Logger.withMinimumLogLevel(LogLevel.Debug))
  })

  it.scoped("takes names by the pattern, and names those of folders that cannot be archived", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      for (const name of ["photos 2024", "日本", ".hidden", "a.prev", "a\nb", "l".repeat(101), "lost+found"]) {
        mkdirSync(`${root}/${name}`)
      }
      mkdirSync(Buffer.concat([Buffer.from(`${root}/B`), Buffer.from([0xff])]))
      put(`${root}/file.prev`, "a file is no folder")
      const listed = yield* Effect.flatMap(Tree, (tree) => tree.folders(viewOf(root), /^[^.].*$/u))
      assert.deepStrictEqual(
        listed.folders,
        ["photos 2024", "日本"].map((name) => FolderName.FolderName.make(name))
      )
      assert.deepStrictEqual(
        listed.unsafe.map(({ name, problem }) => `${name} ${problem}`),
        [
          "B\\xff is not UTF-8",
          "a\\x0ab holds a control character",
          "a.prev ends in .prev, as the archives before do",
          `${"l".repeat(101)} has more than 100 bytes`
        ]
      )
      const usual = yield* folders(viewOf(root))
      assert.deepStrictEqual([usual.folders, usual.unsafe], [[], []])
      assert.deepStrictEqual(usual.unmatched, new Set(["photos 2024", "日本"]))
      const manifests = yield* Effect.forEach(listed.folders, (folder) => manifest(viewOf(root), folder))
      assert.deepStrictEqual(
        manifests.map(({ folder }) => folder),
        listed.folders
      )
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("lists child datasets that the parent's snapshot does not show, readable or not", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const found = yield* folders(
        viewOf(root, {
          grafts: [{ at: at("GRAF"), root: at(root) }],
          blocked: [
            { at: at("LOCK"), reason: "locked" },
            { at: at("DEEP/er"), reason: "locked" },
            { at: at("other"), reason: "locked" }
          ]
        })
      )
      assert.deepStrictEqual(
        found.folders,
        ["DEEP", "GRAF", "LOCK"].map((name) => FolderName.FolderName.make(name))
      )
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("names a source that cannot be listed", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const error = yield* Effect.flip(folders(viewOf(`${root}/missing`)))
      assert.strictEqual(error.message, `cannot list ${root}/missing: no such file or directory (ENOENT)`)
    }).pipe(Effect.provide(Tree.layer))
  )
})

describe("Tree.manifest", () => {
  it.scoped("holds every file and directory in byte order, with size, time and mode", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/a/z`, "12345", { mode: 0o640 })
      put(`${root}/ABCD/a.txt`, "", { seconds: -5.5 })
      put(`${root}/ABCD/é`, "x")
      put(`${root}/ABCD/B`, "yy", { mode: 0o755 })
      mkdirSync(`${root}/ABCD/empty`, { mode: 0o700 })
      const found = yield* manifest(viewOf(root))
      assert.deepStrictEqual(names(found), ["B", "a", "a.txt", "a/z", "empty", "é"])
      assert.deepInclude(found, { files: 4, directories: 2, bytes: 8, skipped: 0, hardLinks: false })
      assert.deepInclude(found.entries.at(2), { size: 0, mtimeNs: -5_500_000_000n, kind: "file" })
      assert.deepInclude(found.entries.at(3), { size: 5, mtimeNs: 1_700_000_000_000_000_000n, mode: 0o100640 })
      assert.deepInclude(found.entries.at(4), { size: 0, mode: 0o40700, kind: "directory" })
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("has another hash as soon as a name, a size, a time or a kind differs", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const file = `${root}/ABCD/file`
      put(file, "content")
      put(`${root}/ABCD/other`, "")
      const hashes: Array<string> = []
      const look = Effect.map(manifest(viewOf(root)), ({ hash }) => hashes.push(hash))
      yield* look
      put(file, "content!")
      yield* look
      run("touch", ["-d", "@1700000000.000000001", file])
      yield* look
      renameSync(`${root}/ABCD/other`, `${root}/ABCD/moved`)
      yield* look
      rmSync(`${root}/ABCD/moved`)
      mkdirSync(`${root}/ABCD/moved`)
      utimesSync(`${root}/ABCD/moved`, 1_700_000_000, 1_700_000_000)
      yield* look
      assert.strictEqual(new Set(hashes).size, 5)
      yield* look
      assert.strictEqual(new Set(hashes).size, 5)
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("counts what is neither file nor directory and follows no symlink", () => {
    const log = capturedLog()
    return Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/outside/secret`, "x")
      put(`${root}/ABCD/file`, "x")
      symlinkSync("../outside", `${root}/ABCD/link\n`)
      symlinkSync("nowhere", `${root}/ABCD/dangling`)
      run("mkfifo", [`${root}/ABCD/fifo`])
      const found = yield* manifest(viewOf(root))
      assert.deepStrictEqual(names(found), ["file"])
      assert.strictEqual(found.skipped, 3)
      assert.deepStrictEqual(found.leftOut, { symlinks: 2, fifos: 1, sockets: 0, devices: 0, excluded: 0 })
      assert.include(log.lines, "Debug: skipped link\\x0a (symbolic link)")
    }).pipe(Effect.provide([Tree.layer, log.layer]), Logger.withMinimumLogLevel(LogLevel.Debug))
  })

  it.scoped("notices a file with two names", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/file`, "x")
      assert.isFalse((yield* manifest(viewOf(root))).hardLinks)
      linkSync(`${root}/ABCD/file`, `${root}/elsewhere`)
      assert.isTrue((yield* manifest(viewOf(root))).hardLinks)
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("its stamps tell of a file that got its old size and time again", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const file = `${root}/ABCD/file`
      const day = new Date("2025-01-01")
      put(file, "one")
      utimesSync(file, day, day)
      const before = yield* manifest(viewOf(root))
      assert.strictEqual((yield* manifest(viewOf(root))).stampsHash, before.stampsHash)
      const { ctimeNs } = statSync(file, { bigint: true })
      // The clock of a file system is coarse.
      while (statSync(file, { bigint: true }).ctimeNs === ctimeNs) {
        writeFileSync(file, "two")
        utimesSync(file, day, day)
      }
      const after = yield* manifest(viewOf(root))
      assert.strictEqual(after.hash, before.hash)
      assert.notStrictEqual(after.stampsHash, before.stampsHash)
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("tells which names are not UTF-8", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      for (const byte of [0xfe, 0xff]) {
        put(Buffer.concat([Buffer.from(`${root}/ABCD/caf`), Buffer.from([byte])]), "x")
      }
      const found = yield* manifest(viewOf(root))
      assert.deepStrictEqual(names(found), ["caf%FE", "caf%FF"])
      assert.deepStrictEqual(
        found.escaped?.map(({ name, path }) => [path, name]),
        [
          ["caf\xfe", "caf%FE"],
          ["caf\xff", "caf%FF"]
        ]
      )
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("reads child datasets from where they are, shown by the parent's snapshot or not", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/parent/ABCD/file`, "x")
      mkdirSync(`${root}/parent/ABCD/shown`)
      put(`${root}/child/a`, "aa")
      mkdirSync(`${root}/child/deep`, { mode: 0o700 })
      put(`${root}/grandchild/b`, "bbb")
      mkdirSync(`${root}/emptychild`, { mode: 0o750 })
      const found = yield* manifest(
        viewOf(`${root}/parent`, {
          grafts: [
            { at: at("ABCD/shown"), root: at(`${root}/child`) },
            { at: at("ABCD/shown/deep"), root: at(`${root}/grandchild`) },
            { at: at("ABCD/hidden"), root: at(`${root}/emptychild`) },
            { at: at("OTHR/x"), root: at("/nowhere") }
          ]
        })
      )
      assert.deepStrictEqual(names(found), ["file", "hidden", "shown", "shown/a", "shown/deep", "shown/deep/b"])
      assert.strictEqual(found.bytes, 6)
      assert.strictEqual(found.entries.at(1)?.mode, 0o40750)
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("reads a folder that is itself a child dataset", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      mkdirSync(`${root}/parent`)
      put(`${root}/child/a`, "aa")
      const view = viewOf(`${root}/parent`, { grafts: [{ at: at("ABCD"), root: at(`${root}/child`) }] })
      assert.deepStrictEqual(names(yield* manifest(view)), ["a"])
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("fails for a child dataset that has no place in the snapshot, or is gone", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/file`, "x")
      for (const place of ["ABCD/no/where", "ABCD/gone"]) {
        const view = viewOf(root, { grafts: [{ at: at(place), root: at(`${root}/child`) }] })
        const error = yield* Effect.flip(manifest(view))
        assert.include(error.message, place)
      }
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("fails with the reason of any blocked place in the folder, and only then", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/file`, "x")
      for (const place of ["ABCD", "ABCD/deep/er", ""]) {
        const view = viewOf(root, { blocked: [{ at: at(place), reason: "its key is not loaded" }] })
        const error = yield* Effect.flip(manifest(view))
        assert.include(error.message, "its key is not loaded")
        assert.isFalse(error.transient)
      }
      yield* manifest(viewOf(root, { blocked: [{ at: at("ABCDE"), reason: "no" }] }))
    }).pipe(Effect.provide(Tree.layer))
  )

  // /proc is another file system than / everywhere on Linux, and the empty folder stands for what a snapshot shows of it.
  it.scoped.runIf(process.platform === "linux")(
    "refuses an empty directory on which another file system is mounted",
    () =>
      Effect.gen(function* () {
        const root = yield* temporaryFolder
        mkdirSync(`${root}/ABCD/proc`, { recursive: true })
        // The live folder is /, under the name ABCD.
        mkdirSync(`${root}/source`)
        symlinkSync("/", `${root}/source/ABCD`)
        const view = viewOf(root, { livePath: at(`${root}/source`) })
        const error = yield* Effect.flip(manifest(view))
        assert.strictEqual(
          error.message,
          "ABCD/proc is a mount point of another file system, which the snapshot does not cover; unmount it or mount it outside the source"
        )
        const graft = { at: at("ABCD/proc"), root: at(`${root}/ABCD/proc`) }
        yield* manifest({ ...view, grafts: [graft] })
        yield* manifest(viewOf(root, { livePath: at(root) }))
        yield* manifest(viewOf(root, { livePath: at(`${root}/gone`) }))
      }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped.runIf(canMount && installed("mkfs.btrfs") && installed("btrfs"))(
    "names the empty folder that a btrfs snapshot has in place of a subvolume",
    () =>
      Effect.gen(function* () {
        const root = yield* temporaryFolder
        const place = `${root}/mnt`
        const btrfs = (...args: ReadonlyArray<string>) => execFileSync("btrfs", args, { stdio: "ignore" })
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            writeFileSync(`${root}/image`, "")
            truncateSync(`${root}/image`, 200 * 1024 * 1024)
            mkdirSync(place)
            execFileSync("mkfs.btrfs", ["-q", `${root}/image`], { stdio: "ignore" })
            execFileSync("mount", ["-o", "loop", `${root}/image`, place], { stdio: "ignore" })
          }),
          () => Effect.sync(() => execFileSync("umount", [place]))
        )
        btrfs("subvolume", "create", `${place}/source`)
        put(`${place}/source/ABCD/file`, "x")
        btrfs("subvolume", "create", `${place}/source/ABCD/sub`)
        put(`${place}/source/ABCD/sub/file`, "y")
        btrfs("subvolume", "snapshot", "-r", `${place}/source`, `${place}/snapshot`)
        const hollow = (source: string) =>
          Effect.map(manifest(viewOf(`${place}/${source}`, { frozen: false, label: "live" })), (found) => found.hollow)
        assert.deepStrictEqual(yield* hollow("source"), [])
        assert.deepStrictEqual(yield* hollow("snapshot"), ["sub"])
      }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("takes a folder that vanishes from a live source for a passing failure", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const live = yield* Effect.flip(manifest(viewOf(root, { frozen: false })))
      assert.deepInclude(live, { message: "ABCD vanished while it was listed", transient: true })
      const frozen = yield* Effect.flip(manifest(viewOf(root)))
      assert.isFalse(frozen.transient)
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("lists 5,000 files in directories of all sizes", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      for (let directory = 0; directory < 100; directory += 1)
        mkdirSync(`${root}/ABCD/${directory}`, { recursive: true })
      for (let file = 0; file < 5_000; file += 1) {
        writeFileSync(`${root}/ABCD/${file % 2 === 0 ? 0 : file % 100}/${file}`, "")
      }
      const found = yield* manifest(viewOf(root))
      assert.deepInclude(found, { files: 5_000, directories: 100 })
      const sorted = Array.from(found.entries, ({ path }) => path)
      assert.deepStrictEqual(sorted, [...sorted].sort())
    }).pipe(Effect.provide(Tree.layer))
  )
})

describe("the pool", () => {
  it("begins nothing after a failure, and waits for what it has begun", async () => {
    const ended: Array<number> = []
    const failure = await runPool<number>({ first: 0, width: 2, most: 1 }, async ([job], push) => {
      if (job === undefined) throw new Error("no job")
      if (job === 0) for (const next of [1, 2, 3, 4]) push(next)
      await Promise.resolve()
      if (job === 4) throw new Error("four")
      for (let turn = 0; turn < 5; turn += 1) await Promise.resolve()
      ended.push(job)
    }).catch((cause: unknown) => cause)
    assert.instanceOf(failure, Error)
    assert.deepStrictEqual(ended, [0])
  })
})

describe("memoryTree", () => {
  it.effect("lists, changes between readings, and fails", () => {
    const tree: MemoryTree = {
      ABCD: { "sub/a.txt": { content: "abc", mtime: 5 }, empty: "directory" },
      FAIL: new TreeError({ path: "FAIL", message: "broken", transient: false }),
      other: {}
    }
    return Effect.gen(function* () {
      const view = viewOf("/")
      assert.deepStrictEqual((yield* folders(view)).folders, [abcd, FolderName.FolderName.make("FAIL")])
      const before = yield* manifest(view)
      assert.deepStrictEqual(names(before), ["empty", "sub", "sub/a.txt"])
      assert.deepInclude(before.entries.at(2), { size: 3, mtimeNs: 5_000_000n })
      assert.strictEqual((yield* manifest(view)).hash, before.hash)
      tree["ABCD"] = { "sub/a.txt": { content: "abcd", mtime: 5 }, empty: "directory" }
      assert.notStrictEqual((yield* manifest(view)).hash, before.hash)
      assert.strictEqual((yield* Effect.flip(manifest(view, FolderName.FolderName.make("FAIL")))).message, "broken")
    }).pipe(Effect.provide(memoryTree(tree)))
  })
})
