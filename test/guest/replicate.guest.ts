import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { describe, it } from "node:test"
import {
  expectReplica,
  expectStatus,
  fill,
  guidsOf,
  pictureOf,
  pull,
  push,
  useHosts,
  valueOf
} from "./replicationSupport.ts"
import { put, snapshotsOf, zfs } from "./support.ts"

const { dst, here, hosts, src } = useHosts()

const exists = (dataset: string): boolean =>
  zfs("list", "-H", "-o", "name", "-r", "-t", "filesystem,volume", dst).split("\n").includes(dataset)

describe("pull", () => {
  it("sends the first snapshot in full, then every one up to the newest, each dataset on its own", () => {
    zfs("create", `${src}/data`)
    zfs("create", `${src}/data/child`)
    for (const name of ["one", "two", "three"]) {
      put(path.join(here, "data", name))
      zfs("snapshot", `${src}/data@${name}`)
    }
    put(path.join(here, "data/child/file"))
    zfs("snapshot", `${src}/data/child@its-own`)
    const target = `${dst}/backup/localhost/${src}/data`
    const first = expectStatus(pull(hosts, "--destination", `${dst}/backup`, `${src}/data`), 0)
    assert.match(first.stdout, /2 sent, 0 up to date/)
    expectReplica(`${src}/data`, target)
    expectReplica(`${src}/data/child`, `${target}/child`)
    for (const parent of [`${dst}/backup`, `${dst}/backup/localhost`, `${dst}/backup/localhost/${src}`]) {
      assert.equal(valueOf("canmount", parent), "off", parent)
    }
    const before = pictureOf(dst)
    const second = expectStatus(pull(hosts, "--destination", `${dst}/backup`, `${src}/data`), 0)
    assert.match(second.stdout, /0 sent, 2 up to date/)
    assert.equal(pictureOf(dst), before)
    put(path.join(here, "data/later"))
    zfs("snapshot", `${src}/data@four`)
    zfs("snapshot", `${src}/data@five`)
    assert.match(
      expectStatus(pull(hosts, "--destination", `${dst}/backup`, `${src}/data`), 0).stdout,
      /1 sent, 1 up to date/
    )
    expectReplica(`${src}/data`, target)
  })

  it("says nothing under cron when all is well, with a bare environment", () => {
    const ran = expectStatus(pull(hosts, "--quiet", "--destination", `${dst}/backup`, `${src}/data`), 0)
    assert.equal(ran.stdout + ran.stderr, "")
  })

  it("prints the plan with sizes and changes nothing in a dry run", () => {
    zfs("create", `${src}/dry`)
    fill(path.join(here, "dry"), "file", 3)
    zfs("snapshot", `${src}/dry@1`)
    const before = pictureOf(dst)
    const ran = expectStatus(pull(hosts, "--dry-run", "--destination", `${dst}/elsewhere`, `${src}/dry`), 0)
    assert.match(ran.stdout, /would send .*3\.\d MiB/)
    assert.equal(pictureOf(dst), before)
    const document = JSON.parse(
      expectStatus(pull(hosts, "--dry-run", "--json", "--destination", `${dst}/elsewhere`, `${src}/dry`), 0).stdout
    )
    assert.equal(document.dry_run, true)
    assert.equal(document.datasets[0].target, `${dst}/elsewhere/localhost/${src}/dry`)
    assert.ok(document.bytes > 3_000_000)
  })

  it("goes on after a dataset that fails, and says of its children why they were not tried", () => {
    zfs("create", `${src}/mixed`)
    for (const name of ["bad", "bad/below", "good"]) zfs("create", `${src}/mixed/${name}`)
    zfs("snapshot", "-r", `${src}/mixed@1`)
    // Where the replica of a file system should be, there is a volume.
    zfs("create", "-p", `${dst}/fails/localhost/${src}`)
    zfs("create", "-o", "canmount=off", `${dst}/fails/localhost/${src}/mixed`)
    zfs("destroy", `${dst}/fails/localhost/${src}/mixed`)
    expectStatus(pull(hosts, "--destination", `${dst}/fails`, `${src}/mixed`, "--exclude", "bad"), 0)
    zfs("create", "-V", "1M", `${dst}/fails/localhost/${src}/mixed/bad`)
    const ran = expectStatus(pull(hosts, "--destination", `${dst}/fails`, `${src}/mixed`, `${src}/nothing-there`), 1)
    assert.match(ran.stderr, new RegExp(`${src}/mixed/bad: .*volume`))
    assert.match(ran.stderr, new RegExp(`${src}/mixed/bad/below: .*parent ${src}/mixed/bad failed`))
    assert.match(ran.stderr, new RegExp(`${src}/nothing-there: there is no such dataset`))
    expectReplica(`${src}/mixed/good`, `${dst}/fails/localhost/${src}/mixed/good`)
  })
})

