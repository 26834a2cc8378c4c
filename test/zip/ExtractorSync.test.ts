import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import type { Runner } from "../../src/system/WorkerJob.ts"
import { Workers } from "../../src/system/Workers.ts"
import { Extractor } from "../../src/zip/Archiver.ts"
import { failingSyncSyncs, recordedOrder } from "../support/program/fileHandles.ts"
import { folder } from "../support/program/job.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { put } from "../support/zip/archive.ts"
import type { HandMade } from "../support/zip/handMade.ts"
import { restorePlace } from "../support/zip/restore.ts"

describe("a power cut", () => {
  it.scoped(
    "leaves each replaced file as it was or whole: content is synced before its name, folders before the end",
    () =>
      Effect.gen(function* () {
        const { out, prepare } = yield* restorePlace
        for (const name of ["a", "b/c", "b/d"]) put(`${out}/${name}`, "the one before")
        const { carryOut } = yield* prepare([
          { name: "a", content: "new" },
          { name: "b/" },
          { name: "b/c", content: Buffer.alloc(3_000_000, "content"), deflated: true },
          { name: "b/d", content: "new" },
          { name: "b/new", content: "new" }
        ])
        const steps = yield* recordedOrder
        assert.strictEqual((yield* carryOut).failures.count, 0)
        const ino = (name: string) => statSync(`${out}/${name}`).ino
        const replaced = ["a", "b/c", "b/d"].flatMap((name) => [`sync ${ino(name)}`, `rename ${ino(name)}`])
        assert.deepStrictEqual(steps, [...replaced, `sync ${ino(".")}`, `sync ${ino("b")}`])
      }).pipe(Effect.provide(Extractor.layer))
  )
})

/** For the length of the scope, no sync of a whole file system works. */
const noWholeSync = Effect.flatMap(temporaryFolder, (bin) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      writeFileSync(`${bin}/sync`, "#!/bin/sh\nexit 1\n", { mode: 0o755 })
      const { PATH: before = "" } = process.env
      process.env["PATH"] = `${bin}:${before}`
      return before
    }),
    (before) =>
      Effect.sync(() => {
        process.env["PATH"] = before
      })
  )
)

describe("DIR that another process renames when its files are written", () => {
  for (const sync of [true, false]) {
    it.scopedLive(`fails the restore, ${sync ? "after the sync" : "without a sync, too"}`, () =>
      Effect.gen(function* () {
        const { prepare, root } = yield* restorePlace
        const base = yield* Workers
        for (const [name, put, what] of [
          ["gone", () => {}, "cannot be looked at any more: no such file or directory (ENOENT)"],
          ["replaced", mkdirSync, "is another folder now"]
        ] as const) {
          const dir = `${root}/${name}`
          const run: Runner["run"] = async (job, input, signal) => {
            const output = await base.run(job, input, signal)
            if (job.name === "extract") {
              renameSync(dir, `${root}/${name} away`)
              put(dir)
            }
            return output
          }
          const { carryOut } = yield* prepare([{ name: "a", content: "new" }], { sync }, dir).pipe(
            Effect.provide(Extractor.layer),
            Effect.provideService(Workers, { ...base, run })
          )
          const { message } = yield* Effect.flip(carryOut)
          assert.include(message, `${dir} ${what}; what was restored is not there, as another process`)
          assert.deepStrictEqual(readdirSync(`${root}/${name} away`), ["a"])
        }
      })
    )
  }
})

