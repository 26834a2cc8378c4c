import { execFile, execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { unquoted } from "../../src/cli/completedNames.ts"
import { makePlace, type Place, picture, run, zipper } from "../support/program/built.ts"
import { installed } from "../support/programs.ts"
import { sampled } from "../support/thorough.ts"

const presser = fileURLToPath(new URL("../support/terminal/tab.py", import.meta.url))

const shells = ["bash", ...(["zsh", "fish"] as const).filter(installed)]
const bashCompletion = "/usr/share/bash-completion/bash_completion"

let place: Place
let hostile: string
beforeAll(() => {
  place = makePlace()
  hostile = `o'f "x" $(touch ${place.root}/run) \`touch ${place.root}/run\` *;&|\\`
  for (const name of ["DOCS", "PH01", "photos 2024", "2024", "日本", "it's", "not this"]) {
    mkdirSync(join(place.source, name))
  }
  for (const name of ["DOCS", "GONE", ".zipper", "photos 2024", "2024", "earlier one", "a stranger's"]) {
    mkdirSync(join(place.target, name))
  }
  writeFileSync(join(place.target, "earlier one/.state.json"), "{}")
  const text = `{
    // Comments and trailing commas are allowed, and mistakes elsewhere do not matter.
    "source_path": ${JSON.stringify(place.source)}, "target_path": ${JSON.stringify(place.target)}, "retires": 3, "folders": "[A-Z0-9]{4}|photos [0-9]+|日本|it's",
    "replication": [
      { "name": "nas", "direction": "pull", "datasets": ["tank/data"] },
      { "name": ${JSON.stringify(hostile)}, "direction": "push" },
      { "name": "line\\nbreak", "direction": "push" }, { "name": "--force", "direction": "push" }, { "name": 3 }, null,
    ],
  }`
  mkdirSync(join(place.root, "a folder"))
  writeFileSync(join(place.root, "a folder/it's.json"), text)
  writeFileSync(place.config, text)
  writeFileSync(
    join(place.root, "other.json"),
    JSON.stringify({ replication: [{ name: "elsewhere", direction: "pull" }] })
  )
  for (const shell of ["bash", "zsh", "fish"]) {
    // Started by its name, as a user starts it: the script holds its path.
    const script = execFileSync(zipper, ["--completions", shell], { env: { PATH: process.env["PATH"] } })
    writeFileSync(join(place.root, `completions.${shell}`), script)
  }
}, 60_000)
afterAll(() => place.remove())

/** Presses TAB in a shell that has the completions, in the folder of `place`. */
const press = async (
  shell: string,
  lines: ReadonlyArray<readonly [typed: string, awaited: string]>,
  ...preamble: ReadonlyArray<string>
): Promise<ReadonlyArray<string>> => {
  const first = [
    ...preamble,
    ...(shell === "zsh" ? ["autoload -U compinit", "compinit -u -D"] : []),
    `source ${place.root}/completions.${shell}`
  ]
  const { stdout } = await promisify(execFile)("python3", [presser, shell, first.join("\n"), JSON.stringify(lines)], {
    cwd: place.root,
    env: {
      PATH: process.env["PATH"],
      HOME: place.root,
      TERM: "xterm",
      LANG: "C.UTF-8",
      ZIPPER_CONFIG: place.config,
      // Elsewhere zsh and fish would ask the user of the machine.
      XDG_CONFIG_HOME: place.root
    }
  })
  return JSON.parse(stdout)
}

/** Lines with their TAB, and the arguments that they have then. */
const pressed = (): ReadonlyArray<readonly [string, ReadonlyArray<string>]> => [
  ["notify\t", ["notify-test"]],
  ["config v\t", ["config", "validate"]],
  ["run --dr\t", ["run", "--dry-run"]],
  ["--dr\t", ["--dry-run"]],
  ["--help rest\t", ["--help", "restore"]],
  ["--completions z\t", ["--completions", "zsh"]],
  ["schema config v\t", ["schema", "config", "validate"]],
  ["pull --compress z\t", ["pull", "--compress", "zstd"]],
  ["pull --compress=z\t", ["pull", "--compress=zstd"]],
  ["prune --direction pus\t", ["prune", "--direction", "push"]],
  ["delegate --role arch\t", ["delegate", "--role", "archive"]],
  ["run --config other\t", ["run", "--config", "other.json"]],
  ["run --config=other\t", ["run", "--config=other.json"]],
  // The folders of the source, and those of the target.
  ["run --folder P\t", ["run", "--folder", "PH01"]],
  ["run --folder ph\t", ["run", "--folder", "photos 2024"]],
  ["run --folder i\t", ["run", "--folder", "it's"]],
  ["run --folder 日\t", ["run", "--folder", "日本"]],
  ["verify ea\t", ["verify", "earlier one"]],
  ["verify 'photos 2024' 2\t", ["verify", "photos 2024", "2024"]],
  ["verify photos\\ 2024 2\t", ["verify", "photos 2024", "2024"]],
  ["--folder=P\t", ["--folder=PH01"]],
  ["verify DOCS G\t", ["verify", "DOCS", "GONE"]],
  ["restore --prev G\t", ["restore", "--prev", "GONE"]],
  ["recover ta\t", ["recover", "tank/data"]],
  // The only job of its direction that may be offered.
  ["pull --job \t", ["pull", "--job", "nas"]],
  ["push --job \t", ["push", "--job", hostile]],
  // The configuration of the line goes before that of the environment.
  ["pull --config other.json --job \t", ["pull", "--config", "other.json", "--job", "elsewhere"]],
  ["pull --config=other.json --job=\t", ["pull", "--config=other.json", "--job=elsewhere"]],
  ["pull -c ~/other.json --job \t", ["pull", "-c", `${place.root}/other.json`, "--job", "elsewhere"]],
  ["pull -c $HOME/other.json --job \t", ["pull", "-c", `${place.root}/other.json`, "--job", "elsewhere"]],
  [`pull -c "a folder/it's.json" --job \t`, ["pull", "-c", "a folder/it's.json", "--job", "nas"]],
  // A configuration that is not there offers nothing.
  ["run -c none.json --folder P\t", ["run", "-c", "none.json", "--folder", "P"]]
]

describe.runIf(installed("python3"))("TAB", () => {
  for (const shell of shells) {
    const check = async (cases: ReturnType<typeof pressed>, ...preamble: ReadonlyArray<string>) => {
      const shown = await press(
        shell,
        cases.map(([line]) => [`zipper ${line}`, ""]),
        ...preamble
      )
      const found = shown.map((text) => /args:(.*>)\./.exec(text)?.[1])
      assert.deepStrictEqual(
        cases.map(([line], index) => [line, found[index]]),
        cases.map(([line, args]) => [line, args.map((word) => `<${word}>`).join("")])
      )
      assert.notInclude(readdirSync(place.root), "run")
    }

    it(`completes commands, options, values and the names of the configuration in ${shell}`, () =>
      check(sampled(pressed(), shell === "bash" ? 24 : 12)))

    it(`lists what there is in ${shell}`, async () => {
      const wanted = [
        ["zipper verify ", "GONE"],
        ["zipper config ", "validate"],
        ["zipper delegate --job ", "nas"],
        ["zipper report --", "--days"]
      ] as const
      const shown = await press(
        shell,
        // Bash lists at the second.
        wanted.map(([line, awaited]) => [`${line}${shell === "bash" ? "\t\t" : "\t"}`, awaited] as const)
      )
      for (const [index, [, awaited]] of wanted.entries()) assert.include(shown[index], awaited)
    })

    if (shell === "bash" && installed(bashCompletion)) {
      it("completes beside the package bash-completion", () => check(sampled(pressed(), 6), `source ${bashCompletion}`))
    }

    if (shell === "bash") {
      it("completes inside quotes, and where = ends no word", async () => {
        const lines = [`zipper push --job "o'\t`, "zipper push --job 'o'\\''f\t", "zipper verify 'G\t"] as const
        const shown = await press(
          shell,
          lines.map((line) => [line, ""] as const)
        )
        assert.include(shown[0], `args:<push><--job><${hostile}>.`)
        assert.include(shown[2], "args:<verify><GONE>.")
        const [joined] = await press(shell, [["zipper pull --job=\t", ""]], "COMP_WORDBREAKS=' :'")
        assert.include(joined, "args:<pull><--job=nas>.")
      })
    }
  }
})

describe("the scripts", () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    it(`hold every command and option of the manual page, for ${shell}`, () => {
      const script = readFileSync(join(place.root, `completions.${shell}`), "utf8")
      const manual = readFileSync(join(zipper, "../zipper.1"), "utf8").replaceAll("\\-", "-")
      const names = new Set(manual.match(/--[a-z][a-z-]+/g))
      assert.isAbove(names.size, 40)
      for (const name of names) assert.include(script, shell === "fish" ? `-l ${name.slice(2)}` : name)
      assert.notMatch(script, /wizard|log-level|Example:/)
    })
  }
})

