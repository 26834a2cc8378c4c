import * as Either from "effect/Either"
import { assert, describe, it } from "vitest"
import { configManual } from "../../src/cli/manual.ts"
import { Compression, ConfigDocument, decode, Gotify, Hooks, Mqtt } from "../../src/config/Config.ts"
import { commentedExample } from "../../src/config/ConfigExample.ts"
import { configSchema } from "../../src/config/ConfigSchema.ts"
import * as JsonText from "../../src/config/JsonText.ts"
import { ReplicationJob, RetentionConfig } from "../../src/config/ReplicationJob.ts"

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
})

/** Every struct of the configuration, by the path of its keys. */
const structs = {
  "": ConfigDocument,
  "gotify.": Gotify,
  "compression.": Compression,
  "replication.": ReplicationJob,
  "replication.retention.": RetentionConfig,
  "replication.source_retention.": RetentionConfig,
  "target_snapshots.": RetentionConfig,
  "hooks.": Hooks,
  "mqtt.": Mqtt
}
const paths = Object.entries(structs)
  .flatMap(([path, { fields }]) => Object.keys(fields).map((key) => `${path}${key}`))
  .sort()

describe("the keys of the configuration", () => {
  it("are those of the example, two of them as comments", () => {
    const shown = Either.getOrThrow(JsonText.parse(text)).value
    const apart = [...text.matchAll(/^ {2}\/\/ "(\S+)": /gm)].map(([, key]) => key ?? "")
    assert.deepStrictEqual([...keysIn(shown), ...apart].sort(), paths)
  })

  it("are those of the manual, each with what it is for", () => {
    const found: Array<string> = []
    let section = ""
    let path = ""
    for (const block of configManual()) {
      if (block.kind === "section") section = block.text
      if (block.kind === "subsection") path = `${block.text}.`
      if (section !== "KEYS" || block.kind !== "entry") continue
      found.push(`${path}${block.term}`)
      assert.match(block.text, /^\S.{9,}\.( Expected: .*\.| The keys are below\.)/, block.term)
    }
    assert.deepStrictEqual(found.sort(), paths)
  })

  it("are those of the JSON Schema, each with a description", () => {
    const described = (schema: unknown, path = ""): ReadonlyArray<string> =>
      Object.entries(at(schema, "properties") ?? at(at(schema, "items"), "properties") ?? {}).flatMap(
        ([key, inner]) => {
          assert.match(String(at(inner, "description")), /^\S.{9,}/, key)
          return [`${path}${key}`, ...described(inner, `${path}${key}.`)]
        }
      )
    assert.deepStrictEqual([...described(configSchema())].sort(), paths)
  })
})

const at = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null ? Object.entries(value).find(([name]) => name === key)?.[1] : undefined

/** The keys of an object, and of the first object of a list. */
const keysIn = (value: unknown, path = ""): ReadonlyArray<string> => {
  const object: unknown = Array.isArray(value) ? value[0] : value
  if (typeof object !== "object" || object === null) return []
  return Object.entries(object).flatMap(([key, inner]) => [`${path}${key}`, ...keysIn(inner, `${path}${key}.`)])
}
