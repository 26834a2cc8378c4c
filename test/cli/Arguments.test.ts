import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import { optionsFirst, withDefaultCommand } from "../../src/cli/arguments.ts"

const alone = (...names: ReadonlyArray<string>) => names.map((name) => [name, name] as const)
const known = {
  once: new Map([...alone("--host", "-c"), ["--config", "-c"]]),
  several: new Map(alone("--exclude")),
  flags: new Map([...alone("--dry-run", "-q", "--debug", "--no-raw"), ["--quiet", "-q"]]),
  takesNames: true
}
const read = (...args: ReadonlyArray<string>) => optionsFirst(args, known, "push")

describe("the command of a command line", () => {
  it("is run where an option is first, and help is that of the command", () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["-c x --dry-run", "run -c x --dry-run"],
      ["--help run", "run --help"],
      ["run -h", "run --help"],
      ["-h -c x", "run -c x --help"],
      ["--help config init", "config init --help"],
      ["config -h", "config --help"],
      ["-h --help", "--help"],
      ["--version x", "--version"],
      ["ls -- --help", "ls -- --help"],
      ["constructor", "constructor"],
      ["ls constructor", "ls constructor"],
      ["--completions=bash", "--completions bash"]
    ]
    for (const [typed, read] of cases) assert.strictEqual(withDefaultCommand(typed.split(" ")).join(" "), read, typed)
  })
})

describe("arguments of a command that takes names", () => {
  it("go to the end, behind what no option can take for its own", () => {
    assert.deepStrictEqual(
      read("--dry-run", "n", "--host", "h", "tank/a"),
      Either.right(["--dry-run", "--host", "h", "--", "n", "tank/a"])
    )
    assert.deepStrictEqual(read("a", "--", "--host", "-x"), Either.right(["--", "a", "--host", "-x"]))
    assert.deepStrictEqual(read("--debug"), Either.right(["--debug"]))
  })

  it("keep each value, however it is joined; of an option that counts once the last one", () => {
    assert.deepStrictEqual(
      read("--exclude=a=b", "--exclude", "c d ", "--host=x", "--host", "y", "-c", "f"),
      Either.right(["--exclude", "a=b", "--exclude", "c d ", "--host", "y", "-c", "f"])
    )
  })

  it("say the same when they are given again, under another name too", () => {
    assert.deepStrictEqual(
      read("-q", "--dry-run", "--quiet", "--dry-run", "-c", "f", "--config", "g", "-q"),
      Either.right(["-q", "--dry-run", "-c", "g"])
    )
    // A value that looks like an option is none.
    assert.deepStrictEqual(
      read("--exclude=--dry-run", "--dry-run"),
      Either.right(["--dry-run", "--exclude", "--dry-run"])
    )
  })

  it("are refused when a value is missing, so that no option is swallowed", () => {
    assert.deepStrictEqual(read("--host=--x", "--exclude=-y"), Either.right(["--exclude", "-y", "--host", "--x"]))
    for (const args of [["--exclude"], ["--exclude="], ["--exclude", ""], ["-c"]]) {
      assert.deepStrictEqual(read(...args), Either.left(`${args[0]?.replace("=", "")}: its value is missing`))
    }
    assert.deepStrictEqual(
      read("--exclude", "--dry-run", "a"),
      Either.left("--exclude: its value is missing; what follows it is --dry-run")
    )
    assert.isTrue(Either.isLeft(read("--host", "--", "a")))
    assert.isTrue(Either.isLeft(read("--host", "-q")))
    assert.isTrue(Either.isRight(read("--host", "-rf")))
  })

  it("are help or version wherever these stand before the names, but as a value", () => {
    for (const args of [
      ["--host", "h", "--help"],
      ["--odd", "-h", "a"],
      ["--host", "--help"]
    ])
      assert.deepStrictEqual(read(...args), Either.right(["--help"]), args.join(" "))
    assert.deepStrictEqual(read("-q", "--version"), Either.right(["--version"]))
    assert.deepStrictEqual(
      read("--host", "-h", "--exclude=--help"),
      Either.right(["--exclude", "--help", "--host", "-h"])
    )
    assert.deepStrictEqual(read("--", "-h"), Either.right(["--", "-h"]))
  })

  it("are refused at an unknown option, by the command's own table", () => {
    const refused = (option: string, more = "") =>
      assert.deepStrictEqual(read("a", option, "x"), Either.left(`unknown option ${option} of \`zipper push\`${more}`))
    refused("--hst", "; did you mean --host?")
    refused("-debug", "; did you mean --debug?")
    refused("--odd")
    refused("--raw", "; it is the default, and --no-raw turns it off")
    refused("--no-dry-run", "; without --dry-run it is off")
    refused("--no-host")
    refused("-x")
    refused("-rf", "; write short options one by one, and a name that begins with a dash after --")
  })

  it("are refused when an option that is there or not is given true or false", () => {
    assert.isTrue(Either.isLeft(read("--dry-run", "false", "a")))
    assert.isTrue(Either.isLeft(read("a", "-q", "true")))
    assert.deepStrictEqual(
      read("--dry-run=yes"),
      Either.left('--dry-run: takes no value such as "yes"; give the option alone, or leave it out')
    )
    assert.deepStrictEqual(read("-q", "--", "true"), Either.right(["-q", "--", "true"]))
    assert.deepStrictEqual(read("--host", "true", "a"), Either.right(["--host", "true", "--", "a"]))
  })

  it("are names also where an object of JavaScript has a member that is called so", () => {
    assert.deepStrictEqual(read("constructor", "toString"), Either.right(["--", "constructor", "toString"]))
  })

  it("lose no word but an option that is given again, and never gain one", () => {
    const word = FastCheck.oneof(
      FastCheck.constantFrom("--dry-run", "-q", "--exclude", "--exclude=x", "n", "tank/a", "off"),
      FastCheck.string({ minLength: 1 }).filter((text) => !text.startsWith("-"))
    )
    FastCheck.assert(
      FastCheck.property(FastCheck.array(word), (args) => {
        const result = read(...args)
        if (Either.isLeft(result)) return
        const split = args
          .filter((each, index) => !known.flags.has(each) || args.indexOf(each) === index)
          .flatMap((each) => (each === "--exclude=x" ? ["--exclude", "x"] : [each]))
        assert.deepStrictEqual(result.right.filter((each) => each !== "--").toSorted(), split.toSorted())
      })
    )
  })
})
