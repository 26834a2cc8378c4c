import { execFileSync } from "node:child_process"
import { statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, picture, run, toolsFor } from "../support/program/built.ts"

const completer = fileURLToPath(new URL("../support/terminal/complete.bash", import.meta.url))

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

const { job } = toolsFor(() => place)

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
      assert.notInclude(stdout, "Example:")
      // Where the value is a file, files are offered.
      for (const option of ["config", "lock", "source", "gotify-token-file"]) {
        const told = shell === "fish" ? `-l ${option} -r -F` : new RegExp(`'--${option}\\[[^\\]]*\\]:FILE:_files'`)
        assert.isTrue(typeof told === "string" ? stdout.includes(told) : told.test(stdout), option)
      }
    })
  }
})

describe("a wrong command line", () => {
  const wrong: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
    [["run", "--config", "c.json", "--dryrun"], "--dryrun"],
    [["run", "--config", "c.json", "ABCD"], "ABCD"],
    [["run", "--config", "c.json", "--folder", "abcd"], '"abcd" is not four'],
    [["--wizard"], "--wizard"],
    [["--completions", "tcsh"], "tcsh"],
    [["verifi"], "verifi"],
    [["config", "init", "--quite"], "--quite"]
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
