import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Ref from "effect/Ref"
import { JobStateError, type TrackedFolder } from "../../src/runs/JobState.ts"
import { allGood, failuresOf, type VerifySummary } from "../../src/runs/VerifyResult.ts"
import type { FolderName } from "../../src/source/FolderName.ts"
import * as ChecksumFile from "../../src/store/Metadata.ts"
import { ArchivesError, namesOf, type PublishedArchive, type Which } from "../../src/store/PublishedArchive.ts"
import { verify } from "../../src/verify/Verify.ts"
import { ArchiveReader } from "../../src/zip/Archiver.ts"
import { type MemoryZip, memoryArchiveReader } from "../doubles/ArchiveReader.ts"
import { memoryHasher } from "../doubles/Hasher.ts"
import { type MemoryJobStates, memoryJobStates, noJobStates } from "../doubles/JobStates.ts"
import { memoryProgress, type Shown } from "../doubles/Progress.ts"
import { memoryArchives } from "../doubles/PublishedArchives.ts"
import { folder } from "../support/program/job.ts"
import { setOf, zipOf } from "../support/zip/sets.ts"

const statesOf = (folders: ReadonlyArray<TrackedFolder> | JobStateError) =>
  Ref.make<MemoryJobStates>({
    ...noJobStates,
    ...(folders instanceof JobStateError ? { unreadable: folders } : {}),
    states: new Map(
      folders instanceof JobStateError
        ? []
        : [
            [
              "archive",
              {
                version: 1 as const,
                kind: "archive" as const,
                last_run: {
                  run: "r",
                  started_at_utc: "2025-01-01T12:00:00Z",
                  seconds: 1,
                  outcome: "ok" as const,
                  bytes: 0,
                  failures: 0
                },
                folders
              }
            ]
          ]
    )
  })

const good: MemoryZip = { files: 2, bytes: 30, complete: true, flaws: [], names: ["a", "b"] }
const foreign: MemoryZip = {
  files: 0,
  bytes: 0,
  complete: false,
  foreign: true,
  flaws: [{ entry: '"a"', problem: "it was not made by this program (version made by)" }],
  names: []
}
const damaged: MemoryZip = { ...good, flaws: [{ entry: '"b"', problem: "its CRC-32 is wrong" }] }

/** What runs remember of a folder that they archived. */
const archived = (name: FolderName): TrackedFolder => ({
  folder: name,
  result: "archived",
  last_attempt_utc: "2025-01-01T12:00:00Z",
  files: 2
})

/** Verifies these sets: the exit, what was said, what was shown. */
const run = (
  sets: Array<PublishedArchive>,
  options: {
    readonly folders?: ReadonlyArray<FolderName>
    readonly which?: Which
    readonly zips?: Readonly<Record<string, MemoryZip>>
    /** By the indexes of archives, and by the state of the job. */
    readonly recorded?: ReadonlyArray<FolderName> | ArchivesError
    readonly state?: ReadonlyArray<TrackedFolder> | JobStateError
    readonly config?: string
    /** Before each reading of a zip. */
    readonly before?: (reading: number) => void
    /** The reading that never ends. */
    readonly hangs?: number
    readonly onUnfinished?: (summary: VerifySummary) => Effect.Effect<void>
    readonly lines?: Array<string>
  } = {}
) =>
  Effect.gen(function* () {
    const { config = "c.json" } = options
    const lines: Array<string> = options.lines ?? []
    const shown: Array<Shown> = []
    const zips = Object.fromEntries(sets.map(({ zip }) => [zip, good]))
    let readings = 0
    const reader = memoryArchiveReader({ ...zips, ...options.zips })
    const counted = Layer.effect(
      ArchiveReader,
      Effect.map(ArchiveReader, (inner) => ({
        ...inner,
        audit: (path, wanted) => {
          readings += 1
          options.before?.(readings)
          return readings === options.hangs ? Effect.never : inner.audit(path, wanted)
        }
      }))
    ).pipe(Layer.provide(reader))
    const exit = yield* Effect.exit(
      verify({
        folders: options.folders ?? [],
        which: options.which ?? "current",
        words: { place: ["--config", config], job: ["--config", config] },
        ...(options.onUnfinished === undefined ? {} : { onUnfinished: options.onUnfinished })
      })
    ).pipe(
      Effect.provide(
        Layer.mergeAll(
          memoryArchives(sets, options.recorded),
          memoryJobStates(yield* statesOf(options.state ?? [])),
          counted,
          memoryHasher(),
          memoryProgress(shown),
          Logger.replace(
            Logger.defaultLogger,
            Logger.make(({ logLevel, message }) => {
              lines.push(`${logLevel.label} ${String(message)}`)
            })
          )
        )
      )
    )
    return { exit, lines, shown, readings }
  })

