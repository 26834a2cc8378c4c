import * as assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import {
  expectReplica,
  expectStatus,
  type Hosts,
  makeHosts,
  pictureOf,
  pull,
  push,
  valueOf
} from "./replicationSupport.ts"
import { put, sh, zfs } from "./support.ts"

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
  zfs("create", "-o", "encryption=on", "-o", "keyformat=passphrase", "-o", `keylocation=file://${key}`, `${src}/secret`)
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

  it("can be restored: sent back raw, unlocked, and their keys joined again by hand", () => {
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
    assert.equal(fs.readFileSync(path.join(valueOf("mountpoint", `${root}/child`), "file"), "utf8"), "the child's")
  })

  it("are not sent to a replica that was joined to another key, and are once it has one of its own", () => {
    const joined = `${dst}/joined`
    const dataset = `${src}/secret/child`
    const send = (...more: ReadonlyArray<string>) =>
      push(hosts, "--strip-prefix", `${src}/secret`, "--destination", joined, ...more, dataset)
    const other = path.join(hosts.target.folder, "key")
    fs.writeFileSync(other, "battery staple")
    const passphrase = ["-o", "keyformat=passphrase", "-o", "pbkdf2iters=100000", "-o"]
    zfs("create", "-o", "encryption=on", ...passphrase, `keylocation=file://${other}`, joined)
    expectStatus(send(), 0)
    const replica = `${joined}/child`
    zfs("load-key", "-L", `file://${key}`, replica)
    zfs("change-key", "-i", replica)
    assert.equal(valueOf("encryptionroot", replica), joined)
    assert.match(expectStatus(send(), 0).stderr, /the next snapshot will not be received/)
    zfs("snapshot", `${dataset}@4`)
    const before = pictureOf(joined)
    for (const more of [["--dry-run"], [], ["--rollback"]]) {
      assert.match(expectStatus(send(...more), 4).stderr, /is opened by the key of .* change-key -o keyformat/)
    }
    assert.equal(pictureOf(joined), before)
    zfs("change-key", ...passphrase, `keylocation=file://${other}`, replica)
    expectStatus(send(), 0)
    expectReplica(dataset, replica)
    zfs("unload-key", replica)
    zfs("load-key", "-L", `file://${key}`, replica)
    // By hand, what is refused: nothing opens it, and no run is content with it.
    zfs("change-key", "-i", replica)
    zfs("snapshot", `${dataset}@5`)
    sh("sh", "-c", 'zfs send -w -i @4 "$0@5" | zfs receive -u "$1"', dataset, replica)
    assert.match(expectStatus(send(), 1).stderr, /no key opens .*joined\/child/)
    zfs("destroy", "-r", replica)
  })

  it("have the key that the source had last, and a run says when that is another one by now", () => {
    const changed = path.join(hosts.source.folder, "changed")
    fs.writeFileSync(changed, "another horse")
    const replica = `${dst}/off/secret`
    expectStatus(pushSecret(), 0)
    const opens = (file: string) => spawnSync("zfs", ["load-key", "-n", "-L", `file://${file}`, replica]).status === 0
    zfs("change-key", "-o", "pbkdf2iters=100000", "-o", `keylocation=file://${changed}`, `${src}/secret`)
    assert.match(expectStatus(pushSecret(), 0).stderr, /still opens with its old key or passphrase, until a new/)
    assert.deepEqual([opens(key), opens(changed)], [true, false])
    zfs("snapshot", "-r", `${src}/secret@6`)
    assert.match(expectStatus(pushSecret(), 0).stderr, /gets that of the source with this stream/)
    assert.deepEqual([opens(key), opens(changed)], [false, true])
    assert.doesNotMatch(expectStatus(pushSecret(), 0).stderr, /the key of/)
    // What is opened by the key of a replica keeps it.
    zfs("load-key", "-L", `file://${changed}`, replica)
    zfs("create", "-u", `${replica}/local`)
    zfs("change-key", "-o", "pbkdf2iters=100000", "-o", `keylocation=file://${key}`, `${src}/secret`)
    zfs("snapshot", "-r", `${src}/secret@7`)
    assert.match(expectStatus(pushSecret(), 4).stderr, /secret\/local is opened by the one that it has/)
    zfs("destroy", `${replica}/local`)
    expectStatus(pushSecret(), 0)
    expectReplica(`${src}/secret`, replica)
  })

  it("pulled without --raw are stored in the clear, with a warning", () => {
    const ran = expectStatus(pull(hosts, "--destination", `${dst}/plain`, "--exclude", "child", `${src}/secret`), 0)
    assert.match(ran.stderr, /encrypted/)
    assert.equal(valueOf("encryption", `${dst}/plain/localhost/${src}/secret`), "off")
  })
})
