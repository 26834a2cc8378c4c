import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { ZfsError } from "../../src/services/Zfs.ts"
import { folder, makeKit, onlyChanged, short } from "../support/job.ts"

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
      assert.deepStrictEqual(short((yield* kit.run()).results), ["ABCD Failed", "EFGH Unchanged"])
      assert.include(kit.lines.join("\n"), "ERROR ABCD: it is not mounted")
      assert.isTrue((yield* Ref.get(kit.store)).failures.has(folder("ABCD")))
      kit.zfs.unheld = {}
      kit.zfs.evidence = onlyChanged()
      assert.deepStrictEqual(short((yield* kit.run()).results), ["ABCD Archived", "EFGH Unchanged"])
    })
  )
})