const abcd = folder("ABCD")
const efgh = folder("EFGH")

const summaryOf = <A, E>(exit: Exit.Exit<A, E>): A => {
  if (Exit.isFailure(exit)) throw new Error(`failed: ${String(exit.cause)}`)
  return exit.value
}

const failureOf = <A, E>(exit: Exit.Exit<A, E>): unknown =>
  Exit.isFailure(exit) && exit.cause._tag === "Fail" ? exit.cause.error : undefined

describe("verify, where a record of what was published cannot be read", () => {
  const broken = new ArchivesError({ message: "cannot list the index: I/O error (EIO)" })
  const away = new JobStateError({ message: "cannot read how things stand: I/O error (EIO)" })
  const cases = [
    [{ recorded: broken, state: [archived(efgh)] }, [broken.message]],
    [{ recorded: [efgh], state: away }, [away.message]]
  ] as const

  it.effect.each(cases)("uses the other one, and does not call all of them good", ([options, problems]) =>
    Effect.gen(function* () {
      const { exit, lines } = yield* run([yield* setOf(abcd, "current")], options)
      const summary = summaryOf(exit)
      assert.deepStrictEqual(
        summary.folders.map(({ folder, result }) => `${folder} ${result}`),
        ["ABCD good", "EFGH missing"]
      )
      const said = problems.map((problem) => `a folder that lost all its archives may go unnoticed: ${problem}`)
      assert.deepStrictEqual(summary.unread, said)
      assert.include(lines, `ERROR ${said[0]}`)
    })
  )

  it.effect("is a failure of its own, not one of a folder that was asked for", () =>
    Effect.gen(function* () {
      const sets = [yield* setOf(abcd, "current")]
      const all = summaryOf((yield* run(sets, { recorded: broken, state: away })).exit)
      assert.strictEqual(all.good, 1)
      assert.isFalse(allGood(all))
      assert.strictEqual(failuresOf(all)[0]?.name, "records of what was published")
      const one = summaryOf((yield* run(sets, { recorded: broken, folders: [abcd] })).exit)
      assert.isTrue(allGood(one))
    })
  )
})

