import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import type { Job } from "../../src/config/ReplicationJob.ts"
import { bookmarkName, placeId } from "../../src/replication/Bookmarks.ts"
import { runReplication } from "../../src/replication/Replicate.ts"
import { asTarget } from "../doubles/replication/receiver.ts"
import { addDataset, addSnapshot, type MemoryDataset, removeSnapshot, write } from "../doubles/replication/world.ts"
import { job, letTimePass, makeKit, servicesOf } from "../support/replication/replication.ts"
import { isThorough } from "../support/thorough.ts"

const names = ["tank", "tank/a"]

/** Two hosts' places for the same source; the first job takes snapshots and thins them out as hard as it can. */
const jobs: Readonly<Record<"backup" | "vault", Job>> = {
  backup: { ...job, snapshot: true, sourceRetention: { hourly: 1, daily: 0, weekly: 0, monthly: 0 } },
  vault: { ...job, name: "vault", destination: "vault" }
}

const happening = FastCheck.record({
  dataset: FastCheck.constantFrom(...names),
  what: FastCheck.constantFrom(
    "snapshot",
    "snapshot",
    "thin out",
    "thin out",
    "destroy all",
    "bookmark",
    "run",
    "cut",
    "killed",
    "thinned out meanwhile"
  ),
  of: FastCheck.constantFrom<keyof typeof jobs>("backup", "vault"),
  amount: FastCheck.nat(30)
})

const thinOut = (source: MemoryDataset, at: number) => {
  const snapshot = source.snapshots[at % Math.max(1, source.snapshots.length)]
  if (snapshot !== undefined) removeSnapshot(source, snapshot.name)
}

describe("a base", () => {
  it.effect.prop(
    "is kept over all that the source thins out and all ends of a run; no bookmark and no snapshot of another is touched",
    { history: FastCheck.array(happening, { maxLength: 40, size: "max" }) },
    ({ history }) =>
      Effect.gen(function* () {
        const { around, lines, memory } = yield* makeKit()
        addDataset(memory, "target", "vault")
        const sources = names.map((name) => addDataset(memory, "source", name))
        for (const source of sources) addSnapshot(memory, source, "first")
        const options = {
          ...{ run: "ab12cd", rollback: false, retries: 0, lockfile: "/run/lock", host: "backup", pid: 1 },
          ...{ named: true, notify_on: [], reminder_hours: 24 }
        }
        const run = (of: keyof typeof jobs) =>
          letTimePass(runReplication(jobs[of], options)).pipe(
            Effect.provide(servicesOf(memory)),
            Effect.provide(around),
            Effect.either
          )
        const foreign = () =>
          sources.flatMap(({ bookmarks, name, snapshots }) => [
            ...snapshots.flatMap((each) => (memory.marks.has(`${name}@${each.name}`) ? [] : [`${name}@${each.name}`])),
            ...bookmarks.flatMap((each) => (/-\d+$/.test(each.name) ? [] : [`${name}#${each.name}`]))
          ])
        /** Bookmarks of a job at a source. */
        const own = ({ bookmarks, name }: MemoryDataset, of: keyof typeof jobs) => {
          const targets = new Map(
            [...memory.target.datasets.values()].map((each) => [each.name, asTarget(memory.target.datasets, each)])
          )
          const place = placeId(targets, `${of}/nas/${name}`) ?? ""
          return bookmarks.filter((each) => each.name === bookmarkName(place, each.guid))
        }

        for (const { amount, dataset, of, what } of history) {
          const source = sources.find(({ name }) => name === dataset)
          assert.isDefined(source)
          const before = foreign()
          if (what === "snapshot") addSnapshot(memory, source, `s${memory.next}`)
          if (what === "thin out") thinOut(source, amount)
          if (what === "destroy all") while (source.snapshots.length > 0) thinOut(source, 0)
          if (what === "bookmark" && source.snapshots.length > 0) {
            const { createtxg, guid } = source.snapshots[0] ?? { createtxg: 0n, guid: "" }
            source.bookmarks = [...source.bookmarks, { name: `zipper-mine${memory.next}x`, guid, createtxg }]
          }
          write(source, amount)
          if (what === "run" || what === "cut") {
            if (what === "cut") memory.cuts.push(amount * 10, amount * 5)
            const ended = yield* run(of)
            memory.cuts.length = 0
            assert.includeMembers(foreign(), before)
            if (what === "run" && ended._tag === "Right") {
              for (const each of ended.right.datasets) {
                // A source that has none at all is another matter.
                if ("error" in each)
                  assert.match(each.error, /its source has no snapshot any more|nor anything below|not tried/)
                const at = sources.find(({ name }) => name === each.dataset)
                if (/^(sent|up_to_date)$/.test(each.result) && at !== undefined) assert.lengthOf(own(at, of), 1)
              }
            }
          }
          if (what === "killed" || what === "thinned out meanwhile") {
            let left = amount
            memory.before = () => {
              left -= 1
              if (left >= 0) return
              if (what === "killed") throw new Error("killed")
              if (left === -1) thinOut(source, amount)
            }
            yield* Effect.exit(run(of))
            memory.before = () => {}
          }
          for (const each of sources) {
            const replica = memory.target.datasets.get(`${of}/nas/${each.name}`)
            const newest = replica?.snapshots.at(-1)
            if (newest === undefined) continue
            const bases = [...each.snapshots, ...each.bookmarks].map(({ guid }) => guid)
            assert.include(bases, newest.guid, `after ${what} nothing is left to go on from`)
          }
        }
        assert.isFalse(lines.some((line) => line.includes("has no snapshot in common")))
      }),
    { fastCheck: { numRuns: isThorough ? 40 : 10 }, timeout: 180_000 }
  )
})
