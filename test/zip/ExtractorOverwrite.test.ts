import { execFileSync } from "node:child_process"
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Extractor } from "../../src/zip/Archiver.ts"
import { canMount } from "../support/program/mounts.ts"
import { installed } from "../support/programs.ts"
import { noise, put } from "../support/zip/archive.ts"
import type { HandMade } from "../support/zip/handMade.ts"
import { contentOf, restorePlace } from "../support/zip/restore.ts"

const mounted = (args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => execFileSync("mount", args, { stdio: "ignore" })),
    () => Effect.sync(() => execFileSync("umount", args.slice(-1)))
  )

/** An empty exFAT file system at `mnt` in this folder. */
const exfat = (root: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      writeFileSync(`${root}/image`, "")
      truncateSync(`${root}/image`, 20 * 1024 * 1024)
      mkdirSync(`${root}/mnt`)
      execFileSync("mkfs.exfat", [`${root}/image`], { stdio: "ignore" })
      const device = execFileSync("losetup", ["-f", "--show", `${root}/image`], { encoding: "utf8" }).trim()
      execFileSync("mount.exfat-fuse", [device, `${root}/mnt`], { stdio: "ignore" })
      return device
    }),
    (device) =>
      Effect.sync(() => {
        execFileSync("umount", [`${root}/mnt`])
        execFileSync("losetup", ["-d", device])
      })
  )

describe("the folder of the archives", () => {
  const entries: ReadonlyArray<HandMade> = [
    { name: "a/" },
    { name: "a/target/" },
    { name: "a/target/ABCD/" },
    { name: "a/target/ABCD/ABCD.zip", content: "an older one" }
  ]

  it.scoped("is not written to where it stands in DIR", () =>
    Effect.gen(function* () {
      const { out, prepare } = yield* restorePlace
      put(`${out}/a/target/ABCD/ABCD.zip`, "the archive")
      const before = contentOf(out)
      const { plan } = yield* prepare(entries, { keepOut: [`${out}/a/target`] })
      assert.deepStrictEqual(plan.conflicts.first, [{ path: "a/target", is: "archives", wanted: "directory" }])
      assert.deepStrictEqual(contentOf(out), before)
      const elsewhere = yield* prepare(entries, { keepOut: [`${out}/b`] })
      assert.strictEqual(elsewhere.plan.conflicts.count, 0)
    }).pipe(Effect.provide(Extractor.layer))
  )

  it.scoped("nor is a folder in it, or one that another path leads to", () =>
    Effect.gen(function* () {
      const { out, prepare, root } = yield* restorePlace
      put(`${root}/target/ABCD/ABCD.zip`, "the archive")
      mkdirSync(`${out}/a`, { recursive: true })
      symlinkSync(`${root}/target`, `${root}/way`)
      const keepOut = [`${root}/way`]
      for (const to of ["target", "target/ABCD", "way/ABCD", "target/new"]) {
        const found = yield* Effect.flip(prepare(entries, { keepOut }, `${root}/${to}`))
        assert.include(found.message, "where the archives are", to)
      }
    }).pipe(Effect.provide(Extractor.layer))
  )
})

