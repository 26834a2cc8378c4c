import { readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { makePlace, type Place, run, toolsFor } from "../support/program/built.ts"
import { noise } from "../support/zip/archive.ts"

let place: Place
const { job } = toolsFor(() => place)
const clock = fileURLToPath(new URL("../support/program/clock.mjs", import.meta.url))
const hour = 3_600_000
const day = 24 * hour

/** At so many milliseconds from now. */
const verify = (at: number, ...args: ReadonlyArray<string>) =>
  run(["verify", "--config", place.config, ...args], {
    env: { NODE_OPTIONS: `--import=${clock}`, CLOCK_OFFSET: String(at) }
  })
const monthly = ["--max-age", "30d"]
const bitByBit = [...monthly, "--limit", "512K"]
const said = async (...args: Parameters<typeof verify>) => {
  const { status, stderr, stdout } = await verify(...args)
  assert.deepStrictEqual([status, stderr], [0, ""])
  return stdout
}
const namesIn = (text: string) => [...text.matchAll(/^\* ([A-Z]{4}): .*good/gm)].map(([, name]) => name)

beforeAll(async () => {
  place = makePlace()
  place.put("AAAA/a", noise(300_000))
  place.put("BBBB/b", noise(300_000))
  place.put("CCCC/c", noise(700_000))
  assert.strictEqual((await job()).status, 0)
})

afterAll(() => place.remove())

describe("zipper verify --max-age --limit", () => {
  it("called every hour, reads all archives bit by bit, and then none for as long as they are young", async () => {
    const first = await said(0, ...bitByBit)
    assert.deepStrictEqual(namesIn(first), ["AAAA"])
    assert.match(first, /\n\* 1 good, 0 damaged; .* read in .*\n\* 2 archives wait, 2 never checked\n$/)
    const again = await said(hour / 2, ...bitByBit)
    assert.match(again, /^\* nothing was read: the limit of this hour is reached; 1 not due\n\* 2 archives wait, /)
    assert.deepStrictEqual(namesIn(await said(1.1 * hour, ...bitByBit)), ["BBBB"])
    assert.deepStrictEqual(namesIn(await said(2.2 * hour, ...bitByBit)), ["CCCC"], "larger than the limit")
    assert.strictEqual(await said(4 * hour, ...bitByBit), "* nothing was read: no archive is due; 3 not due\n")
    assert.strictEqual(await said(4 * hour, ...bitByBit, "--quiet"), "")
    const later = await said(41 * day, ...bitByBit)
    assert.deepStrictEqual(namesIn(later), ["AAAA"])
    assert.match(later, /\n\* 2 archives wait, the oldest check is 40 days old\n$/)
    const { not_due, waiting } = JSON.parse((await verify(41 * day + hour / 2, ...bitByBit, "--json")).stdout)
    assert.deepStrictEqual([not_due, waiting], [1, 2])
  })

  it("reads an archive that was published since its last check, and only what is asked for", async () => {
    assert.match(await said(42 * day), /\n\* 3 good, /)
    place.put("AAAA/a", noise(200_000))
    await job("--folder", "AAAA")
    assert.deepStrictEqual(namesIn(await said(43 * day, ...monthly)), ["AAAA"])
    assert.match(await said(43 * day, ...monthly, "BBBB"), /^\* nothing was read: no archive is due; 1 not due\n$/)
    assert.deepStrictEqual(namesIn(await said(80 * day, ...monthly, "BBBB")), ["BBBB"])
    // What was current has been checked, and is the one before now.
    assert.match(await said(43 * day, ...monthly, "--prev"), /nothing was read: no archive is due; 1 not due\n$/)
    assert.deepStrictEqual(namesIn(await said(80 * day, ...monthly, "--prev")), ["AAAA"])
    // One that changes all the time goes by its last check, too: it does not keep an older one waiting.
    place.put("AAAA/a", noise(100_000))
    await job("--folder", "AAAA")
    assert.deepStrictEqual(namesIn(await said(80.5 * day, ...monthly, "--limit", "1")), ["CCCC"])
  })

  it("a lost archive is reported by each call, however small its limit", async () => {
    assert.match(await said(81 * day), /\n\* 3 good, /)
    rmSync(join(place.target, "BBBB", "BBBB.zip"))
    for (const at of [81 * day, 82 * day]) {
      const { status, stderr, stdout } = await verify(at, ...monthly, "--limit", "1", "--quiet")
      assert.deepStrictEqual([status, stdout], [1, ""])
      assert.match(stderr, /^error: BBBB: BBBB\.zip is missing\n/)
    }
  })

  it("refuses what is no age and no size, and writes nothing", async () => {
    const results = () =>
      readdirSync(join(place.target, ".zipper/verified")).map((name) =>
        readFileSync(join(place.target, ".zipper/verified", name), "utf8")
      )
    const before = results()
    for (const [option, value, why] of [
      ["--max-age", "0d", '"0d" is not an age such as 90m, 26h or 2d'],
      ["--limit", "5X", '"5X" is not a size such as 800M, 500G or 2T'],
      ["--limit", "0", '"0" is not a size'],
      ["--limit", "9999999T", '"9999999T" is not a size']
    ] as const) {
      const { status, stderr } = await verify(0, option, value)
      assert.strictEqual(status, 2)
      assert.include(stderr, `${option}: ${why}`)
    }
    assert.deepStrictEqual(results(), before)
  })
})
