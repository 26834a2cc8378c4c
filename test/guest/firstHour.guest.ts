import * as assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import { makeConfig, makePool, makeUser, type Pool, program, put, zfs, zipper, zipperIn } from "./support.ts"

let pool: Pool
let uid: number
const user = "zipfirst"
before(() => {
  pool = makePool()
  uid = makeUser(user)
  for (const name of ["archives", "data", "data/EFGH", "off"]) zfs("create", `${pool.name}/${name}`)
  zfs("unmount", `${pool.name}/off`)
  put(path.join(pool.mountpoint, "data/ABCD/file"))
})
after(() => pool.destroy())

/** `config init` on a terminal, with these lines typed. */
const typed = (file: string, lines: ReadonlyArray<string>) =>
  spawnSync("script", ["-qec", `${process.execPath} ${program} config init ${file}`, "/dev/null"], {
    input: lines.map((line) => `${line}\n`).join(""),
    encoding: "utf8",
    env: { ...process.env, TERM: "dumb" },
    timeout: 240_000
  })

describe("the first hour", () => {
  it("config init offers what is mounted, by number, and takes a path as well", () => {
    const file = path.join(pool.folder, "typed.json")
    const data = path.join(pool.mountpoint, "data")
    const archives = path.join(pool.mountpoint, "archives")
    const first = typed(file, [data, archives, ""])
    assert.match(first.stdout, new RegExp(` +1 {2}${pool.name} .*B {2}${pool.mountpoint}\\r?\\n`))
    assert.match(first.stdout, new RegExp(` +4 {2}${pool.name}/data/EFGH `))
    assert.doesNotMatch(first.stdout, new RegExp(`${pool.name}/off`))
    const expected = { source_path: data, target_path: archives }
    const written = () => {
      const { lockfile_path, ...rest } = JSON.parse(fs.readFileSync(file, "utf8"))
      assert.match(lockfile_path, /^\/var\/run\/zipper\.[0-9a-f]{8}\.lock$/)
      return rest
    }
    assert.deepEqual(written(), expected, first.stdout)
    fs.rmSync(file)
    fs.rmSync(file.replace(".json", ".example.jsonc"))
    // By number: the source is the third, and the second is left for the target.
    const second = typed(file, ["3", "2", ""])
    assert.deepEqual(written(), expected, second.stdout)
    const checked = zipper("check", "--config", file)
    assert.equal(checked.status, 0, checked.stdout + checked.stderr)
    assert.match(checked.stdout, /^\d+ \* \* \* \* root flock -n .* --quiet$/m)
  })

  it("check says which rights a user lacks, with the command that grants them, and that they are there", () => {
    const folder = path.join(pool.folder, "own")
    const target = path.join(pool.mountpoint, "archives/own")
    for (const each of [folder, target]) {
      fs.mkdirSync(each)
      fs.chownSync(each, uid, uid)
    }
    fs.chmodSync(path.join(pool.mountpoint, "data"), 0o755)
    const config = makeConfig(folder, {
      source_path: path.join(pool.mountpoint, "data"),
      target_path: target
    })
    fs.chownSync(config, uid, uid)
    const check = () => zipperIn({ uid, env: { HOME: folder } }, "check", "--config", config)
    const lacking = check()
    assert.equal(lacking.status, 3, lacking.stdout + lacking.stderr)
    const lines = [...lacking.stderr.matchAll(/as root: zfs allow -u (\S+) (\S+) '([^']+)'/g)]
    assert.deepEqual(
      lines.map(([, ...words]) => words),
      [`${pool.name}/data`, `${pool.name}/data/EFGH`].map((dataset) => [
        user,
        "snapshot,destroy,mount,userprop,diff",
        dataset
      ])
    )
    zfs("allow", "-u", user, "snapshot,destroy,mount,userprop", `${pool.name}/data`)
    const slower = check()
    assert.equal(slower.status, 0, slower.stdout + slower.stderr)
    assert.match(slower.stderr, /rights: .* may not diff on/)
    zfs("allow", "-u", user, "diff", `${pool.name}/data`)
    const granted = check()
    assert.equal(granted.status, 0, granted.stderr)
    assert.match(granted.stdout, /rights: zipfirst may snapshot, destroy, mount, userprop, diff on 2 datasets/)
    assert.match(granted.stdout, /^\d+ \* \* \* \* zipfirst flock -n /m)
  })
})
