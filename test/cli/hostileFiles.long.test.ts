import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import {
  lchownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { type Ended, makePlace, type Place, start, toolsFor } from "../support/program/built.ts"

// What somebody who may write in a folder of ours, or has been there before us, can put in our way: the program says so, ends
// soon, and touches nothing elsewhere.

/** ZIPPER_HOSTILE=all: the other commands after each run too. */
const thorough = process.env["ZIPPER_HOSTILE"] === "all"

let place: Place
let elsewhere: string

beforeEach(() => {
  place = makePlace({ retries: 0 })
  elsewhere = mkdtempSync(join(tmpdir(), "zipper-elsewhere-"))
  writeFileSync(join(elsewhere, "victim"), "keep me\n", { mode: 0o600 })
  writeFileSync(join(elsewhere, "empty"), "", { mode: 0o600 })
  mkdirSync(join(elsewhere, "folder"), { mode: 0o700 })
  writeFileSync(join(elsewhere, "folder/ABCD.zip"), "keep me too\n")
  place.put("ABCD/a.txt", "one")
  place.put("EFGH/b.txt", "two")
})
afterEach(() => {
  place.remove()
  rmSync(elsewhere, { recursive: true, force: true })
})

const { job, sums } = toolsFor(() => place)

/** All of a folder but access times and how many names a file has. */
const stateOf = (folder: string): string =>
  execFileSync("sh", ["-c", 'find . -printf "%P %y %s %T@ %m %U\\n" | sort; cat victim folder/*'], {
    cwd: folder
  }).toString()

/** Ends what hangs, which is then no exit status of ours. */
const within = async (args: ReadonlyArray<string>): Promise<Ended> => {
  const { child, ended } = start(args)
  const limit = setTimeout(() => child.kill("SIGKILL"), 60_000)
  const result = await ended
  clearTimeout(limit)
  assert.isNotNull(result.status, `hangs: ${args.join(" ")}`)
  assert.notMatch(result.stderr, /internal error|\n\s+at /, result.stderr)
  return result
}

type Plant = (path: string) => void

const symlink =
  (to: string): Plant =>
  (path) => {
    symlinkSync(join(elsewhere, to), path)
    lchownSync(path, 65_534, 65_534)
  }
const fifo: Plant = (path) => execFileSync("mkfifo", [path])
const hardLink: Plant = (path) => linkSync(join(elsewhere, "victim"), path)
const folder: Plant = (path) => mkdirSync(path)
const device: Plant = (path) => execFileSync("mknod", [path, "c", "1", "5"])
const strangersFolder: Plant = (path) => {
  mkdirSync(join(path, "next"), { recursive: true })
  linkSync(join(elsewhere, "victim"), join(path, "next/ABCD.zip"))
  symlinkSync(join(elsewhere, "folder"), join(path, "old"))
  for (const each of [path, join(path, "next")]) lchownSync(each, 65_534, 65_534)
}

const jobId = () => createHash("sha256").update(`${place.source}\0${place.target}`).digest("hex").slice(0, 8)

interface Case {
  readonly at: () => string
  readonly plant: Plant
  /** Exit status of a run, and what it says of it. */
  readonly status: number
  readonly says?: RegExp
  /** It is in the way of both folders. */
  readonly forBoth?: true
}

const cases: ReadonlyArray<readonly [string, Case]> = [
  [
    "a symlink for a folder of the target",
    {
      at: () => join(place.target, "ABCD"),
      plant: symlink("folder"),
      status: 1,
      says: /ABCD is a symlink.*refused/
    }
  ],
  [
    "a symlink for .zipper",
    {
      at: () => join(place.target, ".zipper"),
      plant: symlink("folder"),
      status: 3,
      says: /\.zipper is a symlink.*refused/
    }
  ],
  [
    "a fifo for .zipper",
    { at: () => join(place.target, ".zipper"), plant: fifo, status: 3, says: /\.zipper is a .*refused/ }
  ],
  [
    "a symlink for a work area",
    {
      at: () => join(place.target, "ABCD/.publish"),
      plant: symlink("folder"),
      status: 1,
      says: /\.publish is a symlink.*refused/
    }
  ],
  [
    "somebody else's work area",
    {
      at: () => join(place.target, "ABCD/.publish"),
      plant: strangersFolder,
      status: 1,
      says: /\.publish belongs to user 65534.*refused/
    }
  ],
  [
    "a fifo for a journal",
    {
      at: () => join(place.target, "ABCD/.publish/commit"),
      plant: fifo,
      status: 1,
      says: /commit.*is not a regular file/
    }
  ],
  [
    "a symlink for a journal",
    {
      at: () => join(place.target, "ABCD/.publish/commit"),
      plant: symlink("victim"),
      status: 1,
      says: /commit/
    }
  ],
  [
    "somebody else's staging",
    {
      at: () => join(place.root, "tmp", `zipper-${jobId()}`),
      plant: strangersFolder,
      status: 1,
      says: /belongs to user 65534.*refused/,
      forBoth: true
    }
  ],
  [
    "a symlink for the staging",
    {
      at: () => join(place.root, "tmp", `zipper-${jobId()}`),
      plant: symlink("folder"),
      status: 1,
      says: /is a symlink.*refused/,
      forBoth: true
    }
  ],
  [
    "a symlink for the probe",
    { at: () => join(place.target, `.zipper-probe-${jobId()}`), plant: symlink("victim"), status: 0 }
  ],
  [
    "a hard link for the probe",
    { at: () => join(place.target, `.zipper-probe-${jobId()}`), plant: hardLink, status: 0 }
  ],
  [
    "a symlink for the lock",
    {
      at: () => join(place.root, "lock"),
      plant: symlink("victim"),
      status: 3,
      says: /lock: it is a symbolic link/
    }
  ],
  [
    "a hard link for the lock",
    {
      at: () => join(place.root, "lock"),
      plant: hardLink,
      status: 3,
      says: /lock: it is a file with another name elsewhere/
    }
  ],
  ["a fifo for the lock", { at: () => join(place.root, "lock"), plant: fifo, status: 3, says: /not a regular file/ }],
  [
    "a symlink for the log",
    {
      at: () => join(place.root, "zipper.log"),
      plant: symlink("victim"),
      status: 0,
      says: /warning: .*zipper\.log.*symbolic link/
    }
  ],
  [
    "a hard link for the log",
    {
      at: () => join(place.root, "zipper.log"),
      plant: hardLink,
      status: 0,
      says: /warning: .*zipper\.log.*another name elsewhere/
    }
  ],
  [
    "a fifo for the log",
    { at: () => join(place.root, "zipper.log"), plant: fifo, status: 0, says: /warning: .*zipper\.log/ }
  ],
  [
    "a symlink for the metrics",
    {
      at: () => join(place.root, "m.prom"),
      plant: symlink("victim"),
      status: 0,
      says: /m\.prom.*symbolic link/
    }
  ],
  [
    "a fifo for the metrics",
    { at: () => join(place.root, "m.prom"), plant: fifo, status: 0, says: /m\.prom.*not a regular file/ }
  ],
  ["a hard link for the metrics", { at: () => join(place.root, "m.prom"), plant: hardLink, status: 0 }],
  [
    "a symlink for the draft of the metrics",
    { at: () => join(place.root, "m.prom.archive.new"), plant: symlink("victim"), status: 0 }
  ],
  [
    "a folder for the draft of the metrics",
    { at: () => join(place.root, "m.prom.archive.new"), plant: folder, status: 0, says: /metrics/ }
  ],
  [
    "a symlink for the history",
    {
      at: () => join(place.target, ".zipper/history.jsonl"),
      plant: symlink("victim"),
      status: 0,
      says: /history.*symbolic link/
    }
  ],
  [
    "a hard link for the history",
    {
      at: () => join(place.target, ".zipper/history.jsonl"),
      plant: hardLink,
      status: 0,
      says: /history.*another name elsewhere/
    }
  ],
  [
    "a fifo for the history",
    {
      at: () => join(place.target, ".zipper/history.jsonl"),
      plant: fifo,
      status: 0,
      says: /history.*not a regular file/
    }
  ],
  [
    "a symlink for the standing",
    {
      at: () => join(place.target, ".zipper/standing"),
      plant: symlink("folder"),
      status: 0,
      says: /standing is a symlink.*refused/
    }
  ],
  [
    "a fifo for a standing",
    {
      at: () => join(place.target, ".zipper/standing/archive.json"),
      plant: fifo,
      status: 0,
      says: /archive\.json/
    }
  ],
  [
    "a symlink for the mark of a run",
    { at: () => join(place.target, ".zipper/standing/archive.running"), plant: symlink("victim"), status: 0 }
  ],
  [
    "a symlink for the failures",
    {
      at: () => join(place.target, ".zipper/failures"),
      plant: symlink("folder"),
      status: 3,
      says: /failures is a symlink.*refused/
    }
  ],
  [
    "a symlink for the indexes",
    {
      at: () => join(place.target, ".zipper/index"),
      plant: symlink("folder"),
      status: 0,
      says: /index is a symlink.*refused/
    }
  ],
  [
    "a fifo for the cursor",
    { at: () => join(place.target, ".zipper/cursor.json"), plant: fifo, status: 3, says: /cursor\.json/ }
  ],
  [
    "a symlink for an archive",
    {
      at: () => join(place.target, "ABCD/ABCD.zip"),
      plant: symlink("victim"),
      status: 1,
      says: /ABCD\.zip is a symlink/
    }
  ],
  ["a hard link for an archive", { at: () => join(place.target, "ABCD/ABCD.zip"), plant: hardLink, status: 0 }],
  [
    "a fifo for metadata",
    {
      at: () => join(place.target, "ABCD/metadata.json"),
      plant: fifo,
      status: 1,
      says: /metadata\.json is a device, socket or fifo, not a file; move it away/
    }
  ],
  [
    "a device for a state",
    { at: () => join(place.target, "ABCD/.state.json"), plant: device, status: 1, says: /\.state\.json/ }
  ],
  [
    "a folder for a checksum file",
    {
      at: () => join(place.target, "ABCD/ABCD.zip.md5"),
      plant: folder,
      status: 1,
      says: /md5 is a folder, not a file; move it away/
    }
  ]
]

describe.skipIf(process.getuid?.() !== 0)("a run that finds", () => {
  for (const [what, { at, forBoth, plant, says, status }] of cases) {
    it(what, async () => {
      place.configure({ metrics_file: join(place.root, "m.prom"), tmp_dir: join(place.root, "tmp") })
      mkdirSync(join(place.root, "tmp"))
      const path = at()
      mkdirSync(dirname(path), { recursive: true })
      plant(path)
      const before = stateOf(elsewhere)
      const ended = await within(["run", "--config", place.config])
      assert.strictEqual(stateOf(elsewhere), before)
      assert.strictEqual(ended.status, status, ended.stderr)
      if (says !== undefined) assert.match(ended.stderr, says)
      // The other folder is none the worse for it.
      if (status < 3 && !forBoth) sums("EFGH")
      if (!thorough) return
      // Whoever only looks does not hang either, and a second run comes to the same.
      for (const command of ["status", "verify", "check"]) await within([command, "--config", place.config])
      const again = await within(["run", "--config", place.config, "--force"])
      assert.include([0, 1, 3], again.status, again.stderr)
      assert.strictEqual(stateOf(elsewhere), before)
    })
  }
})

describe.skipIf(process.getuid?.() !== 0)("whoever writes elsewhere", () => {
  it("a report goes through no symlink and over no file that is none", async () => {
    await job()
    const before = stateOf(elsewhere)
    const out = join(place.root, "report.html")
    for (const [plant, says] of [
      [symlink("victim"), /symbolic link/],
      [fifo, /no regular file/],
      [hardLink, /no report that zipper wrote/],
      [folder, /a folder/],
      [device, /no regular file/]
    ] as const) {
      plant(out)
      const { status, stderr } = await within(["report", "--config", place.config, "--out", out])
      assert.strictEqual(status, 1, stderr)
      assert.match(stderr, says)
      rmSync(out, { recursive: true })
    }
    symlink("victim")(join(place.root, ".report.html.zipper-draft"))
    assert.strictEqual((await within(["report", "--config", place.config, "--out", out])).status, 0)
    assert.strictEqual(stateOf(elsewhere), before)
  })

  it("a restore goes through no symlink, and replaces names and not what they are names of", async () => {
    place.put("ABCD/d/x.txt", "deep")
    await job()
    const before = stateOf(elsewhere)
    const to = join(place.root, "back")
    symlink("folder")(to)
    const planted = await within(["restore", "ABCD", "--to", to, "--config", place.config])
    assert.notStrictEqual(planted.status, 0)
    rmSync(to)
    mkdirSync(to)
    symlink("folder")(join(to, "d"))
    hardLink(join(to, "a.txt"))
    for (const more of [[], ["--overwrite"]]) {
      const ended = await within(["restore", "ABCD", "--to", to, "--config", place.config, ...more])
      assert.notStrictEqual(ended.status, 0)
      assert.strictEqual(stateOf(elsewhere), before)
    }
    rmSync(join(to, "d"))
    const over = await within(["restore", "ABCD", "--to", to, "--config", place.config, "--overwrite"])
    assert.strictEqual(over.status, 0, over.stderr)
    assert.strictEqual(readFileSync(join(to, "a.txt"), "utf8"), "one")
    assert.strictEqual(stateOf(elsewhere), before)
  })

  it("a new configuration replaces nothing", async () => {
    const before = stateOf(elsewhere)
    const file = join(place.root, "new.json")
    for (const plant of [symlink("victim"), symlink("nothing"), fifo, hardLink]) {
      plant(file)
      const { status, stderr } = await within(["config", "init", file])
      assert.notStrictEqual(status, 0, stderr)
      rmSync(file)
    }
    assert.strictEqual(stateOf(elsewhere), before)
    assert.deepStrictEqual(readdirSync(elsewhere).sort(), ["empty", "folder", "victim"])
  })
})
