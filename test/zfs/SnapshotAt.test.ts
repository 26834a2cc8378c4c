import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import type { Snapshot } from "../../src/zfs/Dataset.ts"
import { chooseAt } from "../../src/zfs/SnapshotAt.ts"

const noon = Date.parse("2026-11-28T12:00:00Z") / 1000
const snapshot = (name: string, creation: number): Snapshot => ({
  name,
  guid: name,
  createtxg: BigInt(creation),
  creation,
  holds: 0,
  clones: []
})

const all = [
  snapshot("daily", noon - 200_000),
  snapshot("auto-zip-target-1", noon - 100_000),
  snapshot("2026-11-28", noon - 50_000),
  snapshot("auto-zip-target-2", noon - 1000)
]
const known = { dataset: "tank/safe", all, ours: new Set(["auto-zip-target-1", "auto-zip-target-2"]), now: noon * 1000 }
const chosen = (at: string) => Either.map(chooseAt(known, at), (found) => found.snapshot.name)

describe("chooseAt", () => {
  it("takes any snapshot by its name, also one that looks like a time", () => {
    assert.deepStrictEqual(chosen("daily"), Either.right("daily"))
    assert.deepStrictEqual(chosen("tank/safe@auto-zip-target-1"), Either.right("auto-zip-target-1"))
    assert.deepStrictEqual(chosen("2026-11-28"), Either.right("2026-11-28"))
  })

  it("names the first one for a time before it, and the nearest for a name that there is not", () => {
    assert.deepStrictEqual(
      chosen("2d"),
      Either.left(
        "2d is 2026-11-26T12:00:00Z, before the first snapshot of tank/safe: auto-zip-target-1 of 2026-11-27T08:13:20Z"
      )
    )
    assert.deepStrictEqual(
      chosen("auto-zip-target-3"),
      Either.left(
        'tank/safe has no snapshot "auto-zip-target-3", and that is no time such as 2026-11-28, 2026-11-28T10:00 or 3d; the nearest are auto-zip-target-1, auto-zip-target-2, 2026-11-28'
      )
    )
    assert.match(
      Either.getOrElse(chooseAt({ ...known, ours: new Set() }, "1h"), String).toString(),
      /no snapshot that zipper took/
    )
    assert.match(Either.getOrElse(chooseAt({ ...known, all: [] }, "x"), String).toString(), /it has none at all/)
  })

  it.prop(
    "takes the newest of ours that is not younger than the time",
    [FastCheck.array(FastCheck.tuple(FastCheck.nat(9), FastCheck.boolean())), FastCheck.nat(9)],
    ([made, at]) => {
      const snapshots = made.map(([creation], index) => snapshot(`s${index}`, creation))
      const ours = new Set(made.flatMap(([, isOurs], index) => (isOurs ? [`s${index}`] : [])))
      const moment = `${new Date(at * 1000).toISOString().slice(0, 19)}Z`
      const found = chooseAt({ ...known, all: snapshots, ours }, moment)
      const times = snapshots
        .filter(({ name, creation }) => ours.has(name) && creation <= at)
        .map((each) => each.creation)
      if (times.length === 0) assert.isTrue(Either.isLeft(found))
      else {
        const { snapshot: one } = Either.getOrThrow(found)
        assert.isTrue(ours.has(one.name))
        assert.strictEqual(one.creation, Math.max(...times))
      }
    }
  )
})
