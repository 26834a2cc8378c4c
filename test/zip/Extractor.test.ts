import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type { Manifest } from "../../src/source/Manifest.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { Extractor } from "../../src/zip/Archiver.ts"
import type { ExtractRequest } from "../../src/zip/ExtractTarget.ts"
import { lateLook } from "../support/program/fileHandles.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { archiveAndVerify, layers, noise, put, viewOf } from "../support/zip/archive.ts"
import { handMade } from "../support/zip/handMade.ts"
import { contentOf, onThreads, requestFor } from "../support/zip/restore.ts"

const all = Layer.mergeAll(layers(), Extractor.layer)

const prepare = Effect.fnUntraced(function* (
  zip: string,
  { bytes, files }: Pick<Manifest, "bytes" | "files">,
  to: string,
  change: Partial<ExtractRequest> = {}
) {
  return yield* (yield* Extractor).prepare(requestFor(zip, to, { files, bytes, ...change }))
})

/** A source with all kinds of things in it. */
const fill = (source: string, large = false): void => {
  put(`${source}/a/b/file`, "content", { mode: 0o600, seconds: 1_600_000_001 })
  put(`${source}/a/large`, noise(large ? 3_000_000 : 300), { mode: 0o444 })
  put(`${source}/a/text`, "all work and no play\n".repeat(large ? 200_000 : 2), { mode: 0o755 })
  put(`${source}/a-b/c`, "beside")
  put(`${source}/empty`, "", { mode: 0o666, seconds: 0 })
  put(`${source}/setuid`, "x", { mode: 0o6755 })
  put(`${source}/new\nline`, "x")
  put(`${source}/${"x".repeat(255)}`, "x")
  put(Buffer.concat([Buffer.from(`${source}/raw`), Buffer.from([0xff, 0x2f, 0xfe])]), "bytes")
  mkdirSync(`${source}/shared`)
  chmodSync(`${source}/shared`, 0o3777)
  mkdirSync(`${source}/nothing`)
  chmodSync(`${source}/nothing`, 0o500)
  for (const folder of ["nothing", "a/b", "a"]) utimesSync(`${source}/${folder}`, 1, 1_500_000_000)
}

const archived = Effect.fnUntraced(function* (large = false) {
  const root = yield* temporaryFolder
  fill(`${root}/ABCD`, large)
  const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
  return { root, manifest, zip: `${root}/a.zip`, out: `${root}/out` }
})

/** A tree as a list of steps: names are put below what was made before. */
const name = FastCheck.oneof(
  FastCheck.constantFrom("a", "b", "a-b", "-rf", "new\nline", "%FF", "a\\b", "C:x", "...", " ", "x".repeat(255)),
  FastCheck.constantFrom("é", "e\u0301", "🦊").map(RawPath.fromText),
  FastCheck.constantFrom("\xff", "b\xfe\xff", "\xe9t\xe9")
)
const step = FastCheck.record({
  name,
  below: FastCheck.nat(),
  content: FastCheck.option(FastCheck.oneof(FastCheck.constant(""), FastCheck.string()), { nil: undefined }),
  mode: FastCheck.integer({ min: 0, max: 0o777 }),
  seconds: FastCheck.integer({ min: 0, max: 0x7fff_ffff })
})

const build = (
  source: string,
  steps: ReadonlyArray<typeof step extends FastCheck.Arbitrary<infer A> ? A : never>
): void => {
  const folders = [Buffer.from(source)]
  const modes: Array<readonly [Buffer, number, number]> = []
  mkdirSync(source)
  for (const { below, content, mode, name, seconds } of steps) {
    const folder = folders[below % folders.length] ?? Buffer.from(source)
    const path = Buffer.concat([folder, Buffer.from("/"), Buffer.from(name, "latin1")])
    if (existsSync(path)) continue
    if (content === undefined) {
      mkdirSync(path)
      folders.push(path)
    } else writeFileSync(path, content)
    modes.push([path, mode, seconds])
  }
  // Root may do without rights; anybody else needs these to read it all back.
  for (const [path, mode, seconds] of modes.reverse()) {
    chmodSync(path, lstatSync(path).isDirectory() ? mode | 0o700 : mode | 0o400)
    utimesSync(path, seconds, seconds)
  }
}

