import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { describe, it } from "node:test"
import { expectStatus, fill, useHosts, valueOf } from "./replicationSupport.ts"
import { makeConfig, type Pool, sh, zfs, zipper } from "./support.ts"

const { dst, here, hosts, src } = useHosts({ source: 160, target: 160 })
const { folder } = hosts.source
const said = path.join(folder, "messages")
const hook = path.join(folder, "hook")
fs.writeFileSync(hook, `#!/bin/sh\nprintf '%s: %s\\n' "$ZIPPER_JOB" "$ZIPPER_TITLE" >> ${said}\n`)
fs.chmodSync(hook, 0o755)

/** A configuration with a pull and a push of the same datasets. `port` is where the other host does not answer. */
const configure = (port?: number): string =>
  makeConfig(folder, {
    state_dir: path.join(folder, "state"),
    metrics_file: path.join(folder, "zipper.prom"),
    retries: 0,
    hooks: { failure: [hook] },
    replication: [
      { name: "nas", direction: "pull", host: "localhost", port, datasets: [`${src}/data`], destination: `${dst}/nas` },
      {
        ...{ name: "off", direction: "push", host: "localhost", port, datasets: [`${src}/data`] },
        ...{ strip_prefix: src, destination: `${dst}/off` }
      }
    ]
  })

const config = configure()
const verify = (job: string, ...args: ReadonlyArray<string>) =>
  zipper("verify", "--job", job, "--config", config, "--ascii", ...args)
const run = (command: "pull" | "push", job: string) => zipper(command, "--job", job, "--config", config, "--ascii")
const pulled = (name: string) => `${dst}/nas/localhost/${src}/data/${name}`

/** Overwrites a block of this content wherever the disk of the pool has it, behind the back of ZFS and its cache. */
const damage = (pool: Pool, content: Buffer): void => {
  sh("zpool", "export", pool.name)
  const disk = path.join(pool.folder, "disk")
  const bytes = fs.readFileSync(disk)
  const wanted = content.subarray(256 * 1024, 260 * 1024)
  const file = fs.openSync(disk, "r+")
  const first = bytes.indexOf(wanted)
  assert.notEqual(first, -1, "the content is not on the disk")
  for (let at = first; at !== -1; at = bytes.indexOf(wanted, at + 1)) {
    fs.writeSync(file, Buffer.alloc(4096, 0xff), 0, 4096, at)
  }
  fs.closeSync(file)
  sh("zpool", "import", "-d", pool.folder, pool.name)
}

for (const name of ["", "/a", "/b c"]) {
  zfs("create", `${src}/data${name}`)
  fill(path.join(here, "data", name), "file", 2)
}
const ofA = fs.readFileSync(path.join(here, "data/a/file"))
zfs("snapshot", "-r", `${src}/data@1`)
expectStatus(run("pull", "nas"), 0)
expectStatus(run("push", "off"), 0)

describe("verify --job", () => {
  it("finds replicas good, and reads them where they are", () => {
    const found = JSON.parse(expectStatus(verify("off", "--read", "--json"), 0).stdout)
    assert.deepEqual([found.good, found.bad, found.read], [3, 0, true], JSON.stringify(found))
    assert.ok(found.bytes > 6_000_000, String(found.bytes))
    assert.match(found.pools[0].remark, /on localhost was never scrubbed/)
  })

  it("finds a block of a replica that cannot be read, and knows it when the source does not answer", () => {
    damage(hosts.target, ofA)
    const bad = expectStatus(verify("nas", "--read"), 1)
    assert.match(bad.stderr, /cannot read .*\/a@1: .*Input\/output error; the pool .* cannot read .*\/a(@1)?:\/file/)
    assert.match(bad.stderr, /zpool scrub .* mends what the pool has twice; .*zfs rename/)
    assert.match(bad.stdout, /b c: good/)
    assert.match(bad.stdout, /2 good, 1 bad, 1 pool to look at; .* read in/)
    assert.match(fs.readFileSync(said, "utf8"), /^nas: zipper: nas: 1 of 3 replicas is not good on /m)
    const metric = /last_verify_failed\{job="nas",dataset="[^"]*\/a"\} 1/
    assert.match(fs.readFileSync(path.join(folder, "zipper.prom"), "utf8"), metric)
    assert.match(zipper("status", "--config", config, "--ascii").stdout, /\/a: verify found: .*Input\/output error/)

    configure(1)
    const alone = JSON.parse(expectStatus(verify("nas", "--json"), 1).stdout)
    assert.match(alone.source_error, /cannot reach localhost/)
    assert.deepEqual([alone.good, alone.bad, alone.unknown], [0, 1, 2])
    expectStatus(verify("off"), 3)
    configure()
  })

  it("finds what lags, what was written, and what is not there", () => {
    zfs("snapshot", "-r", `${src}/data@2`)
    const mountpoint = path.join(folder, "look")
    zfs("set", "canmount=on", `mountpoint=${mountpoint}`, pulled("b c"))
    // OpenZFS 2.2 and newer mount it there at once.
    if (valueOf("mounted", pulled("b c")) === "no") zfs("mount", pulled("b c"))
    fill(mountpoint, "new", 1)
    zfs("umount", pulled("b c"))
    zfs("destroy", "-r", `${dst}/off/data/a`)
    // As if the runs had begun an hour later than they did: what is at the source now was there.
    for (const job of ["nas", "off"]) {
      const file = path.join(folder, "state", "standing", `replication-${job}.json`)
      const later = new Date(Date.now() + 3_600_000).toISOString().slice(0, 19)
      fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace(/("last_attempt_utc": ?")[^"]*/g, `$1${later}Z`))
    }
    const pull = expectStatus(verify("nas"), 1).stderr
    assert.match(pull, /lags: it ends at @1; 1 snapshot from before the last run is missing: @2/)
    assert.match(pull, /b c has changed since @1, .* 1\.\d MiB written since its newest snapshot/)
    assert.match(expectStatus(verify("off"), 1).stderr, /on localhost: there is no replica, and @2 was there/)
  })
})

describe("a block of the source that cannot be read", () => {
  it("is named, with what gets the next run past it; the datasets beside it go on", () => {
    zfs("destroy", "-r", `${dst}/off`)
    damage(hosts.source, ofA)
    const ran = expectStatus(run("push", "off"), 1)
    assert.match(ran.stderr, /Input\/output error; the pool .* cannot read .*\/a(@\d)?:\/file/)
    assert.match(ran.stderr, /on this host, the file is restored and the snapshots that hold the block are destroyed/)
    assert.doesNotMatch(ran.stderr, /next run goes on/)
    assert.match(zfs("list", "-H", "-o", "name", "-t", "snapshot", `${dst}/off/data/b c`), /@2\n/)
    fs.writeFileSync(path.join(here, "data/a/file"), ofA)
    for (const name of ["1", "2"]) zfs("destroy", `${src}/data/a@${name}`)
    zfs("snapshot", `${src}/data/a@3`)
    expectStatus(run("push", "off"), 0)
    assert.match(zfs("list", "-H", "-o", "name", "-t", "snapshot", `${dst}/off/data/a`), /@3\n/)
  })
})
