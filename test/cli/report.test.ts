import { execFileSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import * as Schema from "effect/Schema"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { ReportDocument } from "../../src/report/writeReport.ts"
import { makePlace, type Place, picture, run } from "../support/program/built.ts"
import { archivedFolder, archiveRun } from "../support/program/reportHistory.ts"

let place: Place
beforeAll(() => {
  place = makePlace()
  mkdirSync(join(place.target, ".zipper"))
  const runs = [archiveRun(Date.now() - 3_600_000, { folders: [archivedFolder("ABCD", 10)] })]
  const lines = [...runs.map((each) => JSON.stringify(each)), '{"version":1,"run":"to']
  writeFileSync(join(place.target, ".zipper", "history.jsonl"), `${lines.join("\n")}\n`)
})
afterAll(() => place.remove())

const report = (...args: ReadonlyArray<string>) => run(["report", "--config", place.config, ...args])
const names = () => readdirSync(place.root).sort()

describe("zipper report", () => {
  it("writes a page by the configured umask, and hands the mode of one it replaces on", async () => {
    const file = join(place.root, "page.html")
    const before = names()
    const first = await report("--out", file)
    assert.strictEqual(first.status, 0, first.stderr)
    assert.include(first.stdout, "1 run of the last 90 days, all well")
    assert.strictEqual(statSync(file).mode & 0o777, 0o640)
    chmodSync(file, 0o644)
    const { ino } = statSync(file)
    const second = await report("--out", file, "--quiet")
    assert.strictEqual(second.stdout + second.stderr, "")
    assert.strictEqual(statSync(file).mode & 0o777, 0o644)
    // Another file in its place: whoever reads the old one reads it to its end.
    assert.notStrictEqual(statSync(file).ino, ino)
    assert.deepStrictEqual(names(), [...before, "page.html"].sort())
    assert.include(readFileSync(file, "utf8"), "1 line of the history could not be understood")
  })

  it("leaves alone what is no regular file, and makes no folder", async () => {
    const folder = join(place.root, "folder")
    mkdirSync(folder)
    const link = join(place.root, "link")
    symlinkSync(join(place.root, "elsewhere"), link)
    const fifo = join(place.root, "fifo")
    execFileSync("mkfifo", [fifo])
    for (const [path, words] of [
      [folder, "is a folder"],
      [`${folder}/`, "is a folder"],
      [link, "is a symbolic link"],
      [fifo, "is no regular file"],
      [join(place.root, "none", "page.html"), "there is no folder"]
    ] as const) {
      const before = picture(place.root)
      const { status, stderr } = await report("--out", path)
      assert.strictEqual(status, 1, path)
      assert.include(stderr, words)
      assert.strictEqual(picture(place.root), before)
    }
    assert.isFalse(existsSync(join(place.root, "elsewhere")))
  })

  it("leaves alone what is no report, and writes nothing where archives, sources and zipper's own files are", async () => {
    mkdirSync(join(place.target, "ABCD"))
    writeFileSync(join(place.target, "ABCD/ABCD.zip"), "")
    place.put("ABCD/file", "")
    writeFileSync(join(place.root, "other.html"), "<!doctype html>\n<title>Mine</title>\n")
    for (const [path, words] of [
      ["target/ABCD/ABCD.zip", "lies in target_path"],
      ["source/ABCD/file", "lies in source_path"],
      ["config.json", "is the place of the configuration"],
      ["lock", "is the place of lockfile_path"],
      ["zipper.log", "is the place of log_file"],
      ["zipper.prom", "is the place of metrics_file"],
      ["other.html", "is no report that zipper wrote"]
    ] as const) {
      place.configure({ metrics_file: join(place.root, "zipper.prom") })
      const before = picture(place.root)
      const { status, stderr } = await report("--out", join(place.root, path))
      assert.strictEqual(status, 1, path)
      assert.include(stderr, words)
      assert.strictEqual(picture(place.root), before)
    }
  })

  it("says of a folder that was taken out of the source that it is gone, after the next run", async () => {
    const other = makePlace()
    try {
      other.put("ABCD/a", "a")
      other.put("EFGH/b", "b")
      const said: Array<string> = []
      const asked = async () => {
        const archived = await run(["run", "--config", other.config, "--quiet"])
        assert.strictEqual(archived.status, 0)
        said.push(archived.stderr)
        const { stdout } = await run([
          "report",
          "--config",
          other.config,
          "--out",
          join(other.root, "r.html"),
          "--json"
        ])
        return Schema.decodeUnknownSync(ReportDocument)(JSON.parse(stdout)).problems.map(({ subject }) => subject)
      }
      assert.deepStrictEqual(await asked(), [])
      rmSync(join(other.source, "EFGH"), { recursive: true })
      assert.deepStrictEqual(await asked(), ["EFGH"])
      other.put("EFGH/b", "b")
      assert.deepStrictEqual(await asked(), [])
      assert.match(said.join("|"), /^\|[^|]*EFGH: is no longer in the source; its archives are kept\n\|$/)
    } finally {
      other.remove()
    }
  })

  it("changes nothing in the state that it reads", async () => {
    const before = picture(place.target)
    await report("--out", join(place.root, "again.html"))
    assert.strictEqual(picture(place.target), before)
  })

  it("prints the page for -, and its document for --json", async () => {
    const printed = await report("--out", "-")
    assert.strictEqual(printed.status, 0)
    assert.match(printed.stdout, /^<!doctype html>\n[\s\S]*<\/html>\n$/)
    const file = join(place.root, "json.html")
    const { stdout } = await report("--out", file, "--days", "7", "--json")
    const document = Schema.decodeUnknownSync(ReportDocument, { onExcessProperty: "error" })(JSON.parse(stdout))
    assert.deepStrictEqual(
      { ...document, made_at_utc: "" },
      {
        version: 1,
        file,
        bytes: statSync(file).size,
        made_at_utc: "",
        days: 7,
        runs: 1,
        ok: true,
        problems: [],
        unreadable_lines: 1
      }
    )
  })

  it("tells a wrong command line", async () => {
    for (const [args, words] of [
      [[], "--out"],
      [["--out"], "--out"],
      [["--out", ""], "--out: its value is missing"],
      [["--out", "-", "--json"], "give one of them"],
      [["--out", "x.html", "--days", "0"], '--days: "0" is not a whole number from 1 to 3660'],
      [["--out", "x.html", "--days", "week"], '--days: "week" is not a whole number'],
      [["--out", "x.html", "--dayz", "3"], "--dayz"]
    ] as const) {
      const { status, stderr } = await run(["report", "--config", place.config, ...args], { cwd: place.root })
      assert.strictEqual(status, 2, args.join(" "))
      assert.include(stderr, words)
    }
    assert.isFalse(existsSync(join(place.root, "x.html")))
  })
})