describe("a file that is to be replaced", () => {
  const large = Buffer.alloc(3_000_000, "content")
  const entries: ReadonlyArray<HandMade> = [
    { name: "a", content: "good" },
    { name: "b", content: "bad", crc: 1 },
    { name: "c", content: large, deflated: true, crc: 2 },
    { name: "d", content: "bad as well", crc: 3 }
  ]

  it.scoped("stays as it is when the one that takes its place is damaged, and the figures are true", () =>
    Effect.gen(function* () {
      const { out, prepare } = yield* restorePlace
      for (const name of ["a", "b", "c"]) put(`${out}/${name}`, "the one before")
      const { carryOut, plan, soFar } = yield* prepare(entries)
      assert.strictEqual(plan.replaced, 3)
      const result = yield* carryOut
      const { bytes, damaged, failures, files, folders, kept, missing, replaced } = result
      assert.deepStrictEqual(
        { bytes, damaged, files, folders, kept, missing, replaced },
        { bytes: 4, damaged: 3, files: 1, folders: 0, kept: 2, missing: 1, replaced: 1 }
      )
      assert.deepStrictEqual(
        failures.first.map(({ cannot, kind, path }) => [path, kind, cannot]),
        [
          ["b", "kept", undefined],
          ["c", "kept", undefined],
          ["d", "missing", undefined]
        ]
      )
      assert.deepStrictEqual(soFar(), result)
      assert.deepStrictEqual(readdirSync(out).sort(), ["a", "b", "c"])
      for (const name of ["b", "c"]) assert.strictEqual(readFileSync(`${out}/${name}`, "utf8"), "the one before")
    }).pipe(Effect.provide(Extractor.layer))
  )

  it.scoped("and became a folder meanwhile is not replaced", () =>
    Effect.gen(function* () {
      const { out, prepare } = yield* restorePlace
      put(`${out}/a`, "the one before")
      const { carryOut } = yield* prepare([{ name: "a", content: "good" }])
      rmSync(`${out}/a`)
      mkdirSync(`${out}/a`)
      const error = "it is no regular file any more"
      const { failures } = yield* carryOut
      assert.deepStrictEqual(failures.first, [{ path: "a", error, kind: "missing", cannot: "replace" }])
    }).pipe(Effect.provide(Extractor.layer))
  )

  it.scoped("frees what it takes on the disk, and nothing while it has another name", () =>
    Effect.gen(function* () {
      const { out, prepare, root } = yield* restorePlace
      const content = Buffer.alloc(100_000, 7)
      const needed = Effect.map(
        prepare([
          { name: "a", content },
          { name: "b", content: "b" }
        ]),
        (found) => found.plan.needed
      )
      assert.strictEqual(yield* needed, 100_001)
      put(`${out}/a`, content)
      // There are both of them before the one takes the place of the other.
      assert.strictEqual(yield* needed, 100_001)
      put(`${out}/a`, Buffer.alloc(1_000_000, 7))
      assert.strictEqual(yield* needed, 100_000)
      linkSync(`${out}/a`, `${root}/other`)
      assert.strictEqual(yield* needed, 200_001)
      writeFileSync(`${root}/sparse`, "")
      truncateSync(`${root}/sparse`, 5_000_000)
      const sparse = yield* prepare([{ name: "sparse", content }], {}, root)
      assert.strictEqual(sparse.plan.needed, 200_000)
    }).pipe(Effect.provide(Extractor.layer))
  )
})

describe("names that are one in DIR", () => {
  const entries: ReadonlyArray<HandMade> = [
    { name: "Dir/" },
    { name: "Dir/x", content: "1" },
    { name: "README", content: "upper" },
    { name: "Readme", content: "lower" },
    { name: "dir/" },
    { name: "dir/x", content: "2" }
  ]
  const pairs: ReadonlyArray<readonly [string, string]> = [
    ["README", "Readme"],
    ["Dir", "dir"]
  ]

  it.scoped("are tried, and nothing is left of that where they are two", () =>
    Effect.gen(function* () {
      const { out, prepare, root } = yield* restorePlace
      const { carryOut, plan } = yield* prepare(entries)
      assert.deepStrictEqual([plan.meeting.count, plan.untried.count], [0, 0])
      assert.deepStrictEqual(readdirSync(root), ["a.zip"])
      assert.strictEqual((yield* carryOut).failures.count, 0)
      const again = yield* prepare(entries)
      assert.strictEqual(again.plan.meeting.count, 0)
      assert.strictEqual((yield* again.carryOut).replaced, 4)
      assert.strictEqual(readFileSync(`${out}/Readme`, "utf8"), "lower")
    }).pipe(Effect.provide(Extractor.layer))
  )

  it.scoped("are not tried by a dry run: it looks at what stands there, and says what it cannot know", () =>
    Effect.gen(function* () {
      const { out, prepare } = yield* restorePlace
      mkdirSync(out)
      const empty = yield* prepare(entries)
      assert.deepStrictEqual(empty.plan.untried, {
        count: 2,
        first: pairs
      })
      assert.deepStrictEqual(readdirSync(out), [])
      put(`${out}/other`, "tells that case matters")
      const known = yield* prepare(entries)
      assert.deepStrictEqual([known.plan.meeting.count, known.plan.untried.count], [0, 0])
    }).pipe(Effect.provide(Extractor.layerDryRun))
  )

  it.scoped.runIf(canMount)("are refused where two folders are one by a second mount", () =>
    Effect.gen(function* () {
      const { out, prepare } = yield* restorePlace
      for (const name of ["p", "q"]) mkdirSync(`${out}/${name}`, { recursive: true })
      yield* mounted(["--bind", `${out}/p`, `${out}/q`])
      const { plan } = yield* prepare([
        { name: "p/" },
        { name: "p/f", content: "1" },
        { name: "q/" },
        { name: "q/f", content: "2" }
      ])
      assert.deepStrictEqual(plan.meeting, { count: 1, first: [["p", "q"]] })
    }).pipe(Effect.provide(Extractor.layer))
  )

  it.scoped.runIf(canMount && installed("mkfs.exfat") && installed("mount.exfat-fuse"))(
    "are refused on exFAT, which does not tell cases apart: empty, with a file of that name, and by a dry run",
    () =>
      Effect.gen(function* () {
        const { prepare, root } = yield* restorePlace
        yield* exfat(root)
        const to = `${root}/mnt/out`
        const real = yield* prepare(entries, {}, to).pipe(Effect.provide(Extractor.layer))
        assert.deepStrictEqual(real.plan.meeting.first, pairs)
        assert.deepStrictEqual(readdirSync(`${root}/mnt`), [])
        put(`${to}/readme`, "the one before")
        for (const layer of [Extractor.layer, Extractor.layerDryRun]) {
          const { plan } = yield* prepare(entries, {}, to).pipe(Effect.provide(layer))
          assert.deepStrictEqual(plan.meeting.first, pairs)
        }
        assert.deepStrictEqual(readdirSync(to), ["readme"])
        const one = yield* prepare(entries, { only: ["Readme", "dir"] }, to).pipe(Effect.provide(Extractor.layer))
        assert.strictEqual((yield* one.carryOut).missing, 0)
        assert.strictEqual(readFileSync(`${to}/Readme`, "utf8"), "lower")
      })
  )
})

