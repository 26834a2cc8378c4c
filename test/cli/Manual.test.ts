import { spawnSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"
import { commandTree } from "../../src/cli/app.ts"
import { pagesOf } from "../../src/cli/help.ts"
import { lines, manualPages, verbatim } from "../../src/cli/roff.ts"
import { installed } from "../support/programs.ts"

const { commands, topics } = await commandTree()
const pages = pagesOf(commands)
const made = await manualPages("1.2.3", "2025-01-01")
const page = made["zipper.1"]

/** The page as it is read: no macros, no escapes. */
const plain = page
  .replace(/\\f[BIR]/g, "")
  .replace(/\\\((aq|ga|ti|ha|dq)/g, (_, name: string) => ({ aq: "'", ga: "`", ti: "~", ha: "^", dq: '"' })[name] ?? "")
  .replace(/\\\[u([0-9A-F]{4,6})\]/g, (_, code: string) => String.fromCodePoint(Number.parseInt(code, 16)))
  .replace(/\\&/g, "")
  .replace(/\\(.)/g, "$1")

const filled = (text: string): string => text.replace(/\s+/g, " ")

/** What stands between the heading of a command and the next heading. */
const sectionOf = (name: string): string => {
  const [, rest = ""] = plain.split(`.SS "${name}"\n`)
  return filled(rest.split(/^\.S[SH] /m)[0] ?? "")
}
const options = filled(plain.split('.SH "OPTIONS"\n')[1]?.split(/^\.SH /m)[0] ?? "")

describe("the command tree", () => {
  it("has the commands of the overview, and no others", () => {
    assert.deepStrictEqual(pages.map(({ name }) => name).sort(), topics.map(({ name }) => `zipper ${name}`).sort())
  })

  for (const { description, example, name, options: own } of pages) {
    it(`${name} has an example of itself, and says what it and each option does`, () => {
      assert.include(example, name)
      assert.isAbove(description.length, 20)
      for (const { term, text } of own) assert.isAbove(text.length, 8, term)
    })
  }
})

describe("the manual page", () => {
  for (const { arguments: args, example = "", name, options: own } of pages) {
    it(`has ${name} with every option and argument, what they do, and its example`, () => {
      const section = sectionOf(name)
      for (const { term, text } of [...args, ...own]) {
        const entry = `${term.replace(/[<>]/g, "")} ${text}`
        assert.isTrue(section.includes(entry) || options.includes(entry), `${entry}\n${section}`)
      }
      assert.include(section, filled(example))
    })
  }

  it("has every environment variable that the program looks at", () => {
    const source = fileURLToPath(new URL("../../src", import.meta.url))
    const texts = readdirSync(source, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => readFileSync(join(source, file), "utf8"))
    const found = new Set(
      texts.flatMap((text) => [
        ...[...text.matchAll(/\benv\["([A-Z_]+)"\]/g)].map(([, name]) => name),
        ...[...text.matchAll(/"(MQTT_[A-Z]+|ZIPPER_[A-Z_]+)"/g)].map(([, name]) => name)
      ])
    )
    assert.isAbove(found.size, 5)
    const section = plain.split('.SH "ENVIRONMENT"')[1]?.split(/^\.SH /m)[0] ?? ""
    for (const name of found) assert.include(section, name ?? "?")
  })

  it("takes no text for a macro", () => {
    assert.deepStrictEqual(verbatim([".so /etc/passwd", "a\\nb", "it's"]).slice(3, -2), [
      "\\&.so /etc/passwd",
      "a\\enb",
      "it\\(aqs"
    ])
    assert.deepStrictEqual(lines("See it. Ünder .x"), ["See it.", "\\[u00DC]nder .x"])
    for (const line of lines(`${"word ".repeat(14)}.x ${"word ".repeat(20)}'y`)) assert.notMatch(line, /^['.]/)
  })

  const inFile = (name: keyof typeof made, use: (path: string) => void): void => {
    const folder = mkdtempSync(join(tmpdir(), "zipper-manual-"))
    try {
      writeFileSync(join(folder, name), made[name])
      use(join(folder, name))
    } finally {
      rmSync(folder, { recursive: true })
    }
  }

  for (const [name, last] of [
    ["zipper.1", "EXIT STATUS"],
    ["zipper.json.5", "ENVIRONMENT"]
  ] as const) {
    it.runIf(installed("mandoc"))(`${name} is in order for mandoc`, () =>
      inFile(name, (path) => {
        const { stderr, stdout } = spawnSync("mandoc", ["-T", "lint", "-W", "style", path])
        assert.strictEqual(`${stdout}${stderr}`, "")
      })
    )

    it.runIf(installed("groff"))(`${name} is in order for groff, at 80 columns`, () =>
      inFile(name, (path) => {
        const { stderr, stdout } = spawnSync("groff", ["-man", "-ww", "-Tutf8", "-rLL=80n", "-P-cbou", path])
        assert.strictEqual(stderr.toString(), "")
        assert.include(stdout.toString(), last)
      })
    )

    it(`${name} is made by the build`, () => {
      const built = readFileSync(fileURLToPath(new URL(`../../dist/${name}`, import.meta.url)), "utf8")
      assert.match(built, /^\.TH ZIPPER(\.JSON)? [15] \d{4}-\d\d-\d\d "zipper \d/)
    })
  }

  it("says of prepare and delegate what they do", () => {
    assert.include(sectionOf("zipper prepare"), "DATASET... The datasets to make or to set right.")
    assert.notInclude(sectionOf("zipper prepare"), "each with everything below it")
    assert.include(sectionOf("zipper delegate"), "--user USER The user who gets the rights;")
    assert.notInclude(sectionOf("zipper delegate"), "log in as there")
  })
})
