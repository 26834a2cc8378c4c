import { createHash } from "node:crypto"
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync
} from "node:fs"
import { pathToFileURL } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Checksums, HashError, Hasher } from "../../src/system/Hasher.ts"
import { WorkerSource, Workers } from "../../src/system/Workers.ts"
import { memoryHasher } from "../doubles/Hasher.ts"
import { failingCloses } from "../support/program/fileHandles.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { noise, run } from "../support/zip/archive.ts"
import { workerFile } from "../support/zip/workers.ts"

const hash = (path: string) => Effect.flatMap(Hasher, (hasher) => hasher.hash(path))

describe("Hasher", () => {
  it.scoped("agrees with md5sum and sha256sum, on nothing, on little and on several blocks", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      for (const size of [0, 1, 1 << 20, (1 << 20) + 1, 5_000_001]) {
        const path = `${folder}/${size}`
        writeFileSync(path, noise(size))
        const { md5, sha256 } = yield* hash(path)
        assert.isTrue(run("md5sum", [path]).output.startsWith(`${md5} `))
        assert.isTrue(run("sha256sum", [path]).output.startsWith(`${sha256} `))
      }
    }).pipe(Effect.provide(Hasher.layer))
  )

  it.scoped("refuses what is no regular file, by name", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      writeFileSync(`${folder}/file`, "content")
      symlinkSync("file", `${folder}/link`)
      mkdirSync(`${folder}/directory`)
      run("mkfifo", [`${folder}/fifo`])
      for (const name of ["link", "directory", "fifo", "nothing"]) {
        const error = yield* Effect.flip(hash(`${folder}/${name}`))
        assert.strictEqual(error._tag, "HashError")
        assert.include(error.message, `${folder}/${name}`)
        assert.isFalse(error.transient)
      }
    }).pipe(Effect.provide(Hasher.layer))
  )

  it.scoped("does not mind what closing says: everything has been read", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      writeFileSync(`${folder}/file`, "content")
      yield* failingCloses
      assert.strictEqual((yield* hash(`${folder}/file`)).md5, "9a0364b9e99bb480dd25e1f0284c8555")
      assert.strictEqual((yield* Effect.flip(hash(folder)))._tag, "HashError")
    }).pipe(Effect.provide(Hasher.layer))
  )

  it.scoped("ends when it is interrupted", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      writeFileSync(`${folder}/endless`, "")
      truncateSync(`${folder}/endless`, 2 ** 42)
      const fiber = yield* Effect.fork(hash(`${folder}/endless`))
      yield* Effect.yieldNow()
      const exit = yield* Fiber.interrupt(fiber)
      assert.isTrue(exit._tag === "Failure")
    }).pipe(Effect.provide(Hasher.layer))
  )

  it.effect("reads nothing in a dry run", () =>
    Effect.gen(function* () {
      const checksums = yield* hash("/nonexistent")
      assert.isTrue(Schema.is(Checksums)(checksums))
    }).pipe(Effect.provide(Hasher.layerDryRun))
  )

  it.effect("fails in memory as often as it is told", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Effect.flip(hash("a"))).message, "once")
      assert.isTrue(Schema.is(Checksums)(yield* hash("a")))
    }).pipe(Effect.provide(memoryHasher({ a: [new HashError({ message: "once", transient: true })] })))
  )
})

const digestsOf = (content: Uint8Array) => ({
  md5: createHash("md5").update(content).digest("hex"),
  sha256: createHash("sha256").update(content).digest("hex")
})

const withProgram = (program: URL, threads = 2) =>
  Hasher.layer.pipe(Layer.provide(Workers.layer(threads)), Layer.provide(Layer.succeed(WorkerSource, program)))

const onThreads = (threads: number) =>
  Layer.unwrapScoped(Effect.map(workerFile(), (file) => withProgram(file, threads)))

/** Whether this process has the file open. */
const isOpen = (path: string): boolean =>
  readdirSync("/proc/self/fd").some((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path
    } catch {
      return false
    }
  })

const until = (condition: () => boolean) =>
  Effect.promise(async () => {
    while (!condition()) await new Promise(setImmediate)
  })

const pieces = [noise(34_000_000), noise(1), noise(3_000_000)]
const whole = Buffer.concat(pieces)

