import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { restore } from "../../src/restore/Restore.ts"
import { type RestoreSummary, resultOf as resultOfAll } from "../../src/restore/RestoreResult.ts"
import type { TrackedFolder } from "../../src/runs/JobState.ts"
import { HashError } from "../../src/system/Hasher.ts"
import { Progress } from "../../src/system/Progress.ts"
import { ArchiveReader, Extractor } from "../../src/zip/Archiver.ts"
import { nothingRestored, type RestorePlan } from "../../src/zip/RestorePlan.ts"
import { ArchiveError, ExtractError } from "../../src/zip/ZipError.ts"
import { memoryExtractor } from "../doubles/Extractor.ts"
import { memoryHasher } from "../doubles/Hasher.ts"
import { folder } from "../support/program/job.ts"
import { capturedLog } from "../support/program/log.ts"
import {
  abcd,
  type Earlier,
  file,
  plan,
  requestFor,
  resultOf,
  run,
  setOf,
  worldOf
} from "../support/program/restoring.ts"

describe("restore", () => {
  it.effect("checks, plans for the file that was checked, and writes", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current", { file })
      const requests: Array<Parameters<typeof Extractor.Service.prepare>[0]> = []
      const done = yield* run([set], { requests }, { only: ["a"], overwrite: true })
      assert.strictEqual(resultOf(done), "restored")
      assert.deepStrictEqual(done.carriedOut, [set.zip])
      assert.deepStrictEqual(requests, [
        {
          zip: set.zip,
          file,
          files: 2,
          bytes: 30,
          to: "back",
          only: ["a"],
          overwrite: true,
          sync: true,
          triesNames: false,
          keepOut: ["/memory"]
        }
      ])
      assert.include(done.lines.at(-1), "Info: restored 2 files, 30 B to /back, ")
    })
  )

  it.effect(
    "looks into the zip only where its digests are not what was published, or the plan finds something wrong",
    () =>
      Effect.gen(function* () {
        const set = yield* setOf("current")
        const unread = Layer.mock(ArchiveReader, {})
        const world = Layer.mergeAll(worldOf([set]), unread, memoryExtractor({ plans: { [set.zip]: plan } }))
        assert.strictEqual(resultOfAll(yield* Effect.provide(restore(requestFor({})), world)), "restored")
        const misplaced = new ArchiveError({ reason: "Corrupt", path: set.zip, message: "a", transient: false })
        const planned = yield* run([set], { failures: [misplaced] })
        assert.deepStrictEqual([resultOf(planned), planned.carriedOut], ["restored", [set.zip]])
        const never = yield* run([set], { failures: [misplaced, misplaced] })
        assert.deepStrictEqual([resultOf(never), never.carriedOut], ["a", []])
      })
  )

  it.effect("tries names in DIR only of an archive that was found to be good", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current")
      const requests: Array<Parameters<typeof Extractor.Service.prepare>[0]> = []
      const plans = { [set.zip]: { ...plan, untried: { count: 1, first: [["a", "A"]] as const } } }
      const tried = () => requests.splice(0).map(({ triesNames }) => triesNames)
      assert.strictEqual(resultOf(yield* run([set], { plans, requests })), "restored")
      assert.deepStrictEqual(tried(), [false, true])
      const lost = yield* setOf("current", { state: undefined })
      yield* run([lost], { plans, requests })
      assert.deepStrictEqual(tried(), [true])
    })
  )

  it.effect("examines an archive whose digests could not be taken", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current")
      const failure = new HashError({ message: "no thread", transient: true })
      const hasher = memoryHasher({ [set.zip]: [failure] })
      const world = Layer.mergeAll(worldOf([set]), hasher, memoryExtractor({ plans: { [set.zip]: plan } }))
      assert.strictEqual(resultOfAll(yield* Effect.provide(restore(requestFor({})), world)), "restored")
    })
  )

  it.effect("writes nothing of an archive that has changed, and names the other one if it is there", () =>
    Effect.gen(function* () {
      const damaged = yield* setOf("current", {
        md5: `${"0".repeat(32)}  ABCD.zip\n`,
        metadata: undefined,
        state: undefined
      })
      const cases = [
        [
          [damaged, yield* setOf("previous")],
          "the archive before may be good: zipper restore ABCD --prev --to back --config c.json"
        ],
        [[damaged, yield* setOf("previous", { file: undefined })], "there is no archive before it; unzip takes"],
        [[damaged], "there is no archive before it; unzip takes"]
      ] as const
      for (const [sets, words] of cases) {
        const done = yield* run(sets)
        assert.strictEqual(resultOf(done), "refused")
        assert.deepStrictEqual(done.carriedOut, [])
        assert.include(
          done.lines.at(-1),
          `Error: nothing was written: /memory/ABCD/ABCD.zip cannot be relied on; ${words}`
        )
      }
    })
  )

  it.effect("says of an archive that is missing that it is", () =>
    Effect.gen(function* () {
      const done = yield* run([yield* setOf("current", { file: undefined })])
      assert.strictEqual(resultOf(done), "refused")
      assert.deepStrictEqual(done.lines, [
        "Error: ABCD.zip is missing",
        "Error: nothing was written: /memory/ABCD/ABCD.zip is missing; there is no archive before it"
      ])
    })
  )

  it.effect("tells of what killed restores left, whether it goes on or not", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current")
      const leftovers = { count: 1, first: ["a/.zipper-restore-1"] }
      const taken = { count: 1, first: [{ path: "a", is: "symlink", wanted: "file" } as const] }
      const go = yield* run([set], { plans: { [set.zip]: { ...plan, leftovers } } }, { overwrite: true })
      assert.match(go.lines[0] ?? "", /^Warning: .* is removed: a\/.zipper-restore-1$/)
      const stay = yield* run(
        [set],
        { plans: { [set.zip]: { ...plan, leftovers, conflicts: taken } } },
        { overwrite: true }
      )
      assert.match(stay.lines[0] ?? "", /^Warning: .* can be removed, /)
    })
  )

  it.effect("says that it waits for the disk: on the line of its progress, and once in the log, at debug level", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current")
      let unsynced: string | undefined
      const soFar = () => ({ ...nothingRestored, unsynced })
      const extractor = Layer.succeed(Extractor, {
        prepare: () =>
          Effect.succeed({ plan, carryOut: Effect.never, written: () => 10, soFar, dryRun: false, files: Stream.empty })
      })
      const labels: Array<string | undefined> = []
      const progress = Layer.succeed(Progress, {
        start: () => Effect.succeed(({ label }) => void labels.push(label))
      })
      const log = capturedLog()
      const fiber = yield* restore(requestFor({})).pipe(
        Effect.provide(Layer.mergeAll(worldOf([set]), extractor, log.layer, progress)),
        Logger.withMinimumLogLevel(LogLevel.Debug),
        Effect.fork
      )
      yield* TestClock.adjust("1 seconds")
      assert.isAbove(labels.length, 0)
      assert.deepStrictEqual([new Set(labels), log.lines], [new Set([undefined]), []])
      unsynced = "it was stopped"
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(labels.at(-1), "ABCD: waiting for the disk")
      assert.deepStrictEqual(log.lines, ["Debug: waiting for the disk: what was written to /back is being synced"])
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("stopped while it writes, it gives the summary of what is there", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current")
      const writing = yield* Deferred.make<void>()
      const there = { ...nothingRestored, files: 1, bytes: 10 }
      const carryOut = Effect.zipRight(Deferred.succeed(writing, undefined), Effect.never)
      const extractor = Layer.succeed(Extractor, {
        prepare: () =>
          Effect.succeed({ plan, carryOut, written: () => 10, soFar: () => there, dryRun: false, files: Stream.empty })
      })
      const log = capturedLog()
      const summaries: Array<RestoreSummary> = []
      const fiber = yield* restore(requestFor({}), {
        onStopped: (stopped) => Effect.sync(() => void summaries.push(...stopped))
      }).pipe(Effect.provide(Layer.mergeAll(worldOf([set]), extractor, log.layer)), Effect.fork)
      yield* Deferred.await(writing)
      yield* Fiber.interrupt(fiber)
      assert.deepInclude(summaries[0], { result: "incomplete", plan, restored: there })
      assert.deepStrictEqual(
        log.lines,
        summaries.flatMap(({ problems }) => problems).map((problem) => `Error: ${problem}`)
      )
      assert.include(log.lines[0], "stopped by a signal: /back is INCOMPLETE: 1 of 2 files is restored")
    })
  )

  it.effect("is not held up by what lies beside an archive that is good", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current", { md5: undefined })
      const done = yield* run([set])
      assert.strictEqual(resultOf(done), "restored")
      assert.deepStrictEqual(done.carriedOut, [set.zip])
      assert.deepStrictEqual(done.lines.slice(0, 1), [
        "Warning: ABCD.zip.md5 is missing; the archive itself is good and is restored"
      ])
    })
  )

  it.effect("calls an archive good only where something that was published says what it has to be", () =>
    Effect.gen(function* () {
      const bare = { md5: undefined, sha256: undefined, metadata: undefined, state: undefined }
      const set = yield* setOf("current", bare)
      const failures = { count: 1, first: [{ path: "b", error: "its CRC-32 is wrong", kind: "missing" as const }] }
      const results = { [set.zip]: { ...nothingRestored, files: 1, missing: 1, damaged: 1, failures } }
      const cases = [
        [
          [set],
          "there is no archive before it; unzip takes what can still be read of it: unzip /memory/ABCD/ABCD.zip -d DIR"
        ],
        [
          [set, yield* setOf("previous")],
          "the archive before may be good: zipper restore ABCD --prev --to DIR --config c.json"
        ]
      ] as const
      for (const [sets, advice] of cases) {
        const done = yield* run(sets, { results })
        assert.deepStrictEqual(done.lines, [
          "Warning: ABCD.zip.md5 is missing",
          "Warning: ABCD.zip.sha256 is missing",
          "Warning: metadata.json is missing",
          "Warning: nothing says what ABCD.zip has to be: only the CRC-32 of each file is checked",
          "Error: b: its CRC-32 is wrong",
          "Error: /back is INCOMPLETE: 1 of 2 files is restored; what was written of files that failed was removed",
          `Error: /memory/ABCD/ABCD.zip is damaged; ${advice}`
        ])
      }
      for (const known of ["md5", "sha256", "metadata", "state"] as const) {
        const { [known]: _, ...others } = bare
        const done = yield* run([yield* setOf("current", others)])
        assert.include(done.lines.join(), " is missing; the archive itself is good and is restored", known)
        assert.notInclude(done.lines.join(), "nothing says", known)
      }
    })
  )

  it.effect("writes nothing when something is in the way, when a pattern means nothing, or room is missing", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current")
      const conflict = { path: "a", is: "file", wanted: "file" } as const
      const cases: ReadonlyArray<readonly [Partial<RestorePlan>, string]> = [
        [{ conflicts: { count: 12, first: [conflict] } }, "nothing was written: 12 names of the archive are taken"],
        [{ meeting: { count: 1, first: [["A", "a"]] } }, "A and a: one name in /back"],
        [{ unmatched: ["x"] }, '--only "x": nothing in '],
        [{ needed: 1001 }, "nothing was written: 1001 B are needed in /back, and 1000 B are free there"]
      ]
      for (const [change, words] of cases) {
        const done = yield* run([set], { plans: { [set.zip]: { ...plan, ...change } } })
        assert.strictEqual(resultOf(done), "refused")
        assert.deepStrictEqual(done.carriedOut, [])
        assert.include(done.lines.join("\n"), words)
      }
    })
  )

  it.effect("warns of names that only a real restore can tell apart or not", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current")
      const untried = { count: 12, first: [["A", "a"] as const] }
      const done = yield* run([set], { plans: { [set.zip]: { ...plan, untried } } })
      assert.include(done.lines.join("\n"), "which is refused if it does not: A and a, and 11 more pairs")
    })
  )

  it.effect("warns where the room is enough only for sparse files", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current")
      const done = yield* run([set], { plans: { [set.zip]: { ...plan, neededAtMost: 1001 } } })
      assert.strictEqual(resultOf(done), "restored")
      assert.include(
        done.lines.join("\n"),
        "Warning: up to 1001 B are needed in /back, and 1000 B are free there: it is enough only if the files are sparse"
      )
    })
  )

  it.effect("says what is missing in the end, and why it was given up", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current")
      const failures = { count: 1, first: [{ path: "b", error: "no space left", kind: "missing" as const }] }
      const restored = {
        ...nothingRestored,
        files: 1,
        bytes: 10,
        failures,
        missing: 1,
        gaveUp: "no space left",
        unremoved: [".zipper-restore-1 cannot be removed"]
      }
      const done = yield* run([set], { results: { [set.zip]: restored } })
      assert.strictEqual(resultOf(done), "incomplete")
      assert.deepStrictEqual(done.lines, [
        "Warning: .zipper-restore-1 cannot be removed",
        "Error: b: no space left",
        "Error: /back is INCOMPLETE: 1 of 2 files is restored; stopped: no space left; what was written of files that failed was removed"
      ])
    })
  )

  it.effect("looks again when a run has published meanwhile, and not for ever", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current")
      const changed = () => new ExtractError({ reason: "Changed", message: "it was replaced" })
      const twice = yield* run([set], { failures: [changed(), changed()] })
      assert.strictEqual(resultOf(twice), "restored")
      const always = yield* run([set], { failures: Array.from({ length: 9 }, changed) })
      assert.strictEqual(resultOf(always), "it was replaced")
      const target = new ExtractError({ reason: "Target", message: "no folder" })
      assert.strictEqual(resultOf(yield* run([set], { failures: [target] })), "no folder")
    })
  )

  it.effect("a folder whose archives are all gone is no name that was never seen", () =>
    Effect.gen(function* () {
      const archived: TrackedFolder = {
        folder: abcd,
        result: "archived",
        last_attempt_utc: "2025-01-01T12:00:00Z",
        files: 2
      }
      const reasonOf = (earlier: Earlier) =>
        Effect.map(run([], {}, {}, earlier), ({ result }) =>
          Either.match(result, {
            onLeft: (error) => ["reason" in error ? error.reason : error._tag, error.message],
            onRight: (summaries) => summaries.map(({ result }) => result)
          })
        )
      const lost = [
        "Lost",
        "ABCD.zip is missing: nothing is left of the archives of this folder, and runs have published some; a new one, if the folder is still in the source: zipper run --config c.json --force --folder ABCD"
      ]
      assert.deepStrictEqual(yield* reasonOf({ recorded: [abcd] }), lost)
      assert.deepStrictEqual(yield* reasonOf({ state: [archived] }), lost)
      const { files: _, ...failed } = archived
      const never = yield* reasonOf({
        recorded: [folder("EFGH")],
        state: [{ ...failed, result: "failed" }]
      })
      assert.strictEqual(never[0], "UnknownFolder")
    })
  )

  it.effect("says which archives there are", () =>
    Effect.gen(function* () {
      const set = yield* setOf("current")
      assert.include(
        resultOf(yield* run([set], {}, { folders: [folder("EFGH")] })),
        "no archives of EFGH: there are ABCD"
      )
      assert.include(resultOf(yield* run([], {})), "there are none at all")
      assert.include(resultOf(yield* run([set], {}, { which: "previous" })), "has no previous archive")
    })
  )
})
