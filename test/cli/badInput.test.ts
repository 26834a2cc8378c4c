import { execFileSync } from "node:child_process"
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, run, toolsFor, zipper } from "../support/program/built.ts"

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

const { files, job, sums } = toolsFor(() => place)

describe("bad input", () => {
  it("a missing source, a target that is a file, a target that is missing: status 3, nothing done", async () => {
    place.configure({ source_path: join(place.root, "none") })
    const noSource = await job()
    assert.strictEqual(noSource.status, 3)
    assert.include(noSource.stderr, join(place.root, "none"))

    place.configure({ target_path: place.config })
    const file = await job()
    assert.strictEqual(file.status, 3)
    assert.include(file.stderr, place.config)

    place.configure({ target_path: join(place.root, "gone") })
    assert.strictEqual((await job()).status, 3)
    assert.isFalse(existsSync(join(place.root, "gone")))
  })

  it("a target that a symlink puts into the source: status 3, nothing done", async () => {
    place.put("ABCD/file", "one")
    const link = join(place.root, "link")
    symlinkSync(place.source, link)
    place.configure({ target_path: link })
    const { status, stderr } = await job()
    assert.strictEqual(status, 3)
    assert.include(stderr, `target_path ${link} is the same folder as source_path ${place.source}`)
    assert.deepStrictEqual(readdirSync(place.source), ["ABCD"])
    assert.deepStrictEqual(readdirSync(join(place.source, "ABCD")), ["file"])
  })

  it("a log file that cannot be written costs a warning, not the run", async () => {
    place.put("ABCD/a.txt", "one")
    place.configure({ log_file: "/proc/zipper.log" })
    const { status, stderr } = await job()
    assert.strictEqual(status, 0)
    assert.match(stderr, /warning: .*\/proc\/zipper\.log/)
  })

  it("a Gotify that is down changes no result", async () => {
    place.put("ABCD/a.txt", "one")
    place.configure({
      gotify: { url: "http://127.0.0.1:9/message", token: "t0ken", timeout_seconds: 1 },
      notify_on: ["success", "failure"]
    })
    const { status, stderr } = await job()
    assert.strictEqual(status, 0)
    assert.include(stderr, "a message could not be delivered")
  })

  it("an empty folder, a time before 1970 and one after 2038", async () => {
    mkdirSync(join(place.source, "EMPT"))
    place.put("ABCD/old", "old")
    utimesSync(join(place.source, "ABCD/old"), -86400, -86400)
    place.put("ABCD/far", "far")
    utimesSync(join(place.source, "ABCD/far"), 4e9, 4e9)
    const { status, stderr } = await job()
    assert.strictEqual(status, 0, stderr)
    sums("EMPT")
    sums("ABCD")
  })

  it("a folder of the target that is a symlink is refused", async () => {
    place.put("ABCD/a.txt", "one")
    const elsewhere = mkdtempSync(join(tmpdir(), "zipper-elsewhere-"))
    try {
      symlinkSync(elsewhere, join(place.target, "ABCD"))
      const { status, stderr } = await job()
      assert.strictEqual(status, 1)
      assert.include(stderr, "ABCD")
      assert.deepStrictEqual(readdirSync(elsewhere), [])
    } finally {
      rmSync(elsewhere, { recursive: true })
    }
  })

  it("a state file that cannot be understood is set aside", async () => {
    place.put("ABCD/a.txt", "one")
    await job()
    writeFileSync(join(place.target, "ABCD/.state.json"), "{")
    const { status } = await job()
    assert.strictEqual(status, 0)
    sums("ABCD")
    assert.deepInclude(JSON.parse(readFileSync(join(place.target, "ABCD/.state.json"), "utf8")), {
      version: 1
    })
  })

  // Nothing is unreadable for root.
  const runAsAnother = () => {
    const nobody = 65_534
    const program = join(place.root, "zipper.mjs")
    copyFileSync(zipper, program)
    const asRoot = process.getuid?.() === 0
    if (asRoot) execFileSync("chown", ["-R", `${nobody}:${nobody}`, place.root])
    return run(["run", "--config", place.config], { program, ...(asRoot ? { uid: nobody } : {}) })
  }

  it.skipIf(process.getuid?.() !== 0)(
    "where another user's lock cannot be used, that is the error, alone",
    async () => {
      place.put("ABCD/a.txt", "one")
      const own = join(place.root, "own")
      place.configure({ lockfile_path: join(own, "lock") })
      mkdirSync(own, { mode: 0o700 })
      await job()
      chmodSync(join(place.target, ".zipper"), 0o700)
      writeFileSync(place.config, readFileSync(place.config), { mode: 0o644 })
      chmodSync(place.config, 0o644)
      writeFileSync(join(place.root, "zipper.log"), "")
      chmodSync(join(place.root, "zipper.log"), 0o666)
      chmodSync(place.root, 0o777)
      copyFileSync(zipper, join(place.root, "zipper.mjs"))
      const options = { program: join(place.root, "zipper.mjs"), uid: 65_534 }
      const refused = await run(["run", "--config", place.config], options)
      assert.strictEqual(refused.status, 3)
      assert.match(refused.stderr, /^error: cannot use the lock file .*permission denied \(EACCES\).*\n$/)
      const listed = await run(["ls", "ABCD", "--from", place.target], options)
      assert.match(listed.stderr, /^error: cannot look at the archives of ABCD: .*\n$/)
    }
  )

  it("the first ten unreadable files of a folder are named, and the rest is counted", async () => {
    const names = Array.from({ length: 14 }, (_, index) => `f${10 + index}`)
    for (const name of names) place.put(`ABCD/${name}`, name)
    place.put("ABCD/good", "good")
    for (const name of names) chmodSync(join(place.source, "ABCD", name), 0)
    const { status, stderr } = await runAsAnother()
    assert.strictEqual(status, 1)
    assert.include(
      stderr,
      `ABCD: cannot read ABCD/f10: permission denied (EACCES); 13 more cannot be read: ${names
        .slice(1, 10)
        .map((name) => `ABCD/${name}`)
        .join(", ")} and 4 others`
    )
    assert.deepStrictEqual(files("ABCD"), [])
  })

  it("so are directories that cannot be listed", async () => {
    const names = Array.from({ length: 12 }, (_, index) => `d${10 + index}`)
    for (const name of names) place.put(`ABCD/${name}/file`, name)
    for (const name of names) chmodSync(join(place.source, "ABCD", name), 0)
    const { status, stderr } = await runAsAnother()
    for (const name of names) chmodSync(join(place.source, "ABCD", name), 0o755)
    assert.strictEqual(status, 1)
    assert.match(stderr, /ABCD: cannot list ABCD\/d10: permission denied \(EACCES\); 11 more cannot be read: /)
    for (const name of names.slice(0, 10)) assert.include(stderr, `ABCD/${name}`)
    assert.include(stderr, " and 2 others")
    assert.notInclude(stderr, "d20")
  })

  it("an unreadable file fails its folder by name, and the others go on", async () => {
    place.put("ABCD/secret.txt", "one")
    place.put("EFGH/a.txt", "two")
    chmodSync(join(place.source, "ABCD/secret.txt"), 0)
    const { status, stderr } = await runAsAnother()
    assert.strictEqual(status, 1)
    assert.match(stderr, /ABCD: .*secret\.txt: permission denied/)
    assert.deepStrictEqual(files("ABCD"), [])
    sums("EFGH")
  })
})
