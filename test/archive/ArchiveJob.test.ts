import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import { ZfsError } from "../../src/zfs/ZfsCommand.ts"
import { ArchiveError } from "../../src/zip/ZipError.ts"
import { emptyStore } from "../doubles/Store.ts"
import { folder, makeKit, onlyChanged, short, storeError, twoFolders, unreadable } from "../support/program/job.ts"

/** The end of a job, whose waits take an hour at most. */
const afterAnHour = <A, E, R>(job: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(job)
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.join(fiber)
  })

describe("the archive job", () => {
  it.effect("archives every folder the first time, then those that changed", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders(), { zfs: { evidence: onlyChanged("EFGH") } })
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived", "EFGH archived"])
      yield* TestClock.adjust("1 hour")
      kit.tree["EFGH"] = { "b/c.txt": { content: "three" } }
      const second = yield* kit.run()
      assert.deepStrictEqual(short(second.folders), ["ABCD unchanged", "EFGH archived"])
      assert.deepStrictEqual([second.archived, second.unchanged, second.failed], [1, 1, 0])
      const { published } = yield* Ref.get(kit.store)
      assert.isDefined(published.get(folder("EFGH"))?.previous)
      assert.isUndefined(published.get(folder("ABCD"))?.previous)
    })
  )

  it.effect("reads back before it publishes, and publishes nothing that does not verify", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      kit.archiver.verifyFailures["ABCD"] = [
        new ArchiveError({
          reason: "Corrupt",
          path: "a.txt",
          message: "a.txt: wrong CRC-32",
          transient: false
        })
      ]
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.folders), ["ABCD failed", "EFGH archived"])
      const { calls, published } = yield* Ref.get(kit.store)
      assert.isFalse(published.has(folder("ABCD")))
      assert.notInclude(calls, "publish ABCD")
      assert.lengthOf(kit.archiver.verified, 1)
    })
  )

  it.effect("compares manifests where nothing else is known", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      yield* kit.run()
      kit.tree["ABCD"] = { "a.txt": { content: "eno" }, "new.txt": { content: "" } }
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived", "EFGH unchanged"])
    })
  )

  it.effect("a failed folder stops no other, is told, and stays due until it succeeds", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders(), { zfs: { evidence: onlyChanged() } })
      kit.archiver.failures["ABCD"] = [unreadable(false)]
      const first = yield* kit.run()
      assert.deepStrictEqual(short(first.folders), ["ABCD failed", "EFGH archived"])
      assert.strictEqual(first.failed, 1)
      const [message] = yield* Ref.get(kit.sent)
      assert.include(message?.title, "1 of 2 folders failed on nas")
      assert.include(message?.message, "**ABCD**: cannot read a.txt")
      assert.include(kit.lines, "ERROR ABCD: cannot read a.txt: permission denied (EACCES)")

      const second = yield* kit.run()
      assert.deepStrictEqual(short(second.folders), ["ABCD archived", "EFGH unchanged"])
      assert.strictEqual((yield* Ref.get(kit.store)).failures.size, 0)
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD unchanged", "EFGH unchanged"])
    })
  )

  it.effect("tries again what may pass, with growing pauses, and no more often than told", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ABCD: { "a.txt": { content: "one" } } })
      kit.archiver.failures["ABCD"] = [unreadable(true), unreadable(true), unreadable(true)]
      const job = yield* Effect.fork(kit.run())
      yield* TestClock.adjust("500 millis")
      assert.lengthOf(kit.archiver.failures["ABCD"], 2, "the second attempt came too early")
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* Fiber.join(job)).archived, 1)

      kit.archiver.failures["ABCD"] = Array.from({ length: 9 }, () => unreadable(true))
      const failed = yield* afterAnHour(kit.run({ force: true }))
      assert.strictEqual(failed.failed, 1)
      assert.lengthOf(kit.archiver.failures["ABCD"], 9 - 4)
      assert.lengthOf(
        kit.lines.filter((line) => line.startsWith("ERROR ABCD")),
        1
      )
    })
  )

  it.effect("does not try again what cannot pass", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      kit.archiver.failures["ABCD"] = [unreadable(false), unreadable(false)]
      yield* kit.run()
      assert.lengthOf(kit.archiver.failures["ABCD"], 1)
    })
  )

  it.effect("ends the work on a folder that takes too long, and goes on with the next", () =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const kit = yield* makeKit(twoFolders(), {
        before: (name) =>
          name === "ABCD"
            ? Effect.never.pipe(
                Effect.onInterrupt(() =>
                  Effect.zipRight(
                    Effect.sleep("1 second"),
                    Effect.sync(() => events.push("ABCD ended"))
                  )
                )
              )
            : Effect.sync(() => events.push("EFGH began"))
      })
      const summary = yield* afterAnHour(kit.run({}, { max_workers: 1 }))
      assert.deepStrictEqual(short(summary.folders), ["ABCD failed", "EFGH archived"])
      assert.deepStrictEqual(events, ["ABCD ended", "EFGH began"], "the work went on in the background")
      assert.strictEqual((yield* Ref.get(kit.store)).staged.size, 0)
      const [failure] = summary.folders
      const error = failure?.result === "failed" ? failure.error : ""
      assert.include(error, "60 s (task_timeout_seconds)")
      // What was being published at that time is published.
      assert.include(error, "unless the new archive was being published already")
    })
  )

  it.effect("a defect in one folder is that folder's failure", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders(), {
        before: (name) => (name === "ABCD" ? Effect.die(new Error("a bug")) : Effect.void)
      })
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.folders), ["ABCD failed", "EFGH archived"])
      assert.isTrue((yield* Ref.get(kit.store)).failures.has(folder("ABCD")))
      assert.include((yield* Ref.get(kit.sent))[0]?.message, "internal error: a bug")
    })
  )

  it.effect("waits no longer than a minute between attempts", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ABCD: { "a.txt": { content: "one" } } })
      kit.archiver.failures["ABCD"] = Array.from({ length: 20 }, () => unreadable(true))
      const job = yield* Effect.fork(kit.run({}, { retries: 20 }))
      yield* TestClock.adjust("30 minutes")
      assert.strictEqual((yield* Fiber.join(job)).archived, 1)
    })
  )

  it.effect("works on no more folders at once than max_workers", () =>
    Effect.gen(function* () {
      let now = 0
      let most = 0
      const tree = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`FLD${i}`, { "a.txt": { content: "a" } }]))
      const kit = yield* makeKit(tree, {
        before: () =>
          Effect.sync(() => {
            now += 1
            most = Math.max(most, now)
          }).pipe(Effect.zipRight(Effect.sleep("1 second")), Effect.ensuring(Effect.sync(() => (now -= 1))))
      })
      const summary = yield* afterAnHour(kit.run({}, { max_workers: 3 }))
      assert.strictEqual(summary.archived, 9)
      assert.strictEqual(most, 3)
    })
  )

  it.effect("a folder whose archive is missing or has another size is due", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders(), { zfs: { evidence: onlyChanged() } })
      yield* kit.run()
      yield* Ref.update(kit.store, (store) => ({
        ...store,
        zipSizes: new Map([
          [folder("ABCD"), undefined],
          [folder("EFGH"), 7]
        ])
      }))
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived", "EFGH archived"])
      const lost = "the archive of ABCD that was published is gone from the target; a new one is made"
      assert.include(kit.lines, `ERROR ${lost}`)
    })
  )

  for (const [witness, frozen] of [
    ["the job's state", false],
    ["the cursor", true]
  ] as const) {
    it.effect(`archives that are gone with their folders are told in one line, by ${witness}`, () =>
      Effect.gen(function* () {
        const names = Array.from({ length: 12 }, (_, i) => `FL${String(i).padStart(2, "0")}`)
        const tree = Object.fromEntries(names.map((name) => [name, { "a.txt": { content: name } }]))
        const kit = yield* makeKit(tree, { zfs: { evidence: onlyChanged() } })
        yield* kit.run()
        assert.isFalse(kit.lines.some((line) => line.startsWith("ERROR")))
        const { cursor } = yield* Ref.get(kit.store)
        assert.isDefined(cursor)
        yield* Ref.set(kit.store, { ...emptyStore, cursor: frozen ? cursor : undefined })
        if (frozen) yield* Ref.update(kit.state.jobStates, (memory) => ({ ...memory, states: new Map() }))
        const { folders } = yield* kit.run()
        assert.deepStrictEqual(
          [...new Set(folders.map((folder) => folder.result === "archived" && folder.reason))],
          ["its archive is missing"]
        )
        assert.deepStrictEqual(
          kit.lines.filter((line) => line.startsWith("ERROR")),
          [
            `ERROR the archives of ${names.slice(0, 10).join(", ")} and 2 more that were published are gone from the target; new ones are made`
          ]
        )
      })
    )
  }
})

