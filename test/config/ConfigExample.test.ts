import { readFileSync } from "node:fs"
import * as Either from "effect/Either"
import { assert, describe, it } from "vitest"
import { ConfigDocument, decode } from "../../src/config/Config.ts"
import { commentedExample } from "../../src/config/ConfigExample.ts"

const text = commentedExample()
const withoutComments = text.replace(/^\s*\/\/.*\n/gm, "")

describe("the commented example", () => {
  it("is a configuration, once its comments are taken out", () => {
    const decoded = decode(JSON.parse(withoutComments), { tokenGiven: true })
    assert.isTrue(Either.isRight(decoded), JSON.stringify(Either.getLeft(decoded)))
  })

  it("has every key, each after a comment that says what it is for", () => {
    for (const key of Object.keys(ConfigDocument.fields)) {
      const before = text.split("\n")[text.split("\n").findIndex((line) => line.includes(`"${key}": `)) - 1]
      assert.match(before ?? "", /^ {2}\/\/ \S/, key)
    }
    assert.notMatch(text, /undefined/)
  })

  it("shows the defaults, and says so", () => {
    const minimal = Either.getOrThrow(decode({ source_path: "/a", target_path: "/b" }))
    const shown = Either.getOrThrow(decode(JSON.parse(withoutComments), { tokenGiven: true }))
    const { replication: _, source_path: _s, target_path: _t, ...defaults } = minimal
    assert.deepInclude(shown, defaults)
    assert.match(text, /\(a whole number from 1 to 64; default 1\)/)
  })

  it("keeps to 100 columns", () => {
    for (const line of text.split("\n")) assert.isAtMost(line.length, 100, line)
  })

  it("knows no key that the README's tables do not explain", () => {
    const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8")
    for (const key of Object.keys(ConfigDocument.fields)) assert.include(readme, `\`${key}\``)
  })
})
