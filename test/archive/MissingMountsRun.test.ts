import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as RawPath from "../../src/text/RawPath.ts"
import { ZfsError } from "../../src/zfs/ZfsCommand.ts"
import { folder, makeKit, onlyChanged, short } from "../support/program/job.ts"

const twoFolders = () => ({ ABCD: { a: { content: "one" } }, EFGH: { b: { content: "two" } } })

describe("the snapshots of the child datasets in a folder", () => {
  it.effect("are kept mounted while it is read, and no longer", () =>
    Effect.gen(function* () {
      const during: Array<string> = []
      const held = new Set<string>()
      const kit = yield* makeKit(twoFolders(), {
        zfs: { held },
        before: () => Effect.sync(() => void during.push([...held].join()))
      })
      assert.strictEqual((yield* kit.run({}, { max_workers: 1 })).archived, 2)
      assert.deepStrictEqual(during, ["ABCD", "EFGH"])
      assert.strictEqual(held.size, 0)
    })
  )

  it.effect("fail the folder by name where one is not mounted, and leave it due", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders(), { zfs: { evidence: onlyChanged("ABCD") } })
      yield* kit.run()
      kit.zfs.unheld = {
        ABCD: new ZfsError({ reason: "Unmounted", message: "it is not mounted", transient: false })
      }
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD failed", "EFGH unchanged"])
      assert.include(kit.lines.join("\n"), "ERROR ABCD: it is not mounted")
      assert.isTrue((yield* Ref.get(kit.store)).failures.has(folder("ABCD")))
      kit.zfs.unheld = {}
      kit.zfs.evidence = onlyChanged()
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD archived", "EFGH unchanged"])
    })
  )
})

describe("a place in a folder that was a mount of its own", () => {
  const mounted = {
    ABCD: { disk: "mount", "disk/file": { content: "only copy" }, own: { content: "1" } }
  } as const

  it.effect("fails the folder when it is none any more, and its archive stays", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ...mounted, EFGH: { b: { content: "two" } } })
      yield* kit.run()
      const before = (yield* Ref.get(kit.store)).published.get(folder("ABCD"))
      assert.deepStrictEqual(before?.current.state.mounts, ["disk"])
      kit.tree["ABCD"] = { disk: "directory", own: { content: "1" } }
      for (const force of [false, false, true]) {
        const { folders: results } = yield* kit.run({ force })
        assert.include(short(results), "ABCD failed")
      }
      assert.match(kit.lines.join("\n"), /ERROR ABCD: ABCD\/disk was a mount of its own .*--force --folder ABCD/)
      assert.strictEqual((yield* Ref.get(kit.store)).published.get(folder("ABCD")), before)
      // Mounted again, it is archived again.
      kit.tree["ABCD"] = mounted.ABCD
      assert.include(short((yield* kit.run()).folders), "ABCD archived")
    })
  )

  it.effect("is given up by a run of that folder with --force", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ...mounted })
      yield* kit.run()
      kit.tree["ABCD"] = { disk: "directory", own: { content: "1" } }
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD failed"])
      const { folders: results } = yield* kit.run({ force: true, folders: ["ABCD"] })
      assert.deepStrictEqual(short(results), ["ABCD archived"])
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD unchanged"])
    })
  )

  it.effect("is missed although zfs diff shows no change, and noticed when it is new", () =>
    Effect.gen(function* () {
      const graft = { at: RawPath.fromText("ABCD/disk"), root: RawPath.fromText("/x") }
      const kit = yield* makeKit({ ...mounted }, { zfs: { grafts: [graft], evidence: onlyChanged() } })
      yield* kit.run()
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD unchanged"])
      kit.zfs.grafts = []
      kit.tree["ABCD"] = { disk: "directory", "disk/file": { content: "only copy" }, own: { content: "1" } }
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD failed"])
      const other = yield* makeKit({ ABCD: { disk: "directory" } }, { zfs: { evidence: onlyChanged() } })
      yield* other.run()
      other.zfs.grafts = [graft]
      other.tree["ABCD"] = { disk: "mount" }
      // Its archive comes out the same; the state knows the mount from now on.
      assert.deepStrictEqual(short((yield* other.run()).folders), ["ABCD unchanged"])
      other.zfs.grafts = []
      other.tree["ABCD"] = { disk: "directory" }
      assert.deepStrictEqual(short((yield* other.run()).folders), ["ABCD failed"])
    })
  )

  it.effect("is missed where the folder itself was one and is gone", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({
        ABCD: { "": "mount", file: { content: "1" } },
        EFGH: { b: { content: "two" } }
      })
      yield* kit.run()
      delete kit.tree["ABCD"]
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD failed", "EFGH unchanged"])
      assert.deepStrictEqual(short((yield* kit.run({ folders: ["ABCD"] })).folders), ["ABCD failed"])
    })
  )
})

describe("a folder of the target that is not mounted", () => {
  it.effect("is not written to, and can be given up", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders())
      yield* Ref.update(kit.store, (store) => ({ ...store, unmounted: [folder("ABCD")] }))
      assert.deepStrictEqual(short((yield* kit.run()).folders), ["ABCD failed", "EFGH archived"])
      assert.notInclude((yield* Ref.get(kit.store)).calls, "stage ABCD")
      const other = yield* kit.run({ folders: ["EFGH"] })
      assert.deepStrictEqual(short(other.folders), ["EFGH unchanged"])
      assert.deepStrictEqual(short((yield* kit.run({ folders: ["ABCD"] })).folders), ["ABCD failed"])
      const accepted = yield* kit.run({ folders: ["ABCD"], force: true })
      assert.deepStrictEqual(short(accepted.folders), ["ABCD archived"])
    })
  )
})