describe("what is compared without a diff", () => {
  it.effect("content written with size and mtime kept is noticed by ctime, unless compare is mtime", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      yield* kit.run()
      kit.tree["ABCD"] = { "a.txt": { content: "eno", ctime: -2_000_000 } }
      const byMtime = yield* kit.run({}, { compare: "mtime" })
      assert.deepStrictEqual(short(byMtime.folders), ["ABCD unchanged", "EFGH unchanged"])
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived", "EFGH unchanged"])
    })
  )

  it.effect("a mode is noticed by either", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      yield* kit.run()
      kit.tree["ABCD"] = { "a.txt": { content: "one", mode: 0o100600 } }
      const { folders: results } = yield* kit.run({}, { compare: "mtime" })
      assert.deepStrictEqual(short(results), ["ABCD archived", "EFGH unchanged"])
    })
  )

  it.effect("what was written to just before it was listed is archived again, and the same bytes rotate nothing", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ABCD: { "a.txt": { content: "one", ctime: 5 } } })
      yield* kit.run()
      // Through a memory map: neither size nor times tell.
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD unchanged"])
      assert.lengthOf(kit.archiver.archived, 2)
      assert.isUndefined((yield* Ref.get(kit.store)).published.get(folder("ABCD"))?.previous)
      assert.isTrue(kit.lines.some((line) => line.includes("archived again (it was written to shortly before")))
      yield* TestClock.adjust("1 hour")
      yield* kit.run()
      assert.lengthOf(kit.archiver.archived, 2, "its times are old now, and prove that nothing changed")
    })
  )

  it.effect("the same bytes after a failed attempt, and with force, are no new generation", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ABCD: { "a.txt": { content: "one" } } })
      yield* kit.run()
      kit.tree["ABCD"] = { "a.txt": { content: "second" } }
      yield* kit.run()
      kit.archiver.failures["ABCD"] = [unreadable(false)]
      yield* kit.run({ force: true })
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived"])
      yield* kit.run({ force: true })
      const sets = (yield* Ref.get(kit.store)).published.get(folder("ABCD"))
      assert.deepStrictEqual([sets?.previous?.state.bytes, sets?.current.state.bytes], [3, 6])
      assert.isTrue(kit.lines.some((line) => line.includes("the same bytes as before")))
    })
  )
})

