import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import * as Either from "effect/Either"
import type { Snapshot } from "../../src/zfs/Dataset.ts"
import { applyRetention } from "../../src/zfs/Retention.ts"
import { archived, type Place, placeIn, run, succeed, zipOf } from "./jobSupport.ts"
import { everyMoment } from "./killSupport.ts"
import {
  entryOf,
  fingerprint,
  makePool,
  makeUser,
  type Pool,
  program,
  put,
  sh,
  snapshotsOf,
  zfs,
  zipper,
  zipperIn
} from "./support.ts"

let pool: Pool
const began = Date.now()
const uptime = () => Number(fs.readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000
const upAtBeginning = uptime()
const setClock = (millis: number) => sh("date", "-u", "-s", `@${Math.floor(millis / 1000)}`)

before(() => {
  pool = makePool(1024)
})
after(() => {
  setClock(began + uptime() - upAtBeginning)
  pool.destroy()
})

/** Of the 40 hours of a history: each with `ZIPPER_KILLS=all`, else those at its ends, and where a day, a week or a month ends. */
const hours = Array.from({ length: 41 }, (_, hour) => hour).filter(
  (hour) => everyMoment || hour <= 8 || hour >= 38 || [17, 24, 28, 29, 31].includes(hour)
)

const targetOf = (place: Place) => place.data.replace(/source$/, "target")
const names = (dataset: string) => snapshotsOf(dataset).map((name) => name.slice(name.indexOf("@") + 1))
const isOurs = (name: string) => /^auto-zip-target-2030\d{10}$/.test(name)

/** The snapshots of a target and of the dataset below it, as the retention sees them, by full name. */
const listed = (target: string): ReadonlyMap<string, Snapshot> =>
  new Map(
    zfs(
      "list",
      "-Hpr",
      "-t",
      "snapshot",
      "-o",
      "name,guid,createtxg,creation,userrefs,clones",
      "-s",
      "createtxg",
      target
    )
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        const [full = "", guid = "", createtxg = "", creation, holds, clones = ""] = line.split("\t")
        const name = full.slice(full.indexOf("@") + 1)
        const cloned = clones === "-" || clones === "" ? [] : [clones]
        const found = { name, guid, createtxg: BigInt(createtxg), creation: Number(creation), holds: Number(holds) }
        return [full, { ...found, clones: cloned }]
      })
  )

const restored = (place: Place, folder: string, ...args: ReadonlyArray<string>) => {
  const to = fs.mkdtempSync("/tmp/zipper-back-")
  const ran = zipper("restore", folder, "--config", place.config, "--to", path.join(to, "x"), ...args)
  assert.equal(ran.status, 0, ran.stdout + ran.stderr)
  const content = fs.readFileSync(path.join(to, "x", "file"), "utf8")
  fs.rmSync(to, { recursive: true })
  return { content, stdout: ran.stdout }
}

