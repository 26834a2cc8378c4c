import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import {
  expectReplica,
  expectStatus,
  guidsOf,
  type Hosts,
  makeHosts,
  makeSshUser,
  pictureOf,
  pull,
  push
} from "./replicationSupport.ts"
import { put, type Ran, sh, snapshotsOf, zfs, zipperIn } from "./support.ts"

const user = "zipbase"
let uid: number
let hosts: Hosts
let src: string
let dst: string
let config: string
before(() => {
  hosts = makeHosts()
  src = hosts.source.name
  dst = hosts.target.name
  uid = makeSshUser(user)
  for (const name of ["backup", "vault"]) zfs("create", "-o", "canmount=off", `${dst}/${name}`)
  config = path.join(`/home/${user}`, "zipper.json")
})
after(() => hosts.destroy())

/** Bookmarks of a dataset by name, and the guid of each. */
const bookmarksOf = (dataset: string): ReadonlyArray<readonly [string, string]> =>
  zfs("list", "-H", "-p", "-o", "name,guid", "-t", "bookmark", "-d", "1", dataset)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t"))
    .map(([name = "", guid = ""]) => [name.slice(name.indexOf("#") + 1), guid])

const ours = (dataset: string) => bookmarksOf(dataset).filter(([name]) => name.startsWith("zipper-"))

const take = (dataset: string, name: string) => zfs("snapshot", "-r", `${dataset}@${name}`)
const thinOut = (dataset: string, name: string) => zfs("destroy", "-r", `${dataset}@${name}`)

describe("a base", () => {
  it("outlives its snapshot, pulled and pushed: each target has one bookmark of its own, and a user's own stays", () => {
    const data = `${src}/data`
    zfs("create", data)
    zfs("create", `${data}/child`)
    take(data, "1")
    zfs("bookmark", `${data}@1`, `${data}#mine`)
    const toBackup = () => pull(hosts, "--destination", `${dst}/backup`, data)
    const toVault = () => push(hosts, "--strip-prefix", src, "--destination", `${dst}/vault`, data)
    expectStatus(toBackup(), 0)
    expectStatus(toVault(), 0)
    for (const round of ["2", "3"]) {
      thinOut(data, String(Number(round) - 1))
      take(data, `${round}a`)
      take(data, round)
      put(path.join(hosts.source.mountpoint, "data/file"), round)
      const before = pictureOf(src)
      expectStatus(pull(hosts, "--destination", `${dst}/backup`, "--dry-run", data), 0)
      assert.equal(pictureOf(src), before)
      expectStatus(toBackup(), 0)
      expectStatus(toVault(), 0)
      thinOut(data, `${round}a`)
    }
    for (const dataset of [data, `${data}/child`]) {
      const newest = guidsOf(dataset).at(-1)
      for (const replica of [`${dst}/backup/localhost/${dataset}`, `${dst}/vault${dataset.slice(src.length)}`]) {
        assert.equal(guidsOf(replica).at(-1), newest)
        assert.equal(snapshotsOf(replica).length, 5)
      }
      assert.deepEqual(
        ours(dataset).map(([, guid]) => guid),
        [newest, newest]
      )
    }
    assert.ok(bookmarksOf(data).some(([name]) => name === "mine"))
    // What is up to date gets one too, where it has none.
    for (const [name] of ours(data)) zfs("destroy", `${data}#${name}`)
    expectStatus(pull(hosts, "--destination", `${dst}/backup`, "--no-bookmark", data), 0)
    assert.equal(ours(data).length, 0)
    expectStatus(toBackup(), 0)
    assert.equal(ours(data).length, 1)
  })

  it("is one of a raw stream of what is encrypted too, while its key is not loaded", () => {
    const secret = `${src}/secret`
    const key = path.join(hosts.source.folder, "key")
    fs.writeFileSync(key, "correct horse")
    zfs("create", "-o", "encryption=on", "-o", "keyformat=passphrase", "-o", `keylocation=file://${key}`, secret)
    take(secret, "1")
    zfs("umount", secret)
    zfs("unload-key", secret)
    const send = () => push(hosts, "--strip-prefix", src, "--destination", `${dst}/off`, secret)
    expectStatus(send(), 0)
    thinOut(secret, "1")
    take(secret, "2")
    expectStatus(send(), 0)
    assert.deepEqual(guidsOf(`${dst}/off/secret`).slice(1), guidsOf(secret))
    assert.equal(ours(secret).length, 1)
  })
})

