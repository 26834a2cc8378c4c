import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import { Checksums } from "../../src/domain/FolderState.ts"
import { HashError, Hasher } from "../../src/services/Hasher.ts"
import { noise, run } from "../support/archive.ts"
import { failingCloses } from "../support/fileHandles.ts"
import { temporaryFolder } from "../support/log.ts"

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
    }).pipe(
      Effect.provide(
        Hasher.layerMemory({ a: [new HashError({ path: "a", message: "once", transient: true })] })
      )
    )
  )
})