describe("zipper run with target_snapshots on OpenZFS", () => {
  it("has a gap filled by the next run, after it failed with an error and status 1", () => {
    const place = placeIn(pool, { target_snapshots: { hourly: 3 }, syslog: false })
    const target = targetOf(place)
    put(`${place.source}/ABCD/file`, "1")
    const uid = makeUser("zipperhistory")
    for (const folder of [path.dirname(place.target), place.target]) fs.chownSync(folder, uid, uid)
    fs.chmodSync(path.dirname(program), 0o755)
    const as = () => zipperIn({ uid }, "run", "--config", place.config)
    zfs("allow", "-u", "zipperhistory", "snapshot,destroy,mount,userprop,diff", place.data)
    const denied = as()
    assert.equal(denied.status, 3, denied.stdout)
    const grant = `as root: zfs allow -u zipperhistory snapshot,destroy,mount,userprop '${target}'`
    assert.ok(denied.stderr.includes(grant), denied.stderr)
    assert.deepEqual(archived(place), [])
    zfs("allow", "-u", "zipperhistory", "snapshot,destroy,mount,userprop", target)
    const well = as()
    assert.equal(well.status, 0, well.stderr)
    const [first = ""] = names(target)
    zfs("set", "snapshot_limit=1", target)
    put(`${place.source}/ABCD/file`, "2")
    const failed = as()
    assert.equal(failed.status, 1, failed.stdout)
    assert.match(failed.stderr, /snapshots of the target: cannot take a snapshot of/)
    assert.equal(entryOf(zipOf(place, "ABCD"), "file"), "2", "what was published stays")
    assert.match(
      zipper("status", "--config", place.config).stdout,
      /snapshots of the target: cannot take a snapshot of/
    )
    zfs("set", "snapshot_limit=none", target)
    const again = as()
    assert.equal(again.status, 0, again.stderr)
    const second = names(target).at(-1) ?? ""
    assert.ok(second > first, `${second} is newer than ${first}`)
    // Of one hour, the newest stays; the runs may have been in two.
    const hourOf = (name: string) => name.slice(0, -4)
    assert.deepEqual(names(target), hourOf(first) === hourOf(second) ? [second] : [first, second])
    assert.equal(restored(place, "ABCD", "--at", second).content, "2")
    assert.equal(restored(place, "ABCD", "--at", second, "--prev").content, "1")
  })

  it("shares a dataset with the source, and each prune takes its own", () => {
    const dataset = `${pool.name}/shared`
    zfs("create", dataset)
    const folder = path.join(pool.mountpoint, "shared")
    fs.mkdirSync(`${folder}/out`)
    const keys = {
      snapshot_prefix: "auto-zip-target",
      snapshot_keep: 0,
      target_snapshots: { hourly: 1 },
      syslog: false
    }
    const place = placeIn(pool, { ...keys, source_path: `${folder}/in`, target_path: `${folder}/out` })
    for (const content of ["1", "2", "3"]) {
      put(`${folder}/in/ABCD/file`, content)
      succeed(place)
    }
    const all = names(dataset)
    assert.equal(all.filter((name) => /^auto-zip-target-\d+$/.test(name)).length, 1, all.join())
    assert.equal(all.filter((name) => /^auto-zip-target-target-\d+$/.test(name)).length, 1, all.join())
  })

  it("is refused where no snapshot can hold the target, with nothing touched", () => {
    const plain = fs.mkdtempSync("/var/tmp/zipper-plain-")
    const place = placeIn(pool, { target_snapshots: { daily: 1 }, syslog: false })
    put(`${place.source}/DOCS/file`)
    const elsewhere = placeIn(pool, { source_path: place.source, target_path: plain, target_snapshots: { daily: 1 } })
    for (const command of ["run", "check"]) {
      const ran = zipper(command, "--config", elsewhere.config)
      assert.equal(ran.status, 3, ran.stdout)
      assert.match(ran.stderr, /is not on ZFS but on .*; target_snapshots is for a target on ZFS/)
    }
    assert.deepEqual(fs.readdirSync(plain), [])
    const read = zipper("restore", "DOCS", "--from", plain, "--to", "/tmp/none", "--at", "1d")
    assert.equal(read.status, 2)
    assert.match(read.stderr, /is not on ZFS but on .*; there is no snapshot of it to read/)
    fs.rmdirSync(plain)
    fs.mkdirSync(`${place.target}/DOCS`)
    sh("mount", "-t", "tmpfs", "none", `${place.target}/DOCS`)
    const earlier = fingerprint(place.target)
    const ran = run(place)
    assert.deepEqual(fingerprint(place.target), earlier)
    sh("umount", `${place.target}/DOCS`)
    assert.equal(ran.status, 3, ran.stdout)
    assert.match(ran.stderr, /DOCS is a mount of tmpfs, which no snapshot of .* holds/)
  })

  it("keeps for 40 hours exactly what the rules say, of all datasets of the target together, and reads from it", () => {
    const retention = { hourly: 5, daily: 2, weekly: 2, monthly: 2 }
    const place = placeIn(pool, { target_snapshots: retention, syslog: false })
    const target = targetOf(place)
    zfs("create", `${target}/DOCS`)
    const foreign = ["manual", "auto-zip-target-20200101000000", "auto-zip-20200101000000"]
    for (const name of foreign) zfs("snapshot", "-r", `${target}@${name}`)
    zfs("snapshot", "-o", "zipper:target=not one of ours", `${target}@auto-zip-target-20200101000001`)
    // A Sunday evening: two days, a week and a month end in these hours.
    const start = Date.parse("2030-09-29T19:10:00Z")
    const taken = new Map<string, Snapshot>()
    const contents = new Map<string, { readonly abcd: string; readonly docs: string }>()
    let content = { abcd: "", docs: "" }
    for (const hour of hours) {
      setClock(start + hour * 3_600_000)
      const quiet = hour % 7 === 3
      if (!quiet) {
        content = { abcd: `hour ${hour}`, docs: hour % 3 === 0 ? `hour ${hour}` : content.docs }
        put(`${place.source}/ABCD/file`, content.abcd)
        put(`${place.source}/DOCS/file`, content.docs)
      }
      // The same bytes again are no new generation, and no new snapshot.
      succeed(place, ...(quiet ? ["--force"] : []))
      const now = listed(target)
      const own = [...now].flatMap(([full, { name }]) => (full.startsWith(`${target}@`) && isOurs(name) ? [name] : []))
      const fresh = own.filter((name) => !taken.has(name))
      assert.equal(fresh.length, quiet ? 0 : 1, `${hour}: ${fresh}`)
      for (const name of fresh) {
        const snapshot = now.get(`${target}@${name}`)
        assert.ok(snapshot)
        assert.equal(now.get(`${target}/DOCS@${name}`)?.createtxg, snapshot.createtxg, "one atomic snapshot")
        taken.set(name, { ...snapshot, holds: hour === 2 ? 1 : 0, clones: hour === 4 ? [`${pool.name}/clone`] : [] })
        contents.set(name, content)
        if (hour === 2) zfs("hold", "keepit", `${target}/DOCS@${name}`)
        if (hour === 4) zfs("clone", `${target}@${name}`, `${pool.name}/clone`)
      }
      const { keep } = Either.getOrThrow(applyRetention([...taken.values()], retention, { newestCommon: new Set() }))
      const kept = keep.map(({ snapshot }) => snapshot.name)
      assert.deepEqual(own, kept, `after ${hour} hours`)
      assert.deepEqual(
        kept.map((name) => now.has(`${target}/DOCS@${name}`)),
        kept.map(() => true)
      )
      assert.equal([...now].filter(([full, { name }]) => full.includes("/DOCS@") && isOurs(name)).length, kept.length)
    }
    for (const name of [...foreign, "auto-zip-target-20200101000001"]) assert.ok(names(target).includes(name), name)
    const there = names(target).filter(isOurs)
    assert.ok(there.length < taken.size && there.length > retention.hourly, String(there.length))

    // The oldest was overwritten more than twice.
    for (const name of [there[0] ?? "", there[2] ?? ""]) {
      const wanted = contents.get(name)
      assert.equal(restored(place, "ABCD", "--at", name).content, wanted?.abcd, name)
      assert.equal(restored(place, "DOCS", "--at", `${target}@${name}`).content, wanted?.docs, name)
    }
    const [first = "", second = ""] = there
    const at = new Date(((taken.get(second)?.creation ?? 0) - 1) * 1000).toISOString().replace(".000", "")
    const byTime = restored(place, "ABCD", "--at", at)
    assert.equal(byTime.content, contents.get(first)?.abcd)
    assert.match(byTime.stdout, new RegExp(`reading ${target}@${first} of 2030-\\S+Z, the newest .* than ${at}`))
    assert.equal(restored(place, "ABCD", "--at", "1s", "--prev").content, "hour 39")

    const before = zipper("restore", "ABCD", "--config", place.config, "--to", "/tmp/none", "--at", "60d")
    assert.equal(before.status, 2)
    assert.match(before.stderr, new RegExp(`before the first snapshot of ${target}: ${first} of 2030-09-29T`))
    const unknown = zipper("verify", "--config", place.config, "--at", `${first.slice(0, -1)}x`)
    assert.equal(unknown.status, 2)
    assert.match(unknown.stderr, new RegExp(`no snapshot .*the nearest are .*${first.slice(0, -2)}`))

    const verified = zipper("verify", "--config", place.config, "--at", first)
    assert.equal(verified.status, 0, verified.stderr)
    const status = JSON.parse(zipper("status", "--config", place.config, "--json").stdout).archive
    assert.equal(status.folders[0].verified, null, "what is in a snapshot says nothing of the archives of now")
    assert.deepEqual(status.target_snapshots, {
      count: there.length,
      oldest_utc: new Date((taken.get(first)?.creation ?? 0) * 1000).toISOString().replace(".000", ""),
      newest_utc: new Date((taken.get(there.at(-1) ?? "")?.creation ?? 0) * 1000).toISOString().replace(".000", "")
    })
    const shown = zipper("status", "--config", place.config).stdout
    assert.match(shown, new RegExp(`snapshots of the target: ${there.length}, back to 2030-09-29T`))
    const checked = zipper("check", "--config", place.config).stdout
    assert.match(
      checked,
      new RegExp(`target_snapshots: ${target} and 1 dataset at its folders: ${there.length} snapshots`)
    )

    put(`${place.source}/ABCD/file`, "later")
    const dry = succeed(place, "--dry-run")
    assert.match(dry.stdout, new RegExp(`would take a snapshot of ${target}, ${target}/DOCS`))
    assert.deepEqual(names(target).filter(isOurs), there)
    zfs("destroy", `${pool.name}/clone`)
    zfs("release", "keepit", `${target}/DOCS@${[...taken.keys()][2]}`)
  })
})
