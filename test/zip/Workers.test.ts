import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { crc32, inflateRawSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Tree } from "../../src/source/Tree.ts"
import { HashError, Hasher } from "../../src/system/Hasher.ts"
import { WorkerSource, Workers } from "../../src/system/Workers.ts"
import { Archiver } from "../../src/zip/Archiver.ts"
import { deflateBlock } from "../../src/zip/Compress.ts"
import { makeCombiner } from "../../src/zip/Reuse.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { abcd, archiveAndVerify, layers, noise, put, viewOf } from "../support/zip/archive.ts"
import { workerFile } from "../support/zip/workers.ts"

const onThreads = (worker: URL, threads = 2) =>
  Layer.mergeAll(Tree.layer, Archiver.layer({ method: "auto", level: 6 }), Hasher.layer).pipe(
    Layer.provide(Workers.layer(threads)),
    Layer.provide(Layer.succeed(WorkerSource, worker))
  )

const fill = (root: string) => {
  for (let file = 0; file < 200; file += 1) put(`${root}/ABCD/small/${file}`, `content ${file}\n`.repeat(file))
  put(`${root}/ABCD/large text`, noise(400_000).toString("hex").repeat(3))
  put(`${root}/ABCD/large noise`, noise(1_500_000))
}

/** Answers nothing and ends at the first piece of work. */
const dying = `import { parentPort } from "node:worker_threads"; parentPort.on("message", () => process.exit(1))`

/** Never answers. */
const hanging = `import { parentPort } from "node:worker_threads"; parentPort.on("message", () => { for (;;); })`

describe("blocks of a large file", () => {
  const content = FastCheck.array(
    FastCheck.oneof(
      FastCheck.uint8Array({ maxLength: 50_000, size: "max" }),
      FastCheck.tuple(FastCheck.string({ minLength: 1 }), FastCheck.nat(5_000)).map(([text, times]) =>
        Buffer.from(text.repeat(times))
      )
    ),
    { minLength: 1, maxLength: 6 }
  )

  it.prop(
    "are one DEFLATE stream and one CRC-32, wherever they are cut",
    [content, FastCheck.integer({ min: 1, max: 9 })],
    ([parts, level]) => {
      const whole = Buffer.concat(parts)
      const combine = makeCombiner()
      let at = 0
      let checksum = 0
      const blocks = parts.map((part, index) => {
        const before = whole.subarray(Math.max(0, at - 32 * 1024), at)
        at += part.length
        checksum = combine(checksum, crc32(part), part.length)
        return deflateBlock(before, Buffer.from(part), { last: index === parts.length - 1, level })
      })
      assert.isTrue(inflateRawSync(Buffer.concat(blocks)).equals(whole))
      assert.strictEqual(checksum, crc32(whole))
    }
  )
})

describe("worker threads", () => {
  it.scoped("make the same bytes as this thread alone, and the same checksums", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(root)
      const threads = onThreads(yield* workerFile())
      yield* archiveAndVerify(viewOf(root), `${root}/two.zip`).pipe(Effect.provide(threads))
      yield* archiveAndVerify(viewOf(root), `${root}/one.zip`).pipe(Effect.provide(layers()))
      assert.isTrue(readFileSync(`${root}/one.zip`).equals(readFileSync(`${root}/two.zip`)))
      const hash = Effect.flatMap(Hasher, (hasher) => hasher.hash(`${root}/one.zip`))
      assert.deepStrictEqual(yield* Effect.provide(hash, threads), yield* Effect.provide(hash, Hasher.layer))
    })
  )

  it.scoped("name the file that fails", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(root)
      const view = viewOf(root)
      const tree = yield* Tree
      const archiver = yield* Archiver
      for (const name of ["small/150", "large text"]) {
        const manifest = yield* tree.manifest(view, abcd)
        writeFileSync(`${root}/ABCD/${name}`, "less")
        const error = yield* Effect.flip(archiver.archive(view, manifest, `${root}/a.zip`))
        assert.include(error.message, `cannot read ABCD/${name}: it has 4 bytes`)
        assert.isFalse(existsSync(`${root}/a.zip`))
      }
    }).pipe(Effect.provide(Layer.unwrapScoped(Effect.map(workerFile(), (file) => onThreads(file)))))
  )

  it.scoped("name the entry that is damaged", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(root)
      const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const zip = readFileSync(`${root}/a.zip`)
      const at = zip.indexOf("large noise") + 100_000
      zip[at] = (zip[at] ?? 0) ^ 1
      writeFileSync(`${root}/b.zip`, zip)
      const archiver = yield* Archiver
      const error = yield* Effect.flip(archiver.verify(`${root}/b.zip`, manifest))
      assert.include(error.message, 'damaged at "large noise": its CRC-32 is wrong')
    }).pipe(Effect.provide(Layer.unwrapScoped(Effect.map(workerFile(), (file) => onThreads(file)))))
  )

  it.scoped("fail the folder cleanly when they die", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(root)
      const view = viewOf(root)
      const manifest = yield* Effect.flatMap(Tree, (tree) => tree.manifest(view, abcd))
      const archiver = yield* Archiver
      const error = yield* Effect.flip(archiver.archive(view, manifest, `${root}/a.zip`))
      assert.strictEqual(error.reason, "Worker")
      assert.isFalse(existsSync(`${root}/a.zip`))
      const hasher = yield* Hasher
      assert.instanceOf(yield* Effect.flip(hasher.hash(`${root}/ABCD/large text`)), HashError)
    }).pipe(Effect.provide(Layer.unwrapScoped(Effect.map(workerFile(dying), (file) => onThreads(file)))))
  )

  it.scoped("are ended by an interruption, whatever they do", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fill(root)
      const view = viewOf(root)
      const manifest = yield* Effect.flatMap(Tree, (tree) => tree.manifest(view, abcd))
      const archiver = yield* Archiver
      const fiber = yield* Effect.fork(archiver.archive(view, manifest, `${root}/a.zip`))
      yield* Effect.promise(async () => {
        while (!existsSync(`${root}/a.zip`)) await new Promise(setImmediate)
      })
      yield* Fiber.interrupt(fiber)
      assert.isFalse(existsSync(`${root}/a.zip`))
    }).pipe(Effect.provide(Layer.unwrapScoped(Effect.map(workerFile(hanging), (file) => onThreads(file)))))
  )
})