describe("an archive", () => {
  for (const [where, layer] of [
    ["on this thread", all],
    ["on worker threads", onThreads]
  ] as const) {
    it.scoped(`comes back as it was, ${where}, whatever the umask is`, () =>
      Effect.gen(function* () {
        const { manifest, out, root, zip } = yield* archived(true)
        const before = process.umask(0o077)
        yield* Effect.addFinalizer(() => Effect.sync(() => process.umask(before)))
        const prepared = yield* prepare(zip, manifest, out)
        assert.deepStrictEqual([prepared.plan.conflicts.count, prepared.plan.replaced], [0, 0])
        assert.deepStrictEqual(prepared.plan.privileged, { count: 2, first: ["setuid", "shared/"] })
        const result = yield* prepared.carryOut
        assert.deepStrictEqual(result.failures.first, [])
        assert.deepStrictEqual([result.files, result.bytes], [manifest.files, manifest.bytes])
        assert.deepStrictEqual(contentOf(out), contentOf(`${root}/ABCD`))
        assert.strictEqual(statSync(`${out}/setuid`).mode & 0o7777, 0o755)
      }).pipe(Effect.provide(layer))
    )
  }

  it.effect.prop(
    "comes back as it was, for any tree",
    [FastCheck.array(step, { maxLength: 30 })],
    ([steps]) =>
      Effect.gen(function* () {
        const root = yield* temporaryFolder
        build(`${root}/ABCD`, steps)
        const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
        const { carryOut } = yield* prepare(`${root}/a.zip`, manifest, `${root}/out`)
        const { failures } = yield* carryOut
        assert.deepStrictEqual(failures.first, [])
        assert.deepStrictEqual(contentOf(`${root}/out`), contentOf(`${root}/ABCD`))
      }).pipe(Effect.scoped, Effect.provide(all)),
    { fastCheck: { numRuns: 25 } }
  )

  it.scoped("is not written when it is another file than the one that was checked", () =>
    Effect.gen(function* () {
      const { manifest, out, zip } = yield* archived()
      const file = statSync(zip)
      renameSync(zip, `${zip}.old`)
      writeFileSync(zip, readFileSync(`${zip}.old`))
      const found = yield* Effect.flip(prepare(zip, manifest, out, { file }))
      assert.strictEqual(found.reason, "Changed")
      assert.isFalse(existsSync(out))
    }).pipe(Effect.provide(all))
  )

  it.scoped("is restored from the file that was looked at, whatever is published meanwhile", () =>
    Effect.gen(function* () {
      const { manifest, out, root, zip } = yield* archived()
      const { carryOut } = yield* prepare(zip, manifest, out)
      writeFileSync(`${zip}.new`, "another one")
      renameSync(`${zip}.new`, zip)
      yield* carryOut
      assert.deepStrictEqual(contentOf(out), contentOf(`${root}/ABCD`))
    }).pipe(Effect.provide(all))
  )
})

