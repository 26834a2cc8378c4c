import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { before, describe, it } from "node:test"
import { expectReplica, expectStatus, fill, push, useHosts, valueOf } from "./replicationSupport.ts"
import { put, sh, zfs } from "./support.ts"

const { dst, here, hosts, src } = useHosts()

const encryption = (key: string) => [
  ...["-o", "encryption=on", "-o", "keyformat=passphrase", "-o", "pbkdf2iters=100000"],
  ...["-o", `keylocation=file://${key}`]
]
const keyIn = (folder: string): string => {
  const key = path.join(folder, "key")
  fs.writeFileSync(key, "correct horse")
  return key
}

describe("a tree of which a part is encrypted, pushed below an encrypted dataset", () => {
  const box = `${dst}/box`
  const pushTree = (...more: ReadonlyArray<string>) =>
    push(hosts, "--strip-prefix", src, "--destination", box, ...more, `${src}/tree`)
  const names = ["tree", "tree/secret", "tree/large", "tree/volume"]

  before(() => {
    zfs("create", ...encryption(keyIn(hosts.target.folder)), "-o", "canmount=off", box)
    zfs("create", `${src}/tree`)
    zfs("create", ...encryption(keyIn(hosts.source.folder)), `${src}/tree/secret`)
    zfs("create", "-o", "recordsize=1M", "-o", "compression=lz4", `${src}/tree/large`)
    zfs("create", "-V", "8M", `${src}/tree/volume`)
    put(path.join(here, "tree/file"), "0".repeat(100))
    put(path.join(here, "tree/secret/file"), "the secret")
    fill(path.join(here, "tree/large"), "one", 3)
    zfs("snapshot", "-r", `${src}/tree@1`)
  })

  it("is encrypted there, and what was encrypted stays as it is; large blocks go on", () => {
    const line = /3 datasets \(the first is .*\/tree\) are not encrypted, and on localhost .*\/box encrypts/g
    const planned = expectStatus(pushTree("--dry-run"), 0)
    assert.equal(planned.stderr.match(line)?.length, 1)
    const first = expectStatus(pushTree(), 0)
    assert.equal(first.stderr.match(line)?.length, 1)
    for (const name of names) {
      expectReplica(`${src}/${name}`, `${box}/${name}`)
      assert.equal(valueOf("encryptionroot", `${box}/${name}`), name === "tree/secret" ? `${box}/${name}` : box)
      assert.equal(valueOf("zipper:send", `${box}/${name}`), "raw")
    }
    fill(path.join(here, "tree/large"), "two", 3)
    put(path.join(here, "tree/secret/later"), "later")
    zfs("snapshot", "-r", `${src}/tree@2`)
    assert.doesNotMatch(expectStatus(pushTree("--debug"), 0).stderr, /not encrypted/)
    for (const name of names) expectReplica(`${src}/${name}`, `${box}/${name}`)
  })

  it("needs the key of the dataset there, but for what is raw; a dry run says so too", () => {
    zfs("unload-key", box)
    zfs("snapshot", "-r", `${src}/tree@3`)
    const pushOne = (name: string, ...more: ReadonlyArray<string>) =>
      push(hosts, "--strip-prefix", src, "--destination", box, ...more, `${src}/tree/${name}`)
    for (const more of [["--dry-run"], []]) {
      assert.match(
        expectStatus(pushOne("large", ...more), 1).stderr,
        /the key of \S+\/box is not loaded on localhost \(there: zfs load-key '\S+\/box'\)/
      )
    }
    expectStatus(pushOne("secret"), 0)
    zfs("load-key", box)
    expectStatus(pushTree(), 0)
    for (const name of names) expectReplica(`${src}/${name}`, `${box}/${name}`)
  })

  it("needs that key once for a parent that is made, and not for what is sent below it raw", () => {
    const pushSecret = () =>
      push(hosts, "--strip-prefix", `${src}/tree`, "--destination", `${box}/deep`, `${src}/tree/secret`)
    zfs("unload-key", box)
    assert.match(expectStatus(pushSecret(), 1).stderr, /above .*box\/deep\/secret cannot be made.* load-key '.*box'/)
    zfs("load-key", box)
    expectStatus(pushSecret(), 0)
    zfs("unload-key", box)
    zfs("snapshot", `${src}/tree/secret@4`)
    expectStatus(pushSecret(), 0)
    expectReplica(`${src}/tree/secret`, `${box}/deep/secret`)
    zfs("load-key", box)
  })
})

