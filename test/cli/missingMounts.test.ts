import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, picture, run, toolsFor } from "../support/program/built.ts"

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

const { files, job } = toolsFor(() => place)
const support = (name: string) => fileURLToPath(new URL(`../support/${name}`, import.meta.url))

/** A run at which the kernel's list has a mount there. */
const jobWithMount = (mountpoint: string, ...args: ReadonlyArray<string>) =>
  run(["run", "--config", place.config, ...args], {
    env: {
      NODE_OPTIONS: `--require=${support("fakeMounts.cjs")}`,
      FAKE_DATASET: "disk",
      FAKE_MOUNTPOINT: mountpoint
    }
  })

describe("a snapshot that the system does not mount", () => {
  /** A run whose source is a dataset of a zfs that keeps copies. */
  const zfsJob = (env: Record<string, string> = {}) =>
    run(["run", "--config", place.config], {
      env: {
        PATH: `${join(place.root, "bin")}:/usr/bin:/bin`,
        NODE_OPTIONS: `--require=${support("fakeMounts.cjs")}`,
        FAKE_DATASET: "tank/data",
        FAKE_MOUNTPOINT: place.source,
        FAKE_ZFS: join(place.root, "zfs"),
        ...env
      }
    })

  it("fails the run before any folder, and leaves target and cursor alone", async () => {
    for (const folder of ["bin", "zfs"]) mkdirSync(join(place.root, folder))
    copyFileSync(support("fakeZfs.sh"), join(place.root, "bin/zfs"))
    chmodSync(join(place.root, "bin/zfs"), 0o755)
    place.configure({ snapshots: "zfs" })
    place.put("ABCD/file", "only copy")
    const first = await zfsJob()
    assert.strictEqual(first.status, 0, first.stderr)
    assert.include(files("ABCD"), "ABCD.zip")
    place.put("ABCD/file", "changed content")
    const { status, stderr } = await zfsJob({ FAKE_UNMOUNTED: "." })
    assert.strictEqual(status, 3, stderr)
    assert.match(stderr, /the snapshot tank\/data@auto-zip-\d+ cannot be read: the system did not mount it/)
    assert.isFalse(existsSync(join(place.target, ".zipper/failures")))
    const before = picture(join(place.target, "ABCD"))
    const last = await zfsJob()
    assert.strictEqual(last.status, 0, last.stderr)
    assert.notStrictEqual(picture(join(place.target, "ABCD")), before)
    assert.include(files("ABCD"), "ABCD.prev.zip")
  })
})

describe("a mount in a folder of a live source", () => {
  const stateOf = (folder: string): { readonly mounts: unknown } =>
    JSON.parse(readFileSync(join(place.target, folder, ".state.json"), "utf8"))

  for (const [where, at] of [
    ["the folder itself", "ABCD"],
    ["a place in it", "ABCD/disk"]
  ] as const) {
    it(`that is away fails the folder by name and keeps its archive, until it is accepted: ${where}`, async () => {
      place.put("ABCD/disk/file", "only copy")
      place.put("ABCD/own", "of the folder")
      place.put("EFGH/file", "another folder")
      const first = await jobWithMount(join(place.source, at))
      assert.strictEqual(first.status, 0, first.stderr)
      assert.deepStrictEqual(stateOf("ABCD").mounts, [at.slice("ABCD/".length)])
      assert.deepStrictEqual(stateOf("EFGH").mounts, [])
      const archive = readFileSync(join(place.target, "ABCD/ABCD.zip"))
      assert.strictEqual((await jobWithMount(join(place.source, at))).status, 0)

      rmSync(join(place.source, "ABCD/disk/file"))
      for (let attempt = 0; attempt < 2; attempt += 1) {
        const { status, stderr } = await job()
        assert.strictEqual(status, 1, stderr)
        assert.match(
          stderr,
          /ABCD: .* was a mount of its own .*: mount it, or .*run --config .*config.json --force --folder ABCD/
        )
        assert.isTrue(readFileSync(join(place.target, "ABCD/ABCD.zip")).equals(archive))
        assert.notInclude(files("ABCD"), "ABCD.prev.zip")
      }
      assert.strictEqual((await job("--force")).status, 1)
      const accepted = await job("--force", "--folder", "ABCD")
      assert.strictEqual(accepted.status, 0, accepted.stderr)
      assert.isFalse(readFileSync(join(place.target, "ABCD/ABCD.zip")).equals(archive))
      assert.strictEqual((await job()).status, 0)
    })
  }
})

