import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import {
  expectReplica,
  expectStatus,
  type Hosts,
  makeHosts,
  pull,
  push,
  valueOf
} from "./replicationSupport.ts"
import { put, zfs } from "./support.ts"

let hosts: Hosts
let src: string
let dst: string
let key: string
before(() => {
  hosts = makeHosts()
  src = hosts.source.name
  dst = hosts.target.name
  key = path.join(hosts.source.folder, "key")
  fs.writeFileSync(key, "correct horse")
  zfs(
    "create",
    "-o",
    "encryption=on",
    "-o",
    "keyformat=passphrase",
    "-o",
    `keylocation=file://${key}`,
    `${src}/secret`
  )
  zfs("create", `${src}/secret/child`)
  put(path.join(hosts.source.mountpoint, "secret/file"), "the secret")
  put(path.join(hosts.source.mountpoint, "secret/child/file"), "the child's")
  zfs("snapshot", "-r", `${src}/secret@1`)
})
after(() => hosts.destroy())

const pushSecret = () => push(hosts, "--strip-prefix", src, "--destination", `${dst}/off`, `${src}/secret`)

describe("encrypted datasets, pushed", () => {
  it("stay encrypted on the way and on the other side, and need no key there", () => {
    const first = expectStatus(pushSecret(), 0)
    assert.match(first.stdout + first.stderr, /encryption root/)
    for (const name of ["secret", "secret/child"]) {
      expectReplica(`${src}/${name}`, `${dst}/off/${name}`)
      assert.equal(valueOf("encryptionroot", `${dst}/off/${name}`), `${dst}/off/${name}`)
      assert.equal(valueOf("keystatus", `${dst}/off/${name}`), "unavailable")
    }
    put(path.join(hosts.source.mountpoint, "secret/later"), "later")
    zfs("snapshot", "-r", `${src}/secret@2`)
    expectStatus(pushSecret(), 0)
    expectReplica(`${src}/secret`, `${dst}/off/secret`)
  })

  it("are sent while their key is not loaded", () => {
    zfs("umount", `${src}/secret/child`)
    zfs("umount", `${src}/secret`)
    zfs("unload-key", `${src}/secret`)
    zfs("snapshot", "-r", `${src}/secret@3`)
    expectStatus(pushSecret(), 0)
    expectReplica(`${src}/secret/child`, `${dst}/off/secret/child`)
    zfs("load-key", `${src}/secret`)
    zfs("mount", `${src}/secret`)
    zfs("mount", `${src}/secret/child`)
  })

  it("can be restored: sent back raw, unlocked, and their keys joined again, as the README says", () => {
    const back = `${src}/restored`
    expectStatus(pull(hosts, "--raw", "--destination", back, `${dst}/off/secret`), 0)
    const root = `${back}/localhost/${dst}/off/secret`
    for (const name of [root, `${root}/child`]) zfs("load-key", "-L", `file://${key}`, name)
    zfs("change-key", "-i", `${root}/child`)
    assert.equal(valueOf("encryptionroot", `${root}/child`), root)
    for (const name of [root, `${root}/child`]) {
      zfs("set", "canmount=on", name)
      zfs("mount", name)
    }
    assert.equal(fs.readFileSync(path.join(valueOf("mountpoint", root), "file"), "utf8"), "the secret")
    assert.equal(
      fs.readFileSync(path.join(valueOf("mountpoint", `${root}/child`), "file"), "utf8"),
      "the child's"
    )
  })

  it("pulled without --raw are stored in the clear, with a warning", () => {
    const ran = expectStatus(
      pull(hosts, "--destination", `${dst}/plain`, "--exclude", "child", `${src}/secret`),
      0
    )
    assert.match(ran.stderr, /encrypted/)
    assert.equal(valueOf("encryption", `${dst}/plain/localhost/${src}/secret`), "off")
  })
})

describe("getting files back, as the README says", () => {
  it("a replica can be looked at read-only, or as a clone, and goes on afterwards", () => {
    const name = `${src}/look`
    zfs("create", name)
    const file = path.join(hosts.source.mountpoint, "look/file")
    put(file, "here I am")
    zfs("snapshot", `${name}@1`)
    const again = () => push(hosts, "--strip-prefix", src, "--destination", `${dst}/look`, name)
    expectStatus(again(), 0)
    const replica = `${dst}/look/look`
    zfs("set", "canmount=noauto", replica)
    zfs("mount", "-o", "ro", replica)
    assert.equal(fs.readFileSync(path.join(valueOf("mountpoint", replica), "file"), "utf8"), "here I am")
    zfs("umount", replica)
    const at = path.join(hosts.target.folder, "clone")
    zfs("clone", "-o", `mountpoint=${at}`, `${replica}@1`, `${dst}/clone`)
    assert.equal(fs.readFileSync(path.join(at, "file"), "utf8"), "here I am")
    put(file, "changed")
    zfs("snapshot", `${name}@2`)
    expectStatus(again(), 0)
    expectReplica(name, replica)
  })

  it("a dataset that was pulled back is used again after two properties are set right", () => {
    const back = `${src}/back`
    expectStatus(pull(hosts, "--destination", back, `${dst}/look/look`), 0)
    const restored = `${back}/localhost/${dst}/look/look`
    zfs("set", "canmount=on", restored)
    zfs("inherit", "zipper:send", restored)
    zfs("mount", restored)
    assert.equal(fs.readFileSync(path.join(valueOf("mountpoint", restored), "file"), "utf8"), "changed")
  })
})
