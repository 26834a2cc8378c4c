import * as assert from "node:assert/strict"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import {
  expectReplica,
  expectStatus,
  type Hosts,
  makeHosts,
  makeSshUser,
  pictureOf,
  valueOf
} from "./replicationSupport.ts"
import { put, type Ran, zfs, zipper, zipperIn } from "./support.ts"

const user = "zipbackup"
let uid: number
let hosts: Hosts
let src: string
let dst: string
before(() => {
  hosts = makeHosts()
  src = hosts.source.name
  dst = hosts.target.name
  uid = makeSshUser(user)
  zfs("create", `${src}/data`)
  zfs("create", `${src}/data/child`)
  put(path.join(hosts.source.mountpoint, "data/file"))
  zfs("snapshot", "-r", `${src}/data@1`)
  zfs("snapshot", "-r", `${src}/data@2`)
  zfs("create", "-o", "canmount=off", `${dst}/backup`)
})
after(() => hosts.destroy())

const asUser = (...args: ReadonlyArray<string>): Ran =>
  zipperIn({ uid, env: { HOME: `/home/${user}`, PATH: "/usr/bin:/bin", LANG: "C" } }, ...args)
const pull = (...args: ReadonlyArray<string>): Ran =>
  asUser("pull", "--host", `${user}@localhost`, "--destination", `${dst}/backup`, ...args, `${src}/data`)

/** The commands that a message tells root to run. */
const advice = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  [...text.matchAll(/zfs allow -u (\S+) (\S+) '([^']+)'/g)].map(([, who, what, where]) => [
    "allow",
    "-u",
    who ?? "",
    what ?? "",
    where ?? ""
  ])

describe("a user with delegated permissions on both ends", () => {
  it("is told, before anything is sent, what is missing and which commands grant it; then all works", () => {
    const before = pictureOf(dst)
    const refused = expectStatus(pull(), 3)
    assert.equal(pictureOf(dst), before)
    const commands = advice(refused.stderr)
    assert.equal(commands.length, 2, refused.stderr)
    for (const command of commands) zfs(...command)
    expectStatus(pull(), 0)
    expectReplica(`${src}/data`, `${dst}/backup/localhost/${src}/data`)
    expectReplica(`${src}/data/child`, `${dst}/backup/localhost/${src}/data/child`)
    zfs("snapshot", "-r", `${src}/data@3`)
    expectStatus(pull(), 0)
    expectReplica(`${src}/data`, `${dst}/backup/localhost/${src}/data`)
  })

  it("is told of one permission that is missing", () => {
    zfs("unallow", "-u", user, "canmount", `${dst}/backup`)
    zfs("snapshot", `${src}/data@4`)
    const refused = expectStatus(pull(), 3)
    assert.deepEqual(
      advice(refused.stderr).map((words) => words[3]),
      ["canmount"]
    )
    zfs("allow", "-u", user, "canmount", `${dst}/backup`)
    expectStatus(pull(), 0)
  })

  it("needs more for --rollback, and is told so", () => {
    const target = `${dst}/backup/localhost/${src}/data`
    // By the name of one to come.
    zfs("snapshot", `${target}@5`)
    zfs("snapshot", `${src}/data@5`)
    expectStatus(pull(), 4)
    const refused = expectStatus(pull("--rollback"), 3)
    for (const command of advice(refused.stderr)) zfs(...command)
    expectStatus(pull("--rollback"), 0)
    expectReplica(`${src}/data`, target)
  })
})

describe("delegate", () => {
  it("prints, checks and sets what a role needs", () => {
    zfs("create", `${src}/roles`)
    const delegate = (...args: ReadonlyArray<string>) =>
      zipper("delegate", "--role", "send", "--user", user, ...args, `${src}/roles`)
    assert.deepEqual(advice(expectStatus(delegate(), 0).stdout), [["allow", "-u", user, "send,hold", `${src}/roles`]])
    expectStatus(delegate("--check"), 1)
    expectStatus(delegate("--apply", "--dry-run"), 0)
    expectStatus(delegate("--check"), 1)
    expectStatus(delegate("--apply"), 0)
    expectStatus(delegate("--check"), 0)
    assert.match(zfs("allow", `${src}/roles`), /hold,send/)
  })
})

describe("prepare", () => {
  it("makes the parent of replicas, and does nothing the second time", () => {
    const name = `${dst}/prepared/deep`
    expectStatus(zipper("prepare", "--dry-run", name), 0)
    assert.equal(zfs("list", "-H", "-o", "name", "-r", dst).includes("prepared"), false)
    expectStatus(zipper("prepare", name), 0)
    // OpenZFS 2.3 prints `on` for sa, others print `on` for dir.
    const [sa, dir] = zfs("version").startsWith("zfs-2.3.") ? ["on", "dir"] : ["sa", "on"]
    assert.deepEqual(
      ["canmount", "acltype", "xattr", "mounted"].map((property) => valueOf(property, name)),
      ["off", "posix", sa, "no"]
    )
    zfs("set", "xattr=dir", name)
    assert.equal(valueOf("xattr", name), dir)
    assert.match(expectStatus(zipper("prepare", "--dry-run", name), 0).stdout, /would set xattr=sa/)
    assert.match(expectStatus(zipper("prepare", name), 0).stdout, /: set xattr=sa/)
    assert.equal(valueOf("xattr", name), sa)
    for (const more of [["--dry-run"], []]) {
      assert.match(expectStatus(zipper("prepare", ...more, name), 0).stdout, /nothing to do/)
    }
  })
})