describe("what is in the way", () => {
  it.scoped("is found before anything is written, and replaced only when it is a file and that is wanted", () =>
    Effect.gen(function* () {
      const { manifest, out, root, zip } = yield* archived()
      put(`${out}/a/large`, "mine")
      put(`${root}/elsewhere`, "mine as well", { mode: 0o640 })
      linkSync(`${root}/elsewhere`, `${out}/empty`)
      const before = contentOf(out)
      const refused = yield* prepare(zip, manifest, out)
      assert.deepStrictEqual(refused.plan.conflicts, {
        count: 2,
        first: [
          { path: "a/large", is: "file", wanted: "file" },
          { path: "empty", is: "file", wanted: "file" }
        ]
      })
      assert.deepStrictEqual(contentOf(out), before)

      const allowed = yield* prepare(zip, manifest, out, { overwrite: true })
      assert.deepStrictEqual([allowed.plan.conflicts.count, allowed.plan.replaced], [0, 2])
      const { failures } = yield* allowed.carryOut
      assert.deepStrictEqual(failures.first, [])
      assert.deepStrictEqual(contentOf(out), contentOf(`${root}/ABCD`))
      // Not written through the other name.
      assert.strictEqual(readFileSync(`${root}/elsewhere`, "utf8"), "mine as well")
    }).pipe(Effect.provide(all))
  )

  it.scoped("is named in the order of the archive, also where a later look ends first", () =>
    Effect.gen(function* () {
      const { manifest, out, zip } = yield* archived()
      for (const name of ["a-b/c", "empty", "setuid"]) put(`${out}/${name}`, "mine")
      put(`${out}/shared`, "a file")
      yield* lateLook("c")
      const { plan } = yield* prepare(zip, manifest, out)
      assert.deepStrictEqual(
        plan.conflicts.first.map(({ path }) => path),
        ["a-b/c", "empty", "setuid", "shared"]
      )
    }).pipe(Effect.provide(all))
  )

  it.scoped("is never replaced when it is a folder, a symlink or a device; nor is a symlink followed", () =>
    Effect.gen(function* () {
      const { manifest, out, root, zip } = yield* archived()
      mkdirSync(`${root}/elsewhere/b`, { recursive: true })
      mkdirSync(`${out}/empty`, { recursive: true })
      symlinkSync(`${root}/elsewhere`, `${out}/a`)
      symlinkSync(`${root}/elsewhere/x`, `${out}/new\nline`)
      put(`${out}/nothing`, "a file")
      const { plan } = yield* prepare(zip, manifest, out, { overwrite: true })
      assert.deepStrictEqual(plan.conflicts.first, [
        { path: "a", is: "symlink", wanted: "directory" },
        { path: "empty", is: "directory", wanted: "file" },
        { path: "new\\x0aline", is: "symlink", wanted: "file" },
        { path: "nothing", is: "file", wanted: "directory" }
      ])
      assert.deepStrictEqual(readdirSync(`${root}/elsewhere/b`), [])
    }).pipe(Effect.provide(all))
  )

  it.scoped("and what appears after that is left as it is, and the file that belongs there is named", () =>
    Effect.gen(function* () {
      const { manifest, out, root, zip } = yield* archived()
      mkdirSync(`${out}/a/b`, { recursive: true })
      mkdirSync(`${root}/elsewhere`)
      const { carryOut } = yield* prepare(zip, manifest, out)
      put(`${out}/empty`, "mine")
      symlinkSync(`${root}/elsewhere/x`, `${out}/new\nline`)
      // Somebody swaps a folder that was looked at for a symlink, and one that is to be made.
      rmSync(`${out}/a/b`, { recursive: true })
      symlinkSync(`${root}/elsewhere`, `${out}/a/b`)
      symlinkSync(`${root}/elsewhere`, `${out}/a-b`)
      const { failures, missing } = yield* carryOut
      assert.deepStrictEqual([...new Set(failures.first.map(({ cannot, path }) => `${cannot} ${path}`))].sort(), [
        "make the folder a-b",
        "write a-b/c",
        "write a/b/file",
        "write empty",
        "write new\\x0aline"
      ])
      assert.strictEqual(missing, 5)
      assert.strictEqual(readFileSync(`${out}/empty`, "utf8"), "mine")
      assert.deepStrictEqual(readdirSync(`${root}/elsewhere`), [])
    }).pipe(Effect.provide(all))
  )

  it.scoped("a folder that is swapped for another folder gets nothing", () =>
    Effect.gen(function* () {
      const { manifest, out, zip } = yield* archived()
      mkdirSync(`${out}/a`, { recursive: true })
      const { carryOut } = yield* prepare(zip, manifest, out)
      renameSync(`${out}/a`, `${out}/moved`)
      mkdirSync(`${out}/a`)
      const { failures } = yield* carryOut
      assert.include(failures.first.find(({ path }) => path === "a/text")?.error, "was replaced by another one")
      assert.deepStrictEqual([readdirSync(`${out}/a`), readdirSync(`${out}/moved`)], [[], []])
    }).pipe(Effect.provide(all))
  )

  it.scoped("folders that are there keep mode and time, unless it may be overwritten", () =>
    Effect.gen(function* () {
      const { manifest, out, root, zip } = yield* archived()
      mkdirSync(`${out}/nothing`, { recursive: true, mode: 0o711 })
      utimesSync(`${out}/nothing`, 5, 5)
      const kept = yield* prepare(zip, manifest, out)
      yield* kept.carryOut
      assert.include(contentOf(out), "d nothing 711 5")
      const again = yield* prepare(zip, manifest, out, { overwrite: true })
      yield* again.carryOut
      assert.deepStrictEqual(contentOf(out), contentOf(`${root}/ABCD`))
    }).pipe(Effect.provide(all))
  )
})

