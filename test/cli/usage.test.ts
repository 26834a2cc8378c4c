import { statSync } from "node:fs"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, picture, run, toolsFor } from "../support/program/built.ts"

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

const { job } = toolsFor(() => place)

describe("a wrong command line", () => {
  const wrong: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
    [
      ["run", "--confg", "x"],
      "unknown option --confg of `zipper run`; did you mean --config?\n  `zipper run --help` lists"
    ],
    [["verify", "-x"], "unknown option -x of `zipper verify`\n"],
    [["restore", "ABCD"], "--to: is missing"],
    [["help", "run", "--foo"], "unknown option --foo of `zipper help`"],
    [["config", "--quiet", "show"], "options of config go after init, validate or show"],
    [["run", "--config", "c.json", "ABCD"], "ABCD"],
    [["run", "--config", "c.json", "--folder", "a/b"], '"a/b" is not the name of a folder: it holds a slash'],
    [["run", "frob"], 'not "frob"'],
    [["status", "--config"], "--config: its value is missing"],
    [["run", "--folder="], "--folder: its value is missing"],
    [["restore", "-rf", "--to", "back"], "a name that begins with a dash after --"],
    [["--config", "c.json", "status"], "options go after the command: zipper status"],
    [["config", "validate", "c.json", "--quite"], "--quite"],
    [["config", "validate", "c.json", "d.json"], 'one name too many: "d.json"'],
    [["config", "validate", ""], "FILE: is empty"],
    [["--wizard"], "--wizard"],
    [["--completions", "tcsh"], "tcsh"],
    [["verifi"], "unknown command: verifi; did you mean verify?"],
    [["version"], "did you mean --version?"],
    [["dir"], "unknown command: dir\n"],
    [["rn", "--help"], "unknown command: rn; did you mean run?"],
    [["--help", "nonsense"], "unknown command: nonsense\n"],
    [["config", "shw", "-h"], "unknown command: config shw; did you mean config show?"]
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

describe("a right command line", () => {
  it("may give the name of the command as a value, or as a name", async () => {
    place.put("ABCD/a.txt", "one")
    await job()
    const done = [
      await run(["report", "--config", place.config, "--out", "report"], { cwd: place.root }),
      await run(["restore", "ABCD", "--config", place.config, "--to", "restore"], { cwd: place.root })
    ]
    for (const { status, stderr } of done) assert.strictEqual(status, 0, stderr)
    const { stderr } = await run(["restore", "restore", "true", "--config", place.config, "--to", "back"])
    assert.include(stderr, "has no archives of restore, true")
  })

  it("may give an option again, under its other name too", async () => {
    const twice = ["--json", "-q", "--quiet", "--json", "-c", "none.json", "--config", place.config]
    const { status, stdout } = await run(["run", "--dry-run", ...twice, "--dry-run"])
    assert.strictEqual(status, 0)
    assert.include(stdout, '"dry_run": true')
  })

  it("that fails is told in words of zipper alone, with --debug too", async () => {
    const { status, stdout, stderr } = await run(["status", "--config", "none.json", "--debug"], { cwd: place.root })
    assert.deepStrictEqual({ status, stdout }, { status: 2, stdout: "" })
    assert.match(stderr, /^.* none\.json: does not exist\n$/)
  })
})

describe("help", () => {
  it("is that of the command after other options too", async () => {
    const { status, stderr, stdout } = await run(["run", "--config", "x", "--dry-run", "-h"])
    assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
    assert.match(stdout, /\$ zipper run /)
  })
})

describe("config without a command", () => {
  it("shows its help, with itself in the usage once", async () => {
    const { status, stdout } = await run(["config"], { cwd: place.root })
    assert.strictEqual(status, 0)
    assert.match(stdout, /\n\$ zipper config\n/)
  })
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
      ["check", "--debug"],
      ["notify-test", "--debug"]
    ]) {
      const { stdout, stderr } = await run([...args, "--config", place.config])
      assert.notInclude(stdout + stderr, "sEcReTt0ken")
    }
  })

  it("check finds what would keep a run from its work", async () => {
    place.put("ABCD/a.txt", "one")
    place.configure({ log_file: join(place.root, "none/log") })
    const good = await run(["check", "--config", place.config, "--json"])
    assert.strictEqual(good.status, 0, good.stderr)
    assert.include(good.stdout, '"warning"')
    // All at once: one does not hide the others.
    place.configure({
      lockfile_path: join(place.root, "none/lock"),
      source_path: join(place.root, "none"),
      target_path: place.config
    })
    const before = picture(place.root)
    const { status, stderr } = await run(["check", "--config", place.config])
    assert.strictEqual(status, 3)
    for (const subject of ["lock: ", "source: ", "target: "]) assert.include(stderr, subject)
    assert.strictEqual(picture(place.root), before)
  })

  it("config init writes an example for its owner alone, and never over a file", async () => {
    const first = await run(["config", "init", "new.json"], { cwd: place.root })
    assert.strictEqual(first.status, 0)
    assert.strictEqual(statSync(join(place.root, "new.json")).mode & 0o777, 0o600)
    const second = await run(["config", "init", "new.json"], { cwd: place.root })
    assert.strictEqual(second.status, 1)
    assert.include(second.stderr, "exists already")
  })
})
