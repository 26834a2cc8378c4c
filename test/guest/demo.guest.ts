import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import { makePool, type Pool, startZipperWith, until, zfs } from "./support.ts"

// zipper demo --dataset, on real OpenZFS: every step, and what is left after a signal.

let pool: Pool
let scratch: string
let tmp: string
before(() => {
  pool = makePool(1024)
  scratch = `${pool.name}/scratch`
  tmp = fs.mkdtempSync(path.join(os.tmpdir(), "zipper-demo-guest-"))
})
after(() => {
  pool.destroy()
  fs.rmSync(tmp, { recursive: true })
})

const demo = (...args: ReadonlyArray<string>) => startZipperWith({ TMPDIR: tmp }, "demo", "--dataset", scratch, ...args)

const listed = () =>
  zfs("list", "-H", "-r", "-t", "all", "-o", "name", scratch)
    .split("\n")
    .filter((line) => line !== "")

describe("zipper demo --dataset", () => {
  it("goes through every step and leaves the dataset as empty as it was", async () => {
    zfs("create", scratch)
    const { ended, output } = demo()
    assert.equal(await ended, 0, output())
    assert.equal(output().match(/^\S+ ok +[0-9]/gm)?.length, 9, output())
    assert.match(output(), /all 9 steps went well\nzipper [0-9].*zfs-[0-9.]+/)
    assert.deepEqual(listed(), [scratch])
    assert.deepEqual(fs.readdirSync(tmp), [])
  })

  it("destroys what it made after a signal too, and never what it did not make", async () => {
    const { child, ended, output } = demo()
    await until("the first step", () => output().includes("a first run archives"))
    zfs("create", `${scratch}/source/photos`)
    child.kill("SIGTERM")
    assert.equal(await ended, 143, output())
    assert.match(output(), /source\/photos was not made by this demonstration and stays/)
    assert.deepEqual(
      listed().filter((name) => !name.includes("@")),
      [scratch, `${scratch}/source`, `${scratch}/source/photos`]
    )
    assert.deepEqual(fs.readdirSync(tmp), [])
    // Now it is not empty.
    const again = demo()
    assert.equal(await again.ended, 3)
    assert.match(again.output(), new RegExp(`${scratch} is not empty: it has `))
  })
})
