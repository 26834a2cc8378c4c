import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { type Candidate, chooseDue, waitingText } from "../../src/verify/Due.ts"
import { folder } from "../support/program/job.ts"

const hour = 3_600_000
const day = 24 * hour
const now = 1_000 * day

const names = FastCheck.uniqueArray(FastCheck.stringMatching(/^[A-Z]{4}$/), { maxLength: 12 })
const candidates = names.chain((all) =>
  FastCheck.tuple(
    ...all.map((name) =>
      FastCheck.record<Candidate>({
        folder: FastCheck.constant(folder(name)),
        bytes: FastCheck.oneof(FastCheck.constant(0), FastCheck.integer({ min: 1, max: 100 })),
        checked: FastCheck.option(
          FastCheck.integer({ min: 0, max: 60 }).map((days) => now - days * day),
          { nil: undefined }
        ),
        isGood: FastCheck.boolean()
      })
    )
  )
)
const maybe = (max: number) => FastCheck.option(FastCheck.integer({ min: 1, max }), { nil: undefined })
const options = FastCheck.record({
  maxAge: maybe(60).map((days) => (days === undefined ? undefined : days * day)),
  limit: maybe(200),
  spent: FastCheck.oneof(FastCheck.constant(0), FastCheck.integer({ min: 0, max: 200 }))
})

const sum = (all: ReadonlyArray<Candidate>) => all.reduce((so, { bytes }) => so + bytes, 0)
const namesOf = (all: ReadonlyArray<Candidate>) => all.map(({ folder }) => String(folder))
const one = (name: string, bytes: number, days?: number, isGood = true): Candidate => ({
  folder: folder(name),
  bytes,
  checked: days === undefined ? undefined : now - days * day,
  isGood: days !== undefined && isGood
})

describe("the archives that verify reads", () => {
  it("are those that are due, in order, and within the limit; every other one is named as waiting or not due", () => {
    FastCheck.assert(
      FastCheck.property(candidates, options, (all, { limit, maxAge, spent }) => {
        const { fresh, read, waiting } = chooseDue(all, { limit, maxAge, spent, now })
        assert.deepStrictEqual(namesOf([...read, ...waiting, ...fresh]).sort(), namesOf(all).sort())
        for (const { bytes, checked, isGood } of fresh) {
          assert.isTrue(bytes > 0 && isGood && checked !== undefined && now - checked <= (maxAge ?? -1))
        }
        for (const { bytes, checked, isGood } of [...read, ...waiting]) {
          assert.isTrue(bytes === 0 || !isGood || checked === undefined || now - checked > (maxAge ?? -1))
        }
        const missing = all.filter(({ bytes }) => bytes === 0)
        assert.deepStrictEqual(read.slice(0, missing.length), missing)
        const times = [...read.slice(missing.length), ...waiting].map(({ checked }) => checked ?? 0)
        assert.deepStrictEqual(
          times,
          [...times].sort((a, b) => a - b)
        )
        const large = read.length === missing.length + 1 && spent === 0
        if (limit === undefined) assert.isEmpty(waiting)
        else if (!large && sum(read) > 0) assert.isAtMost(spent + sum(read), limit)
        const [next] = waiting
        if (next !== undefined) assert.isAbove(spent + sum(read) + next.bytes, limit ?? 0)
        if (next !== undefined) assert.isAbove(spent + sum(read), 0)
      }),
      { numRuns: 2000 }
    )
  })

  it("all come along within hours, of any size, also when archives change in each of them", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(FastCheck.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 8 }),
        FastCheck.integer({ min: 1, max: 60 }),
        FastCheck.integer({ min: 0, max: 7 }),
        (sizes, limit, changing) => {
          const checks = new Map<number, number>()
          for (let at = 0; at < 4 * sizes.length; at += 1) {
            const all = sizes.map((bytes, index) => {
              const checked = checks.get(index)
              // One archive is replaced all the time.
              return { ...one(`AAA${index}`, bytes), checked, isGood: checked !== undefined && index !== changing }
            })
            const time = now + at * hour
            const spent = sizes.filter((_, index) => time - (checks.get(index) ?? 0) < hour).reduce((a, b) => a + b, 0)
            const { read } = chooseDue(all, { limit, maxAge: 30 * day, spent, now: time })
            if (read.length > 1) assert.isAtMost(spent + sum(read), limit)
            for (const { folder: name } of read) checks.set(Number(String(name).slice(3)), time + 1)
          }
          assert.lengthOf([...checks], sizes.length)
        }
      ),
      { numRuns: 300 }
    )
  })

  it("a large one waits for an hour of its own, and smaller ones do not pass it by", () => {
    const all = [one("HUGE", 500, 50), one("TINY", 1, 40), one("GONE", 0), one("LATE", 5, 2)]
    const at = (spent: number) => chooseDue(all, { limit: 100, maxAge: 30 * day, spent, now })
    assert.deepStrictEqual(namesOf(at(1).read), ["GONE"])
    assert.deepStrictEqual(namesOf(at(1).waiting), ["HUGE", "TINY"])
    assert.deepStrictEqual(namesOf(at(0).read), ["GONE", "HUGE"])
    assert.deepStrictEqual(namesOf(at(0).fresh), ["LATE"])
  })

  it("one whose check lies in the future, or was not good, is due", () => {
    const all = [one("AHEA", 1, -2), one("GOOD", 1, 2), one("DAMA", 1, 3, false)]
    assert.deepStrictEqual(namesOf(chooseDue(all, { limit: undefined, maxAge: 30 * day, spent: 0, now }).read), [
      "AHEA",
      "DAMA"
    ])
  })

  it("what waits is said in one line", () => {
    const text = (...waiting: ReadonlyArray<Candidate>) => waitingText({ now, waiting })
    assert.strictEqual(text(one("AAAA", 1, 41), one("BBBB", 1, 3)), "2 archives wait, the oldest check is 41 days old")
    assert.strictEqual(
      text(one("AAAA", 1), one("BBBB", 1, 1)),
      "2 archives wait, 1 never checked, the oldest check is 1 d 00 h old"
    )
    assert.strictEqual(text(one("AAAA", 1)), "1 archive waits, 1 never checked")
    assert.strictEqual(
      text(one("AAAA", 1, -2), one("BBBB", 1, 3)),
      "2 archives wait, 1 checked in the future, by the clock of this machine, the oldest check is 3 days old"
    )
  })
})
