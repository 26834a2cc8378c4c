import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { inProcess } from "../../src/system/WorkerJob.ts"
import { verifyZip } from "../../src/zip/VerifyZip.ts"
import { isArchiveError } from "../../src/zip/ZipError.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { installed } from "../support/programs.ts"
import { readZip } from "../support/readZip.ts"
import { archiveAndVerify, layers, noise, put, run, viewOf } from "../support/zip/archive.ts"

const signal = new AbortController().signal

/** Undefined when the zip is found good. Anything but an ArchiveError is thrown. */
const failure = (verification: Promise<void>) =>
  verification.then(
    () => undefined,
    (cause: unknown) => {
      if (isArchiveError(cause)) return cause
      throw cause
    }
  )

const flip = (zip: Buffer, bit: number): Buffer => {
  const damaged = Buffer.from(zip)
  damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return damaged
}

describe("verification", () => {
  it.scoped("finds every single bit that is flipped anywhere in a zip", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      // Two, which are inflated in one call.
      put(`${root}/ABCD/deflated`, "ab".repeat(50))
      put(`${root}/ABCD/deflated2`, "cd".repeat(40))
      mkdirSync(`${root}/ABCD/d`)
      put(Buffer.concat([Buffer.from(`${root}/ABCD/raw`), Buffer.from([0xff])]), "stored")
      const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const zip = readFileSync(`${root}/a.zip`)

      // What DEFLATE leaves unused behind the end of its data means nothing to anybody.
      const entries = yield* Stream.runCollect(Stream.fromAsyncIterable(readZip(`${root}/a.zip`, signal), String))
      const deflated = [...entries].filter(({ method }) => method === "deflate")
      assert.strictEqual(deflated.length, 2)
      const padding = new Set(deflated.flatMap(({ end }) => [0, 1, 2, 3, 4, 5, 6, 7].map((bit) => (end - 1) * 8 + bit)))

      const unseen: Array<number> = []
      for (let bit = 0; bit < zip.length * 8; bit += 1) {
        writeFileSync(`${root}/b.zip`, flip(zip, bit))
        const found = yield* Effect.promise(() => failure(verifyZip(`${root}/b.zip`, manifest, signal, inProcess)))
        if (found === undefined && !padding.has(bit)) unseen.push(bit)
      }
      assert.deepStrictEqual(unseen, [])
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("finds a zip that was cut off or added to, wherever", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/a`, "ab".repeat(50))
      put(`${root}/ABCD/b`, "b")
      const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const zip = readFileSync(`${root}/a.zip`)
      const broken: Array<Buffer> = [Buffer.concat([zip, Buffer.from("x")]), Buffer.concat([Buffer.from("x"), zip])]
      for (let length = 0; length < zip.length; length += 1) broken.push(zip.subarray(0, length))
      for (const bytes of broken) {
        writeFileSync(`${root}/b.zip`, bytes)
        const found = yield* Effect.promise(() => failure(verifyZip(`${root}/b.zip`, manifest, signal, inProcess)))
        assert.strictEqual(found?.reason, "Corrupt", `${bytes.length} bytes`)
      }
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("finds bytes that are hidden between two entries", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/a`, "first")
      put(`${root}/ABCD/b`, "second")
      const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const zip = readFileSync(`${root}/a.zip`)
      const record = Buffer.from([0x50, 0x4b, 1, 2])
      const gap = zip.indexOf(Buffer.from([0x50, 0x4b, 3, 4]), 4)
      const hidden = Buffer.concat([zip.subarray(0, gap), Buffer.from("hidden"), zip.subarray(gap)])
      const move = (at: number) => hidden.writeUInt32LE(hidden.readUInt32LE(at) + 6, at)
      move(hidden.indexOf(record, hidden.indexOf(record) + 4) + 42)
      move(hidden.length - 6)
      writeFileSync(`${root}/b.zip`, hidden)
      if (installed("unzip")) assert.strictEqual(run("unzip", ["-tq", `${root}/b.zip`]).status, 0)
      const found = yield* Effect.promise(() => failure(verifyZip(`${root}/b.zip`, manifest, signal, inProcess)))
      assert.include(found?.message, 'damaged at "b": it does not begin where the entry before it ends')
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("names the large entry in which a bit is flipped", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/1 deflated`, noise(700_000).toString("hex").repeat(2))
      put(`${root}/ABCD/2 stored`, noise(1_500_000))
      const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const zip = readFileSync(`${root}/a.zip`)
      const second = zip.indexOf("2 stored")
      for (let step = 1; step < 40; step += 1) {
        const at = Math.floor((zip.length * step) / 40)
        writeFileSync(`${root}/b.zip`, flip(zip, at * 8 + (step % 8)))
        const found = yield* Effect.promise(() => failure(verifyZip(`${root}/b.zip`, manifest, signal, inProcess)))
        assert.strictEqual(found?.reason, "Corrupt")
        assert.include(found?.message, at < second ? '"1 deflated"' : '"2 stored"')
      }
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("ends with the signal", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/a`, noise(2_000_000))
      const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const controller = new AbortController()
      const ended = verifyZip(`${root}/a.zip`, manifest, controller.signal, inProcess).then(
        () => "finished",
        (cause: unknown) => (isArchiveError(cause) ? cause.message : "aborted")
      )
      controller.abort()
      assert.strictEqual(yield* Effect.promise(() => ended), "aborted")
    }).pipe(Effect.provide(layers()))
  )
})
