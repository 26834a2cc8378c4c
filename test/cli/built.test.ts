import { execFileSync } from "node:child_process"
import { once } from "node:events"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, run, start, zipper } from "../support/built.ts"

const completer = fileURLToPath(new URL("../support/complete.bash", import.meta.url))

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

const job = (...args: ReadonlyArray<string>) => run(["run", "--config", place.config, ...args])
const files = (folder: string) =>
  existsSync(join(place.target, folder)) ? readdirSync(join(place.target, folder)).sort() : []
const sums = (folder: string) =>
  execFileSync("sh", ["-c", "sha256sum -c *.sha256 && md5sum -c *.md5"], { cwd: join(place.target, folder) })

/** Everything below a folder, with times: to show that nothing was touched. */
const picture = (path: string) => execFileSync("find", [path, "-printf", "%P %y %s %T@ %i\\n"]).toString()

const currentSet = [".state.json", "ABCD.zip", "ABCD.zip.md5", "ABCD.zip.sha256", "metadata.json"]
const previousSet = ["ABCD.prev.zip", "ABCD.prev.zip.md5", "ABCD.prev.zip.sha256", "metadata.prev.json"]

describe("a run", () => {
  it("archives, then touches nothing, then rotates", async () => {
    place.put("ABCD/a.txt", "one")
    assert.strictEqual((await job()).status, 0)
    assert.deepStrictEqual(files("ABCD"), [...currentSet].sort())
    const before = picture(join(place.target, "ABCD"))
    assert.strictEqual((await job()).status, 0)
    assert.strictEqual(picture(join(place.target, "ABCD")), before)
    place.put("ABCD/a.txt", "three")
    assert.strictEqual((await job()).status, 0)
    assert.deepStrictEqual(files("ABCD"), [...currentSet, ...previousSet].sort())
    sums("ABCD")
  })

  it("says what it did, and nothing at all when quiet", async () => {
    place.put("ABCD/a.txt", "one")
    const quiet = await job("--quiet", "--debug")
    assert.deepStrictEqual(quiet, { status: 0, stdout: "", stderr: "" })
    place.put("ABCD/a.txt", "three")
    const loud = await job("--quiet", "--no-quiet")
    assert.match(loud.stdout, /^\* ABCD: archived 1 file, 5 B in /m)
    assert.match(loud.stdout, /^\* 1 archived, 0 unchanged, 0 failed;/m)
    assert.strictEqual(loud.stderr, "")
  })

  it("prefixes lines by tier: symbols where the locale is UTF-8, words elsewhere", async () => {
    mkdirSync(join(place.source, "ABCD"))
    symlinkSync("/etc/passwd", join(place.source, "ABCD", "link"))
    const args = ["run", "--config", place.config, "--debug", "--folder", "NONE", "--folder", "ABCD"]
    const symbols = await run(args, { env: { LANG: "en_US.UTF-8" } })
    assert.match(symbols.stdout, /^ℹ️ /m)
    assert.match(symbols.stderr, /^🚨 NONE: there is no such folder/m)
    const words = await run(args)
    assert.match(words.stdout, /^debug: /m)
    assert.match(words.stderr, /^error: NONE: there is no such folder/m)
    const ascii = await run([...args, "--ascii"], { env: { LANG: "en_US.UTF-8" } })
    assert.match(ascii.stderr, /^error: NONE/m)
  })

  it("prints one JSON document and nothing else on standard output", async () => {
    place.put("ABCD/a.txt", "one")
    const { status, stdout, stderr } = await job("--json", "--folder", "ABCD", "--folder", "NONE")
    assert.strictEqual(status, 1)
    const document: unknown = JSON.parse(stdout)
    assert.deepInclude(document, { version: 1, dry_run: false, archived: 1, failed: 1, bytes: 3 })
    assert.include(stderr, "archived 1 file")
  })

  it("with --json, an error is the document; a document that cannot be written is an error", async () => {
    const { status, stdout } = await run(["run", "--json", "--config", join(place.root, "none.json")])
    assert.strictEqual(status, 2)
    const document: unknown = JSON.parse(stdout)
    assert.deepStrictEqual(Object.keys(Object(document)), ["version", "errors"])
    const full = execFileSync("sh", [
      "-c",
      '"$0" "$1" run --json --config "$2" > /dev/full 2> /dev/null; echo $?',
      process.execPath,
      zipper,
      place.config
    ])
    assert.strictEqual(full.toString(), "1\n")
  })

  it("puts right what is missing beside an archive", async () => {
    place.put("ABCD/a.txt", "one")
    await job()
    rmSync(join(place.target, "ABCD/ABCD.zip.md5"))
    writeFileSync(join(place.target, "ABCD/metadata.json"), "")
    assert.include((await job()).stdout, "(a file beside its archive is missing)")
    assert.include((await job()).stdout, "1 unchanged")
    sums("ABCD")
  })

  it("does not let an archive that has rotted push out the good one before it", async () => {
    const zip = join(place.target, "ABCD/ABCD.zip")
    place.put("ABCD/a.txt", "one")
    await job()
    place.put("ABCD/a.txt", "second")
    await job()
    const previous = readFileSync(join(place.target, "ABCD/ABCD.prev.zip"))
    const rotten = readFileSync(zip)
    rotten.fill(0, 40, 60)
    writeFileSync(zip, rotten)
    place.put("ABCD/a.txt", "the third")
    assert.include((await job()).stderr, "damaged")
    assert.deepStrictEqual(readFileSync(join(place.target, "ABCD/ABCD.prev.zip")), previous)
    sums("ABCD")
  })

  it("takes an empty source for one that is not mounted, once there are archives of it", async () => {
    assert.strictEqual((await job()).status, 0, "nothing was ever archived")
    place.put("ABCD/a.txt", "one")
    place.put("EFGH/a.txt", "two")
    await job()
    rmSync(join(place.source, "EFGH"), { recursive: true })
    const one = await job()
    assert.strictEqual(one.status, 0)
    assert.match(one.stderr, /EFGH: is no longer in the source/)
    rmSync(join(place.source, "ABCD"), { recursive: true })
    const none = await job("--quiet")
    assert.strictEqual(none.status, 3)
    assert.include(none.stderr, "is the source mounted")
    sums("ABCD")
  })

  it("warns in the log of a configuration that others can read, also when quiet", async () => {
    place.configure({ gotify: { url: "http://127.0.0.1:9/message", token: "t0ken" } })
    chmodSync(place.config, 0o644)
    assert.deepStrictEqual(await job("--quiet"), { status: 0, stdout: "", stderr: "" })
    assert.include(readFileSync(join(place.root, "zipper.log"), "utf8"), "can be read by others")
  })

  it("without a command is run, with its options in any order", async () => {
    place.put("ABCD/a.txt", "one")
    const { status, stdout } = await run(["--dry-run", "--verbose", "--config", place.config])
    assert.strictEqual(status, 0)
    assert.include(stdout, "would archive 1 file, 3 B (never archived)")
  })

  it("as a dry run writes not one byte", async () => {
    place.put("ABCD/a.txt", "one")
    await job()
    place.put("ABCD/a.txt", "three")
    rmSync(join(place.root, "zipper.log"))
    rmSync(join(place.root, "lock"))
    const before = picture(place.root)
    const { status, stdout } = await job("--dry-run")
    assert.strictEqual(status, 0)
    assert.include(stdout, "ABCD.prev.zip")
    assert.include(stdout, "1 would be archived")
    assert.strictEqual(picture(place.root), before)
  })

  it("as a dry run sends no message, even of a failure", async () => {
    const requests: Array<string> = []
    const server = createServer((request, response) => {
      requests.push(request.url ?? "")
      response.end("{}")
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    const port = typeof address === "object" ? address?.port : undefined
    try {
      place.configure({ gotify: { url: `http://127.0.0.1:${port}/message`, token: "t0ken" } })
      assert.strictEqual((await job("--dry-run", "--folder", "NONE")).status, 1)
      assert.deepStrictEqual(requests, [])
      assert.strictEqual((await job("--folder", "NONE")).status, 1)
      assert.deepStrictEqual(requests, ["/message"])
      place.configure({
        gotify: { url: `http://127.0.0.1:${port}/message`, token: "t0ken" },
        lockfile_path: join(place.root, "none", "lock")
      })
      assert.strictEqual((await job()).status, 3)
      assert.strictEqual(requests.length, 2, "nobody was told that the lock cannot be used")
    } finally {
      server.close()
    }
  })

  it("writes the error that ends a run into the log, once", async () => {
    place.configure({ source_path: join(place.root, "none") })
    assert.strictEqual((await job()).status, 3)
    const lines = readFileSync(join(place.root, "zipper.log"), "utf8").trim().split("\n")
    assert.strictEqual(lines.filter((line) => line.includes("level=error")).length, 1, lines.join("\n"))
  })

  it("works as root and keeps its umask", async () => {
    place.put("ABCD/a.txt", "one")
    await job()
    assert.strictEqual(statSync(join(place.target, "ABCD/ABCD.zip")).mode & 0o777, 0o640)
    assert.strictEqual(statSync(join(place.target, "ABCD")).mode & 0o777, 0o750)
  })
})

describe("the lock", () => {
  it("refuses a second run at once, naming the holder, and is free as soon as the holder is killed", async () => {
    // A big sparse file keeps the first run busy.
    place.put("ABCD/big", "")
    truncateSync(join(place.source, "ABCD/big"), 3e9)
    const first = start(["run", "--config", place.config])
    try {
      while (!existsSync(join(place.target, "ABCD"))) await new Promise((resolve) => setTimeout(resolve, 20))
      const before = picture(place.target)
      const second = await job("--force", "--folder", "NONE")
      assert.strictEqual(second.status, 75)
      assert.include(second.stderr, `pid ${first.child.pid}`)
      assert.strictEqual(second.stderr.trim().split("\n").length, 1)
      assert.include(before, "ABCD")
    } finally {
      first.child.kill("SIGKILL")
      await first.ended
    }
    rmSync(join(place.source, "ABCD/big"))
    place.put("ABCD/small", "small")
    const third = await job()
    assert.strictEqual(third.status, 0, third.stderr)
    assert.deepStrictEqual(files("ABCD"), [...currentSet].sort())
  })
})

describe("signals", () => {
  it("a second one ends the process at once, and it runs at the priority it was told", async () => {
    place.put("ABCD/big", "")
    truncateSync(join(place.source, "ABCD/big"), 3e9)
    place.configure({ nice: 7 })
    const running = start(["run", "--config", place.config])
    while (!existsSync(join(place.target, "ABCD"))) await new Promise((resolve) => setTimeout(resolve, 20))
    const stat = readFileSync(`/proc/${running.child.pid}/stat`, "utf8").split(") ")[1]?.split(" ")
    assert.strictEqual(stat?.[16], "7")
    running.child.kill("SIGTERM")
    running.child.kill("SIGINT")
    assert.include([130, 143], (await running.ended).status)
    assert.strictEqual((await job("--folder", "NONE")).status, 1, "the next run recovers")
    assert.deepStrictEqual(files("ABCD"), [])
  })

  for (const [signal, status] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129]
  ] as const) {
    it(`${signal} cleans up and exits ${status}`, async () => {
      place.put("ABCD/big", "")
      truncateSync(join(place.source, "ABCD/big"), 3e9)
      const running = start(["run", "--config", place.config])
      while (!existsSync(join(place.target, "ABCD"))) await new Promise((resolve) => setTimeout(resolve, 20))
      running.child.kill(signal)
      const ended = await running.ended
      assert.strictEqual(ended.status, status, ended.stderr)
      assert.include(ended.stderr, "stopped by a signal")
      assert.deepStrictEqual(files("ABCD"), [])
      assert.include(readFileSync(join(place.root, "zipper.log"), "utf8"), "stopped by a signal")
    })
  }
})

