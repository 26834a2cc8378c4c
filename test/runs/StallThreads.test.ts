import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { Stall, stallSeconds } from "../../src/runs/Stall.ts"

let proc: string
beforeEach(() => {
  proc = mkdtempSync(join(tmpdir(), "zipper-proc-"))
})
afterEach(() => rmSync(proc, { recursive: true, force: true }))

/** A thread as Linux shows it. */
const put = (pid: number, thread: number, name: string, state: string, children = "") => {
  const folder = join(proc, String(pid), "task", String(thread))
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, "status"),
    `Name:\t${name}\nState:\t${state}\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t0\n`
  )
  writeFileSync(join(folder, "children"), children)
}

const hangs = "D (disk sleep)"
const foundIn = (place: string) =>
  Effect.flatMap(Stall, (stall) => stall.found).pipe(Effect.provide(Stall.layer(600, place)))

describe("Stall", () => {
  it.effect("finds a thread of ours that has hung for so long, and not before", () =>
    Effect.gen(function* () {
      put(process.pid, process.pid, "node", "S (sleeping)")
      put(process.pid, process.pid + 1, "libuv-worker", hangs)
      const fiber = yield* Effect.fork(foundIn(proc))
      yield* TestClock.adjust("590 seconds")
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* Fiber.join(fiber), { program: "zipper", seconds: 600 })
    })
  )

  it.effect("finds a program that one of ours has started", () =>
    Effect.gen(function* () {
      put(process.pid, process.pid, "node", "S (sleeping)", "1000001 ")
      put(1_000_001, 1_000_001, "sh", "S (sleeping)", "1000002 ")
      put(1_000_002, 1_000_002, "zfs", hangs)
      put(1_000_003, 1_000_003, "another", hangs)
      const fiber = yield* Effect.fork(foundIn(proc))
      yield* TestClock.adjust("600 seconds")
      assert.deepInclude(yield* Fiber.join(fiber), { program: "zfs" })
    })
  )

  it.effect("finds nothing where threads work, or there is no /proc", () =>
    Effect.gen(function* () {
      put(process.pid, process.pid, "node", "S (sleeping)")
      const fibers = yield* Effect.forEach([foundIn(proc), foundIn(join(proc, "none"))], Effect.fork)
      yield* TestClock.adjust("15 minutes")
      for (const fiber of fibers) {
        assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
        yield* Fiber.interrupt(fiber)
      }
    })
  )

  it("gives no more time than a folder has", () => {
    assert.strictEqual(stallSeconds(14_400), 1800)
    assert.strictEqual(stallSeconds(900), 900)
    assert.strictEqual(stallSeconds(20), 300)
  })
})
