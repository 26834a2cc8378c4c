import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { makeRunFigures, partOfWork } from "../../src/archive/ArchiveProgress.ts"
import { folder } from "../support/program/job.ts"

const names = ["AAAA", "BBBB", "CCCC", "DDDD", "EEEE"].map(folder)
const size = FastCheck.integer({ min: 0, max: 10_000 })
const end = FastCheck.constantFrom("archived" as const, "failed" as const, "unchanged" as const)

/** What happens to one folder: attempts, each of other bytes and as far as it came; then its end. */
const story = FastCheck.record({
  expected: FastCheck.option(size, { nil: undefined }),
  attempts: FastCheck.array(
    FastCheck.record({
      bytes: size,
      parts: FastCheck.array(FastCheck.double({ min: 0, max: 1.1, noNaN: true }), { maxLength: 5 })
    }),
    { maxLength: 3 }
  ),
  end
})

describe("the figures of a run", () => {
  it("never go back, never over the total, and end at it, in whatever order folders come along", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(story, { maxLength: names.length }),
        FastCheck.infiniteStream(FastCheck.nat()),
        (stories, choices) => {
          const run = makeRunFigures(
            stories.flatMap(({ expected }, index) => {
              const name = names[index]
              return name === undefined ? [] : [{ folder: name, bytes: expected }]
            })
          )
          let before = run.now()
          const look = () => {
            const now = run.now()
            assert.isAtLeast(now.done, before.done)
            assert.isAtMost(now.done, now.total ?? Number.POSITIVE_INFINITY)
            before = now
          }
          const queues = stories.map(({ attempts, end }, index) => {
            const name = names[index] ?? folder("ZZZZ")
            // What was found unchanged was not begun.
            const begun = end === "unchanged" ? [] : attempts
            return [
              ...begun.flatMap(({ bytes, parts }) =>
                [0, ...[...parts].sort((a, b) => a - b)].map((part) => () => run.reached(name, bytes, part))
              ),
              () => run[end](name)
            ]
          })
          while (queues.some((queue) => queue.length > 0)) {
            const waiting = queues.filter((queue) => queue.length > 0)
            const [choice = 0] = choices.take(1)
            waiting[choice % waiting.length]?.shift()?.()
            look()
          }
          assert.closeTo(before.total ?? -1, before.done, 1e-6)
          const counted = stories.filter(({ end }) => end !== "unchanged").length
          assert.strictEqual(before.label, `${counted} of ${counted} ${counted === 1 ? "folder" : "folders"}`)
        }
      ),
      { numRuns: 500 }
    )
  })

  it("count what has not begun with what its last archive had, else with the mean of the others", () => {
    const [a, b, c] = names
    if (a === undefined || b === undefined || c === undefined) throw new Error("no names")
    const run = makeRunFigures([
      { folder: a, bytes: undefined },
      { folder: b, bytes: undefined },
      { folder: c, bytes: undefined }
    ])
    assert.deepStrictEqual(run.now(), { done: 0, total: undefined, isGuess: true, label: "0 of 3 folders" })
    run.reached(a, 100, 0)
    assert.strictEqual(run.now().total, 300)
    run.reached(b, 200, 0.5)
    assert.deepStrictEqual(run.now(), { done: 100, total: 450, isGuess: true, label: "0 of 3 folders" })
    run.archived(a)
    run.failed(b)
    assert.deepStrictEqual(run.now(), { done: 200, total: 300, isGuess: true, label: "2 of 3 folders" })
    run.unchanged(c)
    assert.deepStrictEqual(run.now(), { done: 200, total: 200, isGuess: false, label: "2 of 2 folders" })
    const known = makeRunFigures([{ folder: a, bytes: 70 }])
    assert.isTrue(known.now().isGuess, "the folder may have changed much since its last archive")
    known.reached(a, 90, 0)
    assert.isFalse(known.now().isGuess)
    assert.strictEqual(makeRunFigures([{ folder: a, bytes: 70 }]).now().total, 70)
  })

  it("a folder's work is to read its files and then its zip, byte for byte", () => {
    assert.strictEqual(partOfWork({ bytes: 60, read: 60, zipBytes: 40, verified: 0 }), 0.6)
    assert.strictEqual(partOfWork({ bytes: 60, read: 60, zipBytes: 40, verified: 40 }), 1)
    assert.strictEqual(partOfWork({ bytes: 0, read: 0, zipBytes: 0, verified: 0 }), 0)
  })
})