/** Lets the kernel forget what is not open, as it does when memory is short, until the folder has another inode number. */
const renumber = (path: string): void => {
  const before = statSync(path).ino
  for (let tries = 0; statSync(path).ino === before && tries < 1000; tries += 1) {
    writeFileSync("/proc/sys/vm/drop_caches", "2")
  }
  assert.notStrictEqual(statSync(path).ino, before)
}

describe("folders whose inode numbers change by themselves", () => {
  it.scoped.runIf(canMount && installed("mkfs.exfat") && installed("mount.exfat-fuse"))(
    "get their files, modes and times all the same, and so does DIR",
    () =>
      Effect.gen(function* () {
        const { prepare, root } = yield* restorePlace
        yield* exfat(root)
        const to = `${root}/mnt/out`
        mkdirSync(`${to}/a/b`, { recursive: true })
        const { carryOut } = yield* prepare(
          [{ name: "a/" }, { name: "a/b/" }, { name: "a/b/c", content: "new" }],
          {},
          to
        )
        for (const path of [`${to}/a/b`, `${to}/a`, to]) renumber(path)
        const { failures, missing } = yield* carryOut
        assert.deepStrictEqual([failures.count, missing], [0, 0])
        assert.strictEqual(readFileSync(`${to}/a/b/c`, "utf8"), "new")
      }).pipe(Effect.provide(Extractor.layer))
  )
})

