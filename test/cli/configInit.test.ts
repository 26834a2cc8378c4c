import { execFile, spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { shortDigest } from "../../src/config/ReplicationJob.ts"
import { makePlace, type Place, run, zipper } from "../support/program/built.ts"
import { installed } from "../support/programs.ts"

const execute = promisify(execFile)
const driver = fileURLToPath(new URL("../support/terminal/terminal.py", import.meta.url))

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

/** `zipper config init` on a terminal: waits for each text and presses the keys that go with it. */
const typing = async (
  file: string,
  steps: ReadonlyArray<readonly [string, string]>,
  env: Record<string, string> = {}
): Promise<string> => {
  const { stdout } = await execute(
    "python3",
    [driver, JSON.stringify(steps), process.execPath, zipper, "config", "init", file],
    { cwd: place.root, env: { PATH: process.env["PATH"] ?? "", TERM: "xterm", LANG: "C.UTF-8", ...env } }
  )
  return stdout
}

const mode = (name: string): number => statSync(join(place.root, name)).mode & 0o777

const questions = (): ReadonlyArray<readonly [string, string]> => [
  ["Source, a", "nonsense\r"],
  ["Source, a", `${place.source}\r`],
  ["Read it live?", "y\r"],
  ["Target, a", `${place.target}\r`],
  // The heading, then the question.
  ["Enter for none.", ""],
  ["Gotify: ", "http://127.0.0.1:9/message\r"],
  ["Token", "sEcRetX\x7f\r"],
  ["went well", "y\r"]
]

describe.runIf(installed("python3"))("config init on a terminal", () => {
  it("asks, and writes what was answered, on one that is dumb too", async () => {
    const check = async (file: string, env: Record<string, string>) => {
      const shown = await typing(`${file}.json`, questions(), env)
      assert.include(shown, "exit 0")
      assert.notInclude(shown, "sEcRet")
      assert.include(shown, '"nonsense" is not an absolute path')
      const path = join(place.root, `${file}.json`)
      assert.deepStrictEqual(JSON.parse(readFileSync(path, "utf8")), {
        lockfile_path: `/var/run/zipper.${shortDigest(path)}.lock`,
        source_path: place.source,
        target_path: place.target,
        gotify: { url: "http://127.0.0.1:9/message", token: "sEcRet" },
        snapshots: "live",
        notify_on: ["failure", "success", "recovery"]
      })
      assert.deepStrictEqual([mode(`${file}.json`), mode(`${file}.example.jsonc`)], [0o600, 0o600])
      return shown
    }
    const shown = await Promise.all([check("one", {}), check("two", { TERM: "dumb", LANG: "C" })])
    assert.notMatch(shown[1], /\x1b/)
  })

  it("asks for a token when the terminal hides what is typed, not before", async () => {
    const says = 'String(text).replace(/: $/, process.stdin.isRaw ? ": <hidden> " : ": <shown> ")'
    const hook = `const { stderr } = process, write = stderr.write.bind(stderr); stderr.write = (text) => write(${says})`
    // A dumb terminal edits the other answers itself.
    const env = { TERM: "dumb", NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}` }
    const shown = await typing("order.json", questions(), env)
    assert.include(shown, "exit 0")
    assert.match(shown, /Target, a.*: <shown> /)
    assert.match(shown, /Token.*: <hidden> /)
  })

  it("leaves nothing behind when it is ended before the last answer", async () => {
    const there = readdirSync(place.root)
    const stop = async (before: number, key: string, status: number, TERM: string) => {
      const steps = questions().slice(0, before)
      const shown = await typing("new.json", [...steps, [questions()[before]?.[0] ?? "", key]], { TERM })
      assert.include(shown, `exit ${status}`)
    }
    await Promise.all([stop(6, "\x03", 130, "xterm"), stop(6, "\x03", 130, "dumb"), stop(3, "\x04", 1, "dumb")])
    assert.deepStrictEqual(readdirSync(place.root), there)
  })
})

describe("config init by its options", () => {
  const init = (...args: ReadonlyArray<string>) => run(["config", "init", ...args], { cwd: place.root })
  const good = () => ["--source", place.source, "--target", place.target, "--live"]

  it("writes a configuration that check finds good, and ends with what to do next, to be pasted", async () => {
    place.put("ABCD/a.txt", "one")
    const { status, stdout, stderr } = await init("bob's new.json", ...good(), "--tmp-dir", place.root)
    assert.strictEqual(status, 0, stderr)
    const [, next = ""] = /next: (.* check --config .*)\n/.exec(stdout) ?? []
    const checked = spawnSync("sh", ["-c", next], { cwd: place.root, encoding: "utf8" })
    assert.strictEqual(checked.status, 0, checked.stderr)
    const word = shortDigest(join(place.root, "bob's new.json"))
    assert.include(
      checked.stdout,
      `/var/run/zipper.${word}.cron.lock ${process.execPath === "/usr/bin/node" ? "" : `${process.execPath} `}${zipper} run --config '${place.root}/bob'\\''s new.json' --quiet\n`
    )
  })

  it("names all that is wrong at once, by the options, and writes nothing", async () => {
    const wrong = ["--source", "/none/1", "--target", "/none/2", "--gotify-url", "ftp://x"]
    const { status, stderr } = await init("new.json", ...wrong, "--gotify-token-file", "/none/token")
    assert.strictEqual(status, 2)
    for (const text of [
      "--source: cannot use /none/1",
      "--target: cannot use /none/2",
      "--gotify-url: ",
      "--gotify-token-file: /none/token: does not exist"
    ]) {
      assert.include(stderr, text)
    }
    const novalue = await init("new.json", "--source")
    assert.strictEqual(novalue.status, 2)
    assert.include(novalue.stderr, "--source: its value is missing")
    assert.isFalse(existsSync(join(place.root, "new.json")))
  })

  it("never writes over a file, nor over an example that somebody changed", async () => {
    writeFileSync(join(place.root, "new.example.jsonc"), "mine")
    const { status, stderr } = await init("new.json", ...good())
    assert.strictEqual(status, 1)
    assert.include(stderr, "new.example.jsonc exists already")
    assert.isFalse(existsSync(join(place.root, "new.json")))
  })
})
