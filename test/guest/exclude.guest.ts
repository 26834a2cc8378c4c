import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import { type Place, placeIn, run, succeed, zipOf } from "./jobSupport.ts"
import { entriesOf, makePool, type Pool, put, sh, zfs, zipper, zipperIn } from "./support.ts"

let pool: Pool
before(() => {
  pool = makePool()
})
after(() => pool.destroy())

/** The first folder of a run an hour later: then no file is too young to be taken for unchanged. */
const later = (place: Place) => {
  const file = path.join(pool.folder, "later.mjs")
  fs.writeFileSync(file, "const now = Date.now; Date.now = () => now() + 3600_000\n")
  const env = { NODE_OPTIONS: `--import=${file}` }
  const ran = zipperIn({ env }, "run", "--debug", "--json", "--config", place.config)
  assert.equal(ran.status, 0, ran.stderr)
  return { ...JSON.parse(ran.stdout).folders[0], log: ran.stderr }
}

const setKeys = ({ config }: Place, keys: Readonly<Record<string, unknown>>) =>
  fs.writeFileSync(config, JSON.stringify({ ...JSON.parse(fs.readFileSync(config, "utf8")), ...keys }))

describe("what is excluded, on OpenZFS", () => {
  it("costs no archive when it changes, though zfs diff shows the change, and comes due by other rules, once", () => {
    const place = placeIn(pool, { exclude: ["cache", "*.tmp"], exclude_caches: true })
    const at = path.join(place.source, "ABCD")
    put(`${at}/file`)
    put(`${at}/cache/deep/one`)
    put(`${at}/thumbs/CACHEDIR.TAG`, "Signature: 8a477f597d28d172789f06886806bc55\n")
    put(`${at}/thumbs/sub/one`)
    put(`${at}/work/a.tmp`)
    assert.equal(later(place).left_out.excluded, 3)
    for (const content of ["two", "three"]) {
      put(`${at}/cache/deep/${content}`, content)
      put(`${at}/thumbs/sub/${content}`, content)
      put(`${at}/work/a.tmp`, content)
      const { log, result } = later(place)
      assert.equal(result, "unchanged")
      assert.match(log, /compared with .*@auto-zip-/)
      assert.match(log, /ABCD: unchanged: its manifest is the same/)
    }
    const files = ["file", "thumbs/", "thumbs/CACHEDIR.TAG", "work/"]
    assert.deepEqual(entriesOf(zipOf(place, "ABCD")), files)
    // The time of a directory is in the archive, and a new name in it changes that time.
    put(`${at}/work/b.tmp`)
    assert.equal(later(place).reason, "changed")
    put(`${at}/file`, "changed")
    assert.equal(later(place).reason, "changed")
    setKeys(place, { exclude: ["cache"] })
    assert.equal(later(place).reason, "exclude or exclude_caches was changed")
    assert.deepEqual(entriesOf(zipOf(place, "ABCD")), [...files, "work/a.tmp", "work/b.tmp"])
    assert.equal(later(place).result, "unchanged")
    setKeys(place, { exclude: ["*.tmp", "cache"] })
    const back = later(place)
    assert.deepEqual([back.result, back.copied_files, back.left_out.excluded], ["archived", 2, 4])
    assert.deepEqual(entriesOf(zipOf(place, "ABCD")), files)
    assert.equal(later(place).result, "unchanged")
  })

  it("may be a dataset or another mount that cannot be read", () => {
    const place = placeIn(pool)
    const at = path.join(place.source, "ABCD")
    put(`${at}/file`)
    fs.mkdirSync(`${at}/volumes/tmpfs`, { recursive: true })
    sh("mount", "-t", "tmpfs", "none", `${at}/volumes/tmpfs`)
    try {
      zfs("create", "-o", "mountpoint=none", `${place.data}/holder`)
      for (const name of ["away", "there"]) {
        zfs("create", "-o", `mountpoint=${at}/volumes/${name}`, `${place.data}/holder/${name}`)
        put(`${at}/volumes/${name}/file`)
      }
      zfs("unmount", `${place.data}/holder/away`)
      const failed = run(place)
      assert.equal(failed.status, 1)
      assert.match(failed.stderr, /ABCD: ABCD\/volumes\/(tmpfs|away) cannot be read/)
      assert.equal(zipper("check", "--config", place.config).status, 3)
      setKeys(place, { exclude: ["volumes"] })
      const checked = zipper("check", "--config", place.config)
      assert.equal(checked.status, 0, checked.stderr)
      succeed(place)
      assert.deepEqual(entriesOf(zipOf(place, "ABCD")), ["file"])
      put(`${at}/volumes/there/file`, "changed")
      assert.equal(later(place).result, "unchanged")
      zfs("unmount", `${place.data}/holder/there`)
      assert.equal(later(place).result, "unchanged")
    } finally {
      sh("umount", `${at}/volumes/tmpfs`)
    }
  })
})