describe("blocks of zeros", () => {
  const hole = Buffer.alloc(1_000_000)
  const content = Buffer.concat([Buffer.from("begins"), hole, Buffer.from("middle"), hole])

  it.scoped("become holes, and everything else is as it was", () =>
    Effect.gen(function* () {
      const { out, prepare } = yield* restorePlace
      for (const content of [Buffer.alloc(5000), Buffer.concat([Buffer.alloc(10_000), Buffer.from("end")])]) {
        put(`${out}/a`, Buffer.alloc(3_000_000, 7))
        const { carryOut } = yield* prepare([{ name: "a", content, deflated: content.length > 6000 }])
        assert.strictEqual((yield* carryOut).failures.count, 0)
        assert.isTrue(readFileSync(`${out}/a`).equals(content))
        assert.isAtMost(statSync(`${out}/a`).blocks, 8)
      }
      const { carryOut } = yield* prepare([
        { name: "a", content, deflated: true },
        { name: "b", content }
      ])
      assert.strictEqual((yield* carryOut).failures.count, 0)
      for (const name of ["a", "b"]) {
        assert.isTrue(readFileSync(`${out}/${name}`).equals(content), name)
        assert.isAtMost(statSync(`${out}/${name}`).blocks, 64, name)
      }
    }).pipe(Effect.provide(Extractor.layer))
  )

  it.scoped("count as needing no room, where they may be ones", () =>
    Effect.gen(function* () {
      const { prepare } = yield* restorePlace
      const sparse = yield* prepare([{ name: "a", content: hole, deflated: true }])
      assert.isAtMost(sparse.plan.needed, 100)
      assert.strictEqual(sparse.plan.neededAtMost, hole.length)
      const dense = yield* prepare([{ name: "a", content: noise(50_000), deflated: true }])
      assert.isAtLeast(dense.plan.needed, 49_000)
      assert.strictEqual(dense.plan.neededAtMost, 50_000)
      const stored = yield* prepare([{ name: "a", content: noise(50_000) }])
      assert.strictEqual(stored.plan.needed, 50_000)
    }).pipe(Effect.provide(Extractor.layer))
  )
})

describe("what cannot be looked at", () => {
  it.scoped("is told, while others are looked at and the archive is read", () =>
    Effect.gen(function* () {
      const { prepare, root } = yield* restorePlace
      // No path may be longer than 4096 bytes: that of DIR is not yet, and that of a file in it is.
      let deep = root
      while (deep.length < 3900) deep += `/${"x".repeat(100)}`
      mkdirSync(deep, { recursive: true })
      const long = { name: "y".repeat(250), content: "x" }
      // More than is read at a time: it fails in the middle of that, when nobody waits for it.
      const others = Array.from({ length: 3000 }, (_, index) => ({ name: `z${1000 + index}` }))
      for (const only of [[long.name], []]) {
        const found = yield* Effect.flip(prepare([long, ...others], { only }, deep))
        assert.include(found.message, "ENAMETOOLONG")
        assert.include(found.message, "nothing was written")
      }
    }).pipe(Effect.provide(Extractor.layer))
  )
})

describe("a temporary file that a killed restore left", () => {
  // No system has a process of that number.
  const left = (number: number, pid = 4_199_999) => `.zipper-restore-0123456789ab-${pid}-${number}`
  const atWork = left(6, process.pid)
  const entries: ReadonlyArray<HandMade> = [
    { name: left(9), content: "part of the archive" },
    { name: "a/" },
    { name: "a/file", content: "x" },
    { name: "b/" },
    { name: "b/file", content: "x" }
  ]

  it.scoped("is named, and removed with --overwrite; what is called otherwise, or part of the archive, stays", () =>
    Effect.gen(function* () {
      const { out, prepare } = yield* restorePlace
      put(`${out}/${left(1)}`, "half a file")
      put(`${out}/${left(9)}`, "part of the archive")
      put(`${out}/a/${left(2)}`, "half a file")
      put(`${out}/b/${left(3)}`, "not looked at")
      put(`${out}/a/.zipper-restore-mine`, "mine")
      mkdirSync(`${out}/a/${left(4)}`)
      symlinkSync("file", `${out}/a/${left(5)}`)
      put(`${out}/a/${atWork}`, "another restore writes it")
      const only = ["a", left(9)]
      const told = yield* prepare(entries, { only, overwrite: false })
      const named = { count: 2, first: [left(1), `a/${left(2)}`] }
      assert.deepStrictEqual(told.plan.leftovers, named)
      const { carryOut, plan } = yield* prepare(entries, { only })
      assert.deepStrictEqual(plan.leftovers, named)
      assert.isTrue(existsSync(`${out}/${left(1)}`))
      const { failures, unremoved } = yield* carryOut
      assert.deepStrictEqual([failures.first, unremoved], [[], []])
      assert.deepStrictEqual(readdirSync(out).sort(), [left(9), "a", "b"])
      assert.deepStrictEqual(
        readdirSync(`${out}/a`).sort(),
        [left(4), left(5), atWork, ".zipper-restore-mine", "file"].sort()
      )
      assert.deepStrictEqual(readdirSync(`${out}/b`), [left(3)])
    }).pipe(Effect.provide(Extractor.layer))
  )
})