describe("completions", () => {
  it("complete commands, their commands and their options in bash", async () => {
    const { stdout } = await run(["--completions", "bash"])
    writeFileSync(join(place.root, "completions"), stdout)
    const complete = (...words: ReadonlyArray<string>) =>
      execFileSync("bash", [completer, join(place.root, "completions"), ...words])
        .toString()
        .trim()
        .split(" ")
    assert.deepStrictEqual(complete("zipper", "c"), ["check", "config"])
    assert.deepStrictEqual(complete("zipper", "run", "--dr"), ["--dry-run"])
    assert.include(complete("zipper", "config", ""), "validate")
    assert.include(complete("zipper", "notify-test", "--"), "--config")
    assert.notInclude(complete("zipper", "config", "init", "--"), "--config")
    assert.notInclude(complete("zipper", "config", "init", "--"), "--wizard")
  })

  for (const shell of ["zsh", "fish"]) {
    it(`are printed for ${shell}`, async () => {
      const { status, stdout } = await run(["--completions", shell])
      assert.strictEqual(status, 0)
      assert.include(stdout, "notify-test")
      assert.notInclude(stdout, "wizard")
    })
  }
})

describe("a wrong command line", () => {
  const wrong: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
    [["--dryrun"], "--dryrun"],
    [["run", "--config", "c.json", "--dryrun"], "--dryrun"],
    [["run", "--config", "c.json", "ABCD"], "ABCD"],
    [["run", "--config", "c.json", "--folder", "abcd"], '"abcd" is not four'],
    [["run"], "--config"],
    [["--wizard"], "--wizard"],
    [["--completions", "tcsh"], "tcsh"],
    [["verifi"], "verifi"],
    [["config", "init", "--quite"], "--quite"],
    [["run", "--config", "/nonexistent/c.json"], "/nonexistent/c.json"]
  ]
  for (const [args, words] of wrong) {
    it(`${args.join(" ")} is refused by name`, async () => {
      const { status, stdout, stderr } = await run(args, { cwd: place.root })
      assert.strictEqual(status, 2)
      assert.strictEqual(stdout, "")
      assert.include(stderr, words)
      assert.notMatch(stderr, /^ +at /m)
    })
  }
})

