import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { ancestorsOf, datasetProblem, isWithin, parentOf, poolOf } from "../../src/zfs/DatasetName.ts"

const name = FastCheck.array(FastCheck.stringMatching(/^[A-Za-z0-9_.: -]{1,5}$/), {
  minLength: 1,
  maxLength: 4
})
  .map((parts) => `t${parts.join("/")}`)
  .filter((each) => datasetProblem(each) === undefined)

describe("DatasetName", () => {
  it("takes the names that zfs takes", () => {
    for (const each of ["tank", "tank/0", "tank/my data", "tank/a-b_c.d:e", "t/...", "Z9/-x", `t/${"x".repeat(253)}`]) {
      assert.isUndefined(datasetProblem(each), each)
    }
  })

  it("says what is wrong with the others", () => {
    for (const [each, what] of [
      ["", /is empty/],
      ["x".repeat(256), /longer than 255/],
      ["tank@a", /names a snapshot/],
      ["tank/a#b", /names a bookmark/],
      ["tank/a$b", /holds "\$"/],
      ["tank/a%b", /holds "%"/],
      ["tank/a'b", /holds "'"/],
      ["tank/ä", /holds "ä"/],
      ["tank/a\nb", /holds "\\n"/],
      ["/tank/data", /^is a path; give the dataset, which zfs list -H -o name PATH prints$/],
      ["me@nas:tank/data", /^names a host or a snapshot; give the dataset alone, and the host by itself$/],
      ["tank/", /empty part/],
      ["tank//a", /empty part/],
      ["tank/./a", /"\." or "\.\."/],
      ["tank/..", /"\." or "\.\."/],
      ["0/a", /does not begin with the name of a pool/],
      ["-tank", /does not begin with the name of a pool/]
    ] as const) {
      assert.match(datasetProblem(each) ?? "", what, each)
    }
  })

  it("knows a prefix from a parent", () => {
    assert.isTrue(isWithin("tank/a", "tank/a"))
    assert.isTrue(isWithin("tank/a/b", "tank/a"))
    assert.isFalse(isWithin("tank/aa", "tank/a"))
    assert.isFalse(isWithin("tank", "tank/a"))
  })

  it.prop("goes up by parents to the pool", [name], ([each]) => {
    const ancestors = ancestorsOf(each)
    const parent = parentOf(each)
    assert.strictEqual(ancestors.at(-1), parent)
    assert.strictEqual([...ancestors, each][0], poolOf(each))
    for (const above of ancestors) {
      assert.isTrue(isWithin(each, above) && !isWithin(above, each))
      assert.isUndefined(datasetProblem(above))
    }
    if (parent !== undefined) assert.deepStrictEqual(ancestorsOf(parent), ancestors.slice(0, -1))
  })
})
