import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import { archived, placeIn, succeed, zipOf } from "./jobSupport.ts"
import {
  checkSums,
  entriesOf,
  entryOf,
  fingerprint,
  makePool,
  type Pool,
  put,
  sh,
  snapshotsOf,
  zfs,
  zipperIn
} from "./support.ts"

let pool: Pool
before(() => {
  pool = makePool(1024)
})
after(() => pool.destroy())

const makePlace = (keys?: Readonly<Record<string, unknown>>, inside?: string) => placeIn(pool, keys, inside)

describe("what zipper run archives again, on OpenZFS", () => {
  it("touches nothing and prints nothing in an hour without change; keeps as many snapshots as it should", () => {
    const place = makePlace({ snapshot_keep: 1 })
    put(`${place.source}/ABCD/file`)
    put(`${place.source}/EFGH/file`)
    succeed(place)
    const folders = () => archived(place).map((folder) => fingerprint(path.join(place.target, folder)))
    const earlier = folders()
    const quiet = succeed(place, "--quiet")
    assert.deepEqual([quiet.stdout, quiet.stderr], ["", ""])
    const debug = succeed(place, "--debug")
    assert.match(debug.stdout, /compared with .*@auto-zip-/)
    assert.deepEqual(folders(), earlier)
    assert.equal(snapshotsOf(place.data).length, 2)
  })

  it("archives just what was renamed, deleted, added or changed, under any name", () => {
    const place = makePlace()
    for (const folder of ["ABCD", "EFGH", "IJKL", "MNOP", "STAY"]) put(`${place.source}/${folder}/file`, folder)
    for (const folder of ["ABCD", "IJKL"]) put(`${place.source}/${folder}/stays`)
    succeed(place)
    const stay = fingerprint(path.join(place.target, "STAY"))
    fs.renameSync(`${place.source}/ABCD/file`, `${place.source}/EFGH/moved here`)
    fs.rmSync(`${place.source}/IJKL/file`)
    fs.writeFileSync(Buffer.from(`${place.source}/MNOP/tab\tnl\nback\\ü\u00ff`, "latin1"), "odd")
    put(`${place.source}/NEWF/deep/er/file`)
    succeed(place)
    assert.deepEqual(fingerprint(path.join(place.target, "STAY")), stay)
    assert.deepEqual(entriesOf(zipOf(place, "ABCD")), ["stays"])
    assert.deepEqual(entriesOf(path.join(place.target, "ABCD/ABCD.prev.zip")), ["file", "stays"])
    assert.deepEqual(entriesOf(zipOf(place, "EFGH")), ["file", "moved here"])
    assert.deepEqual(entriesOf(zipOf(place, "IJKL")), ["stays"])
    assert.equal(entriesOf(zipOf(place, "NEWF")).length, 3)
    const { files, total_files } = JSON.parse(fs.readFileSync(path.join(place.target, "MNOP/metadata.json"), "utf8"))
    assert.equal(total_files, 2)
    assert.equal(files.length, 2)
    for (const folder of archived(place)) checkSums(path.join(place.target, folder))
  })

  it("rotates nothing in for a new owner, and archives again what a rollback brought back", () => {
    const place = makePlace()
    const previous = path.join(place.target, "ABCD/ABCD.prev.zip")
    put(`${place.source}/EFGH/file`)
    for (const content of ["v1", "good"]) {
      put(`${place.source}/ABCD/file`, content)
      succeed(place)
    }
    fs.chownSync(`${place.source}/ABCD/file`, 1000, 1000)
    succeed(place)
    assert.equal(entryOf(previous, "file"), "v1")
    put(`${place.source}/ABCD/file`, "ENCRYPTED")
    succeed(place, "--folder", "ABCD")
    assert.equal(entryOf(previous, "file"), "good")
    zfs("rollback", snapshotsOf(place.data).at(-1) ?? "")
    succeed(place)
    assert.equal(entryOf(zipOf(place, "ABCD"), "file"), "good")
    assert.equal(entryOf(previous, "file"), "ENCRYPTED")
  })

  it("compares by itself when the base snapshot was destroyed by hand", () => {
    const place = makePlace()
    put(`${place.source}/ABCD/file`)
    put(`${place.source}/EFGH/file`)
    // An hour later no file is too young to be taken for unchanged.
    const later = path.join(pool.folder, "hourLater.mjs")
    fs.writeFileSync(later, "const now = Date.now; Date.now = () => now() + 3600_000\n")
    const run = () => {
      const env = { NODE_OPTIONS: `--import=${later}` }
      const { status, stderr } = zipperIn({ env }, "run", "--config", place.config)
      assert.equal(status, 0, stderr)
    }
    run()
    for (const name of snapshotsOf(place.data)) zfs("destroy", name)
    const earlier = fingerprint(path.join(place.target, "EFGH"))
    put(`${place.source}/ABCD/file`, "changed")
    run()
    assert.equal(entryOf(zipOf(place, "ABCD"), "file"), "changed")
    assert.deepEqual(fingerprint(path.join(place.target, "EFGH")), earlier)
  })

  it("archives a young folder once more when the base snapshot was destroyed, and pushes nothing out", () => {
    const place = makePlace()
    put(`${place.source}/EFGH/file`)
    succeed(place)
    for (const name of snapshotsOf(place.data)) zfs("destroy", name)
    const earlier = fs.readFileSync(zipOf(place, "EFGH"))
    succeed(place)
    assert.ok(fs.readFileSync(zipOf(place, "EFGH")).equals(earlier))
    assert.ok(!fs.existsSync(path.join(place.target, "EFGH", "EFGH.prev.zip")))
  })

  it("does not mind a clock that was set back an hour", () => {
    const place = makePlace()
    put(`${place.source}/ABCD/file`, "1")
    succeed(place)
    const late = path.join(pool.folder, "late.mjs")
    fs.writeFileSync(late, "const now = Date.now; Date.now = () => now() - 3600_000\n")
    put(`${place.source}/ABCD/file`, "2")
    const env = { NODE_OPTIONS: `--import=${late}` }
    const ran = zipperIn({ env }, "run", "--config", place.config)
    assert.equal(ran.status, 0, ran.stderr)
    assert.equal(entryOf(zipOf(place, "ABCD"), "file"), "2")
    const earlier = fingerprint(path.join(place.target, "ABCD"))
    succeed(place)
    assert.deepEqual(fingerprint(path.join(place.target, "ABCD")), earlier)
  })

  it("takes over what did not change from the archive before, from one snapshot to the next", () => {
    const place = makePlace()
    // An hour later no file is too young to be taken for unchanged.
    const later = path.join(pool.folder, "later.mjs")
    fs.writeFileSync(later, "const now = Date.now; Date.now = () => now() + 3600_000\n")
    const copied = (): unknown => {
      const env = { NODE_OPTIONS: `--import=${later}` }
      const ran = zipperIn({ env }, "run", "--json", "--config", place.config)
      assert.equal(ran.status, 0, ran.stderr)
      return JSON.parse(ran.stdout).folders[0].copied_files
    }
    for (const name of ["a", "b", "c", "d"]) put(`${place.source}/ABCD/${name}`, `content of ${name}`.repeat(99))
    put(`${place.source}/ABCD/large`, "all work and no play\n".repeat(100_000))
    assert.equal(copied(), 0)
    put(`${place.source}/ABCD/b`, "changed")
    assert.equal(copied(), 4)
    fs.renameSync(`${place.source}/ABCD/c`, `${place.source}/ABCD/e`)
    assert.equal(copied(), 4)
    assert.equal(entryOf(zipOf(place, "ABCD"), "b"), "changed")
    assert.equal(entryOf(zipOf(place, "ABCD"), "e"), "content of c".repeat(99))
    sh("unzip", "-tqq", zipOf(place, "ABCD"))
    checkSums(path.join(place.target, "ABCD"))
  })

  it("notices what was written by another name of a file, and given its old time again", () => {
    const place = makePlace()
    const file = `${place.source}/ABCD/file`
    const other = `${place.source}/elsewhere`
    put(file, "one")
    fs.linkSync(file, other)
    succeed(place)
    const { atime, mtime } = fs.statSync(file)
    fs.writeFileSync(other, "two")
    fs.utimesSync(other, atime, mtime)
    succeed(place)
    assert.equal(entryOf(zipOf(place, "ABCD"), "file"), "two")
  })
})
