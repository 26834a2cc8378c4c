import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import type { ReplicationSummary } from "../../src/runs/ReplicationResult.ts"
import { addSnapshot, zfsError } from "../doubles/replication/world.ts"
import { makeKit, short } from "../support/replication/replication.ts"

const names = ["tank", "tank/a", "tank/a/1", "tank/b", "zoo", "zoo/c"]

/** A kit whose sends take a second, and longer the earlier they are listed; `log` has when each begins and ends. */
const slowKit = Effect.fnUntraced(function* (concurrency: number) {
  const kit = yield* makeKit({ datasets: ["tank", "zoo"], concurrency })
  const log: Array<string> = []
  const running = { now: 0, most: 0 }
  for (const [index, name] of names.entries()) {
    kit.source(name, ["1"])
    kit.memory.delays.set(`send ${name}`, 1000 + 100 * (names.length - index))
  }
  kit.memory.before = (operation) => {
    if (!operation.startsWith("send ")) return
    log.push(operation)
    running.now += 1
    running.most = Math.max(running.most, running.now)
  }
  kit.memory.after = (operation) => {
    if (!operation.startsWith("send ")) return
    log.push(operation.replace("send", "end"))
    running.now -= 1
  }
  return { ...kit, log, running }
})

describe("several datasets at once", () => {
  it.effect("are no more than the job says, each after its parent, and in the document in their order", () =>
    Effect.gen(function* () {
      for (const [concurrency, most] of [
        [1, 1],
        [2, 2],
        [3, 3],
        [16, 3]
      ] as const) {
        const { log, run, running } = yield* slowKit(concurrency)
        const summary = yield* run()
        assert.deepStrictEqual(
          short(summary.datasets),
          names.map((name) => `${name} sent`)
        )
        assert.strictEqual(running.most, most, `concurrency ${concurrency}`)
        for (const name of names.filter((each) => each.includes("/"))) {
          const parent = name.slice(0, name.lastIndexOf("/"))
          assert.isBelow(log.indexOf(`end ${parent}`), log.indexOf(`send ${name}`), name)
        }
        if (concurrency === 1) {
          assert.deepStrictEqual(
            log.filter((line) => line.startsWith("send")),
            names.map((name) => `send ${name}`)
          )
        }
      }
    })
  )

  it.effect("wait for no parent that the target has", () =>
    Effect.gen(function* () {
      const kit = yield* slowKit(16)
      yield* kit.run()
      for (const dataset of kit.memory.source.datasets.values()) addSnapshot(kit.memory, dataset, "2")
      kit.log.length = 0
      kit.running.most = 0
      assert.strictEqual((yield* kit.run()).sent, names.length)
      assert.strictEqual(kit.running.most, names.length)
    })
  )

  it.effect("fail each by itself, but for what lies below one that is not there", () =>
    Effect.gen(function* () {
      const { memory, run } = yield* slowKit(4)
      memory.failures.set("send tank/a", [zfsError("NoSpace", "out of space")])
      assert.deepStrictEqual(short((yield* run()).datasets), [
        ...["tank sent", "tank/a failed", "tank/a/1 failed", "tank/b sent", "zoo sent", "zoo/c sent"]
      ])
      const again = yield* run()
      assert.deepInclude(again, { sent: 2, up_to_date: 4, failed: 0 })
    })
  )

  it.effect("end all when a signal comes", () =>
    Effect.gen(function* () {
      const { log, memory, running, unhurried } = yield* slowKit(16)
      memory.delays.set("send tank/a/1", 60_000)
      memory.delays.set("send zoo/c", 60_000)
      const unfinished: Array<ReplicationSummary> = []
      const onUnfinished = (done: ReplicationSummary) => Effect.sync(() => unfinished.push(done))
      const fiber = yield* Effect.fork(unhurried({ onUnfinished }))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(log.slice(0, 3), ["send tank", "send zoo", "end zoo"])
      assert.strictEqual(running.now, 2)
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 hour")
      assert.notInclude(log, "end tank/a/1")
      // In their order, though zoo was the first that was done.
      assert.deepStrictEqual(
        unfinished.map(({ datasets }) => short(datasets)),
        [["tank sent", "tank/a sent", "tank/b sent", "zoo sent"]]
      )
    })
  )

  it.effect("are not at once in a dry run, whose lines are in their order", () =>
    Effect.gen(function* () {
      const { lines, run } = yield* slowKit(16)
      yield* run({ dryRun: true })
      assert.deepStrictEqual(
        lines.flatMap((line) => /^INFO (\S+): would send all/.exec(line)?.[1] ?? []),
        names
      )
    })
  )
})
