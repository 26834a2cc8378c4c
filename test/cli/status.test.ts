import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { StatusDocument } from "../../src/status/StatusDocument.ts"
import { makePlace, type Place, picture, run, start, toolsFor, zipper } from "../support/program/built.ts"
import { installed } from "../support/programs.ts"
import { onTerminal } from "../support/terminal/pty.ts"

const clock = fileURLToPath(new URL("../support/program/clock.mjs", import.meta.url))

let place: Place
beforeEach(() => {
  place = makePlace({ compression: { method: "deflate", level: 9, threads: 1 } })
})
afterEach(() => place.remove())
const { job } = toolsFor(() => place)

const status = (...args: ReadonlyArray<string>) => run(["status", "--config", place.config, ...args])

// The second one is that of the first run, when the target is still empty.
const isMarked = () =>
  existsSync(join(place.target, ".zipper/standing/archive.running")) ||
  readdirSync(place.root).some((name) => /^lock\..*\.archive\.running$/.test(name))
const history = (): ReadonlyArray<string> =>
  readFileSync(join(place.target, ".zipper/history.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => {
      const run: unknown = JSON.parse(line)
      return typeof run === "object" && run !== null && "outcome" in run ? String(run.outcome) : ""
    })

/** A run that takes long enough to be stopped, with its mark made. */
const longRun = async () => {
  place.put("ABCD/a", "small")
  mkdirSync(join(place.source, "BIGG"))
  const hole = openSync(join(place.source, "BIGG/hole"), "w")
  ftruncateSync(hole, 8 * 1024 ** 3)
  closeSync(hole)
  const running = start(["run", "--config", place.config])
  for (let n = 0; n < 1000 && !existsSync(join(place.target, "ABCD/.state.json")); n += 1) await sleep(10)
  return running
}