describe("push", () => {
  it("takes the prefix off and makes missing parents, which a later run can fill", () => {
    zfs("create", "-p", `${src}/a/b/c`)
    zfs("create", `${src}/aa`)
    put(path.join(here, "a/b/c/file"))
    zfs("snapshot", `${src}/a/b/c@1`)
    expectStatus(push(hosts, "--strip-prefix", `${src}/a`, "--destination", `${dst}/off`, `${src}/a/b/c`), 0)
    expectReplica(`${src}/a/b/c`, `${dst}/off/b/c`)
    assert.equal(valueOf("canmount", `${dst}/off/b`), "off")
    put(path.join(here, "a/b/later"))
    zfs("snapshot", `${src}/a/b@1`)
    expectStatus(push(hosts, "--strip-prefix", `${src}/a`, "--destination", `${dst}/off`, `${src}/a/b`), 0)
    expectReplica(`${src}/a/b`, `${dst}/off/b`)
    expectReplica(`${src}/a/b/c`, `${dst}/off/b/c`)
  })

  it("refuses a prefix that is none, before anything is touched", () => {
    zfs("snapshot", `${src}/aa@1`)
    const before = pictureOf(dst)
    const ran = expectStatus(push(hosts, "--strip-prefix", `${src}/a`, "--destination", `${dst}/wrong`, `${src}/aa`), 2)
    assert.match(ran.stderr, new RegExp(`${src}/aa`))
    assert.equal(pictureOf(dst), before)
  })
})

describe("kinds and names", () => {
  it("sends volumes, clones, and what is called 0 or holds spaces", () => {
    zfs("create", `${src}/kinds`)
    zfs("create", "-V", "4M", `${src}/kinds/volume`)
    zfs("create", `${src}/kinds/0`)
    zfs("create", `${src}/kinds/with two  spaces`)
    put(path.join(here, "kinds/0/file"))
    zfs("snapshot", "-r", `${src}/kinds@0`)
    zfs("snapshot", "-r", `${src}/kinds@a name`)
    zfs("clone", `${src}/kinds/0@0`, `${src}/kinds/clone`)
    zfs("snapshot", `${src}/kinds/clone@1`)
    expectStatus(push(hosts, "--destination", `${dst}/kinds`, "--strip-prefix", `${src}/kinds`, `${src}/kinds`), 0)
    for (const name of ["", "/volume", "/0", "/with two  spaces", "/clone"]) {
      expectReplica(`${src}/kinds${name}`, `${dst}/kinds${name}`)
    }
  })

  it("lets no name reach a shell", () => {
    const trap = path.join(hosts.source.folder, "trapped")
    for (const name of [
      `${src}/a$(touch ${trap})`,
      `${src}/'; touch ${trap}; '`,
      `${src}/\`touch ${trap}\``,
      `${src}/a%b`
    ]) {
      const ran = pull(hosts, "--destination", `${dst}/names`, name)
      assert.notEqual(ran.status, 0)
      assert.doesNotMatch(ran.stderr, /internal error| at /)
    }
    const ran = pull(hosts, "--host", `-oProxyCommand=touch ${trap}`, "--destination", `${dst}/names`, `${src}/a`)
    assert.equal(ran.status, 2)
    assert.equal(fs.existsSync(trap), false)
  })

  it("takes a user in the host's name, options for ssh, and goes through zstd and a limiter", () => {
    const ran = pull(
      hosts,
      "--host",
      "root@localhost",
      "--port",
      "22",
      "--ssh-option",
      "Compression=no",
      "--compress",
      "zstd",
      "--bandwidth",
      "50M",
      "--destination",
      `${dst}/user`,
      `${src}/a`
    )
    expectStatus(ran, 0)
    expectReplica(`${src}/a/b/c`, `${dst}/user/localhost/${src}/a/b/c`)
  })
})

describe("what is sent", () => {
  it("starts from a bookmark where the snapshot is gone", () => {
    const name = `${src}/marked`
    zfs("create", name)
    zfs("snapshot", `${name}@1`)
    const target = ["--strip-prefix", src, "--destination", `${dst}/marked`]
    expectStatus(push(hosts, ...target, name), 0)
    zfs("bookmark", `${name}@1`, `${name}#1`)
    zfs("destroy", `${name}@1`)
    for (const snapshot of ["2", "3"]) {
      put(path.join(here, "marked", snapshot))
      zfs("snapshot", `${name}@${snapshot}`)
    }
    expectStatus(push(hosts, "--compress", "zstd", ...target, name), 0)
    assert.deepEqual(guidsOf(`${dst}/marked/marked`).slice(1), guidsOf(name))
    assert.equal(snapshotsOf(`${dst}/marked/marked`).length, 3, "what the target had survives")
  })

  it("leaves out what is excluded and everything below it, and names a dataset once", () => {
    zfs("create", `${src}/tree`)
    for (const name of ["keep", "cache", "cache/below", "keep/cache"]) zfs("create", `${src}/tree/${name}`)
    zfs("snapshot", "-r", `${src}/tree@1`)
    const ran = expectStatus(
      push(
        hosts,
        "--strip-prefix",
        src,
        "--destination",
        `${dst}/tree`,
        "--exclude",
        "cache",
        "--exclude",
        "mistyped",
        `${src}/tree/keep`,
        `${src}/tree`
      ),
      0
    )
    assert.match(ran.stdout, /2 sent/)
    assert.match(ran.stderr, /mistyped/)
    assert.equal(exists(`${dst}/tree/tree/keep`), true)
    assert.equal(exists(`${dst}/tree/tree/cache`), false)
    assert.equal(exists(`${dst}/tree/tree/keep/cache`), false)
  })
})