describe("a job with snapshots of its own, by a user who is not root", () => {
  const asUser = (...args: ReadonlyArray<string>): Ran =>
    zipperIn({ uid, env: { HOME: `/home/${user}`, PATH: "/usr/bin:/bin", LANG: "C" } }, ...args)
  const pullJob = (...more: ReadonlyArray<string>) => asUser("pull", "--job", "own", "--config", config, ...more)
  const zvol = () => `${src}/own/zvol`

  before(() => {
    const own = `${src}/own`
    zfs("create", own)
    zfs("create", `${own}/cache`)
    zfs("create", "-V", "1M", zvol())
    const home = `/home/${user}`
    fs.writeFileSync(
      config,
      JSON.stringify({
        ...{ state_dir: `${home}/state`, log_file: `${home}/log`, lockfile_path: `${home}/zipper.lock`, syslog: false },
        replication: [
          {
            ...{ name: "own", direction: "pull", host: `${user}@localhost`, datasets: [own], exclude: ["cache"] },
            ...{ destination: `${dst}/backup`, snapshot: true, source_retention: { hourly: 1 } }
          }
        ]
      })
    )
  })

  it("is told which permissions are missing; those that delegate prints are enough, and destroy no data but by mount", () => {
    zfs("allow", "-u", user, "send,hold", `${src}/own`)
    zfs("allow", "-u", user, "receive,create,mount,canmount,userprop", `${dst}/backup`)
    const refused = expectStatus(pullJob(), 3)
    assert.match(refused.stderr, /may not snapshot, userprop, destroy, mount on .*zfs allow -u zipbase/)
    assert.equal(snapshotsOf(`${src}/own`).length, 0)
    zfs("allow", "-u", user, "snapshot,userprop,destroy,mount", `${src}/own`)
    const first = expectStatus(pullJob(), 0)
    assert.match(first.stdout, /no bookmark is kept at the source: zipbase may not bookmark/)
    assert.equal(ours(`${src}/own`).length, 0)
    const printed = expectStatus(asUser("delegate", "--job", "own", "--config", config), 0)
    assert.match(printed.stdout, /zfs allow -u zipbase send,hold,bookmark,destroy,snapshot,userprop,mount '\S+\/own'/)
    zfs("allow", "-u", user, "bookmark", `${src}/own`)
    // Without mount, destroy is for bookmarks alone.
    zfs("unallow", "-u", user, "mount", `${src}/own`)
    const [snapshot = ""] = snapshotsOf(`${src}/own`)
    const asThem = (command: string) => sh("su", user, "-s", "/bin/sh", "-c", `PATH=$PATH:/usr/sbin:/sbin; ${command}`)
    assert.throws(() => asThem(`zfs destroy ${snapshot}`), /permission denied/)
    asThem(`zfs bookmark ${snapshot} ${src}/own#x && zfs destroy ${src}/own#x`)
    zfs("allow", "-u", user, "mount", `${src}/own`)
  })

  it("takes one of an instant of all its datasets, sends it, and thins out its own and no other", () => {
    const own = `${src}/own`
    take(own, "foreign")
    const [first = ""] = snapshotsOf(own)
    zfs("hold", "mine", first)
    const before = pictureOf(src)
    const would = expectStatus(pullJob("--dry-run"), 0)
    assert.match(would.stdout, /would take a snapshot of /)
    assert.match(would.stdout, /own: would send /)
    assert.equal(pictureOf(src), before)
    expectStatus(pullJob(), 0)
    const named = (dataset: string) => snapshotsOf(dataset).map((name) => name.slice(name.indexOf("@") + 1))
    const [held, foreign, newest = ""] = named(own)
    assert.deepEqual([held, foreign, named(own).length], [first.slice(first.indexOf("@") + 1), "foreign", 3])
    // The zvol's first one had no hold.
    assert.deepEqual(named(zvol()), ["foreign", newest])
    assert.match(newest, /^zipper-own-\d{14}$/)
    const txg = (dataset: string) => zfs("get", "-H", "-p", "-o", "value", "createtxg", `${dataset}@${newest}`)
    assert.equal(txg(own), txg(zvol()))
    assert.deepEqual(named(`${own}/cache`), ["foreign"])
    assert.equal(guidsOf(`${dst}/backup/localhost/${own}`).length, 3)
    expectReplica(own, `${dst}/backup/localhost/${own}`)
  })

  it("finds a free name where another program has taken it, and goes on when all at the source is gone", () => {
    const own = `${src}/own`
    zfs("release", "mine", snapshotsOf(own)[0] ?? "")
    for (const snapshot of [...snapshotsOf(own), ...snapshotsOf(zvol())]) zfs("destroy", snapshot)
    const now = Date.now()
    for (let second = 0; second < 40; second++) {
      const time = new Date(now + second * 1000).toISOString().slice(0, 19).replace(/[-T:]/g, "")
      zfs("snapshot", `${own}@zipper-own-${time}`)
    }
    expectStatus(pullJob("--quiet"), 0)
    assert.equal(snapshotsOf(own).length, 41, "the others stay")
    assert.equal(guidsOf(zvol()).at(-1), guidsOf(`${dst}/backup/localhost/${zvol()}`).at(-1))
    assert.equal(ours(own).length, 1)
    assert.equal(ours(zvol()).length, 1)
  })
})