describe("a target that was a mount of its own", () => {
  it("is refused, and stays empty, when it is none any more", async () => {
    place.put("ABCD/file", "only copy")
    const first = await jobWithMount(place.target)
    assert.strictEqual(first.status, 0, first.stderr)
    // What the user sees below the mount point.
    rmSync(place.target, { recursive: true })
    mkdirSync(place.target)
    const refused = await job()
    assert.strictEqual(refused.status, 3, refused.stderr)
    const [, record = ""] = /target_path .*: mount it; or, .* remove (\S+)/.exec(refused.stderr) ?? []
    assert.isTrue(existsSync(record), refused.stderr)
    assert.deepStrictEqual(files("."), [])
    assert.strictEqual((await run(["check", "--config", place.config])).status, 3)
    assert.deepStrictEqual(files("."), [])
    rmSync(record)
    const accepted = await job()
    assert.strictEqual(accepted.status, 0, accepted.stderr)
  })

  it("is all that commands which read say of it when it is none any more, with and without a run in between", async () => {
    place.put("ABCD/file", "only copy")
    assert.strictEqual((await jobWithMount(place.target)).status, 0)
    rmSync(place.target, { recursive: true })
    mkdirSync(place.target)
    const away = join(place.root, "away")
    const page = join(place.root, "page.html")
    const commands = [
      ...[["verify"], ["verify", "ABCD"], ["ls"], ["ls", "ABCD"], ["status"], ["report", "--out", page]],
      ...[
        ["restore", "ABCD", "--to", away],
        ["restore", "--all", "--to", away]
      ]
    ]
    const see = async (what: string) => {
      for (const command of commands) {
        const { status, stderr, stdout } = await run([...command, "--config", place.config])
        const about = `${what}: ${command.join(" ")}: ${stdout}${stderr}`
        assert.strictEqual(status, 1, about)
        assert.match(
          stderr,
          /^error: .*target_path \S+ lay on the zfs file system that was mounted at \S+.*: mount it; or/
        )
        assert.strictEqual(stderr.trimEnd().split("\n").length, 1, about)
        assert.notMatch(`${stdout}${stderr}`, /LOST|lost|rm -f|--force|missing/, about)
      }
      assert.isFalse(existsSync(page) || existsSync(away))
      assert.deepStrictEqual(files("."), [], what)
    }
    await see("no run in between")
    assert.strictEqual((await job()).status, 3)
    await see("after a run")
    // An archive of the days before it was a mount is not what is asked for.
    mkdirSync(join(place.target, "ABCD"))
    writeFileSync(join(place.target, "ABCD/ABCD.zip"), "old")
    const stray = await run(["ls", "ABCD", "--config", place.config])
    assert.match(stray.stderr, /nothing is mounted there now/)
    const other = await run(["ls", "--from", place.target])
    assert.strictEqual(other.status, 0, other.stderr)
  })

  it("is asked for, once and also when quiet, when another disk is mounted there", async () => {
    place.put("ABCD/file", "only copy")
    assert.deepStrictEqual((await jobWithMount(place.target, "--quiet")).stderr, "")
    rmSync(place.target, { recursive: true })
    mkdirSync(place.target)
    const other = await jobWithMount(place.target, "--quiet")
    assert.strictEqual(other.status, 0)
    assert.match(other.stderr, /^error: target_path .* holds no archive and no state .*right disk\?.*\n$/)
    assert.deepStrictEqual((await jobWithMount(place.target, "--quiet")).stderr, "")
  })

  it("fails a folder of it by name when only that is away, and the next run brings it up to date", async () => {
    place.put("ABCD/file", "v1")
    place.put("EFGH/file", "x")
    const disk = join(place.target, "ABCD")
    assert.strictEqual((await jobWithMount(disk)).status, 0)
    renameSync(disk, join(place.root, "disk"))
    mkdirSync(disk)
    place.put("ABCD/file", "v2, which is longer")
    const away = await job()
    assert.strictEqual(away.status, 1, away.stderr)
    assert.match(away.stderr, /ABCD: .*target\/ABCD, was a mount of its own .*: mount it, or accept/)
    assert.deepStrictEqual(files("ABCD"), [])
    rmSync(disk, { recursive: true })
    renameSync(join(place.root, "disk"), disk)
    const back = await jobWithMount(disk)
    assert.strictEqual(back.status, 0, back.stderr)
    assert.match(back.stdout, /ABCD: archived/)
    assert.include(files("ABCD"), "ABCD.prev.zip")
  })
})