describe("a wrong configuration", () => {
  it("is told whole, at once, with the nearest key, and nothing is touched", async () => {
    place.put("ABCD/a.txt", "one")
    place.configure({ max_worker: 3, retries: "three", umask: "999" })
    const before = picture(place.root)
    const { status, stderr } = await job()
    assert.strictEqual(status, 2)
    assert.include(stderr, "did you mean max_workers?")
    assert.include(stderr, "retries")
    assert.include(stderr, '"three"')
    assert.include(stderr, "umask")
    assert.strictEqual(picture(place.root), before)
  })

  it("hides the token wherever it is shown", async () => {
    const gotify = { url: "http://127.0.0.1:9/message", token: "sEcReTt0ken", timeout_seconds: 1 }
    place.configure({ gotify })
    for (const args of [
      ["config", "show"],
      ["check", "--debug"],
      ["notify-test", "--debug"]
    ]) {
      const { stdout, stderr } = await run([...args, "--config", place.config])
      assert.notInclude(stdout + stderr, "sEcReTt0ken")
    }
  })

  it("check finds what would keep a run from its work", async () => {
    place.put("ABCD/a.txt", "one")
    const good = await run(["check", "--config", place.config])
    assert.strictEqual(good.status, 0, good.stderr)
    const cases: ReadonlyArray<readonly [Record<string, unknown>, string]> = [
      [{ lockfile_path: join(place.root, "none/lock") }, "lock: "],
      [{ source_path: join(place.root, "none") }, "source: "],
      [{ target_path: place.config }, "target: "]
    ]
    for (const [keys, subject] of cases) {
      place.configure(keys)
      const before = picture(place.root)
      const { status, stderr } = await run(["check", "--config", place.config])
      assert.strictEqual(status, 3, subject)
      assert.include(stderr, subject)
      assert.strictEqual(picture(place.root), before)
    }
    place.configure({ log_file: join(place.root, "none/log") })
    const log = await run(["check", "--config", place.config, "--json"])
    assert.strictEqual(log.status, 0)
    assert.include(log.stdout, '"warning"')
  })

  it("config init writes an example for its owner alone, and never over a file", async () => {
    const first = await run(["config", "init", "new.json"], { cwd: place.root })
    assert.strictEqual(first.status, 0)
    assert.strictEqual(statSync(join(place.root, "new.json")).mode & 0o777, 0o600)
    const second = await run(["config", "init", "new.json"], { cwd: place.root })
    assert.strictEqual(second.status, 1)
    assert.include(second.stderr, "exists already")
    const invalid = await run(["config", "validate", "--config", "new.json"], { cwd: place.root })
    assert.strictEqual(invalid.status, 2)
    assert.include(invalid.stderr, "REPLACE_WITH_TOKEN")
  })
})

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
    assert.include(stderr, "no notification was sent")
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

  it.runIf(process.getuid?.() !== 0)("an unreadable file fails its folder by name", async () => {
    place.put("ABCD/secret.txt", "one")
    chmodSync(join(place.source, "ABCD/secret.txt"), 0)
    const { status, stderr } = await job()
    assert.strictEqual(status, 1)
    assert.include(stderr, "secret.txt")
  })
})
