import * as assert from "node:assert/strict"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import { archived, type Place, placeIn, run, snapshotIn, succeed, zipOf } from "./jobSupport.ts"
import {
  checkSums,
  entriesOf,
  entryOf,
  fingerprint,
  makePool,
  makeUser,
  type Pool,
  program,
  put,
  sh,
  sizesIn,
  snapshotsOf,
  startZipper,
  until,
  zfs,
  zipper,
  zipperIn
} from "./support.ts"

let pool: Pool
before(() => {
  pool = makePool(1024)
})
after(() => pool.destroy())

const makePlace = (keys?: Readonly<Record<string, unknown>>, inside?: string) => placeIn(pool, keys, inside)

/** Nothing of an unfinished run is left in the target. */
const assertTidy = (place: Place) =>
  assert.deepEqual(
    [...sizesIn(place.target).keys()].filter((name) => /\.publish|\.zipper-|tmp|stag|next|old/i.test(name)),
    []
  )

/** Random content takes long enough to archive that a run can be caught at it. */
const putSlow = (place: Place, folder: string, megabytes = 48) => {
  fs.mkdirSync(path.join(place.source, folder), { recursive: true })
  sh("sh", "-c", `head -c ${megabytes * 1024 * 1024} /dev/urandom > "$0"`, path.join(place.source, folder, "slow"))
}

/** Starts a run and waits until it is in the middle of the archive of SLOW. */
const catchInTheMiddle = async (place: Place) => {
  const running = startZipper("run", "--config", place.config)
  await until("a zip in the making", () =>
    [...sizesIn(place.target)].some(([name, size]) => /SLOW.*\.zip$/.test(name) && size > 65_536)
  )
  return running
}

