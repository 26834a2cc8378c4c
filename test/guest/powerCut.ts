import * as assert from "node:assert/strict"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { checkContent, checkTarget, checkTidy } from "../support/zip/independent.ts"
import { entryOf, makeConfig, program, put, sh, until, zfs, zipper } from "./support.ts"

// What goes on in the guest between two power cuts: looks at what the last one left, then works until the next. The folder that is
// shared with the host outlives the guest: there stands what runs said of themselves. powerCut starts it.

const [shared = "", last = "no"] = process.argv.slice(2)
const said = path.join(shared, "said")

const pool = "power"
const mountpoint = "/tmp/power"
const source = path.join(mountpoint, "source")
const folders = ["ABCD", "EFGH"]

/** The same source is archived to a target on ZFS and to one on ext4, where what was not synced is lost sooner. */
const targets = { zfs: path.join(mountpoint, "target"), ext4: "/tmp/ext4/target" }
const systems = Object.keys(targets) as ReadonlyArray<keyof typeof targets>

const isNew = !fs.existsSync(said)
const setUp = () => {
  fs.mkdirSync("/tmp/ext4")
  if (isNew) {
    sh("zpool", "create", "-O", `mountpoint=${mountpoint}`, pool, "/dev/vdb1")
    for (const name of ["source", "target"]) zfs("create", `${pool}/${name}`)
  } else sh("zpool", "import", "-f", "-d", "/dev/vdb1", pool)
  // Nothing is written before it has to be, and no rename brings a sync along.
  sh("mount", "-o", "noauto_da_alloc,commit=300", "/dev/vdc", "/tmp/ext4")
  fs.writeFileSync("/sys/module/zfs/parameters/zfs_txg_timeout", "60")
  fs.mkdirSync(targets.ext4, { recursive: true })
  if (!isNew) return
  for (const folder of folders) put(path.join(source, folder, "file"), "0")
  sh("sync")
  fs.writeFileSync(said, "")
}

const configOf = (system: keyof typeof targets) => {
  const folder = path.join("/tmp", `run-${system}`)
  fs.mkdirSync(folder, { recursive: true })
  return makeConfig(folder, {
    source_path: source,
    target_path: targets[system],
    snapshot_prefix: system,
    max_workers: 2,
    syslog: false
  })
}

/** The version that an archive holds. */
const versionIn = (zip: string): number => Number.parseInt(entryOf(zip, "file"), 10)

/** The last version of which a run said that it was archived: its exit status was 0. */
const promised = (system: string): number =>
  fs
    .readFileSync(said, "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([name]) => name === system)
    .reduce((newest, [, version]) => Math.max(newest, Number(version)), 0)

const check = () => {
  for (const system of systems) {
    const what = `${system}, after the power cut`
    const target = targets[system]
    const version = promised(system)
    checkTarget(target, what)
    for (const folder of version > 0 ? folders : []) {
      const found = versionIn(path.join(target, folder, `${folder}.zip`))
      assert.ok(found >= version, `${what}: ${folder}.zip is version ${found}, and ${version} was published`)
    }
    const { status, stderr } = zipper("run", "--config", configOf(system), "--quiet")
    assert.equal(status, 0, `${what}: ${stderr}`)
    checkTarget(target, `${what} and a run`)
    checkTidy(target, what)
    checkContent(source, target, what)
    for (const folder of version > 1 ? folders : []) {
      const found = versionIn(path.join(target, folder, `${folder}.prev.zip`))
      assert.ok(found >= version - 1, `${what}: ${folder}.prev.zip is version ${found}`)
    }
    console.log(`${system}: version ${version} was published, and is there`)
  }
}

/** Does what a power cut does: this machine is off at once, with all that was not written. */
const cut = (why: string) => {
  fs.appendFileSync(said, `cut ${why}\n`)
  fs.writeFileSync("/proc/sysrq-trigger", "b")
}

/** New content, its version first: one or some megabytes of what does not compress. */
const change = (version: number) => {
  for (const folder of folders) {
    put(path.join(source, folder, "file"), `${version}\n`)
    sh(
      "sh",
      "-c",
      `head -c ${1 + Math.floor(Math.random() * 3)}000000 /dev/urandom > "$0"`,
      path.join(source, folder, "large")
    )
  }
}

const run = (system: keyof typeof targets, version: number) => {
  const child = spawn(process.execPath, [program, "run", "--config", configOf(system), "--quiet"], {
    stdio: "inherit"
  })
  return new Promise<void>((resolve, reject) =>
    child.on("close", (status) => {
      if (status !== 0) reject(new Error(`${system}: exit status ${status}`))
      fs.appendFileSync(said, `${system} ${version}\n`)
      resolve()
    })
  )
}

const publishing = () =>
  systems.some((system) => folders.some((folder) => fs.existsSync(path.join(targets[system], folder, ".publish"))))

const work = async () => {
  const first = Math.max(...systems.map(promised)) + 1
  const doomed = first + 1 + Math.floor(Math.random() * 2)
  for (let version = first; ; version++) {
    change(version)
    const runs = Promise.all(systems.map((system) => run(system, version)))
    if (version === doomed) {
      if (Math.random() < 0.75) await until("a publication", publishing)
      const millis = Math.random() * 2500
      setTimeout(() => cut(`${Math.round(millis)} ms into version ${version}`), millis)
    }
    await runs
  }
}

setUp()
if (!isNew) check()
if (last === "no") await work()
