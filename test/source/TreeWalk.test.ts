import { createHash } from "node:crypto"
import { lstatSync, mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import {
  type Block,
  type Directory,
  gather,
  inOrder,
  laterTimes,
  makeRows,
  openBlock
} from "../../src/source/Entries.ts"
import { folderLine } from "../../src/source/Manifest.ts"
import { Tree } from "../../src/source/Tree.ts"
import { WorkerSource, Workers } from "../../src/system/Workers.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { hashEntries, plain } from "../support/manifest.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { abcd, put, run, viewOf } from "../support/zip/archive.ts"
import { workerFile } from "../support/zip/workers.ts"

const onThreads = (program?: string) =>
  Layer.unwrapScoped(
    Effect.map(workerFile(program), (file) =>
      Tree.layer.pipe(Layer.provide(Workers.layer(2)), Layer.provide(Layer.succeed(WorkerSource, file)))
    )
  )

const manifest = (root: string) => Effect.flatMap(Tree, (tree) => tree.manifest(viewOf(root), abcd))

const stats = { mtimeNs: 5n, ctimeNs: 6n, ino: 7n, mode: 0o100644n, dev: 8n }

interface Node {
  readonly [name: string]: Node | null
}

/** Names of few bytes, on both sides of "/" (0x2f), so that one is often the beginning of another. */
const name = FastCheck.stringOf(FastCheck.constantFrom("a", "-", ".", "0", "\xff", "\xc3"), {
  minLength: 1,
  maxLength: 3
})

const { tree } = FastCheck.letrec<{ tree: Node; entry: Node | null }>((tie) => ({
  tree: FastCheck.dictionary(name, tie("entry"), { maxKeys: 8, noNullPrototype: true }),
  entry: FastCheck.oneof({ depthSize: "small", withCrossShrink: true }, FastCheck.constant(null), tie("tree"))
}))

const allPaths = (node: Node, at = ""): ReadonlyArray<string> =>
  Object.entries(node).flatMap(([part, child]) => [
    at + part,
    ...(child === null ? [] : allPaths(child, `${at}${part}/`))
  ])

/** As a walk leaves it: each directory in order, in pieces of a block each. */
const listed = (node: Node, pieceNames: number, at = ""): Directory => {
  const names = Object.keys(node).sort()
  const directory: Directory = { pieces: [] }
  for (let from = 0; from < names.length; from += pieceNames) {
    const rows = makeRows()
    const piece = names.slice(from, from + pieceNames)
    for (const part of piece)
      rows.add(RawPath.fromLatin1(at + part), node[part] === null ? "file" : "directory", 1, stats)
    const children = piece.flatMap((part, index) => {
      const child = node[part]
      return child === null || child === undefined
        ? []
        : [{ index, directory: listed(child, pieceNames, `${at}${part}/`) }]
    })
    directory.pieces.push({ block: openBlock(rows.pack()), from: 0, to: piece.length, children })
  }
  return directory
}

const pathsIn = ({ block, from, to }: { block: Block; from: number; to: number }) =>
  Array.from({ length: to - from }, (_, index) => block.path(from + index))

describe("the order of entries", () => {
  it.prop(
    "is that of a plain sort of all paths, however directories are cut",
    [tree, FastCheck.integer({ min: 1, max: 9 })],
    ([root, pieceNames]) => {
      const runs = inOrder(listed(root, pieceNames))
      assert.deepStrictEqual(runs.flatMap(pathsIn), [...allPaths(root)].sort().map(RawPath.fromLatin1))
    },
    { fastCheck: { numRuns: 1000 } }
  )

  it("puts what a directory holds behind its neighbours that are less than it with a slash", () => {
    const root: Node = { a: { x: null }, "a-": { y: null }, "a-b": null, "a.b": null, a0: null }
    const expected = ["a", "a-", "a-/y", "a-b", "a.b", "a/x", "a0"]
    for (const pieceNames of [1, 2, 3, 9]) {
      assert.deepStrictEqual<ReadonlyArray<string>>(inOrder(listed(root, pieceNames)).flatMap(pathsIn), expected)
    }
  })
})

describe("entries in columns", () => {
  const int = FastCheck.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
  const entry = FastCheck.record({
    path: FastCheck.string({ minLength: 1, maxLength: 40 }).map(RawPath.fromText),
    kind: FastCheck.constantFrom("file" as const, "directory" as const),
    size: FastCheck.maxSafeNat(),
    mtimeNs: FastCheck.oneof(int, FastCheck.bigInt({ min: -(2n ** 80n), max: 2n ** 80n })),
    ino: FastCheck.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    ctimeNs: int
  })

  const packed = (given: ReadonlyArray<typeof entry extends FastCheck.Arbitrary<infer A> ? A : never>) => {
    const rows = makeRows()
    for (const one of given) {
      const mode = one.kind === "file" ? 0o100600n : 0o40700n
      rows.add(one.path, one.kind, one.size, { ...one, mode, dev: BigInt(one.size % 3) })
    }
    return openBlock(rows.pack())
  }

  it.prop(
    "are gathered from their blocks, which are freed",
    [FastCheck.array(entry, { maxLength: 600, size: "max" }), FastCheck.nat(600), FastCheck.nat(600)],
    ([given, half, cut]) => {
      const blocks = [packed(given.slice(0, half)), packed(given.slice(half))]
      const runs = blocks.flatMap((block, index) => {
        const count = [Math.min(half, given.length), Math.max(0, given.length - half)][index] ?? 0
        const middle = Math.min(cut, count)
        return [
          { block, from: 0, to: middle },
          { block, from: middle, to: count }
        ]
      })
      const order = [0, 2, 1, 3].flatMap((index) => runs[index] ?? [])
      const expected = order.flatMap(({ block, from, to }) =>
        Array.from({ length: to - from }, (_, at) => ({
          entry: block.entry(from + at, block.path(from + at), ""),
          identity: block.identity(from + at)
        }))
      )
      const all = gather(order, given.length)
      const found = expected.map((_, index) => ({
        entry: all.entry(index, all.path(index), ""),
        identity: all.identity(index)
      }))
      assert.deepStrictEqual(found, expected)
      for (const { columns } of blocks) assert.isBelow(columns.text.length, 4096)
    }
  )

  it.prop(
    "come out as they went in, any number of them",
    [FastCheck.array(entry, { maxLength: 600, size: "max" }), FastCheck.nat(600)],
    ([given, cut]) => {
      const block = packed(given)
      const entries = given.map((_, index) => block.entry(index, block.path(index), ""))
      assert.deepStrictEqual(
        entries,
        given.map(({ kind, mtimeNs, path, size }) => ({
          path,
          name: "",
          kind,
          size,
          mtimeNs,
          mode: kind === "file" ? 0o100600 : 0o40700
        }))
      )
      const stamps = given.flatMap(({ ctimeNs, ino }) => [BigInt.asIntN(64, ino), ctimeNs])
      assert.deepStrictEqual([...block.stamps(0, given.length)], stamps)
      const middle = Math.min(cut, given.length)
      const folder = { mode: 0o40711, mtimeNs: -5n }
      const hash = createHash("sha256").update(folderLine(folder))
      hash.update(block.lines(0, middle)).update(block.lines(middle, given.length))
      assert.strictEqual(hash.digest("hex"), hashEntries(folder, entries))
    },
    { fastCheck: { numRuns: 30 } }
  )
})

/** 4,700 entries: a large directory whose subdirectories stand across its pieces, small ones, odd names. */
const fill = (root: string): void => {
  const large = `${root}/ABCD/large`
  for (const directory of ["a", "a-1000", "a-1999", "b"]) {
    mkdirSync(`${large}/${directory}`, { recursive: true })
    for (const file of ["x", "y"]) put(`${large}/${directory}/${file}`, file)
  }
  for (let file = 1001; file < 3500; file += 1) {
    if (file !== 1999) writeFileSync(`${large}/a-${file}`, "")
  }
  for (let directory = 0; directory < 120; directory += 1) {
    mkdirSync(`${root}/ABCD/${directory}/deep`, { recursive: true })
    for (let file = 0; file < 16; file += 1) writeFileSync(`${root}/ABCD/${directory}/${file}`, "1234")
  }
  put(Buffer.from(`${root}/ABCD/caf\xe9/\xff`, "latin1"), "x")
  put(`${root}/ABCD/日本/🦊`, "x", { seconds: -1.5 })
}

describe("a manifest", () => {
  it.scoped("is the same from this thread and from worker threads, and what the disk says", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(root)
      const here = yield* Effect.provide(manifest(root), Tree.layer)
      const threads = yield* Effect.provide(manifest(root), onThreads())
      assert.deepStrictEqual(plain(threads), plain(here))

      const found = run("find", [`${root}/ABCD`, "-mindepth", "1", "-print0"]).stdout.toString("latin1")
      const paths = found
        .split("\0")
        .slice(0, -1)
        .map((path) => path.slice(`${root}/ABCD/`.length))
        .sort()
      const entries = [...here.entries]
      assert.deepStrictEqual<ReadonlyArray<string>>(
        entries.map(({ path }) => path),
        paths
      )
      const looks = paths.map((path) =>
        lstatSync(Buffer.concat([Buffer.from(`${root}/ABCD/`), Buffer.from(path, "latin1")]), {
          bigint: true
        })
      )
      assert.deepStrictEqual(
        [...(here.stamps ?? [])],
        looks.flatMap(({ ctimeNs, ino }) => [ino, ctimeNs])
      )
      assert.deepStrictEqual(
        entries.map(({ mode, mtimeNs }) => [mtimeNs, mode]),
        looks.map(({ mode, mtimeNs }) => [mtimeNs, Number(mode)])
      )
      const itself = lstatSync(`${root}/ABCD`, { bigint: true })
      const times = [itself, ...looks].map(({ ctimeNs, mtimeNs }) => ({ ctimeNs, mtimeNs }))
      assert.deepStrictEqual(here.latest, times.reduce(laterTimes))
      assert.strictEqual(here.hash, hashEntries({ mode: Number(itself.mode), mtimeNs: itself.mtimeNs }, entries))
      assert.strictEqual(here.files, entries.filter(({ kind }) => kind === "file").length)
      assert.deepStrictEqual(
        here.escaped?.map(({ name }) => name),
        ["caf%E9", "caf%E9/%FF"]
      )
      assert.strictEqual(here.entries, here.entries)
    })
  )

  it.scoped("is not there when a worker thread dies, but may be the next time", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(root)
      const dying = `import { parentPort } from "node:worker_threads"
        parentPort.postMessage("ready"); parentPort.on("message", () => process.exit(1))`
      const error = yield* Effect.flip(manifest(root)).pipe(Effect.provide(onThreads(dying)))
      assert.deepInclude(error, { path: "ABCD", transient: true })
      assert.include(error.message, "cannot list ABCD: a worker thread")
    })
  )

  it.scoped("can be interrupted, whatever a thread does", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(root)
      const hanging = `import { parentPort } from "node:worker_threads"
        import { writeFileSync } from "node:fs"
        parentPort.postMessage("ready")
        parentPort.on("message", () => { writeFileSync(${JSON.stringify(`${root}/asked`)}, ""); for (;;); })`
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(manifest(root))
        yield* Effect.promise(async () => {
          while (!readdirSync(root).includes("asked")) await new Promise(setImmediate)
        })
        const exit = yield* Fiber.interrupt(fiber)
        assert.strictEqual(exit._tag, "Failure")
      }).pipe(Effect.provide(onThreads(hanging)))
    })
  )
})