describe("a parent that zipper made below an encrypted dataset, and its first snapshot", () => {
  const keep = `${dst}/keep`
  const pushAll = (name: string, ...more: ReadonlyArray<string>) =>
    push(hosts, "--strip-prefix", src, "--destination", keep, ...more, `${src}/${name}`)
  const guids = (...names: ReadonlyArray<string>) => names.map((name) => valueOf("guid", `${keep}/${name}`))
  const expectNothingBeside = () => assert.doesNotMatch(zfs("list", "-H", "-o", "name", "-r", keep), /zipper-new/)

  before(() => {
    zfs("create", ...encryption(keyIn(hosts.target.folder)), "-o", "canmount=off", keep)
    const secret = encryption(keyIn(hosts.source.folder))
    zfs("create", `${src}/late`)
    zfs("create", `${src}/late/a`)
    zfs("create", `${src}/late/a/below`)
    zfs("create", ...secret, `${src}/late/secret`)
    zfs("create", ...secret, `${src}/other`)
    zfs("create", `${src}/other/a`)
    for (const name of ["late/a", "late/a/below", "late/secret", "other/a"]) {
      put(path.join(here, name, "file"), name)
      zfs("snapshot", `${src}/${name}@1`)
    }
  })

  it("names the snapshot of another program that is in the way", () => {
    expectStatus(pushAll("late"), 0)
    zfs("snapshot", `${src}/late@1`)
    zfs("snapshot", `${keep}/late@auto`)
    const { stderr } = expectStatus(pushAll("late"), 4)
    assert.match(
      stderr,
      /late is an empty parent that zipper made, and another program took 1 snapshot \(@auto\) of it/
    )
    const [, remedy = ""] = /there: zfs destroy '([^']*)'/.exec(stderr) ?? []
    zfs("destroy", remedy)
  })

  it("goes on after an end between two steps, with the replicas that there are", () => {
    const names = ["late/a", "late/a/below", "late/secret"]
    const before = guids(...names)
    const beside = `${keep}/late.zipper-new`
    const receive = 'zfs send -Lc "$0" | zfs receive -u -s -o canmount=off -o zipper:send=raw "$1"'
    sh("sh", "-c", receive, `${src}/late@1`, beside)
    zfs("rename", `${keep}/late/a`, `${beside}/a`)
    zfs("snapshot", `${src}/late@2`)
    expectStatus(pushAll("late"), 0)
    for (const name of ["late", ...names]) expectReplica(`${src}/${name}`, `${keep}/${name}`)
    assert.deepEqual(guids(...names), before)
    expectNothingBeside()
    // The last step alone was missing.
    zfs("rename", `${keep}/late`, beside)
    expectStatus(pushAll("late"), 0)
    assert.deepEqual(guids(...names), before)
    expectNothingBeside()
  })

  it("receives an encrypted one raw while no key is loaded there", () => {
    expectStatus(pushAll("other"), 0)
    const before = guids("other/a")
    zfs("unload-key", keep)
    put(path.join(here, "other/file"), "late")
    zfs("snapshot", `${src}/other@1`)
    zfs("snapshot", "-r", `${src}/other@2`)
    assert.match(expectStatus(pushAll("other", "--dry-run"), 0).stdout, /would destroy the empty parent .*\/other\n/)
    expectStatus(pushAll("other"), 0)
    for (const name of ["other", "other/a"]) {
      expectReplica(`${src}/${name}`, `${keep}/${name}`)
      assert.equal(valueOf("encryptionroot", `${keep}/${name}`), `${keep}/${name}`)
    }
    assert.deepEqual(guids("other/a"), before)
    expectNothingBeside()
  })
})
