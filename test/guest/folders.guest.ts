import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import { archived, placeIn, run, succeed, zipOf } from "./jobSupport.ts"
import { checkSums, entryOf, fingerprint, makePool, type Pool, put, zfs, zipper } from "./support.ts"

const names = ["photos 2024", "it's $HOME", "日本", "back\\slash", "-rf"]

let pool: Pool
before(() => {
  pool = makePool(1024)
})
after(() => pool.destroy())

describe("folders with names of any kind, on OpenZFS", () => {
  it("are told apart by zfs diff, child datasets with a blank in their names too", () => {
    const place = placeIn(pool, { folders: "[^.].*" })
    for (const name of names) put(`${place.source}/${name}/file`, "v1")
    zfs("create", `${place.data}/child of mine`)
    put(`${place.source}/child of mine/file`, "v1")
    zfs("create", "-o", `mountpoint=${place.source}/photos 2024/inner`, `${place.data}/inner one`)
    put(`${place.source}/photos 2024/inner/file`, "v1")
    succeed(place)
    assert.deepEqual(archived(place).sort(), [...names, "child of mine"].sort())
    const all = new Map(archived(place).map((name) => [name, fingerprint(path.join(place.target, name))]))
    for (const name of ["日本", "-rf", "child of mine"]) put(`${place.source}/${name}/file`, "v2")
    put(`${place.source}/photos 2024/inner/file`, "v2")
    const { stdout } = succeed(place, "--debug")
    assert.match(stdout, /compared with .*@auto-zip-/)
    assert.match(stdout, /4 archived, 2 unchanged, 0 failed/)
    for (const [name, before] of all) {
      const changed = ["日本", "-rf", "child of mine", "photos 2024"].includes(name)
      assert.equal(changed, fingerprint(path.join(place.target, name)).join() !== before.join(), name)
      checkSums(path.join(place.target, name))
    }
    assert.equal(entryOf(zipOf(place, "photos 2024"), "inner/file"), "v2")
    assert.equal(entryOf(zipOf(place, "日本"), "file"), "v2")
  })

  it("are not archived, and no child dataset of theirs is in the snapshot, where folders asks for others", () => {
    const place = placeIn(pool, { folders: "photos [0-9]+" })
    zfs("create", `${place.data}/photos 2024`)
    zfs("create", `${place.data}/other`)
    put(`${place.source}/photos 2024/file`)
    put(`${place.source}/other/file`)
    succeed(place)
    assert.deepEqual(archived(place), ["photos 2024"])
    assert.match(zfs("list", "-Hrt", "snapshot", "-o", "name", place.data), /photos 2024@/)
    assert.doesNotMatch(zfs("list", "-Hrt", "snapshot", "-o", "name", place.data), /other@/)
  })

  for (const [property, value, first, second] of [
    ["casesensitivity", "insensitive", "Photos 2024", "photos 2024"],
    ["normalization", "formD", "\u00c4rger", "A\u0308rger"]
  ] as const) {
    it(`are refused before anything is written where ${property}=${value} takes two for one`, () => {
      const place = placeIn(pool, { folders: "[^.].*" })
      const dataset = place.data.replace(/source$/, "target")
      zfs("destroy", dataset)
      zfs("create", "-o", `${property}=${value}`, dataset)
      for (const name of [first, second]) put(`${place.source}/${name}/file`, name)
      const refused = run(place)
      assert.equal(refused.status, 3, refused.stdout + refused.stderr)
      assert.match(refused.stderr, /takes ".*" and ".*" for one name.*: rename one of the two/)
      assert.deepEqual(archived(place), [])
      assert.equal(zipper("check", "--config", place.config).status, 3)
      fs.renameSync(`${place.source}/${second}`, `${place.source}/another`)
      succeed(place)
      assert.deepEqual(fs.readdirSync(place.target).sort(), [".zipper", first, "another"].sort())
    })
  }
})
