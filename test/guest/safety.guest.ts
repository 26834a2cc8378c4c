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
import { makePool, put, type Ran, sh, snapshotsOf, zfs } from "./support.ts"

const { dst, here, hosts, src } = useHosts()

let count = 0
/** A source dataset with two snapshots, its replica, and a push of it. */
const replicated = () => {
  const name = `s${++count}`
  const source = `${src}/${name}`
  const target = `${dst}/${name}`
  zfs("create", source)
  const folder = path.join(here, name)
  for (const snapshot of ["1", "2"]) {
    put(path.join(folder, snapshot))
    zfs("snapshot", `${source}@${snapshot}`)
  }
  const again = (...args: ReadonlyArray<string>): Ran =>
    push(hosts, "--strip-prefix", src, "--destination", dst, ...args, source)
  expectStatus(again(), 0)
  expectReplica(source, target)
  const next = (snapshot: string) => {
    put(path.join(folder, snapshot))
    zfs("snapshot", `${source}@${snapshot}`)
  }
  return { source, target, folder, again, next }
}

/** Writes to a replica. */
const change = (target: string): void => {
  zfs("set", "canmount=on", target)
  zfs("mount", target)
  put(path.join(valueOf("mountpoint", target), "a change"))
  zfs("umount", target)
  zfs("set", "canmount=off", target)
}

/** Refused, and nothing on the target is another than before. */
const expectRefusal = (target: string, attempt: () => Ran, status: number, says: RegExp): void => {
  const before = pictureOf(target)
  const ran = expectStatus(attempt(), status)
  assert.match(ran.stderr, says)
  assert.equal(pictureOf(target), before)
}

describe("a replica that has diverged", () => {
  it("is left alone, with the list of what would be lost; --rollback takes it back", () => {
    const { again, next, source, target } = replicated()
    zfs("snapshot", `${target}@before`)
    change(target)
    zfs("snapshot", `${target}@only here`)
    zfs("snapshot", `${target}@and this`)
    next("3")
    expectRefusal(target, again, 4, /only here[\s\S]*and this/)
    const dryRun = pictureOf(target)
    expectStatus(again("--rollback", "--dry-run"), 0)
    assert.equal(pictureOf(target), dryRun)
    expectStatus(again("--rollback"), 0)
    zfs("destroy", `${target}@before`)
    expectReplica(source, target)
  })

  it("is not taken back over a snapshot that is held or cloned", () => {
    const { again, next, target } = replicated()
    change(target)
    zfs("snapshot", `${target}@held`)
    zfs("hold", "keep", `${target}@held`)
    next("3")
    expectRefusal(target, () => again("--rollback"), 1, /held/)
    zfs("release", "keep", `${target}@held`)
    zfs("clone", `${target}@held`, `${target}-clone`)
    expectRefusal(target, () => again("--rollback"), 1, /clone/)
  })

  it("keeps older snapshots that only the target has, and held ones", () => {
    const { again, next, source, target } = replicated()
    zfs("destroy", `${source}@1`)
    zfs("hold", "keep", `${target}@1`)
    next("3")
    expectStatus(again(), 0)
    assert.deepEqual(guidsOf(target).slice(1), guidsOf(source))
    assert.equal(snapshotsOf(target)[0], `${target}@1`)
    zfs("release", "keep", `${target}@1`)
  })

  it("has no snapshot in common: refused, --rollback or not", () => {
    const { again, source, target } = replicated()
    zfs("destroy", "-r", source)
    zfs("create", source)
    zfs("snapshot", `${source}@1`)
    expectRefusal(target, again, 4, /no snapshot in common|in common/)
    expectRefusal(target, () => again("--rollback"), 4, /in common/)
  })

  it("was written to since: refused", () => {
    const { again, next, target, source } = replicated()
    change(target)
    sh("sync")
    next("3")
    expectRefusal(target, again, 4, /written|changed/)
    expectStatus(again("--rollback"), 0)
    expectReplica(source, target)
  })
})

describe("a target that is not ours", () => {
  it("with files and no snapshot is not overwritten", () => {
    const source = `${src}/fresh`
    zfs("create", source)
    zfs("snapshot", `${source}@1`)
    zfs("create", `${dst}/fresh`)
    put(path.join(hosts.target.mountpoint, "fresh/precious"))
    const attempt = (...args: ReadonlyArray<string>) =>
      push(hosts, "--strip-prefix", src, "--destination", dst, ...args, source)
    expectRefusal(`${dst}/fresh`, attempt, 4, /no snapshot/)
    expectRefusal(`${dst}/fresh`, () => attempt("--rollback"), 4, /no snapshot/)
    assert.ok(fs.existsSync(path.join(hosts.target.mountpoint, "fresh/precious")))
  })

  it("was our placeholder, and has been used since: not overwritten", () => {
    zfs("create", "-p", `${src}/holder/below`)
    zfs("snapshot", `${src}/holder/below@1`)
    expectStatus(push(hosts, "--strip-prefix", src, "--destination", dst, `${src}/holder/below`), 0)
    zfs("set", "canmount=on", `${dst}/holder`)
    zfs("mount", `${dst}/holder`)
    put(path.join(hosts.target.mountpoint, "holder/precious"), "p".repeat(5000))
    sh("sync")
    zfs("umount", `${dst}/holder`)
    zfs("set", "canmount=off", `${dst}/holder`)
    zfs("snapshot", `${src}/holder@1`)
    expectRefusal(
      `${dst}/holder`,
      () => push(hosts, "--strip-prefix", src, "--destination", dst, `${src}/holder`),
      4,
      /no snapshot/
    )
  })

  it("lies inside the source: refused before anything is sent", () => {
    zfs("create", `${src}/inside`)
    zfs("snapshot", `${src}/inside@1`)
    zfs("create", `${src}/inside/backup`)
    const before = pictureOf(src)
    const ran = expectStatus(pull(hosts, "--destination", `${src}/inside/backup`, `${src}/inside`), 3)
    assert.match(ran.stderr, /inside/)
    assert.equal(pictureOf(src), before)
  })
})

describe("how streams are made", () => {
  it("is remembered for each target, and a change is refused", () => {
    const { again, next, target } = replicated()
    assert.equal(valueOf("zipper:send", target), "raw")
    next("3")
    expectRefusal(target, () => again("--no-raw"), 1, /raw/)
    expectStatus(again(), 0)
  })
})

describe("a pool that fills up", () => {
  it("fails that dataset by name, keeps what was received, and goes on from there", () => {
    const small = makePool(300)
    try {
      zfs("create", `${src}/large`)
      fill(path.join(here, "large"), "file", 60)
      zfs("snapshot", `${src}/large@1`)
      zfs("create", `${small.name}/ballast`)
      fill(path.join(small.mountpoint, "ballast"), "file", 110)
      const attempt = () => push(hosts, "--strip-prefix", src, "--destination", small.name, `${src}/large`)
      const ran = expectStatus(attempt(), 1)
      assert.match(ran.stderr, /out of space|no space/)
      assert.doesNotMatch(ran.stderr, /zfs send -t/)
      assert.notEqual(valueOf("receive_resume_token", `${small.name}/large`), "-")
      zfs("destroy", `${small.name}/ballast`)
      sh("zpool", "sync", small.name)
      const resumed = expectStatus(attempt(), 0)
      assert.match(resumed.stdout, /resum/)
      expectReplica(`${src}/large`, `${small.name}/large`)
    } finally {
      small.destroy()
    }
  })
})