describe("zipper status", () => {
  it("tells how things stand, changes nothing, and is for monitors with --max-age", async () => {
    place.put("ABCD/a", "one")
    const before = await status("--max-age", "26h")
    assert.strictEqual(before.status, 1)
    assert.include(before.stdout, "archive: no run is known yet")
    assert.match(before.stdout, /^ABCD +never .*OVERDUE, no archive$/m)
    assert.include(before.stderr, "1 is overdue")
    assert.isFalse(existsSync(join(place.target, ".zipper")))

    assert.strictEqual((await job("--quiet")).status, 0)
    const untouched = picture(place.root)
    const after = await status("--max-age", "26h")
    assert.deepStrictEqual([after.status, after.stderr], [0, ""])
    assert.match(after.stdout, /^archive: last run just now, took .*: all well\nFOLDER +SUCCESS +SIZE/)
    const json = await status("--max-age", "26h", "--quiet", "--json")
    assert.deepStrictEqual([json.status, json.stderr], [0, ""])
    const { archive } = Schema.decodeUnknownSync(StatusDocument)(JSON.parse(json.stdout))
    assert.strictEqual(archive?.folders[0]?.result, "archived")
    assert.strictEqual(picture(place.root), untouched)

    await sleep(1100)
    const late = await status("--max-age", "1s", "--quiet")
    assert.deepStrictEqual([late.status, late.stdout], [1, ""])
    assert.strictEqual(late.stderr, "error: ABCD: last success just now\n")
    const wrong = await status("--max-age", "soon")
    assert.strictEqual(wrong.status, 2)
    assert.include(wrong.stderr, '"soon" is not an age such as 90m, 26h or 2d')
  })

  it("does not call archives lost that are behind a symlink, nor does a run", async () => {
    place.put("ABCD/a.txt", "one")
    await job()
    renameSync(join(place.target, "ABCD"), join(place.root, "moved"))
    symlinkSync(join(place.root, "moved"), join(place.target, "ABCD"))
    assert.match((await status()).stdout, /^ABCD .* not looked at$/m)
    const { status: ended, stderr } = await job()
    assert.strictEqual(ended, 1)
    assert.match(stderr, /^error: ABCD: .*ABCD is a symlink, not a folder/m)
    assert.notInclude(stderr, "gone from the target")
    const { stdout } = await status()
    assert.match(stdout, /ABCD is a symlink, not a folder/)
    assert.notInclude(stdout.toLowerCase(), "lost")
  })

  it("a folder that became a file is failing, not gone, and check says so", async () => {
    place.put("ABCD/a.txt", "one")
    place.put("EFGH/a.txt", "one")
    await job()
    renameSync(join(place.source, "ABCD"), join(place.root, "moved"))
    place.put("ABCD", "a file")
    const problem = "ABCD: it is a file in the source now"
    const checked = await run(["check", "--config", place.config])
    assert.strictEqual(checked.status, 3)
    assert.include(checked.stderr, problem)
    assert.strictEqual((await job()).status, 1)
    const failing = await status()
    assert.match(failing.stdout, /^ABCD .* failed$/m)
    assert.include(failing.stdout, problem)
    // As the run advises.
    renameSync(join(place.target, "ABCD"), join(place.root, "archives"))
    assert.strictEqual((await job()).status, 0)
    const after = await status("--max-age", "1d")
    assert.match(after.stdout, /^ABCD .* gone from source$/m)
    assert.notInclude(after.stdout, problem)
  })

  it("an archive that is gone counts for a monitor, by name", async () => {
    place.put("ABCD/a", "one")
    place.put("EFGH/a", "one")
    assert.strictEqual((await job("--quiet")).status, 0)
    rmSync(join(place.target, "ABCD/ABCD.zip"))
    rmSync(join(place.target, "EFGH"), { recursive: true })
    const [plain, quiet, json] = await Promise.all([
      status(),
      status("--max-age", "26h", "--quiet"),
      status("--max-age", "26h", "--json")
    ])
    assert.strictEqual(plain.status, 0)
    assert.match(plain.stdout, /^ABCD .* ARCHIVE LOST$/m)
    assert.match(plain.stdout, /^EFGH .* ARCHIVE LOST$/m)
    assert.deepStrictEqual(quiet, {
      status: 1,
      stdout: "",
      stderr: ["ABCD", "EFGH"]
        .map((name) => `error: ${name}: its archive is lost: ${name}.zip is not there; last success just now\n`)
        .join("")
    })
    assert.strictEqual(json.status, 1)
    assert.include(json.stderr, "2 archives are lost")
    const document = Schema.decodeUnknownSync(StatusDocument)(JSON.parse(json.stdout))
    assert.deepStrictEqual([document.overdue, document.lost], [0, 2])
    assert.strictEqual((await job("--quiet")).status, 0)
    assert.strictEqual((await status("--max-age", "26h")).status, 0)
  })

  it("says a finding of verify once, and nothing of an earlier failure of what is gone", async () => {
    for (const folder of ["ABCD", "GONE"]) place.put(`${folder}/a.txt`, "a".repeat(100))
    assert.strictEqual((await job()).status, 0)
    const zip = join(place.target, "ABCD/ABCD.zip")
    const content = readFileSync(zip)
    for (const [at, finding] of [
      [content.length - 1, "(?!ABCD\\.zip|is damaged)"],
      [content.indexOf("a.txt") + 12, 'at "a\\.txt": ']
    ] as const) {
      const flipped = Buffer.from(content)
      flipped[at] = (content[at] ?? 0) ^ 4
      writeFileSync(zip, flipped)
      assert.strictEqual((await run(["verify", "ABCD", "--config", place.config])).status, 1)
      const { stdout } = await status()
      assert.match(stdout, /^ABCD .* {2}ARCHIVE DAMAGED$/m)
      assert.match(stdout, new RegExp(`^ABCD\\.zip is damaged, as verify found just now: ${finding}.+$`, "m"))
    }
    rmSync(join(place.source, "GONE"), { recursive: true })
    symlinkSync("/nonexistent", join(place.source, "GONE"))
    assert.strictEqual((await job()).status, 1)
    const said = /^GONE: it is a symbolic link in the source now/m
    assert.match((await status()).stdout, said)
    rmSync(join(place.source, "GONE"))
    const gone = await status()
    assert.notMatch(gone.stdout, said)
    assert.match(gone.stdout, /^GONE .* gone from source$/m)
  })

  it("says that a last success lies in the future, when the clock was set back", async () => {
    place.put("ABCD/a", "one")
    const later = { NODE_OPTIONS: `--import=${clock}`, CLOCK_OFFSET: `${48 * 3_600_000}` }
    assert.strictEqual((await run(["run", "--config", place.config], { env: later })).status, 0)
    const { status: code, stderr } = await status("--max-age", "26h")
    assert.strictEqual(code, 1)
    const words = "1 has its last success in the future: the clock of this machine is wrong, or was"
    assert.strictEqual(stderr, `error: ${words}\n`)
  })

  it("does not say that all is well of a zip that was cut short, or of a previous one that is gone", async () => {
    for (const content of ["one", "another"]) {
      for (const folder of ["ABCD", "EFGH"]) place.put(`${folder}/a`, content)
      assert.strictEqual((await job("--quiet")).status, 0)
    }
    writeFileSync(join(place.target, "ABCD/ABCD.zip"), "")
    rmSync(join(place.target, "EFGH/EFGH.prev.zip"))
    const plain = await status("--max-age", "26h")
    assert.match(plain.stdout, /^archive: last run .*: nothing failed in it$/m)
    assert.match(plain.stdout, /^ABCD .* ARCHIVE DAMAGED$/m)
    assert.match(plain.stdout, /^EFGH .* PREV LOST$/m)
    assert.match(plain.stdout, /^ABCD\.zip has 0 B, and \d+ B were published$/m)
    assert.match(plain.stdout, /^EFGH\.prev\.zip is not there, though one was published$/m)
    assert.strictEqual(plain.status, 1)
    assert.match(plain.stderr, /^error: ABCD\.zip has 0 B, and \d+ B were published\n$/)
    const json = await status("--json")
    assert.strictEqual(Schema.decodeUnknownSync(StatusDocument)(JSON.parse(json.stdout)).damaged, 1)
    const page = join(place.root, "report.html")
    assert.strictEqual((await run(["report", "--config", place.config, "--out", page])).status, 0)
    const report = readFileSync(page, "utf8")
    assert.include(report, "ABCD.zip has 0 B")
    assert.include(report, "EFGH.prev.zip is not there, though one was published")
    assert.strictEqual((await job("--quiet")).status, 0)
    rmSync(join(place.target, "EFGH/EFGH.zip"))
    assert.strictEqual((await job("--quiet")).status, 0)
    assert.strictEqual((await status("--max-age", "26h")).status, 0)
  })

  it("knows of runs that could not use their lock, also when the folder of the lock file is gone", async () => {
    mkdirSync(join(place.root, "run"))
    place.configure({ lockfile_path: join(place.root, "run/lock") })
    place.put("ABCD/a", "one")
    assert.strictEqual((await job()).status, 0)
    rmSync(join(place.root, "run"), { recursive: true })
    assert.strictEqual((await job()).status, 3)
    const { stdout } = await status()
    assert.match(stdout, /^archive: last run .*: it could not begin$/m)
    assert.match(stdout, /cannot use the lock file .*run\/lock: its folder does not exist/)
    mkdirSync(join(place.root, "run"))
    assert.strictEqual((await job()).status, 0)
    assert.match((await status()).stdout, /^archive: last run .*: all well$/m)
  })

  it("sees a run at work, and one that was killed; what that one had done counts", async () => {
    const { child, ended } = await longRun()
    const during = await status()
    assert.match(during.stdout, new RegExp(`a run is at work since .*, pid ${child.pid}`))
    child.kill("SIGKILL")
    await ended
    const after = await status()
    assert.include(after.stdout, "archive: no run is known yet\n  the run that began 20")
    assert.include(after.stdout, "never ended")
    assert.match(after.stdout, /^ABCD +just now .*1 +- +-$/m)
    assert.match(after.stdout, /^BIGG +never .*no archive$/m)
    rmSync(join(place.source, "BIGG"), { recursive: true })
    assert.strictEqual((await job("--quiet")).status, 0)
    assert.isFalse(isMarked())
    assert.deepStrictEqual(history(), ["interrupted", "ok"])
    const healed = await status("--max-age", "1h")
    assert.strictEqual(healed.status, 0)
    assert.notInclude(healed.stdout, "BIGG")
  })

  it("a run that is stopped by a signal says so, and leaves no mark", async () => {
    const { child, ended } = await longRun()
    assert.isTrue(isMarked())
    child.kill("SIGTERM")
    assert.strictEqual((await ended).status, 143)
    assert.deepStrictEqual(history(), ["interrupted"])
    assert.isFalse(isMarked())
    assert.match((await status()).stdout, /^archive: last run .*: stopped by a signal: \w{4} was not\s+archived/m)
  })

  it("works for replication alone, before its first run", async () => {
    place.configure({
      source_path: undefined,
      target_path: undefined,
      state_dir: join(place.root, "state"),
      replication: [{ name: "nas", direction: "pull", host: "nas", destination: "t/b", datasets: ["tank/data"] }]
    })
    const found = await status("--max-age", "2d")
    assert.strictEqual(found.status, 1)
    assert.match(
      found.stdout,
      /^nas \(pull, nas\): no run is known yet\nDATASET .*\ntank\/data +- +never +- +OVERDUE$/m
    )
    assert.isFalse(existsSync(join(place.root, "state")))
  })

  it.runIf(installed("python3"))(
    "is as wide as the terminal that it is read on, wherever its messages go",
    async () => {
      const long = `tank/${"a-long-name/".repeat(8)}end`
      place.configure({
        source_path: undefined,
        target_path: undefined,
        state_dir: join(place.root, "state"),
        replication: [{ name: "nas", direction: "pull", host: "nas", destination: "t/b", datasets: [long] }]
      })
      const command = `exec "${process.execPath}" "${zipper}" status --config "${place.config}" 2>/dev/null`
      const wide = (columns: number) => onTerminal(["sh", "-c", command], { columns, rows: 24 })
      const [narrow, roomy] = await Promise.all([wide(60), wide(200)])
      const lines = narrow.text.split("\r\n")
      for (const line of lines) assert.isAtMost(line.length, 60)
      assert.isTrue(
        lines.some((line) => /^…\S*\/end /.test(line)),
        narrow.text
      )
      assert.include(roomy.text, `${long} `)
    }
  )

  it.runIf(process.getuid?.() === 0)("is an error, not an empty table, for who cannot read", async () => {
    place.put("ABCD/a", "one")
    await job("--quiet")
    chmodSync(place.root, 0o755)
    const config = join(place.root, "readable.json")
    copyFileSync(place.config, config)
    chmodSync(config, 0o644)
    const ask = () => run(["status", "--config", config], { uid: 65534 })
    const folder = await ask()
    assert.deepStrictEqual([folder.status, folder.stdout], [1, ""])
    assert.match(folder.stderr, /cannot tell how things stand: .*ABCD: permission denied.*ask as the user/)
    chmodSync(join(place.target, "ABCD"), 0o755)
    const denied = join(place.target, "ABCD/.state.json")
    chmodSync(denied, 0o600)
    chmodSync(join(place.target, ".zipper"), 0o755)
    const unread = await ask()
    assert.deepStrictEqual([unread.status, unread.stdout], [1, ""])
    assert.match(
      unread.stderr,
      /^error: cannot tell how things stand: cannot read \S+ABCD\/\.state\.json: permission denied.*ask as the user/
    )
    assert.notInclude(unread.stderr, "anew")
    chmodSync(denied, 0o644)
    chmodSync(join(place.target, ".zipper"), 0o750)
    const state = await ask()
    assert.deepStrictEqual([state.status, state.stdout], [1, ""])
    assert.match(state.stderr, /permission denied \(EACCES\)/)
    place.configure({ target_path: join(place.root, "not there") })
    copyFileSync(place.config, config)
    chmodSync(config, 0o644)
    assert.include((await ask()).stderr, "does not exist: is its dataset mounted")
  })

  it("never shows the address that is pinged, and a failed ping changes nothing", async () => {
    const secret = "5ec7e7-address"
    place.put("ABCD/a", "one")
    place.configure({ ping_url: `http://127.0.0.1:9/${secret}` })
    const results = [await job("--debug"), await job("--dry-run", "--debug")]
    for (const { status: code, stderr, stdout } of results) {
      assert.strictEqual(code, 0)
      assert.notInclude(stdout + stderr, secret)
    }
    assert.include(results[0]?.stderr, "the ping (success) did not get through: http://127.0.0.1:9/…")
    assert.include(results[1]?.stdout, "would ping ping_url: success")
    assert.notInclude(readFileSync(join(place.root, "zipper.log"), "utf8"), secret)
    place.configure({ ping_url: `ftp://x/${secret}` })
    const wrong = await status()
    assert.notInclude(wrong.stderr, secret)
    assert.include(wrong.stderr, "ping_url: the value (hidden) is not an http or https address")
  })
})