describe("what is missing", () => {
  it.effect("a folder that had files and has none fails, until that is accepted for it by name", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      yield* kit.run()
      kit.tree["ABCD"] = { b: "directory" }
      for (const asked of [{}, { force: true }, { folders: ["ABCD"] }]) {
        const { folders: results } = yield* kit.run(asked)
        assert.include(short(results), "ABCD failed")
        const [failed] = results
        assert.include(
          failed?.result === "failed" ? failed.error : "",
          "zipper run --config c.json --force --folder ABCD"
        )
      }
      assert.strictEqual((yield* Ref.get(kit.store)).published.get(folder("ABCD"))?.current.state.files, 1)
      const accepted = yield* kit.run({ force: true, folders: ["ABCD"] })
      assert.deepStrictEqual(short(accepted.folders), ["ABCD archived"])
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD unchanged", "EFGH unchanged"])
    })
  )

  it.effect("a folder with archives that became a symbolic link or a file fails by name", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      yield* kit.run()
      delete kit.tree["ABCD"]
      kit.tree["ABCD -> elsewhere"] = {}
      for (const asked of [{}, { folders: ["ABCD"], force: true }]) {
        const { folders: results } = yield* kit.run(asked)
        const [failed] = results
        assert.include(failed?.result === "failed" ? failed.error : "", "symbolic link")
        assert.lengthOf(
          results.filter((result) => result.result === "failed"),
          1
        )
      }
    })
  )
})

