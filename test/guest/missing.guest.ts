import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import { entryOf, makeConfig, makePool, type Pool, put, type Ran, sh, snapshotsOf, zfs, zipper } from "./support.ts"

/** What the kernel calls to mount a snapshot that a process looks into. OpenZFS 2.3 leaves /sbin/mount.zfs out. */
const helper = "/bin/mount"

let pool: Pool
let places = 0
before(() => {
  pool = makePool()
})
after(() => pool.destroy())

const makePlace = () => {
  const name = `p${++places}`
  const folder = path.join(pool.mountpoint, name)
  const target = path.join(pool.folder, `${name}-target`)
  const data = `${pool.name}/${name}`
  zfs("create", data)
  fs.mkdirSync(target)
  const config = makeConfig(target, { source_path: folder, target_path: path.join(target, "zips") })
  fs.mkdirSync(path.join(target, "zips"))
  const run = (...args: ReadonlyArray<string>): Ran => zipper("run", "--config", config, ...args)
  const zip = (name: string) => path.join(target, "zips", "ABCD", `${name}.zip`)
  return { data, source: folder, run, zip }
}

const succeed = (ran: Ran) => assert.equal(ran.status, 0, ran.stdout + ran.stderr)

/** As long as `work` runs, snapshots of the dataset cannot be mounted by themselves. */
const withoutMounting = (dataset: string, work: () => void) => {
  fs.renameSync(helper, `${helper}.real`)
  fs.writeFileSync(helper, `#!/bin/sh\ncase "$*" in *${dataset}@*) exit 32;; esac\nexec ${helper}.real "$@"\n`, {
    mode: 0o755
  })
  try {
    work()
  } finally {
    fs.renameSync(`${helper}.real`, helper)
  }
}

describe("what is missing in the source is not taken for nothing", () => {
  it("a child that was mounted by hand and is not now fails its folder, until that is accepted", () => {
    const { data, run, source, zip } = makePlace()
    for (const folder of ["ABCD", "EFGH"]) fs.mkdirSync(path.join(source, folder))
    put(`${source}/EFGH/f`, "e")
    const kids = [
      ["noauto", ["-o", "canmount=noauto", "-o", "mountpoint=/elsewhere"], ["-o", "zfsutil"]],
      ["legacy", ["-o", "mountpoint=legacy"], []]
    ] as const
    for (const [name, properties, options] of kids) {
      zfs("create", ...properties, `${data}/${name}`)
      const at = path.join(source, "ABCD")
      const mount = () => sh("mount", "-t", "zfs", ...options, `${data}/${name}`, at)
      mount()
      put(`${at}/f`, `only copy, ${name}`)
      succeed(run())
      assert.equal(entryOf(zip("ABCD"), "f"), `only copy, ${name}`)
      succeed(run())
      sh("umount", at)
      for (let attempt = 0; attempt < 2; attempt++) {
        const missed = run()
        assert.equal(missed.status, 1, missed.stdout + missed.stderr)
        assert.match(missed.stderr, /ABCD: it was a mount of its own .*: mount it, or .*--force --folder ABCD/)
        assert.equal(entryOf(zip("ABCD"), "f"), `only copy, ${name}`)
      }
      mount()
      succeed(run())
      sh("umount", at)
      succeed(run("--force", "--folder", "ABCD"))
      succeed(run())
    }
  })

  it("the snapshot of a child that cannot be mounted fails its folder, and the next run archives the change", () => {
    const { data, run, source, zip } = makePlace()
    zfs("create", `${data}/ABCD`)
    put(`${source}/ABCD/f`, "only copy")
    put(`${source}/EFGH/f`, "e")
    succeed(run())
    put(`${source}/ABCD/f`, "changed content")
    withoutMounting(`${data}/ABCD`, () => {
      const missed = run()
      assert.equal(missed.status, 1, missed.stdout + missed.stderr)
      assert.match(missed.stderr, /ABCD: .*the snapshot of child dataset .*\/ABCD cannot be read/)
      assert.equal(entryOf(zip("ABCD"), "f"), "only copy")
      assert.equal(fs.existsSync(zip("ABCD.prev")), false)
    })
    succeed(run())
    assert.equal(entryOf(zip("ABCD"), "f"), "changed content")
  })

  it("the source's own snapshot that cannot be mounted ends the run before any folder", () => {
    const { data, run, source, zip } = makePlace()
    put(`${source}/ABCD/f`, "only copy")
    succeed(run())
    const kept = snapshotsOf(data)
    put(`${source}/ABCD/f`, "changed content")
    withoutMounting(data, () => {
      const refused = run()
      assert.equal(refused.status, 3, refused.stdout + refused.stderr)
      assert.match(refused.stderr, /the snapshot .*@auto-zip-\d+ cannot be read: the system did not mount it/)
      assert.deepEqual(snapshotsOf(data), kept)
    })
    succeed(run())
    assert.equal(entryOf(zip("ABCD"), "f"), "changed content")
  })
})
