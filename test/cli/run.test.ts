import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import {
  currentSet,
  makePlace,
  type Place,
  picture,
  previousSet,
  run,
  toolsFor,
  zipper
} from "../support/program/built.ts"

const clock = fileURLToPath(new URL("../support/program/clock.mjs", import.meta.url))

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

const { job, files, sums } = toolsFor(() => place)

describe("a run", () => {
  it("archives, then touches nothing, then rotates", async () => {
    place.put("ABCD/a.txt", "one")
    assert.strictEqual((await job()).status, 0)
    assert.deepStrictEqual(files("ABCD"), [...currentSet].sort())
    // An hour later its times prove nothing yet, since it was written right before it was listed; after that they do.
    const later = (hours: number) =>
      run(["run", "--config", place.config], {
        env: { NODE_OPTIONS: `--import=${clock}`, CLOCK_OFFSET: `${hours * 3_600_000}` }
      })
    assert.include((await later(1)).stdout, "0 archived, 1 unchanged")
    assert.deepStrictEqual(files("ABCD"), [...currentSet].sort())
    const before = picture(join(place.target, "ABCD"))
    assert.include((await later(2)).stdout, "0 archived, 1 unchanged")
    assert.strictEqual(picture(join(place.target, "ABCD")), before)
    place.put("ABCD/a.txt", "three")
    assert.strictEqual((await job()).status, 0)
    assert.deepStrictEqual(files("ABCD"), [...currentSet, ...previousSet].sort())
    sums("ABCD")
  })

  it("says which archive is gone, by the index alone, even when quiet", async () => {
    place.put("ABCD/a.txt", "one")
    place.put("EFGH/a.txt", "two")
    assert.strictEqual((await job("--quiet")).status, 0)
    for (const gone of ["ABCD", ".zipper/standing"]) rmSync(join(place.target, gone), { recursive: true })
    const { status, stderr, stdout } = await job("--quiet", "--json")
    assert.deepStrictEqual(
      [status, stderr],
      [0, "error: the archive of ABCD that was published is gone from the target; a new one is made\n"]
    )
    assert.include(stdout, "its archive is missing")
    assert.notInclude(stdout, "never archived")
    assert.strictEqual((await job("--quiet")).stderr, "")
  })

  it.runIf(process.getuid?.() === 0)("says what to do when it may not read the archive before", async () => {
    place.put("ABCD/a.txt", "one")
    const chown = (owner: number, path: string) => execFileSync("chown", ["-R", `${owner}`, path])
    chown(65534, place.root)
    const unprivileged = () => run(["run", "--config", place.config], { uid: 65534 })
    assert.strictEqual((await unprivileged()).status, 0)
    const zip = join(place.target, "ABCD/ABCD.zip")
    chmodSync(zip, 0o600)
    chown(0, zip)
    place.put("ABCD/a.txt", "two")
    const { status, stderr } = await unprivileged()
    assert.strictEqual(status, 1)
    assert.match(
      stderr,
      /to become the previous one: .*\(EACCES\); give the user that runs this job permission, or run/
    )
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
    const { status, stdout, stderr } = await job("--json", "--folder=ABCD", "--folder", "NONE")
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

  it("leaves a configuration that log_file names as it is, and check tells", async () => {
    place.put("ABCD/a.txt", "one")
    place.configure({ log_file: place.config })
    const before = readFileSync(place.config, "utf8")
    const warning = /log.*config\.json.*: its first line is not that of a log, so it is left as it is: set log_file/
    for (const { status, stderr } of [await job(), await run(["check", "--config", place.config])]) {
      assert.strictEqual(status, 0)
      assert.match(stderr, warning)
    }
    assert.strictEqual(readFileSync(place.config, "utf8"), before)
  })

  it("writes metrics over metrics alone", async () => {
    place.put("ABCD/a.txt", "one")
    place.configure({ metrics_file: place.config })
    const before = readFileSync(place.config, "utf8")
    const { status, stderr } = await job()
    assert.strictEqual(status, 0)
    assert.include(stderr, `no metrics were written: ${place.config} holds no metrics of zipper, and was left as it is`)
    assert.strictEqual(readFileSync(place.config, "utf8"), before)
    // An empty file may be there for the sake of its place, and metrics of before have no owner.
    const metrics = join(place.root, "m.prom")
    place.configure({ metrics_file: metrics })
    for (const text of ["", "# HELP zipper_last_bytes x\n"]) {
      writeFileSync(metrics, text)
      assert.strictEqual((await job()).stderr, "")
      assert.match(readFileSync(metrics, "utf8"), /^# zipper state: /)
    }
  })

  it("puts right what is missing beside an archive", async () => {
    place.put("ABCD/a.txt", "one")
    await job()
    rmSync(join(place.target, "ABCD/ABCD.zip.md5"))
    writeFileSync(join(place.target, "ABCD/metadata.json"), "")
    assert.include((await job()).stdout, "(a file beside its archive is missing; the same bytes as before")
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

  it("tells of a folder that is gone from the source once when it is quiet, and each time when it is not", async () => {
    const gone = "EFGH: is no longer in the source; its archives are kept"
    place.put("ABCD/a.txt", "one")
    place.put("EFGH/a.txt", "two")
    await job()
    rmSync(join(place.source, "EFGH"), { recursive: true })
    const chosen = await job("--quiet", "--folder", "ABCD")
    assert.deepStrictEqual(chosen, { status: 0, stdout: "", stderr: "" }, "it is not asked for")
    const first = await job("--quiet")
    assert.deepStrictEqual([first.status, first.stdout], [0, ""])
    assert.include(first.stderr, gone)
    assert.deepStrictEqual(await job("--quiet"), { status: 0, stdout: "", stderr: "" })
    assert.include((await job()).stderr, `warning: ${gone}`)
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
      response.end('{"id":1}')
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
