import { assert, describe, it } from "@effect/vitest"
import { splitDatasets } from "../../src/status/Status.ts"

const of = (known: ReadonlyArray<string>, configured: ReadonlyArray<string>) => {
  const { kept, unknown } = splitDatasets(
    known.map((dataset) => ({ dataset })),
    configured
  )
  return { kept: kept.map(({ dataset }) => dataset), unknown }
}

describe("what a replication job looks after", () => {
  it("has a dataset that was added since its last run, which nothing is known of", () => {
    assert.deepStrictEqual(of(["tank/a", "tank/a/x"], ["tank/a", "tank/b", "tank/b"]), {
      kept: ["tank/a", "tank/a/x"],
      unknown: ["tank/b"]
    })
    assert.deepStrictEqual(of([], ["tank/a"]), { kept: [], unknown: ["tank/a"] })
    // A name that only begins alike is another dataset.
    assert.deepStrictEqual(of(["tank/aa"], ["tank/a"]), { kept: [], unknown: ["tank/a"] })
  })

  it("takes a root for known when something below it is: it may be left out itself", () => {
    assert.deepStrictEqual(of(["tank/a/x"], ["tank/a"]), { kept: ["tank/a/x"], unknown: [] })
  })

  it("has none any more that was taken out of the configuration", () => {
    assert.deepStrictEqual(of(["tank/a", "tank/b", "tank/b/x"], ["tank/b/x"]), {
      kept: ["tank/b/x"],
      unknown: []
    })
  })
})
