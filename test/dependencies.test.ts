import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"

const Lock = Schema.parseJson(
  Schema.Struct({
    packages: Schema.Record({
      key: Schema.String,
      value: Schema.Struct({
        integrity: Schema.optional(Schema.String)
      })
    })
  })
)

const Package = Schema.parseJson(
  Schema.Struct({
    dependencies: Schema.Record({ key: Schema.String, value: Schema.String }),
    devDependencies: Schema.Record({ key: Schema.String, value: Schema.String })
  })
)

const text = (name: string) => fs.readFileSync(new URL(`../${name}`, import.meta.url), "utf8")
const { packages } = Schema.decodeSync(Lock)(text("package-lock.json"))
const installed = Object.entries(packages).filter(([place]) => place !== "")

describe("the dependencies", () => {
  it("are all held by a digest", () => {
    assert.isAbove(installed.length, 50)
    const without = installed.filter(([, { integrity }]) => integrity?.startsWith("sha512-") !== true)
    assert.deepStrictEqual(without, [])
  })

  it("are pinned to one version each", () => {
    const { dependencies, devDependencies } = Schema.decodeSync(Package)(text("package.json"))
    for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
      assert.match(version, /^\d+\.\d+\.\d+$/, name)
    }
  })

  it("are installed without running scripts of theirs", () => {
    assert.match(text(".npmrc"), /^ignore-scripts=true$/m)
  })
})