describe("a run that cannot start", () => {
  it.effect("the lock is held: nothing is touched, nobody is told", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders(), { held: ["/var/run/zipper.lock"] })
      const error = yield* Effect.flip(kit.run())
      assert.strictEqual(error._tag, "LockError")
      assert.lengthOf((yield* Ref.get(kit.store)).calls, 0)
      assert.lengthOf(kit.zfs.snapshots, 0)
      assert.lengthOf(yield* Ref.get(kit.sent), 0)
    })
  )

  it.effect("preflight fails: no snapshot is taken, and somebody is told", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      yield* Ref.update(kit.store, (store) => ({ ...store, preflight: storeError("the target is full") }))
      const error = yield* Effect.flip(kit.run())
      assert.strictEqual(error._tag, "PreflightError")
      assert.lengthOf(kit.zfs.snapshots, 0)
      const [message] = yield* Ref.get(kit.sent)
      assert.include(message?.message, "the target is full")
    })
  )

  it.effect("the target's dataset is not mounted: nothing is written there", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      kit.zfs.failing.checkTarget = new ZfsError({
        reason: "Unmounted",
        message: "the target is not mounted",
        transient: false
      })
      const error = yield* Effect.flip(kit.run())
      assert.strictEqual(error._tag, "PreflightError")
      assert.deepStrictEqual((yield* Ref.get(kit.store)).calls, [])
    })
  )

  it.effect("the snapshot cannot be taken: that is a preflight failure too", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      kit.zfs.failing.snapshot = new ZfsError({
        reason: "PermissionDenied",
        message: "zfs allow …",
        transient: false
      })
      const exit = yield* Effect.exit(kit.run())
      const failure = Exit.causeOption(exit).pipe(
        Option.map(String),
        Option.getOrElse(() => "")
      )
      assert.include(failure, "PreflightError")
    })
  )

  it.effect("success is told only to those who asked for it", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      yield* kit.run()
      assert.lengthOf(yield* Ref.get(kit.sent), 0)
      yield* kit.run({}, { notify_on: ["success"] })
      assert.include((yield* Ref.get(kit.sent))[0]?.title, "all well on nas")
      // Others may fail.
      yield* kit.run({ folders: ["ABCD"] }, { notify_on: ["success"] })
      assert.include((yield* Ref.get(kit.sent))[1]?.title, "all well with 1 chosen folder on nas")
    })
  )

  it.effect("a folder whose publication could not be recovered fails and stays due", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      yield* Ref.update(kit.store, (store) => ({
        ...store,
        recovery: {
          healed: [],
          broken: [{ folder: folder("ABCD"), reason: "ABCD/.publish cannot be understood" }]
        }
      }))
      const summary = yield* kit.run()
      assert.deepStrictEqual(short(summary.folders), ["ABCD failed", "EFGH archived"])
      assert.isTrue((yield* Ref.get(kit.store)).failures.has(folder("ABCD")))
    })
  )
})
