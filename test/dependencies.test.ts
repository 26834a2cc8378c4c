import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"

const Lock = Schema.parseJson(
  Schema.Struct({
    packages: Schema.Record({
      key: Schema.String,
      value: Schema.Struct({
        integrity: Schema.optional(Schema.String),
        hasInstallScript: Schema.optional(Schema.Boolean)
      })
    })
  })
)

const Package = Schema.parseJson(
  Schema.Struct({
    dependencies: Schema.optional(Schema.Unknown),
    devDependencies: Schema.Record({ key: Schema.String, value: Schema.String }),
    scripts: Schema.Record({ key: Schema.String, value: Schema.String })
  })
)

const text = (name: string) => fs.readFileSync(new URL(`../${name}`, import.meta.url), "utf8")
const { packages } = Schema.decodeSync(Lock)(text("package-lock.json"))
const { dependencies, devDependencies, scripts } = Schema.decodeSync(Package)(text("package.json"))
const installed = Object.entries(packages).filter(([place]) => place !== "")

describe("the dependencies", () => {
  it("are all held by a digest", () => {
    assert.isAbove(installed.length, 50)
    const without = installed.filter(([, { integrity }]) => integrity?.startsWith("sha512-") !== true)
    assert.deepStrictEqual(without, [])
  })

  it("are pinned to one version each", () => {
    for (const [name, version] of Object.entries(devDependencies)) {
      assert.match(version, /^\d+\.\d+\.\d+$/, name)
    }
  })

  it("are none of the package that is installed: its one file holds them", () => {
    assert.isUndefined(dependencies)
  })

  // Not by .npmrc, which would keep npm pack from building first.
  it("are installed without running scripts of theirs, and three that nothing is lost by have one", () => {
    assert.include(scripts["setup"], "npm ci --ignore-scripts")
    assert.match(text(".ci/run"), /^npm ci --ignore-scripts$/m)
    const names = installed.filter(([, { hasInstallScript }]) => hasInstallScript).map(([place]) => place)
    assert.deepStrictEqual(
      names,
      ["@parcel/watcher", "esbuild", "msgpackr-extract"].map((name) => `node_modules/${name}`)
    )
  })
})