describe("verify", () => {
  it.effect("says of each archive that it is good, and shows the bytes of all", () =>
    Effect.gen(function* () {
      const sets = [yield* setOf(efgh, "current"), yield* setOf(abcd, "current")]
      const { exit, lines, shown } = yield* run(sets)
      assert.isTrue(allGood(summaryOf(exit)))
      assert.deepStrictEqual(lines, [
        "INFO 2 files, 30 B, good (0.0 s)",
        "INFO 2 files, 30 B, good (0.0 s)",
        "INFO 2 good, 0 damaged; 200 B read in 0.0 s"
      ])
      assert.deepStrictEqual(
        shown.map(({ figures, open }) => [figures.at(-1)?.done, figures.at(-1)?.total, open]),
        [[200, 200, false]]
      )
    })
  )

  it.effect("says, when a signal ends it, what was not read", () =>
    Effect.gen(function* () {
      const sets = yield* Effect.forEach(["ABCD", "EFGH", "IJKL"], (name) => setOf(folder(name), "current"))
      const lines: Array<string> = []
      const unfinished: Array<VerifySummary> = []
      const onUnfinished = (done: VerifySummary) => Effect.sync(() => unfinished.push(done))
      const fiber = yield* Effect.fork(run(sets, { hangs: 2, lines, onUnfinished }))
      yield* Effect.yieldNow().pipe(Effect.repeatN(200))
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(lines.slice(1), [
        "ERROR stopped by a signal: EFGH, IJKL were not read; no archive was changed; 1 archive was done"
      ])
      assert.deepStrictEqual(
        unfinished.map(({ errors, folders, good }) => ({ errors, folders: folders.map(({ folder }) => folder), good })),
        [{ errors: ["stopped by a signal before it was done"], folders: [folder("ABCD")], good: 1 }]
      )
    })
  )

  it.effect("names what is damaged, says what to do, and goes on", () =>
    Effect.gen(function* () {
      const sets = [yield* setOf(abcd, "current"), yield* setOf(efgh, "current")]
      const { exit, lines } = yield* run(sets, { zips: { [zipOf(abcd, "current")]: damaged } })
      const summary = summaryOf(exit)
      assert.isFalse(allGood(summary))
      assert.deepStrictEqual(lines.slice(0, 2), [
        'ERROR ABCD.zip at "b": its CRC-32 is wrong',
        [
          "ERROR what to do: no other archive of it is good. What can still be read of this one:",
          "  unzip /memory/ABCD/ABCD.zip -d DIR",
          "a new archive, of what is in the source now:",
          "  zipper run --config c.json --force --folder ABCD"
        ].join("\n")
      ])
      const { damaged: bad, folders, good: fine } = summary
      assert.deepStrictEqual([bad, fine, folders.map(({ result }) => result)], [1, 1, ["damaged", "good"]])
    })
  )

  it.effect("an archive that is replaced while it is read is looked at again, and not called damaged", () =>
    Effect.gen(function* () {
      const before = yield* setOf(abcd, "current", { md5: "of the archive before" })
      const now = yield* setOf(abcd, "current")
      const sets: Array<PublishedArchive> = [before]
      const { exit, readings } = yield* run(sets, {
        before: () => {
          sets[0] = now
        }
      })
      assert.isTrue(allGood(summaryOf(exit)))
      assert.strictEqual(readings, 2)
      // Each time.
      const always: Array<PublishedArchive> = [before]
      const again = yield* run(always, {
        before: (reading) => {
          always[0] = { ...before, md5: `another ${reading}` }
        }
      })
      assert.deepStrictEqual(
        summaryOf(again.exit).folders.map(({ result }) => result),
        ["unsettled"]
      )
      assert.strictEqual(again.readings, 3)
    })
  )

  it.effect("says that a publication was interrupted, instead of calling its files damaged", () =>
    Effect.gen(function* () {
      const set = yield* setOf(abcd, "current", { md5: "of the archive before", interrupted: true })
      const { exit, lines } = yield* run([set])
      assert.deepStrictEqual(
        summaryOf(exit).folders.map(({ result }) => result),
        ["unsettled"]
      )
      assert.include(lines[0], "the next run finishes or undoes it")
      assert.strictEqual(lines[1], "ERROR ABCD.zip.md5 is damaged: it is no checksum file")
      assert.include(lines.at(-2), "\n  zipper run --config c.json\n  zipper verify --config c.json ABCD")
      // It does not make an entry's CRC-32 wrong.
      const hidden = yield* run([set], { zips: { [zipOf(abcd, "current")]: damaged } })
      assert.deepStrictEqual(
        summaryOf(hidden.exit).folders.map(({ findings, result }) => [result, findings.at(1)?.problem]),
        [["damaged", "its CRC-32 is wrong"]]
      )
      assert.include(hidden.lines.join("\n"), 'ABCD.zip at "b": its CRC-32 is wrong')
      // What is whole all the same is good.
      const whole = yield* run([yield* setOf(abcd, "current", { interrupted: true })])
      assert.isTrue(allGood(summaryOf(whole.exit)))
    })
  )

  it.effect("an archive that is not there is missing only when it was asked for", () =>
    Effect.gen(function* () {
      const sets = [yield* setOf(abcd, "current"), yield* setOf(abcd, "previous"), yield* setOf(efgh, "current")]
      const { exit, lines } = yield* run(sets, { which: "previous" })
      const all = summaryOf(exit)
      assert.strictEqual(allGood(all) && all.folders.map(({ folder }) => folder).join(), abcd)
      assert.include(lines.join("\n"), "EFGH: no archive before the current one yet")
      const asked = summaryOf((yield* run(sets, { which: "previous", folders: [efgh] })).exit)
      assert.isFalse(allGood(asked))
      assert.deepStrictEqual(
        asked.folders.map(({ result }) => result),
        ["missing"]
      )
      // A current archive is never missing when all is well.
      const onlyBefore = summaryOf((yield* run([yield* setOf(efgh, "previous")])).exit)
      assert.deepStrictEqual(
        onlyBefore.folders.map(({ result }) => result),
        ["missing"]
      )
    })
  )

  it.effect("a zip that is not there is missing, whatever lies beside it", () =>
    Effect.gen(function* () {
      const sets = yield* Effect.all([setOf(abcd, "current"), setOf(abcd, "previous")])
      for (const [index, which] of (["current", "previous"] as const).entries()) {
        const without = sets.map((set, at) => (at === index ? { ...set, file: undefined } : set))
        const { exit, lines } = yield* run(without, { which })
        assert.deepInclude(summaryOf(exit), { missing: 1, damaged: 0 })
        assert.strictEqual(lines[0], `ERROR ${namesOf(abcd, which).zip} is missing`)
        const said = lines.find((line) => line.includes("what to do")) ?? ""
        assert.include(said, "is good. Files from there:\n  zipper restore ABCD ")
        assert.include(
          said,
          which === "current"
            ? "\n  zipper run --config c.json --force --folder ABCD"
            : "\nthe next archive that is published for ABCD takes its place"
        )
        assert.notInclude(said, "rm -f")
        // A symlink in its place is there, and no archive.
        const zip = namesOf(abcd, which).zip
        const obstacles = [{ file: zip, problem: "is a symlink, not a file" }]
        const linked = sets.map((set, at) => (at === index ? { ...set, file: undefined, obstacles } : set))
        assert.deepInclude(summaryOf((yield* run(linked, { which })).exit), {
          missing: 0,
          damaged: 1
        })
      }
    })
  )

  it.effect("sends nobody to an archive that is not good, in commands for a shell", () =>
    Effect.gen(function* () {
      const sets = [yield* setOf(abcd, "current"), yield* setOf(abcd, "previous")]
      const [current, previous] = [zipOf(abcd, "current"), zipOf(abcd, "previous")]
      const said = (zips: Readonly<Record<string, MemoryZip>>, which: Which = "current") =>
        Effect.map(
          run(sets, { zips, which, config: "my config's.json" }),
          ({ lines }) => lines.filter((line) => line.includes("what to do"))[0]
        )
      assert.strictEqual(
        yield* said({ [current]: damaged }),
        [
          "ERROR what to do: the archive before it is good. Files from there:",
          "  zipper restore ABCD --prev --to DIR --config 'my config'\\''s.json'",
          "a new archive, of what is in the source now:",
          "  zipper run --config 'my config'\\''s.json' --force --folder ABCD"
        ].join("\n")
      )
      assert.strictEqual(
        yield* said({ [previous]: damaged }, "previous"),
        [
          "ERROR what to do: the current archive is good. Files from there:",
          "  zipper restore ABCD --to DIR --config 'my config'\\''s.json'",
          "the next archive that is published for ABCD takes its place"
        ].join("\n")
      )
      const both = yield* said({ [current]: damaged, [previous]: damaged })
      assert.notInclude(both, "restore")
      assert.include(both, "\n  unzip /memory/ABCD/ABCD.zip -d DIR\n")
      assert.include(
        yield* said({ [current]: damaged, [previous]: foreign }),
        "Files from there:\n  unzip /memory/ABCD/ABCD.prev.zip -d DIR\n"
      )
      // The archive itself is good.
      const beside = yield* run([yield* setOf(abcd, "current", { sha256: undefined })])
      assert.strictEqual(
        beside.lines[1],
        [
          "ERROR what to do: nothing is lost: the archive itself is good, and can be restored",
          "a new archive, of what is in the source now:",
          "  zipper run --config c.json"
        ].join("\n")
      )
    })
  )

  it.effect("folders that were archived, and of which nothing is left, are missing", () =>
    Effect.gen(function* () {
      const sets = [yield* setOf(abcd, "current"), yield* setOf(abcd, "previous")]
      const neverArchived: TrackedFolder = {
        folder: folder("NONE"),
        result: "failed",
        last_attempt_utc: "2025-01-01T12:00:00Z"
      }
      const options = { recorded: [abcd, efgh], state: [archived(folder("WXYZ")), neverArchived] }
      for (const which of ["current", "previous"] as const) {
        const { exit, lines } = yield* run(sets, { ...options, which })
        const summary = summaryOf(exit)
        assert.isFalse(allGood(summary))
        assert.deepStrictEqual(
          summary.folders.map(({ folder, result }) => `${folder} ${result}`),
          ["ABCD good", "EFGH missing", "WXYZ missing"]
        )
        assert.include(lines[1], "nothing is left of the archives of this folder")
        assert.include(lines[2], "\n  zipper run --config c.json --force --folder EFGH\n")
        assert.include(lines[2], "\n  rm -f /memory/.zipper/index/EFGH")
      }
      // Also when none is left at all, or when it is asked for.
      const all = summaryOf((yield* run([], options)).exit)
      assert.deepStrictEqual(all.missing, 3)
      const asked = summaryOf((yield* run(sets, { ...options, folders: [efgh] })).exit)
      assert.deepStrictEqual(asked.missing, 1)
    })
  )

  it.effect("an archive that another program made is called that, and is no alarm", () =>
    Effect.gen(function* () {
      const zips = { [zipOf(abcd, "current")]: foreign }
      const set = yield* setOf(abcd, "current")
      const { exit, lines } = yield* run([set], { zips })
      const summary = summaryOf(exit)
      assert.isTrue(allGood(summary))
      assert.deepStrictEqual([summary.foreign, summary.good], [1, 0])
      assert.deepStrictEqual(lines, [
        "INFO made by another program, and its checksums are right; `unzip -t /memory/ABCD/ABCD.zip` checks its entries, `unzip /memory/ABCD/ABCD.zip -d DIR` restores it",
        "INFO 0 good, 1 of another program, 0 damaged; 100 B read in 0.0 s"
      ])
      const wrong = {
        ...set,
        state: undefined,
        md5: ChecksumFile.encodeChecksums("0".repeat(32), "ABCD.zip"),
        metadata: undefined
      }
      const changed = summaryOf((yield* run([wrong], { zips })).exit)
      assert.deepStrictEqual(
        changed.folders.map(({ result }) => result),
        ["damaged"]
      )
    })
  )

  it.effect("nothing to verify is a failure, and so is a folder that there is not", () =>
    Effect.gen(function* () {
      assert.propertyVal(failureOf((yield* run([])).exit), "_tag", "NothingToVerify")
      const sets = [yield* setOf(abcd, "current")]
      assert.propertyVal(failureOf((yield* run(sets, { which: "previous" })).exit), "_tag", "NothingToVerify")
      const unknown = failureOf((yield* run(sets, { folders: [efgh] })).exit)
      assert.propertyVal(unknown, "_tag", "UnknownFolders")
      assert.propertyVal(unknown, "message", "there are no archives of EFGH in /memory")
    })
  )
})
