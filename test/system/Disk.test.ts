import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Disk } from "../../src/system/Disk.ts"
import {
  failingCloses,
  failingSyncs,
  fakedStatfs,
  flippedWrites,
  recordedSyncs
} from "../support/program/fileHandles.ts"
import { capturedLog } from "../support/program/log.ts"
import { scopedPlace } from "../support/store/storeKit.ts"

const setup = Effect.gen(function* () {
  const { root } = yield* scopedPlace
  return { disk: yield* Disk, at: (name: string) => path.join(root, name) }
})
const test = (name: string, body: Effect.Effect<void, unknown, Disk | import("effect/Scope").Scope>) =>
  it.scoped(name, () => body.pipe(Effect.provide(Disk.layer)))

describe("Disk", () => {
  test(
    "writes, reads, links, renames, copies, lists and removes",
    Effect.gen(function* () {
      const { at, disk } = yield* setup
      yield* disk.makeFolder(at("folder"), 0o700)
      yield* disk.write(at("folder/b"), "größer")
      yield* disk.link(at("folder/b"), at("folder/a"))
      yield* disk.copy(at("folder/b"), at("folder/c"))
      yield* disk.sync(at("folder/b"))
      yield* disk.sync(at("folder"))
      assert.deepStrictEqual(yield* disk.list(at("folder")), ["a", "b", "c"])
      const [a, b, c] = yield* Effect.all(["a", "b", "c"].map((name) => disk.stat(at(`folder/${name}`))))
      assert.strictEqual(a?.ino, b?.ino)
      assert.notStrictEqual(a?.ino, c?.ino)
      assert.strictEqual(a?.nlink, 2)
      assert.strictEqual(c?.size, 8)
      assert.strictEqual((yield* disk.stat(at("folder")))?.kind, "directory")
      yield* disk.rename(at("folder/c"), at("folder/a"))
      assert.strictEqual(yield* disk.read(at("folder/a")), "größer")
      for (const name of ["a", "b", "b"]) yield* disk.remove(at(`folder/${name}`))
      yield* disk.removeFolder(at("folder"))
      yield* disk.removeFolder(at("folder"))
      assert.isUndefined(yield* disk.stat(at("folder")))
      assert.isUndefined(yield* disk.read(at("folder/a")))
      assert.isAbove((yield* disk.free(at(""))) ?? 0, 0)
      yield* disk.writable(at(""))
    })
  )

  test(
    "never writes over anything, and follows no symlink",
    Effect.gen(function* () {
      const { at, disk } = yield* setup
      yield* disk.write(at("file"), "mine")
      fs.symlinkSync(at("file"), at("link"))
      fs.symlinkSync(at("nowhere"), at("dangling"))
      const code = (effect: Effect.Effect<unknown, { readonly code: string | undefined }>) =>
        Effect.map(Effect.flip(effect), (error) => error.code)
      assert.strictEqual(yield* code(disk.write(at("file"), "x")), "EEXIST")
      assert.strictEqual(yield* code(disk.write(at("dangling"), "x")), "EEXIST")
      assert.strictEqual(yield* code(disk.copy(at("file"), at("dangling"))), "EEXIST")
      assert.strictEqual(yield* code(disk.link(at("file"), at("link"))), "EEXIST")
      assert.strictEqual(yield* code(disk.makeFolder(at("file"))), "EEXIST")
      assert.include(["ELOOP", "EMLINK"], yield* code(disk.read(at("link"))))
      assert.include(["ELOOP", "EMLINK"], yield* code(disk.copy(at("link"), at("copy"))))
      assert.strictEqual((yield* disk.stat(at("link")))?.kind, "symlink")
      yield* disk.remove(at("link"))
      assert.strictEqual(yield* disk.read(at("file")), "mine")
      assert.isUndefined(yield* disk.stat(at("file/below")))
    })
  )

  test(
    "has synced what it wrote or copied, whole, and what it was told to sync",
    Effect.gen(function* () {
      const { at, disk } = yield* setup
      const synced = yield* recordedSyncs
      const stateOf = (name: string) => {
        const { ino, size } = fs.statSync(at(name))
        return { ino, size }
      }
      yield* disk.write(at("file"), "content")
      assert.deepStrictEqual(synced, [stateOf("file")])
      yield* disk.copy(at("file"), at("copy"))
      assert.deepStrictEqual(synced.slice(1), [stateOf("copy")])
      yield* disk.sync(at("file"))
      yield* disk.sync(at(""))
      assert.deepStrictEqual(synced.slice(2), [stateOf("file"), stateOf("")])
    })
  )

  test(
    "a copy is read back: a bit that flipped on the way, or before it, is noticed",
    Effect.gen(function* () {
      const { at, disk } = yield* setup
      yield* disk.write(at("file"), "content")
      const sha256 = createHash("sha256").update("content").digest("hex")
      yield* disk.copy(at("file"), at("good"), sha256)
      const other = yield* Effect.flip(disk.copy(at("file"), at("other"), "0".repeat(64)))
      assert.include(other.message, `${at("file")} was read with another SHA-256 (${sha256}) than it has to have`)
      yield* flippedWrites("/garbled")
      const { message, transient } = yield* Effect.flip(disk.copy(at("file"), at("garbled")))
      assert.include(message, `${at("garbled")} was read back with another SHA-256`)
      assert.isFalse(transient)
      assert.notStrictEqual(fs.readFileSync(at("garbled"), "utf8"), "content")
    })
  )

  test(
    "what is only read is read, whatever close says; what is written is not written",
    Effect.gen(function* () {
      const { at, disk } = yield* setup
      yield* disk.write(at("file"), "content")
      yield* failingCloses
      assert.strictEqual(yield* disk.read(at("file")), "content")
      assert.strictEqual((yield* Effect.flip(disk.write(at("other"), "content"))).code, "EIO")
    })
  )

  test(
    "a fifo in the place of a file does not block",
    Effect.gen(function* () {
      const { at, disk } = yield* setup
      execFileSync("mkfifo", [at("fifo")])
      for (const attempt of [disk.read(at("fifo")), disk.copy(at("fifo"), at("copy"))]) {
        assert.include((yield* Effect.flip(attempt)).message, "is not a regular file")
      }
    })
  )

  test(
    "a second name of a file that lies elsewhere is not written to",
    Effect.gen(function* () {
      const { at, disk } = yield* setup
      yield* disk.write(at("victim"), "content", 0o600)
      yield* disk.link(at("victim"), at("planted"))
      for (const attempt of [disk.append(at("planted"), "line"), disk.setMode(at("planted"), 0o644)]) {
        assert.include((yield* Effect.flip(attempt)).message, "another name elsewhere")
      }
      assert.strictEqual(yield* disk.read(at("victim")), "content")
      assert.strictEqual(((yield* disk.stat(at("victim")))?.mode ?? 0) & 0o777, 0o600)
    })
  )

  test(
    "errors say what failed on what and why",
    Effect.gen(function* () {
      const { at, disk } = yield* setup
      const error = yield* Effect.flip(disk.rename(at("a"), at("b")))
      assert.strictEqual(error.message, `cannot rename ${at("a")} to ${at("b")}: no such file or directory (ENOENT)`)
      assert.isFalse(error.transient)
    })
  )

  test(
    "copies large files whole, and stops when it is interrupted",
    Effect.gen(function* () {
      const { at, disk } = yield* setup
      const content = Buffer.alloc(9 * 1024 * 1024 + 1, "abc")
      fs.writeFileSync(at("large"), content)
      yield* disk.copy(at("large"), at("copy"))
      assert.isTrue(fs.readFileSync(at("copy")).equals(content))
      fs.truncateSync(at("large"), 1e12)
      const fiber = yield* Effect.fork(disk.copy(at("large"), at("endless")))
      while (!fs.existsSync(at("endless")) || fs.statSync(at("endless")).size === 0) {
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      }
      yield* Fiber.interrupt(fiber)
      const size = fs.statSync(at("endless")).size
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      assert.strictEqual(fs.statSync(at("endless")).size, size)
    })
  )
})

