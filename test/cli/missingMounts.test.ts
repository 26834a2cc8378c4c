import { chmodSync, copyFileSync, existsSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, picture, run, toolsFor } from "../support/built.ts"

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

const { files } = toolsFor(() => place)
const support = (name: string) => fileURLToPath(new URL(`../support/${name}`, import.meta.url))

describe("a snapshot that the system does not mount", () => {
  /** A run whose source is a dataset of a zfs that keeps copies. */
  const job = (env: Record<string, string> = {}) =>
    run(["run", "--config", place.config], {
      env: {
        PATH: `${join(place.root, "bin")}:/usr/bin:/bin`,
        NODE_OPTIONS: `--require=${support("fakeMounts.cjs")}`,
        FAKE_DATASET: "tank/data",
        FAKE_MOUNTPOINT: place.source,
        FAKE_ZFS: join(place.root, "zfs"),
        ...env
      }
    })

  it("fails the run before any folder, and leaves target and cursor alone", async () => {
    for (const folder of ["bin", "zfs"]) mkdirSync(join(place.root, folder))
    copyFileSync(support("fakeZfs.sh"), join(place.root, "bin/zfs"))
    chmodSync(join(place.root, "bin/zfs"), 0o755)
    place.configure({ snapshots: "zfs" })
    place.put("ABCD/file", "only copy")
    const first = await job()
    assert.strictEqual(first.status, 0, first.stderr)
    assert.include(files("ABCD"), "ABCD.zip")
    place.put("ABCD/file", "changed content")
    const { status, stderr } = await job({ FAKE_UNMOUNTED: "." })
    assert.strictEqual(status, 3, stderr)
    assert.match(stderr, /the snapshot tank\/data@auto-zip-\d+ cannot be read: the system did not mount it/)
    assert.isFalse(existsSync(join(place.target, ".zipper/failures")))
    const before = picture(join(place.target, "ABCD"))
    const last = await job()
    assert.strictEqual(last.status, 0, last.stderr)
    assert.notStrictEqual(picture(join(place.target, "ABCD")), before)
    assert.include(files("ABCD"), "ABCD.prev.zip")
  })
})
