import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, describe, it } from "node:test"
import {
  expectStatus,
  fill,
  guidsOf,
  makeHosts,
  pictureOf,
  processesWith,
  valueOf
} from "./replicationSupport.ts"
import { makeConfig, makePool, makeUser, put, sh, snapshotsOf, startZipper, until, zfs, zipper } from "./support.ts"

const hosts = makeHosts({ source: 1024, target: 1024 })
const [src, dst, here] = [hosts.source.name, hosts.target.name, hosts.source.mountpoint]
const rescue = makePool(1024)
after(() => {
  hosts.destroy()
  rescue.destroy()
})

/** Files in the folder of a dataset, which has to be mounted. */
const contentOf = (dataset: string, name: string): string => {
  assert.equal(valueOf("mounted", dataset), "yes", dataset)
  return fs.readFileSync(path.join(valueOf("mountpoint", dataset), name), "utf8")
}

const key = path.join(hosts.source.folder, "key")
fs.writeFileSync(key, "correct horse")
zfs("create", "-p", `${src}/data/child`)
zfs("create", "-V", "8M", `${src}/data/vol`)
put(path.join(here, "data/file"), "one")
put(path.join(here, "data/child/file"), "child one")
zfs("snapshot", "-r", `${src}/data@one`)
put(path.join(here, "data/file"), "two")
zfs("create", `${src}/data/late`)
zfs("snapshot", "-r", `${src}/data@two`)
zfs("create", "-o", "encryption=on", "-o", "keyformat=passphrase", "-o", `keylocation=file://${key}`, `${src}/secret`)
zfs("create", `${src}/secret/child`)
put(path.join(here, "secret/file"), "the secret")
put(path.join(here, "secret/child/file"), "the child's")
zfs("snapshot", "-r", `${src}/secret@one`)

const config = makeConfig(hosts.source.folder, {
  replication: [
    { name: "in", direction: "pull", host: "localhost", destination: `${dst}/r`, datasets: [`${src}/data`], bandwidth: "40M" },
    { name: "off", direction: "push", host: "localhost", destination: `${dst}/off`, strip_prefix: src, datasets: [`${src}/secret`] }
  ]
})
const run = (...args: ReadonlyArray<string>) => zipper(...args, "--config", config)
const recover = (...args: ReadonlyArray<string>) => run("recover", ...args)
const replica = `${dst}/r/localhost/${src}/data`

describe("recover", () => {
  it("makes a working tree of replicas, volumes too, with every snapshot and no mark of ours", () => {
    expectStatus(run("pull", "--job", "in"), 0)
    const before = pictureOf(`${dst}/r`)
    const target = `${rescue.name}/data`
    const dry = expectStatus(recover(`${src}/data`, "--job", "in", "--to", target, "--host", "localhost", "--dry-run"), 0)
    console.log(dry.stdout, dry.stderr)
    const ran = expectStatus(recover(`${src}/data`, "--job", "in", "--to", target, "--host", "localhost"), 0)
    console.log(ran.stdout, ran.stderr)
    for (const name of ["", "/child", "/vol", "/late"]) {
      assert.deepEqual(guidsOf(`${target}${name}`), guidsOf(`${src}/data${name}`))
      assert.equal(zfs("get", "-H", "-o", "value", "zipper:recover,zipper:send,zipper:placeholder", `${target}${name}`), "-\n-\n-\n")
    }
    assert.equal(contentOf(target, "file"), "two")
    assert.equal(contentOf(`${target}/child`, "file"), "child one")
    assert.equal(valueOf("canmount", target), "on")
    assert.equal(pictureOf(`${dst}/r`), before)
    const again = expectStatus(recover(`${src}/data`, "--job", "in", "--to", target, "--host", "localhost"), 4)
    assert.match(again.stderr, /exists already/)
    zfs("destroy", "-r", target)
  })
})
