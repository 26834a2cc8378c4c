import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { ArchiveError } from "../../src/zip/ZipError.ts"
import type { Shown } from "../doubles/Progress.ts"
import { makeKit, onlyChanged } from "../support/program/job.ts"

const failure = (transient: boolean) =>
  new ArchiveError({ reason: "Unreadable", path: "x", message: "cannot read x", transient })

const tree = () => ({
  ABCD: { a: { content: "a".repeat(100) } },
  EFGH: { b: { content: "b".repeat(300) } },
  IJKL: { c: { content: "c".repeat(600) } }
})

/** The run's own display, which never goes back or over what there is to do. */
const whole = (shown: ReadonlyArray<Shown>) => {
  const [first] = shown
  if (first === undefined) throw new Error("nothing was shown")
  let before = 0
  for (const { done, total } of first.figures) {
    assert.isAtLeast(done, before)
    assert.isAtMost(done, total ?? done)
    before = done
  }
  return { last: first.figures.at(-1), open: first.open }
}

describe("the progress of a run", () => {
  it.effect("the run comes first, then each folder; all of it is there in the end, and gone", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      yield* kit.run()
      const { last, open } = whole(kit.shown)
      assert.deepStrictEqual(last, { done: 1000, total: 1000, isGuess: false, label: "3 of 3 folders" })
      assert.isFalse(open)
      assert.deepStrictEqual(
        kit.shown.slice(1).map(({ label, open }) => [label, open]),
        [
          ["ABCD listing", false],
          ["EFGH listing", false],
          ["IJKL listing", false]
        ]
      )
      const [, folder] = kit.shown
      assert.deepStrictEqual(
        [...new Set(folder?.figures.map(({ label }) => label).filter((label) => label !== undefined))],
        ["ABCD listing", "ABCD", "ABCD verifying", "ABCD finishing"]
      )
    })
  )

  it.effect("a folder is done when its zip has been read back, not before", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ABCD: tree().ABCD })
      yield* kit.run()
      const done = kit.shown[0]?.figures.map((figures) => figures.done) ?? []
      assert.isAbove(done.at(-4) ?? 0, 0)
      assert.isBelow(done.at(-3) ?? 0, 100)
      assert.deepStrictEqual(done.slice(-2), [100, 100])
    })
  )

  it.effect("a folder that is tried again, or fails, takes nothing back", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree())
      kit.archiver.verifyFailures["ABCD"] = [failure(true), failure(true)]
      kit.archiver.verifyFailures["EFGH"] = [failure(false)]
      const running = yield* Effect.fork(kit.run())
      yield* TestClock.adjust("10 seconds")
      const { failed } = yield* Fiber.join(running)
      assert.strictEqual(failed, 1)
      const { last } = whole(kit.shown)
      assert.deepStrictEqual([last?.label, last?.done], ["3 of 3 folders", last?.total])
      const again = kit.shown[1]?.figures.filter(({ label }) => label === "ABCD listing") ?? []
      assert.lengthOf(again, 3)
    })
  )

  it.effect("folders that turn out to be unchanged do not count, and a run with nothing to do shows nothing", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(tree(), { zfs: { evidence: onlyChanged() } })
      yield* kit.run()
      kit.shown.length = 0
      yield* kit.run()
      assert.lengthOf(kit.shown, 0)

      const compared = yield* makeKit(tree())
      yield* compared.run()
      compared.shown.length = 0
      yield* compared.run()
      assert.deepStrictEqual(whole(compared.shown).last, { done: 0, total: 0, isGuess: false, label: "0 of 0 folders" })
    })
  )
})
