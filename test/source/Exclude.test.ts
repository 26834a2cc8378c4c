import { lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as EntryName from "../../src/source/EntryName.ts"
import {
  type ExcludeRules,
  excluder,
  isSavedAs,
  noRules,
  savedRules,
  withoutExcluded
} from "../../src/source/Exclude.ts"
import { list } from "../../src/source/List.ts"
import type { Manifest } from "../../src/source/Manifest.ts"
import type { SourceView } from "../../src/source/SourceView.ts"
import { Tree } from "../../src/source/Tree.ts"
import { blockingCalls, type FileCalls } from "../../src/system/FileCalls.ts"
import { WorkerSource, Workers } from "../../src/system/Workers.ts"
import { pathMatcher } from "../../src/text/Glob.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { hashEntries, plain } from "../support/manifest.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { abcd, put, viewOf } from "../support/zip/archive.ts"
import { workerFile } from "../support/zip/workers.ts"

const raw = RawPath.fromText
const tag = "Signature: 8a477f597d28d172789f06886806bc55"

const excluding = (...exclude: ReadonlyArray<string>): ExcludeRules => ({ exclude, exclude_caches: false })
const caches: ExcludeRules = { exclude: [], exclude_caches: true }

const manifest = (root: string, rules?: ExcludeRules, change: Partial<SourceView> = {}) =>
  Effect.flatMap(Tree, (tree) => tree.manifest({ ...viewOf(root), ...change }, abcd, rules))

/** What one batch of the walk lists of the directory `path` of the source, which is at `real`. */
const listed = (root: string, path: string, real: string, rules: ExcludeRules, calls: FileCalls) => {
  const directory = { path: raw(path), real: raw(real), mounted: false, grafts: [], listed: undefined }
  const place = { frozen: true, livePath: undefined, root: raw(root), within: 5, enough: 99 }
  return Effect.promise(() =>
    list.work({ ...place, directories: [directory], rules }, calls, new AbortController().signal)
  )
}

const pathsOf = ({ entries }: Manifest): ReadonlyArray<string> => Array.from(entries, ({ path }) => path)

/** Files by path below `ABCD`; a name is a character a byte. */
const fill = (root: string, files: Iterable<string>): void => {
  mkdirSync(`${root}/ABCD`, { recursive: true })
  for (const file of files) {
    const path = Buffer.from(`${root}/ABCD/${file}`, "latin1")
    mkdirSync(Buffer.from(dirname(path.toString("latin1")), "latin1"), { recursive: true })
    writeFileSync(path, file)
  }
}

const part = FastCheck.constantFrom("a", "b", "ab", "a.tmp", "caf\xc3\xa9", "\xff", "-")
const paths = FastCheck.uniqueArray(
  FastCheck.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/")),
  { maxLength: 30 }
).map((all) => all.filter((path) => !all.some((other) => other.startsWith(`${path}/`))))
const pattern = FastCheck.constantFrom(
  "a",
  "*.tmp",
  "b/**",
  "a/*/b",
  "café",
  "%FF",
  "**/ab/?",
  "./b",
  "-/",
  "?",
  "none"
)

/** What a walk that looks at everything finds, and then drops. */
const filtered = (whole: Manifest, patterns: ReadonlyArray<string>) => {
  const matchers = patterns.map(pathMatcher)
  const isOut = (path: RawPath.RawPath): boolean =>
    path.split("/").some((_, index, parts) => {
      const name = EntryName.escape(RawPath.fromLatin1(parts.slice(0, index + 1).join("/")))
      return matchers.some((matches) => matches(name))
    })
  return [...whole.entries].filter(({ path }) => !isOut(path))
}

describe("what exclude matches", () => {
  it.scopedLive.prop(
    "is what is missing in the manifest, and nothing else is",
    [paths, FastCheck.array(pattern, { minLength: 1, maxLength: 3 })],
    ([files, patterns]) =>
      Effect.gen(function* () {
        const root = yield* temporaryFolder
        fill(root, files)
        const whole = yield* manifest(root)
        const found = yield* manifest(root, excluding(...patterns))
        const expected = filtered(whole, patterns)
        assert.deepStrictEqual([...found.entries], expected)
        const { mode, mtimeNs } = lstatSync(`${root}/ABCD`, { bigint: true })
        assert.strictEqual(found.hash, hashEntries({ mode: Number(mode), mtimeNs }, expected))
        assert.strictEqual(found.files, expected.filter(({ kind }) => kind === "file").length)
        assert.strictEqual(found.files + found.directories, expected.length)
        assert.strictEqual(
          found.bytes,
          expected.reduce((sum, { size }) => sum + size, 0)
        )
        assert.strictEqual(found.stamps?.length, 2 * expected.length)
        // A directory that is not entered counts once.
        const left = new Set(pathsOf(found))
        const isTop = (path: string) => !path.includes("/") || left.has(dirname(path))
        const excluded = pathsOf(whole).filter((path) => !left.has(path) && isTop(path))
        assert.strictEqual(found.leftOut?.excluded, excluded.length)
      }).pipe(Effect.provide(Tree.layer)),
    { fastCheck: { numRuns: 60 } }
  )

  it.scoped("changes neither manifest nor times when it changes below a directory that is excluded", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(root, ["file", "cache/deep/one"])
      const before = yield* manifest(root, excluding("cache"))
      fill(root, ["cache/two", "cache/deep/three"])
      const after = yield* manifest(root, excluding("cache"))
      assert.deepStrictEqual([after.hash, after.stampsHash], [before.hash, before.stampsHash])
      assert.strictEqual(after.latest?.ctimeNs, before.latest?.ctimeNs)
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("is never opened, listed or looked at", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(root, ["a", "cache/x", "b.tmp", "\xe9.tmp"])
      const touched: Array<string> = []
      const touch = <A>(path: string | Buffer, result: A): A => {
        touched.push(Buffer.from(path).toString("latin1"))
        return result
      }
      const calls: FileCalls = {
        ...blockingCalls,
        open: (path, flags) => touch(path, blockingCalls.open(path, flags)),
        names: (path) => touch(path, blockingCalls.names(path)),
        lstat: (path) => touch(path, blockingCalls.lstat(path)),
        lstats: (count, path, take, signal) =>
          blockingCalls.lstats(count, (index) => touch(path(index), path(index)), take, signal)
      }
      const rules = { ...excluding("cache", "*.tmp"), exclude_caches: true }
      const found = yield* listed(root, "ABCD", `${root}/ABCD`, rules, calls)
      assert.deepInclude(found, { count: 1, skipped: 3 })
      assert.deepStrictEqual(touched, [`${root}/ABCD`, `${root}/ABCD/a`])
    })
  )

  it.scoped("is the same on worker threads, also of a directory of many names", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const names = Array.from({ length: 2600 }, (_, index) => `large/${index}${index % 2 === 0 ? ".tmp" : ""}`)
      const more = Array.from({ length: 150 }, (_, index) => [`${index}/cache/x`, `${index}/keep/y`]).flat()
      fill(root, [...names, ...more, "caf\xe9.tmp"])
      put(`${root}/ABCD/7/keep/CACHEDIR.TAG`, tag)
      const rules = { ...excluding("*.tmp", "cache"), exclude_caches: true }
      const here = yield* Effect.provide(manifest(root, rules), Tree.layer)
      const file = yield* workerFile()
      const onThreads = Tree.layer.pipe(
        Layer.provide(Workers.layer(2)),
        Layer.provide(Layer.succeed(WorkerSource, file))
      )
      const threads = yield* Effect.provide(manifest(root, rules), onThreads)
      assert.deepStrictEqual(plain(threads), plain(here))
      assert.strictEqual(here.files, 1300 + 150)
      assert.strictEqual(here.leftOut?.excluded, 1300 + 1 + 150 + 1)
      assert.deepStrictEqual(here.caches, ["7/keep"])
      assert.isFalse(pathsOf(here).some((path) => path.endsWith(".tmp") || path.includes("cache")))
    })
  )

  it("is said by the name in the archive, where the bytes are not UTF-8 too", () => {
    const matches = excluder(excluding("caf%E9/*.tmp", "日本"))
    assert.isTrue(matches?.(RawPath.fromLatin1("caf\xe9/x.tmp")))
    assert.isTrue(matches?.(raw("a/日本")))
    assert.isFalse(matches?.(raw("café/x.tmp")))
    assert.isUndefined(excluder(caches))
  })
})