describe("Hasher, following a file that is written", () => {
  const places = [
    ["in process", Hasher.layer],
    ["on a thread", onThreads(2)],
    ["on a thread for each digest", onThreads(4)]
  ] as const

  for (const [place, layer] of places) {
    it.scoped(`${place}: gives its checksums, large or small or empty`, () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const hasher = yield* Hasher
        for (const content of [pieces, [noise(100_000)], [Buffer.alloc(0)]]) {
          const path = `${folder}/${content.length} ${content[0]?.length}`
          const following = yield* hasher.follow(path)
          writeFileSync(path, "")
          let size = 0
          for (const piece of content) {
            appendFileSync(path, piece)
            size += piece.length
            following.advance(size)
            // What is said twice, or late, changes nothing.
            following.advance(size - 1)
          }
          assert.deepStrictEqual(yield* following.finish(size), digestsOf(Buffer.concat(content)))
        }
      }).pipe(Effect.provide(layer))
    )
  }

  for (const [place, layer] of places) {
    it.scoped(`${place}: of a file that is complete gives them while nothing is said of it, and how far it is`, () =>
      Effect.gen(function* () {
        const path = `${yield* temporaryFolder}/file`
        writeFileSync(path, whole)
        const following = yield* Effect.flatMap(Hasher, (hasher) => hasher.follow(path, whole.length))
        yield* until(() => following.hashed() === whole.length)
        assert.deepStrictEqual(yield* following.finish(whole.length), digestsOf(whole))
        appendFileSync(path, "x")
        const longer = yield* Effect.flatMap(Hasher, (hasher) => hasher.follow(path, whole.length))
        assert.include((yield* Effect.flip(longer.finish(whole.length))).message, `it has ${whole.length + 1} bytes`)
      }).pipe(Effect.provide(layer))
    )
  }

  it.scoped("reads what is final and nothing else", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = `${folder}/file`
      const following = yield* Effect.flatMap(Hasher, (hasher) => hasher.follow(path))
      writeFileSync(path, Buffer.concat([whole.subarray(0, 34_500_000), Buffer.alloc(100_000)]))
      following.advance(34_500_000)
      yield* until(() => isOpen(path))
      const fd = openSync(path, "r+")
      writeSync(fd, whole, 34_500_000, whole.length - 34_500_000, 34_500_000)
      closeSync(fd)
      assert.deepStrictEqual(yield* following.finish(whole.length), digestsOf(whole))
      assert.isFalse(isOpen(path))
    }).pipe(Effect.provide(onThreads(2)))
  )

  it.scoped("leaves nothing behind when it is given up", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = `${folder}/file`
      const hasher = yield* Hasher
      writeFileSync(path, whole)
      for (let times = 0; times < 2; times += 1) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const following = yield* hasher.follow(path)
            following.advance(whole.length)
            yield* until(() => isOpen(path))
          })
        )
        assert.isFalse(isOpen(path))
      }
      assert.deepStrictEqual(yield* hasher.hash(path), digestsOf(whole))
    }).pipe(Effect.provide(onThreads(2)))
  )

  it.scoped("of several files at once gives the checksums of each", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const hasher = yield* Hasher
      const paths = ["a", "b", "c"].map((name) => `${folder}/${name}`)
      const all = yield* Effect.forEach(paths, (path) => hasher.follow(path))
      for (const path of paths) writeFileSync(path, whole)
      for (const { advance } of all) advance(whole.length)
      for (const { finish } of all.toReversed()) {
        assert.deepStrictEqual(yield* finish(whole.length), digestsOf(whole))
      }
    }).pipe(Effect.provide(onThreads(2)))
  )

  it.scoped("fails when the file is not what was written, or is gone, by name", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const hasher = yield* Hasher
      writeFileSync(`${folder}/short`, whole.subarray(1))
      writeFileSync(`${folder}/long`, Buffer.concat([whole, Buffer.alloc(1)]))
      symlinkSync("long", `${folder}/link`)
      writeFileSync(`${folder}/small`, "abc")
      const small = yield* Effect.flip((yield* hasher.follow(`${folder}/small`)).finish(4))
      assert.include(small.message, `${folder}/small for its checksums: it has 3 bytes where 4 were written`)
      for (const [name, words] of [
        ["short", `it has ${whole.length - 1} bytes where ${whole.length} were written`],
        ["long", `it has ${whole.length + 1} bytes where ${whole.length} were written`],
        ["link", "is a symbolic link"],
        ["nothing", "no such file"]
      ] as const) {
        const following = yield* hasher.follow(`${folder}/${name}`)
        following.advance(whole.length)
        const error = yield* Effect.flip(following.finish(whole.length))
        assert.strictEqual(error._tag, "HashError")
        assert.include(error.message, `${folder}/${name} for its checksums: ${words}`)
      }
    }).pipe(Effect.provide(onThreads(2)))
  )

  it.scoped("does not need the thread: when that dies the file is hashed all the same", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const mortal = `${folder}/worker.cjs`
      const real = readFileSync(yield* workerFile(), "utf8")
      const dying = `parentPort.on("message", ({ kind }) => { if (kind === "follow") process.exit(1) })`
      writeFileSync(mortal, `{ const { parentPort } = require("node:worker_threads"); ${dying} }\n${real}`)
      yield* Effect.gen(function* () {
        const path = `${folder}/file`
        const following = yield* Effect.flatMap(Hasher, (hasher) => hasher.follow(path))
        writeFileSync(path, whole)
        following.advance(whole.length)
        assert.deepStrictEqual(yield* following.finish(whole.length), digestsOf(whole))
      }).pipe(Effect.provide(withProgram(pathToFileURL(mortal))))
    })
  )
})
