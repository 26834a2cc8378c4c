import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"

const readme = fs.readFileSync(new URL("../README.md", import.meta.url), "utf8")

describe("the README", () => {
  it("names tests that there are", () => {
    const table = /\| Promise \| Held by \|\n([\s\S]+?)\n\n/.exec(readme)?.[1] ?? ""
    const names = [...table.matchAll(/`((?:[a-z]+\/)+[A-Za-z.]+)`/g)].map(([, name]) => name ?? "")
    assert.isAbove(names.length, 30)
    const missing = names.filter((name) => {
      const file = name.endsWith(".guest") ? `${name}.ts` : `${name}.test.ts`
      return !fs.existsSync(new URL(file, import.meta.url))
    })
    assert.deepStrictEqual(missing, [])
  })
})