describe("a directory that CACHEDIR.TAG marks", () => {
  it.scoped("keeps only that file, in a live source and in a snapshot", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(root, ["file", "c/one", "c/sub/two", "c/sub/three"])
      put(`${root}/ABCD/c/CACHEDIR.TAG`, `${tag}\n# made by a program\n`)
      for (const frozen of [true, false]) {
        const found = yield* manifest(root, caches, { frozen })
        assert.deepStrictEqual(pathsOf(found), ["c", "c/CACHEDIR.TAG", "file"])
        assert.deepInclude(found, { files: 2, skipped: 2, caches: ["c"] })
        assert.strictEqual(found.leftOut?.excluded, 2)
        assert.strictEqual((yield* manifest(root, noRules, { frozen })).files, 5)
      }
      const without = yield* manifest(root, { exclude: ["CACHEDIR.TAG"], exclude_caches: true })
      assert.deepStrictEqual(pathsOf(without), ["c", "c/one", "c/sub", "c/sub/three", "c/sub/two", "file"])
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("is none where that is no regular file or has other content", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const folders = ["link", "directory", "short", "other", "late", "lower"]
      fill(
        root,
        folders.map((folder) => `${folder}/file`)
      )
      put(`${root}/real`, tag)
      symlinkSync(`${root}/real`, `${root}/ABCD/link/CACHEDIR.TAG`)
      mkdirSync(`${root}/ABCD/directory/CACHEDIR.TAG`)
      put(`${root}/ABCD/short/CACHEDIR.TAG`, tag.slice(0, -1))
      put(`${root}/ABCD/other/CACHEDIR.TAG`, tag.replace("8a", "8b"))
      put(`${root}/ABCD/late/CACHEDIR.TAG`, `\n${tag}`)
      put(`${root}/ABCD/lower/cachedir.tag`, tag)
      const found = yield* manifest(root, caches)
      for (const folder of folders) assert.include(pathsOf(found), `${folder}/file`)
      assert.strictEqual(found.leftOut?.excluded, 0)
    }).pipe(Effect.provide(Tree.layer))
  )

  it.scoped("fails the folder, by name, when its tag cannot be read", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/CACHEDIR.TAG`, tag)
      const calls: FileCalls = {
        ...blockingCalls,
        open: () => Promise.reject(Object.assign(new Error("EACCES"), { code: "EACCES" }))
      }
      const found = yield* listed(root, "ABCD/c", root, caches, calls)
      assert.deepInclude("failure" in found ? found.failure : {}, {
        message: "cannot read ABCD/c/CACHEDIR.TAG: permission denied (EACCES)"
      })
    })
  )
})

describe("a mount below what is left out", () => {
  const graft = (at: string, root: string) => ({ at: raw(at), root: raw(root) })

  it.scoped("is neither read nor missed, and no mount of the folder", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(root, ["file", "cache/file", "tagged/mount/file"])
      put(`${root}/ABCD/tagged/CACHEDIR.TAG`, tag)
      put(`${root}/child/file`, "x")
      const gone = graft("ABCD/cache/deep/child", `${root}/not there`)
      const blocked = [{ at: raw("ABCD/cache/locked"), reason: "locked" }]
      const hidden = graft("ABCD/tagged/mount", `${root}/child`)
      const rules = { ...excluding("cache"), exclude_caches: true }
      const view: SourceView = { ...viewOf(root), frozen: true, grafts: [gone, hidden], blocked }
      const seen = withoutExcluded(view, rules)
      assert.deepStrictEqual([seen.grafts, seen.blocked], [[hidden], []])
      const found = yield* manifest(root, rules, seen)
      assert.deepStrictEqual(pathsOf(found), ["file", "tagged", "tagged/CACHEDIR.TAG"])
      assert.deepStrictEqual(found.mounts, [])
      const error = yield* Effect.flip(manifest(root, noRules, { ...view, blocked: [] }))
      assert.include(error.message, "ABCD/cache/deep/child")
      assert.include((yield* Effect.flip(manifest(root, noRules, view))).message, "ABCD/cache/locked cannot be read")
    }).pipe(Effect.provide(Tree.layer))
  )

  it("is told from the folder itself, and from what only begins like it", () => {
    const grafts = ["ABCD", "ABCD/cache", "ABCD/cache/x", "ABCD/cached", "cache/y"].map((at) => graft(at, "/x"))
    const { grafts: left } = withoutExcluded({ ...viewOf("/"), grafts }, excluding("cache", "ABCD"))
    assert.deepStrictEqual<ReadonlyArray<string>>(
      left.map(({ at }) => at),
      ["ABCD", "ABCD/cached", "cache/y"]
    )
    const view = { ...viewOf("/"), grafts }
    assert.deepStrictEqual(withoutExcluded(view, noRules), view)
  })
})

describe("the rules in a state", () => {
  it.prop(
    "are the same in any order and with duplicates, and no other ones",
    [FastCheck.array(pattern), FastCheck.array(pattern), FastCheck.boolean(), FastCheck.boolean()],
    ([some, others, a, b]) => {
      const saved = savedRules({ exclude: some, exclude_caches: a })
      assert.isTrue(isSavedAs(saved, { exclude: [...some, ...some].reverse(), exclude_caches: a }))
      const isSame = [...new Set(some)].sort().join() === [...new Set(others)].sort().join() && a === b
      assert.strictEqual(isSavedAs(saved, { exclude: others, exclude_caches: b }), isSame)
    }
  )

  it("are none in a state of an older version", () => {
    assert.isTrue(isSavedAs({}, noRules))
    assert.isFalse(isSavedAs({}, caches))
    assert.deepStrictEqual(savedRules(noRules), {})
  })
})