describe("Disk on file systems that cannot do everything", () => {
  const logged = (body: Effect.Effect<void, unknown, Disk | import("effect/Scope").Scope>) => {
    const log = capturedLog()
    return body.pipe(Effect.provide(Disk.layer), Effect.provide(log.layer), Effect.scoped, Effect.as(log.lines))
  }

  it.scoped("what cannot be synced there is told once, and fails nothing", () =>
    Effect.gen(function* () {
      for (const code of ["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]) {
        const lines = yield* logged(
          Effect.gen(function* () {
            const { at, disk } = yield* setup
            yield* failingSyncs(code)
            yield* disk.write(at("file"), "content")
            yield* disk.copy(at("file"), at("copy"))
            yield* disk.append(at("file"), " and more")
            for (const name of ["", "file", ""]) yield* disk.sync(at(name))
            assert.strictEqual(yield* disk.read(at("copy")), "content")
          })
        )
        assert.strictEqual(lines.length, 2, lines.join())
        assert.match(lines[0] ?? "", new RegExp(`does not sync files \\(${code}\\)`))
        assert.match(lines[1] ?? "", new RegExp(`does not sync folders \\(${code}\\)`))
      }
    })
  )

  it.scoped("EPERM is said of folders that way; anything else, and EPERM of a file, is a failure", () =>
    Effect.gen(function* () {
      const lines = yield* logged(
        Effect.gen(function* () {
          const { at, disk } = yield* setup
          fs.writeFileSync(at("file"), "")
          const eperm = yield* failingSyncs("EPERM")
          yield* disk.sync(at(""))
          assert.strictEqual((yield* Effect.flip(disk.sync(at("file")))).code, "EPERM")
          eperm.mockRestore()
          yield* failingSyncs("EIO")
          for (const name of ["", "file"]) {
            assert.strictEqual((yield* Effect.flip(disk.sync(at(name)))).code, "EIO")
          }
          assert.strictEqual((yield* Effect.flip(disk.write(at("new"), "content"))).code, "EIO")
        })
      )
      assert.strictEqual(lines.length, 1, lines.join())
    })
  )

  test(
    "how much is free is unknown where nothing is told, and nothing where all is used",
    Effect.gen(function* () {
      const { at, disk } = yield* setup
      const figures = { type: 0, bsize: 512, blocks: 0, bfree: 0, bavail: 0, files: 0, ffree: 0 }
      const both = Effect.all([disk.free(at("")), disk.freeInodes(at(""))])
      const statfs = yield* fakedStatfs
      statfs.mockResolvedValue(figures)
      assert.deepStrictEqual(yield* both, [undefined, undefined])
      statfs.mockRejectedValue(Object.assign(new Error("ENOSYS: function not implemented, statfs"), { code: "ENOSYS" }))
      assert.deepStrictEqual(yield* both, [undefined, undefined])
      statfs.mockResolvedValue({ ...figures, blocks: 10, files: 10 })
      assert.deepStrictEqual(yield* both, [0, 0])
      statfs.mockResolvedValue({ ...figures, blocks: 10, bavail: 2 ** 64 - 1, files: 10, ffree: 3 })
      assert.deepStrictEqual(yield* both, [0, 3])
      statfs.mockRejectedValue(Object.assign(new Error("ENOENT: no such file, statfs"), { code: "ENOENT" }))
      assert.strictEqual((yield* Effect.flip(disk.free(at("")))).code, "ENOENT")
    })
  )
})