describe("zipper run on OpenZFS", () => {
  it("archives folders from a snapshot, with true checksums, and says so in syslog", async () => {
    const place = makePlace()
    put(`${place.source}/ABCD/a/file`, "content")
    put(`${place.source}/EFGH/x`, "y")
    put(`${place.source}/ignored/x`, "y")
    fs.symlinkSync("ABCD", `${place.source}/LINK`)
    const ran = succeed(place)
    assert.deepEqual(archived(place), ["ABCD", "EFGH"])
    assert.deepEqual(entriesOf(zipOf(place, "ABCD")), ["a/", "a/file"])
    assert.equal(entryOf(zipOf(place, "ABCD"), "a/file"), "content")
    for (const folder of archived(place)) checkSums(path.join(place.target, folder))
    const snapshots = snapshotsOf(place.data)
    assert.equal(snapshots.length, 1, "the base of the next diff")
    assert.equal(snapshotIn(place, "ABCD"), snapshots[0]?.split("@")[1])
    assert.equal(ran.stderr, "")
    const runId = /run=([0-9a-f]+)/.exec(fs.readFileSync(path.join(place.target, "../zipper.log"), "utf8"))?.[1]
    assert.ok(runId)
    const syslog = () =>
      fs.existsSync("/var/log/syslog")
        ? fs.readFileSync("/var/log/syslog", "latin1")
        : sh("journalctl", "-t", "zipper", "--no-pager")
    await until("lines in syslog", () => new RegExp(`zipper.*${runId}`).test(syslog()))
  })

  it("reads nested datasets from their own snapshots, and notices what changes in them", () => {
    const place = makePlace()
    put(`${place.source}/ABCD/file`)
    zfs("create", `${place.data}/NEST`)
    zfs("create", "-o", `mountpoint=${place.source}/ABCD/inner`, `${place.data}/inner`)
    put(`${place.source}/NEST/file`, "nested")
    put(`${place.source}/ABCD/inner/file`, "inner")
    succeed(place)
    assert.equal(entryOf(zipOf(place, "NEST"), "file"), "nested")
    assert.equal(entryOf(zipOf(place, "ABCD"), "inner/file"), "inner")
    const nest = fingerprint(path.join(place.target, "NEST"))
    put(`${place.source}/ABCD/inner/file`, "changed")
    succeed(place)
    assert.equal(entryOf(zipOf(place, "ABCD"), "inner/file"), "changed")
    assert.deepEqual(fingerprint(path.join(place.target, "NEST")), nest)
    for (const dataset of [place.data, `${place.data}/NEST`, `${place.data}/inner`]) {
      assert.equal(snapshotsOf(dataset).length, 2, dataset)
    }
  })

  it("refuses a source whose dataset is not mounted, instead of archiving the empty folder below it", () => {
    const place = makePlace()
    put(`${place.source}/ABCD/file`)
    succeed(place)
    // That it could not begin is written down.
    const archives = () =>
      fingerprint(place.target).filter((line) => !/^\.zipper(\/(history|standing|lock)|$| )/.test(line))
    const before = archives()
    zfs("unmount", place.data)
    const ran = run(place)
    assert.equal(ran.status, 3)
    assert.match(ran.stderr, /belongs to dataset .*, which is not mounted: zfs mount/)
    assert.deepEqual(archives(), before)
    assert.deepEqual(snapshotsOf(path.dirname(place.data)), [])
    zfs("mount", place.data)
    succeed(place)
  })

  it("fails the folder of a locked child by name, archives the others, and heals when it is unlocked", () => {
    const place = makePlace()
    const key = path.join(pool.folder, "key")
    fs.writeFileSync(key, "passphrase\n")
    put(`${place.source}/ABCD/file`)
    zfs(
      "create",
      "-o",
      "encryption=on",
      "-o",
      "keyformat=passphrase",
      "-o",
      `keylocation=file://${key}`,
      `${place.data}/LOCK`
    )
    put(`${place.source}/LOCK/secret`, "secret")
    succeed(place)
    zfs("unmount", `${place.data}/LOCK`)
    zfs("unload-key", `${place.data}/LOCK`)
    const zip = fs.statSync(zipOf(place, "LOCK")).size
    put(`${place.source}/ABCD/file`, "changed")
    const ran = run(place)
    assert.equal(ran.status, 1)
    assert.match(ran.stderr, /LOCK.*is locked \(its key is not loaded\): zfs load-key/)
    assert.equal(fs.statSync(zipOf(place, "LOCK")).size, zip)
    assert.equal(entryOf(zipOf(place, "ABCD"), "file"), "changed")
    zfs("load-key", `${place.data}/LOCK`)
    zfs("mount", `${place.data}/LOCK`)
    succeed(place)
    assert.equal(entryOf(zipOf(place, "LOCK"), "secret"), "secret")
  })

  it("takes a source that is a folder inside a dataset", () => {
    const place = makePlace({}, "deep/er")
    put(`${place.source}/ABCD/file`, "1")
    put(`${place.source}/../EFGH/file`, "outside")
    succeed(place)
    assert.deepEqual(archived(place), ["ABCD"])
    const earlier = fingerprint(path.join(place.target, "ABCD"))
    put(`${place.source}/../EFGH/file`, "changed outside")
    succeed(place)
    assert.deepEqual(fingerprint(path.join(place.target, "ABCD")), earlier)
    put(`${place.source}/ABCD/file`, "2")
    succeed(place)
    assert.equal(entryOf(zipOf(place, "ABCD"), "file"), "2")
  })

  it("heals after kill -9 in the middle, and removes only the snapshot that was left over", async () => {
    const place = makePlace()
    put(`${place.source}/ABCD/file`, "1")
    succeed(place)
    const foreign = [`${place.data}@auto-zip-20200101000000`, `${place.data}@auto-zip-by-hand`, `${place.data}@daily`]
    for (const name of foreign) zfs("snapshot", name)
    zfs("snapshot", "-o", "zipper:run=not one of ours", `${place.data}@auto-zip-20200101000001`)
    const settled = snapshotsOf(place.data)
    put(`${place.source}/ABCD/file`, "2")
    putSlow(place, "SLOW")
    const running = await catchInTheMiddle(place)
    running.child.kill("SIGSTOP")
    const refused = run(place)
    assert.equal(refused.status, 75, refused.stderr)
    assert.match(refused.stderr, new RegExp(`another run holds .*zipper\\.lock: pid ${running.child.pid}, since 20`))
    assert.equal(refused.stderr.trim().split("\n").length, 1)
    running.child.kill("SIGKILL")
    await running.ended
    const leftover = snapshotsOf(place.data).filter((name) => !settled.includes(name))
    assert.equal(leftover.length, 1)
    const healed = succeed(place)
    assert.match(healed.stdout, /destroyed leftover snapshot/)
    const now = snapshotsOf(place.data)
    for (const name of leftover) assert.ok(!now.includes(name), name)
    for (const name of [...foreign, `${place.data}@auto-zip-20200101000001`]) assert.ok(now.includes(name), name)
    assert.deepEqual(archived(place), ["ABCD", "SLOW"])
    for (const folder of archived(place)) checkSums(path.join(place.target, folder))
    assert.equal(entryOf(zipOf(place, "ABCD"), "file"), "2")
    assertTidy(place)
  })

  for (const [signal, status] of [
    ["SIGTERM", 143],
    ["SIGINT", 130]
  ] as const) {
    it(`cleans up on ${signal} and exits ${status}`, async () => {
      const place = makePlace()
      putSlow(place, "SLOW")
      const running = await catchInTheMiddle(place)
      assert.equal(snapshotsOf(place.data).length, 1)
      running.child.kill(signal)
      assert.equal(await running.ended, status, running.output())
      assert.deepEqual(snapshotsOf(place.data), [])
      assertTidy(place)
      assert.ok(!fs.existsSync(zipOf(place, "SLOW")))
    })
  }

  it("warns of a held snapshot, leaves it alone, and destroys it once it is released", () => {
    const place = makePlace({ snapshot_keep: 0 })
    put(`${place.source}/ABCD/file`)
    succeed(place)
    const [held = ""] = snapshotsOf(place.data)
    zfs("hold", "keepit", held)
    const ran = succeed(place)
    assert.match(ran.stdout + ran.stderr, /was not destroyed: it is held/)
    assert.ok(snapshotsOf(place.data).includes(held))
    zfs("release", "keepit", held)
    succeed(place)
    assert.ok(!snapshotsOf(place.data).includes(held))
    assert.equal(snapshotsOf(place.data).length, 1)
  })

  it("writes nothing in a dry run, and says what it would do", () => {
    const place = makePlace()
    put(`${place.source}/ABCD/file`)
    succeed(place)
    put(`${place.source}/EFGH/file`)
    const snapshots = snapshotsOf(place.data)
    const earlier = fingerprint(path.dirname(place.target))
    const ran = succeed(place, "--dry-run")
    assert.match(ran.stdout, /live dataset/)
    assert.match(ran.stdout, /EFGH/)
    assert.deepEqual(fingerprint(path.dirname(place.target)), earlier)
    assert.deepEqual(snapshotsOf(place.data), snapshots)
  })

  it("runs as a user to whom it was delegated, and names the command when it was not", () => {
    const place = makePlace({ syslog: false })
    put(`${place.source}/ABCD/file`)
    const uid = makeUser("zipperuser")
    fs.chownSync(path.dirname(place.target), uid, uid)
    fs.chownSync(place.target, uid, uid)
    fs.chmodSync(path.dirname(program), 0o755)
    const as = () => zipperIn({ uid }, "run", "--config", place.config)
    const denied = as()
    assert.equal(denied.status, 3, denied.stderr)
    assert.match(denied.stderr, /permission denied.*zfs allow -u zipperuser snapshot,destroy,mount,userprop,diff/)
    assert.deepEqual(archived(place), [])
    zfs("allow", "-u", "zipperuser", "snapshot,destroy,mount,userprop,diff", place.data)
    for (const content of ["1", "2", "3"]) {
      put(`${place.source}/ABCD/file`, content)
      const ran = as()
      assert.equal(ran.status, 0, ran.stderr)
    }
    assert.equal(entryOf(zipOf(place, "ABCD"), "file"), "3")
    assert.equal(snapshotsOf(place.data).length, 2)
  })

  it("writes nothing where the target's dataset is to be mounted", () => {
    const place = makePlace()
    put(`${place.source}/ABCD/file`)
    const target = place.data.replace(/source$/, "target")
    zfs("unmount", target)
    for (const command of ["run", "check"]) {
      const ran = zipper(command, "--config", place.config)
      assert.equal(ran.status, 3, ran.stdout + ran.stderr)
      assert.ok(ran.stderr.includes(`${target}, which is not mounted: zfs mount '${target}'`), ran.stderr)
    }
    assert.deepEqual(fs.readdirSync(place.target), [])
  })

  it("works from cron, in cron's environment", async () => {
    const place = makePlace()
    put(Buffer.from(`${place.source}/ABCD/über ☕`), "from cron")
    const table = "/etc/cron.d/zipper-test"
    const output = path.join(pool.folder, "cron.out")
    fs.writeFileSync(
      table,
      `* * * * * root ${process.execPath} ${program} run --config ${place.config} --quiet > ${output} 2>&1; echo $? > ${output}.status\n`
    )
    const cron = spawn("cron", ["-f"], { stdio: "ignore" })
    try {
      await until("cron to run it", () => fs.existsSync(`${output}.status`), 150)
    } finally {
      fs.rmSync(table)
      cron.kill()
    }
    assert.equal(fs.readFileSync(output, "utf8"), "")
    assert.equal(fs.readFileSync(`${output}.status`, "utf8"), "0\n")
    assert.equal(JSON.parse(fs.readFileSync(path.join(place.target, "ABCD/metadata.json"), "utf8")).files[0], "über ☕")
    checkSums(path.join(place.target, "ABCD"))
  })
})
