import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { nodeProblem } from "../../src/cli/build.ts"

describe("the version of node", () => {
  it("is refused where it is older than the engines of package.json", () => {
    const { engines } = JSON.parse(readFileSync("package.json", "utf8"))
    assert.deepStrictEqual(engines, { node: "^20.15 || >=22.2" })
    for (const old of ["18.20.8", "20.14.0", "21.7.3", "22.1.0"]) {
      const line = `zipper needs node 20.15 or newer (or 22.2 or newer); this is ${old}`
      assert.strictEqual(nodeProblem(old), line)
    }
    for (const good of ["20.15.0", "20.19.4", "22.2.0", "24.0.0"]) assert.isUndefined(nodeProblem(good))
  })
})
