import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import { TreeError } from "../../src/source/TreeError.ts"
import { folder, makeKit, onlyChanged, short, storeError, twoFolders, unreadable } from "../support/program/job.ts"

describe("snapshots and the cursor", () => {
  it.effect("the snapshot of a good run is kept as the next base, older ones as told, the rest is destroyed", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders(), { zfs: { evidence: onlyChanged() } })
      for (let i = 0; i < 4; i++) {
        yield* kit.run()
        yield* TestClock.adjust("1 hour")
      }
      assert.deepStrictEqual(
        kit.zfs.snapshots.map(({ status }) => status),
        ["pruned", "pruned", "kept", "kept"]
      )
      const { cursor } = yield* Ref.get(kit.store)
      assert.deepStrictEqual(cursor?.base, kit.zfs.snapshots[3]?.ref)
    })
  )

  it.effect("a snapshot that stays is told of once by a run, which tries twice", () =>
    Effect.gen(function* () {
      const reason = "cannot destroy snapshot: dataset is busy"
      const kit = yield* makeKit(twoFolders(), { zfs: { spared: [{ snapshot: "tank/data@a-1", reason }] } })
      yield* kit.run()
      assert.deepStrictEqual(
        kit.lines.filter((line) => line.includes("tank/data@a-1")),
        [`WARN snapshot tank/data@a-1 was not destroyed: ${reason}`]
      )
    })
  )

  it.effect("asks zfs diff for what changed since the cursor's own snapshot", () =>
    Effect.gen(function* () {
      const asked: Array<string | undefined> = []
      const kit = yield* makeKit(twoFolders(), {
        zfs: {
          evidence: (base) => {
            asked.push(base?.guids["tank/data"])
            return onlyChanged()(base)
          }
        }
      })
      yield* kit.run()
      yield* kit.run()
      yield* kit.run({}, { source_path: "/mnt/tank/other" })
      assert.deepStrictEqual(asked, [undefined, "1", undefined])
    })
  )

  it.effect("what was archived after the base is not archived again for the same change", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders(), { zfs: { evidence: onlyChanged("ABCD") } })
      yield* kit.run()
      kit.tree["ABCD"] = { "a.txt": { content: "second" } }
      // Chosen folders move no cursor, just as a run that is stopped: zfs diff will tell of this change again.
      assert.deepStrictEqual(short((yield* kit.run({ folders: ["ABCD"] })).folders), ["ABCD archived"])
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD unchanged", "EFGH unchanged"])
      const sets = (yield* Ref.get(kit.store)).published.get(folder("ABCD"))
      assert.notStrictEqual(
        sets?.current.state.manifest_sha256,
        sets?.previous?.state.manifest_sha256,
        "the previous version was rotated out by a copy of the current one"
      )
      kit.tree["ABCD"] = { "a.txt": { content: "third" } }
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived", "EFGH unchanged"])
    })
  )

  it.effect(
    "a file that has its old size and time again is noticed where zfs diff tells of a change that may be older",
    () =>
      Effect.gen(function* () {
        const kit = yield* makeKit(twoFolders(), { zfs: { evidence: onlyChanged("ABCD") } })
        yield* kit.run()
        kit.tree["ABCD"] = { "a.txt": { content: "second", ctime: 1 } }
        yield* kit.run({ folders: ["ABCD"] })
        kit.tree["ABCD"] = { "a.txt": { content: "SECOND", ctime: 2 } }
        assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived", "EFGH unchanged"])
      })
  )

  it.effect("and so it is where zfs diff may have named it in another folder", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders(), { zfs: { evidence: onlyChanged() } })
      yield* kit.run()
      yield* Ref.update(kit.store, (store) => ({
        ...store,
        published: new Map(
          [...store.published].map(([name, { current, previous }]) => [
            name,
            { current: { ...current, state: { ...current.state, hard_links: true } }, previous }
          ])
        )
      }))
      kit.tree["ABCD"] = { "a.txt": { content: "eno", ctime: 1 } }
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived", "EFGH unchanged"])
    })
  )

  it.effect("an archive that the cursor does not know is compared closely, also when zfs diff shows nothing", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders(), { zfs: { evidence: onlyChanged() } })
      yield* kit.run()
      const atCursor = yield* Ref.get(kit.store)
      // A run of one folder, then a rollback of the source to the cursor's snapshot: newer than the cursor.
      kit.tree["ABCD"] = { "a.txt": { content: "encrypted" } }
      kit.zfs.evidence = onlyChanged("ABCD")
      yield* kit.run({ folders: ["ABCD"] })
      kit.zfs.evidence = onlyChanged()
      kit.tree["ABCD"] = twoFolders().ABCD
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived", "EFGH unchanged"])
      // The target's folder is put back from a backup: older than the cursor.
      kit.tree["ABCD"] = { "a.txt": { content: "newest" } }
      kit.zfs.evidence = onlyChanged("ABCD")
      yield* kit.run()
      yield* Ref.update(kit.store, (store) => ({ ...store, published: atCursor.published }))
      kit.zfs.evidence = onlyChanged()
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived", "EFGH unchanged"])
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD unchanged", "EFGH unchanged"])
    })
  )

  it.effect("a run of chosen folders moves no cursor and leaves no snapshot", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      const summary = yield* kit.run({ folders: ["EFGH", "NONE"] })
      assert.deepStrictEqual(short(summary.folders), ["EFGH archived", "NONE failed"])
      const { cursor, failures } = yield* Ref.get(kit.store)
      assert.isUndefined(cursor)
      assert.strictEqual(failures.size, 0)
      assert.deepStrictEqual(
        kit.zfs.snapshots.map(({ status }) => status),
        ["released"]
      )
    })
  )

  it.effect("the cursor stays where a failure could not be noted", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      kit.archiver.failures["ABCD"] = [unreadable(false)]
      yield* Ref.update(kit.store, (store) => ({ ...store, stateError: storeError("disk full") }))
      yield* kit.run()
      assert.notInclude((yield* Ref.get(kit.store)).calls, "advance")
      assert.strictEqual(kit.zfs.snapshots[0]?.status, "released")
    })
  )

  it.effect("a cursor that cannot be written costs the snapshot, not the run", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      yield* Ref.update(kit.store, (store) => ({ ...store, stateError: storeError("disk full") }))
      const summary = yield* kit.run()
      assert.strictEqual(summary.archived, 2)
      assert.strictEqual(kit.zfs.snapshots[0]?.status, "released")
    })
  )

  it.effect("an interrupted run releases its snapshot and its staging, and moves no cursor", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders(), { before: () => Effect.never })
      const job = yield* Effect.fork(kit.run())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(kit.zfs.snapshots[0]?.status, "taken")
      assert.isAbove((yield* Ref.get(kit.store)).staged.size, 0)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(job)))
      assert.strictEqual(kit.zfs.snapshots[0]?.status, "released")
      const { cursor, staged } = yield* Ref.get(kit.store)
      assert.isUndefined(cursor)
      assert.strictEqual(staged.size, 0)
    })
  )

  it.effect("a blocked child dataset fails its folder, also when zfs diff shows nothing", () =>
    Effect.gen(function* () {
      const tree = {
        ...twoFolders(),
        EFGH: () => new TreeError({ path: "EFGH", message: "tank/data/EFGH is locked: zfs load-key", transient: false })
      }
      const kit = yield* makeKit({ ...twoFolders() }, { zfs: { evidence: onlyChanged() } })
      yield* kit.run()
      kit.tree["EFGH"] = tree.EFGH
      const { fromText } = yield* Effect.promise(() => import("../../src/text/RawPath.ts"))
      kit.zfs.blocked = [{ at: fromText("EFGH/sub"), reason: "locked" }]
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD unchanged", "EFGH failed"])
    })
  )
})
