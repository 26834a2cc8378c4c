import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { SendMode } from "../../src/zfs/Dataset.ts"
import { allowTable } from "../doubles/replication/end.ts"
import { addDataset, addSnapshot, type ReplicationMemory } from "../doubles/replication/world.ts"
import { errorOf, makeKit, short } from "../support/replication/replication.ts"
import { sampled } from "../support/thorough.ts"

const placeOf = (root: string) => `backup/nas/${root}`
const place = placeOf("tank")

interface Case {
  readonly mode: SendMode
  /** Whether the destination is encrypted, and the source of the parent. */
  readonly box: boolean
  readonly secret: boolean
}

/** Children have replicas, and their parent gets its first snapshots only now. */
const late = ({ box, mode, secret }: Case, root = "tank") =>
  Effect.gen(function* () {
    const kit = yield* makeKit({ mode, datasets: [root] })
    addDataset(kit.memory, "target", "backup", { encrypted: box })
    const parent = kit.source(root, [], { encrypted: secret })
    kit.source(`${root}/a`, ["1"], { encrypted: secret })
    kit.source(`${root}/a/below`, ["1"], { encrypted: secret })
    kit.source(`${root}/b`, ["1"], { encrypted: true })
    yield* kit.run()
    assert.isTrue(kit.memory.target.datasets.get(placeOf(root))?.placeholder)
    for (const name of ["1", "2"]) addSnapshot(kit.memory, parent, name)
    kit.memory.calls.length = 0
    return kit
  })

type Kit = Effect.Effect.Success<ReturnType<typeof late>>

const replicas = ({ target }: ReplicationMemory) => [...target.datasets.values()].map(({ guid, name }) => [name, guid])

/** All replicas are in their places, and those of the children are the ones that there were. */
const expectInPlace = (kit: Kit, before: ReturnType<typeof replicas>, root = "tank") => {
  const others = (all: ReturnType<typeof replicas>) => all.filter(([name]) => name !== placeOf(root)).sort()
  assert.deepStrictEqual(others(replicas(kit.memory)), others(before))
  assert.deepStrictEqual(kit.names(placeOf(root)), ["1", "2"])
  assert.deepStrictEqual(
    kit.memory.calls.filter((call) => call.startsWith(`send ${root}/`)),
    []
  )
}

const cases: ReadonlyArray<Case> = [
  { mode: "raw", box: true, secret: false },
  { mode: "plain", box: true, secret: false },
  { mode: "plain", box: true, secret: true },
  { mode: "raw", box: true, secret: true },
  { mode: "raw", box: false, secret: true }
]
const nameOf = ({ box, mode, secret }: Case) =>
  `${secret ? "an encrypted" : "a"} parent, ${mode}, below ${box ? "an encrypted" : "another"} dataset`

describe("a parent that we made gets its first snapshot, where no -F is possible", () => {
  for (const each of cases) {
    it.effect(`keeps the replicas of the children: ${nameOf(each)}`, () =>
      Effect.gen(function* () {
        const kit = yield* late(each)
        const before = replicas(kit.memory)
        for (const dryRun of [true, false]) {
          assert.deepStrictEqual(short((yield* kit.run({ dryRun })).datasets), [
            "tank sent",
            "tank/a up_to_date",
            "tank/a/below up_to_date",
            "tank/b up_to_date"
          ])
          if (dryRun) assert.deepStrictEqual(replicas(kit.memory), before)
        }
        expectInPlace(kit, before)
      })
    )
  }

  for (const root of ["tank", "tank/d"]) {
    it.effect(`goes on after an end at any step, and after a cut: ${root}`, () =>
      Effect.gen(function* () {
        const whole = yield* late({ mode: "raw", box: true, secret: false }, root)
        yield* whole.run()
        const steps = whole.memory.calls.length
        assert.isAbove(steps, 12)
        for (const at of sampled([...Array(steps).keys()], 10)) {
          for (const when of ["before", "after"] as const) {
            const kit = yield* late({ mode: "raw", box: true, secret: false }, root)
            const before = replicas(kit.memory)
            let left = at
            const stop = () => {
              left -= 1
              if (left < 0) throw new Error("the machine is gone")
            }
            kit.memory[when] = stop
            if (at % 3 === 0) kit.memory.cuts.push(50)
            yield* Effect.exit(kit.run({ retries: 0 }))
            kit.memory[when] = () => {}
            kit.memory.cuts.length = 0
            const { datasets } = yield* kit.run()
            assert.deepStrictEqual(
              datasets.filter(({ result }) => result === "failed" || result === "refused"),
              [],
              `${when} ${kit.memory.calls[at]}`
            )
            expectInPlace(kit, before, root)
          }
        }
      })
    )
  }

  it.effect("does not send a child again that has moved, while the parent cannot follow", () =>
    Effect.gen(function* () {
      const kit = yield* late({ mode: "raw", box: true, secret: false })
      const before = replicas(kit.memory)
      const refusal = (operation: string) => {
        if (operation === `rename ${place}/b`) throw new Error("dataset is busy")
      }
      kit.memory.before = refusal
      for (let run = 0; run < 2; run += 1) {
        const { datasets } = yield* kit.run()
        assert.deepStrictEqual(short(datasets)[0], "tank failed")
      }
      assert.isTrue(kit.memory.target.datasets.has(`${place}.zipper-new/a`))
      assert.isFalse(kit.lines.some((line) => line.includes("the source is gone")))
      kit.memory.before = () => {}
      yield* kit.run()
      expectInPlace(kit, before)
    })
  )

  it.effect("fails before it sends where a child cannot move, or a permission is missing, and says what to do", () =>
    Effect.gen(function* () {
      const bound = yield* makeKit({ mode: "raw" })
      addDataset(bound.memory, "target", "backup", { encrypted: true })
      const tank = bound.source("tank", [], { encrypted: true })
      bound.source("tank/clear", ["1"])
      yield* bound.run()
      addSnapshot(bound.memory, tank, "1")
      for (const dryRun of [true, false]) {
        const message = errorOf((yield* bound.run({ dryRun })).datasets, "tank")
        assert.match(
          message,
          /tank\/clear is opened by the key of backup and cannot move.*; rename backup\/nas\/tank out/
        )
      }
      const kit = yield* late({ mode: "raw", box: true, secret: false })
      kit.memory.target.account = { user: "bk", groups: [], root: false }
      const permissions = ["receive", "create", "mount", "canmount", "userprop"]
      kit.memory.target.allow.set("backup", allowTable("backup", "bk", permissions))
      const { datasets } = yield* kit.run()
      assert.match(
        errorOf(datasets, "tank"),
        /bk may not rename, destroy on backup\/nas; as root on this host: zfs allow -u bk rename,destroy 'backup\/nas'; needed this once/
      )
      assert.isFalse(kit.memory.calls.includes("send tank"))
    })
  )
})