describe("zipper --complete", () => {
  const names = async (...args: ReadonlyArray<string>) => {
    const { status, stderr, stdout } = await run(["--complete", ...args], { cwd: place.root })
    assert.strictEqual(stderr, "")
    assert.strictEqual(status, 0)
    return stdout.split("\n").slice(0, -1)
  }

  it("prints the names of a configuration, and touches nothing", async () => {
    const before = picture(place.root)
    assert.deepStrictEqual(await names("folders", place.config), [
      "2024",
      "DOCS",
      "PH01",
      "it's",
      "photos 2024",
      "日本"
    ])
    assert.deepStrictEqual(await names("archives", place.config), [
      "2024",
      "DOCS",
      "GONE",
      "earlier one",
      "photos 2024"
    ])
    assert.deepStrictEqual(await names("jobs", place.config), ["nas", hostile])
    assert.deepStrictEqual(await names("pull", place.config), ["nas"])
    assert.strictEqual(picture(place.root), before)
  })

  it("is silent where it finds none", async () => {
    execFileSync("mkfifo", [join(place.root, "fifo")])
    writeFileSync(join(place.root, "broken.json"), "{ nothing")
    writeFileSync(join(place.root, "closed.json"), "{}")
    chmodSync(join(place.root, "closed.json"), 0)
    for (const config of ["none.json", "fifo", "broken.json", "closed.json", ".", '"', "<(cat config.json)"]) {
      assert.deepStrictEqual(await names("jobs", config), [], config)
    }
    for (const args of [[], ["frobnicate", place.config]]) assert.deepStrictEqual(await names(...args), [])
  })

  it("reads a word as the shell does, but runs nothing", () => {
    const env = { HOME: "/home/a b", DIR: "x'y" }
    for (const [typed, word] of [
      ["/etc/zipper.json", "/etc/zipper.json"],
      ["~/z.json", "/home/a b/z.json"],
      ["a~/z", "a~/z"],
      ["'it'\\''s ~ $HOME'", "it's ~ $HOME"],
      ['"it\'s $DIR \\$ \\" \\a"', "it's x'y $ \" \\a"],
      ["a\\ b\\'c", "a b'c"],
      [`\${HOME}/$DIR$NONE`, "/home/a b/x'y"],
      ["$(touch run)`touch run`", "$(touch run)`touch run`"]
    ] as const) {
      assert.strictEqual(unquoted(typed, env), word)
    }
  })
})