describe("the folder to restore to", () => {
  it.scoped("has to be a folder, or be one that can be made, and not among the archives", () =>
    Effect.gen(function* () {
      const { manifest, root, zip } = yield* archived()
      put(`${root}/file`, "x")
      symlinkSync(`${root}/nowhere`, `${root}/dangling`)
      mkdirSync(`${root}/target/ABCD`, { recursive: true })
      symlinkSync(`${root}/target/ABCD`, `${root}/way`)
      const cases: ReadonlyArray<readonly [string, string]> = [
        ["file", "not a directory"],
        ["file/x", "not a directory"],
        ["none/out", "there is no folder"],
        ["dangling", "a symlink that leads to nothing"],
        ["target", "where the archives are"],
        ["target/new", "where the archives are"],
        ["way", "where the archives are"]
      ]
      const before = contentOf(root)
      for (const [to, words] of cases) {
        const found = yield* Effect.flip(prepare(zip, manifest, `${root}/${to}`, { keepOut: [`${root}/target`] }))
        assert.strictEqual(found.reason, "Target", to)
        assert.include(found.message.replace("it is not a folder", "not a directory"), words)
      }
      assert.deepStrictEqual(contentOf(root), before)
    }).pipe(Effect.provide(all))
  )

  it.scoped("may be reached through a symlink", () =>
    Effect.gen(function* () {
      const { manifest, root, zip } = yield* archived()
      mkdirSync(`${root}/real`)
      symlinkSync(`${root}/real`, `${root}/way`)
      const { carryOut, plan } = yield* prepare(zip, manifest, `${root}/way/out`)
      assert.strictEqual(plan.directory, `${root}/real/out`)
      yield* carryOut
      assert.deepStrictEqual(contentOf(`${root}/real/out`), contentOf(`${root}/ABCD`))
    }).pipe(Effect.provide(all))
  )
})

describe("a pattern", () => {
  const restored = Effect.fnUntraced(function* (only: ReadonlyArray<string>) {
    const { manifest, out, root, zip } = yield* archived()
    const { carryOut, plan } = yield* prepare(zip, manifest, out, { only })
    yield* carryOut
    const found = existsSync(out) ? contentOf(out) : []
    // What is there is as it was: content, modes and times, of the folders on the way to it too.
    const wanted = new Set(contentOf(`${root}/ABCD`))
    for (const line of found) assert.isTrue(wanted.has(line), line)
    assert.strictEqual(plan.files, found.filter((line) => line.startsWith("f ")).length)
    return { names: found.map((line) => line.split(" ")[1]), plan }
  })

  const cases: ReadonlyArray<readonly [ReadonlyArray<string>, ReadonlyArray<string>]> = [
    [["file"], ["a", "a/b", "a/b/file"]],
    [["b"], ["a", "a/b", "a/b/file"]],
    [["a/b/"], ["a", "a/b", "a/b/file"]],
    [
      ["a/?ext", "nothing"],
      ["a", "nothing", "a/text"]
    ],
    [["a-?"], ["a-b", "a-b/c"]],
    [["raw%FF"], ["raw\xff", "raw\xff/\xfe"]],
    [["**/c"], ["a-b", "a-b/c"]]
  ]
  for (const [only, names] of cases) {
    it.scoped(`${only.join(" ")} means what it says, with what is below and the folders above`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual((yield* restored(only)).names, [...names])
      }).pipe(Effect.provide(all))
    )
  }

  it.scoped("that means nothing is told, also beside one that takes everything", () =>
    Effect.gen(function* () {
      const { plan } = yield* restored(["**", "none", "b/none"])
      assert.deepStrictEqual(plan.unmatched, ["none", "b/none"])
      assert.deepStrictEqual((yield* restored(["a", "file"])).plan.unmatched, [])
    }).pipe(Effect.provide(all))
  )
})