describe("a restore that is to be synced", () => {
  const entries: ReadonlyArray<HandMade> = [
    { name: "a", content: "new" },
    { name: "b/" },
    { name: "b/c", content: Buffer.alloc(3_000_000, "content"), deflated: true }
  ]

  it.scoped("syncs each file, each folder, and once those that DIR is made in, where nothing syncs them at once", () =>
    Effect.gen(function* () {
      const { out, prepare, root } = yield* restorePlace
      yield* noWholeSync
      const name = folder("ABCD")
      const { carryOut } = yield* prepare(entries, { sync: true, name })
      const steps = yield* recordedOrder
      const { failures, unsynced } = yield* carryOut
      assert.deepStrictEqual([failures.count, unsynced], [0, undefined])
      const paths = ["ABCD/a", "ABCD/b/c", "ABCD/b", "ABCD", "", "../"].map((path) => `${out}/${path}`)
      assert.strictEqual(statSync(`${out}/..`).ino, statSync(root).ino)
      assert.deepStrictEqual(
        steps,
        paths.map((path) => `sync ${statSync(path).ino}`)
      )
      const before = steps.length
      const alone = yield* prepare([{ name: "b/" }], { sync: true }, `${root}/alone`)
      yield* alone.carryOut
      const folders = ["alone/b", "alone", ""].map((path) => `sync ${statSync(`${root}/${path}`).ino}`)
      assert.deepStrictEqual(steps.slice(before), folders)
    }).pipe(Effect.provide(Extractor.layer))
  )

  it.scoped("ends at a signal between two syncs of folders, and says that it was not synced", () =>
    Effect.gen(function* () {
      const { prepare, root } = yield* restorePlace
      yield* noWholeSync
      const many = Array.from({ length: 100 }, (_, index) => ({ name: `${100 + index}/` }))
      for (const [at, synced] of [
        ["finishFolders", 64],
        ["syncFolders", 101]
      ] as const) {
        const restoring = yield* Deferred.make<Fiber.RuntimeFiber<unknown, unknown>>()
        const runPromise = Runtime.runPromise(yield* Effect.runtime())
        const base = yield* Workers
        const run: Runner["run"] = async (job, input, signal) => {
          const output = await base.run(job, input, signal)
          if (job.name === at) await runPromise(Effect.flatMap(Deferred.await(restoring), Fiber.interruptFork))
          return output
        }
        const { carryOut, soFar } = yield* prepare(many, { sync: true }, `${root}/${at}`).pipe(
          Effect.provide(Extractor.layer),
          Effect.provideService(Workers, { ...base, run })
        )
        const steps = yield* recordedOrder
        const fiber = yield* Effect.fork(carryOut)
        yield* Deferred.succeed(restoring, fiber)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
        assert.deepInclude(soFar(), { folders: 100, unsynced: "it was stopped" })
        assert.strictEqual(steps.length, synced)
      }
    })
  )

  it.scoped("names a file that cannot be synced, and says so of a folder", () =>
    Effect.gen(function* () {
      const { out, prepare } = yield* restorePlace
      yield* noWholeSync
      const { carryOut } = yield* prepare([{ name: "a", content: "new" }], { sync: true })
      const file = yield* Effect.scoped(Effect.zipRight(failingSyncSyncs("EIO"), carryOut))
      assert.deepStrictEqual([file.missing, readdirSync(out)], [1, []])
      const empty = yield* prepare([{ name: "b/" }], { sync: true })
      const folders = yield* Effect.scoped(Effect.zipRight(failingSyncSyncs("EIO"), empty.carryOut))
      assert.deepStrictEqual([folders.missing, folders.failures.count], [0, 0])
      assert.include(folders.unsynced, "EIO")
    }).pipe(Effect.provide(Extractor.layer))
  )
})

describe("a file system that cannot sync", () => {
  it.scoped("gets its files replaced all the same; an error of a disk keeps the one before", () =>
    Effect.gen(function* () {
      const { out, prepare } = yield* restorePlace
      for (const code of ["EINVAL", "ENOSYS", "ENOTSUP", "EIO"]) {
        put(`${out}/a`, "the one before")
        const { carryOut } = yield* prepare([{ name: "a", content: code }])
        const { failures } = yield* Effect.scoped(Effect.zipRight(failingSyncSyncs(code), carryOut))
        assert.strictEqual(failures.count, code === "EIO" ? 1 : 0, code)
        assert.strictEqual(readFileSync(`${out}/a`, "utf8"), code === "EIO" ? "the one before" : code)
      }
    }).pipe(Effect.provide(Extractor.layer))
  )
})
