import * as assert from "node:assert/strict"
import * as path from "node:path"
import { describe, it } from "node:test"
import { expectReplica, expectStatus, guidsOf, pull, useHosts, valueOf } from "./replicationSupport.ts"
import { put, sh, snapshotsOf, zfs } from "./support.ts"

const { dst, here, hosts, src } = useHosts()

const targetOf = (source: string, to = "r") => `${dst}/${to}/localhost/${source}`
const again = (source: string, ...args: ReadonlyArray<string>) =>
  pull(hosts, "--destination", `${dst}/r`, ...args, source)

/** A file and a snapshot more. */
const next = (source: string, snapshot: string) => {
  put(path.join(here, source.slice(src.length + 1), snapshot))
  zfs("snapshot", `${source}@${snapshot}`)
}

/** A source with one snapshot that has been pulled. */
const pulled = (name: string): string => {
  const source = `${src}/${name}`
  zfs("create", source)
  next(source, "1")
  expectStatus(again(source), 0)
  return source
}

const shortNames = (dataset: string) => snapshotsOf(dataset).map((name) => name.slice(name.indexOf("@") + 1))

describe("a snapshot of the target's own in which nothing changed", () => {
  it("stays, held or cloned too, and the run goes on, again and again", () => {
    const source = pulled("noop")
    const target = targetOf(source)
    zfs("snapshot", `${target}@held`)
    zfs("hold", "keep", `${target}@held`)
    zfs("snapshot", `${target}@cloned`)
    zfs("clone", `${target}@cloned`, `${dst}/clone`)
    for (const name of ["2", "3"]) {
      next(source, name)
      expectStatus(again(source), 0)
    }
    assert.deepEqual(shortNames(target), ["1", "held", "cloned", "2", "3"])
    zfs("release", "keep", `${target}@held`)
  })

  it("of a volume", () => {
    const source = `${src}/volume`
    zfs("create", "-s", "-V", "4M", source)
    zfs("snapshot", `${source}@1`)
    expectStatus(again(source), 0)
    zfs("snapshot", `${targetOf(source)}@own`)
    zfs("snapshot", `${source}@2`)
    expectStatus(again(source), 0)
    assert.deepEqual(shortNames(targetOf(source)), ["1", "own", "2"])
  })

  it("is in the way of a raw stream of what is encrypted, and of none of what is not", () => {
    const plain = `${src}/plain`
    zfs("create", plain)
    const secret = `${src}/secret`
    sh("sh", "-c", `echo passphrase | zfs create -o encryption=on -o keyformat=passphrase ${secret}`)
    for (const [source, status] of [
      [plain, 0],
      [secret, 4]
    ] as const) {
      next(source, "1")
      expectStatus(again(source, "--raw"), 0)
      zfs("snapshot", `${targetOf(source)}@own`)
      next(source, "2")
      const ran = expectStatus(again(source, "--raw"), status)
      if (status === 4) assert.match(ran.stderr, /which no raw stream goes past, and would lose 1 snapshot \(@own\)/)
    }
    expectStatus(again(secret, "--raw", "--rollback"), 0)
    expectReplica(secret, targetOf(secret))
  })

  it("that came after a stream was cut makes it start anew, by itself", () => {
    const source = pulled("cut")
    const target = targetOf(source)
    next(source, "2")
    sh("sh", "-c", `head -c 4000000 /dev/urandom > ${path.join(here, "cut/large")}`)
    zfs("snapshot", `${source}@3`)
    sh("sh", "-c", `zfs send -i @1 ${source}@3 | head -c 2000000 | zfs receive -u -s ${target} || true`)
    assert.notEqual(valueOf("receive_resume_token", target), "-")
    zfs("snapshot", `${target}@own`)
    const ran = expectStatus(again(source), 0)
    assert.match(`${ran.stdout}${ran.stderr}`, /is thrown away: .*@own/)
    assert.deepEqual(shortNames(target), ["1", "own", "2", "3"])
  })
})

describe("one dataset that cannot be received", () => {
  it("fails alone: its children that have replicas go on, and so does what has a shorter name", () => {
    const top = `${src}/tree`
    const long = `${top}/${"x".repeat(200)}`
    for (const name of [top, `${top}/a`, `${top}/a/b`]) zfs("create", name)
    zfs("snapshot", "-r", `${top}@1`)
    expectStatus(again(top), 0)
    zfs("create", long)
    zfs("create", `${long}/${"y".repeat(30)}`)
    zfs("snapshot", "-r", `${top}@2`)
    // Of the parent, the replica has changed.
    zfs("set", "canmount=on", targetOf(`${top}/a`))
    zfs("mount", targetOf(`${top}/a`))
    put(path.join(valueOf("mountpoint", targetOf(`${top}/a`)), "change"))
    zfs("umount", targetOf(`${top}/a`))
    zfs("set", "canmount=off", targetOf(`${top}/a`))
    const ran = expectStatus(again(top), 4)
    assert.match(ran.stderr, /y{30}: it would be written to .*longer than 255 characters/)
    expectReplica(`${top}/a/b`, targetOf(`${top}/a/b`))
    assert.deepEqual(guidsOf(targetOf(top)), guidsOf(top))
  })

  it("a snapshot whose name is too long fails its dataset, by name", () => {
    const source = pulled("longSnapshot")
    const name = "s".repeat(255 - `${source}@`.length)
    zfs("snapshot", `${source}@${name}`)
    assert.match(expectStatus(again(source), 1).stderr, /longer than 255 characters; at the source, destroy it or give/)
  })
})

describe("what is not there", () => {
  it("is a dataset, or a whole pool", () => {
    const source = pulled("there")
    const ran = expectStatus(again(source, `${src}/gone`, "usb/data", "localhost:tank/a"), 1)
    assert.match(ran.stderr, new RegExp(`${src}/gone: there is no such dataset on localhost`))
    assert.match(ran.stderr, /usb\/data: no pool usb is imported on localhost \(there: zpool import usb\)/)
    assert.match(ran.stderr, /a host goes into --host/)
    assert.match(expectStatus(again("usb/data"), 3).stderr, /no pool usb is imported on localhost/)
    assert.match(expectStatus(again("/tank/data"), 2).stderr, /is a path/)
  })
})

describe("a dataset that was renamed", () => {
  it("names the command for its replica, which works, also for what is below it", () => {
    const source = pulled("before")
    zfs("create", `${source}/child`)
    zfs("snapshot", `${source}/child@1`)
    expectStatus(again(source), 0)
    const renamed = `${src}/after`
    zfs("rename", source, renamed)
    const ran = expectStatus(again(renamed), 1)
    const [, from = "", to = ""] = /there: zfs rename '([^']+)' '([^']+)'/.exec(ran.stderr) ?? []
    assert.deepEqual([from, to], [targetOf(source), targetOf(renamed)])
    zfs("rename", from, to)
    zfs("snapshot", "-r", `${renamed}@2`)
    expectStatus(again(renamed), 0)
    expectReplica(renamed, to)
    expectReplica(`${renamed}/child`, `${to}/child`)
  })
})

describe("a replica whose clone was promoted", () => {
  it("names the way back, which works", () => {
    const source = pulled("failover")
    const target = targetOf(source)
    zfs("clone", `${target}@1`, `${dst}/test`)
    zfs("promote", `${dst}/test`)
    next(source, "2")
    const command = /there: zfs promote '([^']+)'/.exec(expectStatus(again(source), 4).stderr)?.[1]
    assert.equal(command, target)
    zfs("promote", target)
    expectStatus(again(source), 0)
    expectReplica(source, target)
  })
})