describe("a restore that does not come to its end", () => {
  it.scoped("removes the file that is damaged, names it, and goes on", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const large = noise(3_000_000)
      const entries = [
        { name: "a", content: "good" },
        { name: "b", content: "bad", crc: 1 },
        { name: "c", content: "bad as well", deflated: true, crc: 2 },
        { name: "d", content: large, crc: 3 },
        { name: "e", content: large.toString("hex"), deflated: true, crc: 4 },
        { name: "f", content: "good as well", deflated: true }
      ]
      writeFileSync(`${root}/a.zip`, handMade(entries))
      const bytes = entries.reduce((sum, { content }) => sum + content.length, 0)
      for (const overwrite of [false, true]) {
        if (overwrite) put(`${root}/out/d`, "the one before")
        const { carryOut } = yield* prepare(`${root}/a.zip`, { files: 6, bytes }, `${root}/out`, {
          overwrite
        })
        const result = yield* carryOut
        assert.deepStrictEqual(
          result.failures.first.map(({ error, path }) => `${path} ${error}`).sort(),
          ["b", "c", "d", "e"].map((each) => `${each} its CRC-32 is wrong`)
        )
        assert.deepStrictEqual([result.files, result.missing, result.kept], overwrite ? [2, 3, 1] : [2, 4, 0])
        // What was there stays: only what is whole takes its place.
        assert.deepStrictEqual(readdirSync(`${root}/out`).sort(), overwrite ? ["a", "d", "f"] : ["a", "f"])
        if (overwrite) assert.strictEqual(readFileSync(`${root}/out/d`, "utf8"), "the one before")
      }
    }).pipe(Effect.provide(all))
  )

  for (const [where, layer] of [
    ["on this thread", all],
    ["on worker threads", onThreads]
  ] as const) {
    it.scoped(`interrupted, it removes the file it is at, and folders get their modes, ${where}`, () =>
      Effect.gen(function* () {
        const root = yield* temporaryFolder
        put(`${root}/ABCD/a/first`, "content")
        put(`${root}/ABCD/a/second`, Buffer.alloc(100_000_000))
        chmodSync(`${root}/ABCD/a`, 0o755)
        const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
        const { carryOut, soFar, written } = yield* prepare(`${root}/a.zip`, manifest, `${root}/out`)
        const fiber = yield* Effect.fork(carryOut)
        yield* Effect.promise(async () => {
          while (written() < 1_000_000 || soFar().files < 1) await new Promise((resolve) => setImmediate(resolve))
        })
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(readdirSync(`${root}/out/a`), ["first"])
        assert.strictEqual(statSync(`${root}/out/a`).mode & 0o777, 0o755)
        assert.deepInclude(soFar(), { files: 1, bytes: 7, folders: 1 })
      }).pipe(Effect.provide(layer))
    )
  }
})

describe("a dry run", () => {
  it.scoped("finds the same and writes nothing", () =>
    Effect.gen(function* () {
      const { manifest, out, zip } = yield* archived()
      const real = yield* prepare(zip, manifest, out)
      const dryRun = yield* prepare(zip, manifest, out).pipe(Effect.provide(Extractor.layerDryRun))
      const figures = ({ free: _, ...rest }: typeof real.plan) => rest
      assert.deepStrictEqual(figures(dryRun.plan), figures(real.plan))
      const { files } = yield* dryRun.carryOut
      assert.strictEqual(files, manifest.files)
      assert.isFalse(existsSync(out))
    }).pipe(Effect.provide(all))
  )
})
