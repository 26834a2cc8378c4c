import { assert, describe, it } from "vitest"
import { commandTree } from "../../src/cli/app.ts"
import { type Block, commandManual, configManual, programManual } from "../../src/cli/manual.ts"
import { reference } from "../../src/cli/reference.ts"
import { jsonExamples } from "../../src/cli/referenceJson.ts"
import { run, zipper } from "../support/program/built.ts"
import { installed } from "../support/programs.ts"
import { onTerminal } from "../support/terminal/pty.ts"

const tree = await commandTree()
const { topics } = tree
const filled = (text: string): string => text.replace(/\s+/g, " ")

/** What is printed where standard output is no terminal, as one line; and its lines. */
const help = async (args: ReadonlyArray<string>, env: Record<string, string> = { LANG: "C.UTF-8" }) => {
  const { status, stderr, stdout } = await run(["help", ...args], { env })
  assert.strictEqual(status, 0, stderr)
  assert.notInclude(stdout, "\b")
  return { filled: filled(stdout), lines: stdout.split("\n") }
}

const entriesOf = (blocks: ReadonlyArray<Block>) => blocks.flatMap((block) => (block.kind === "entry" ? [block] : []))

describe("zipper help", () => {
  it("explains every command: usage, what it does, its options, the paragraphs of the reference", () => {
    const known = topics.map(({ name }) => name)
    for (const name of known) {
      const blocks = commandManual(tree, name) ?? []
      assert.deepStrictEqual(blocks[0], { kind: "subsection", text: `zipper ${name}` })
      assert.isTrue(
        blocks.some(({ kind }) => kind === "usage"),
        name
      )
      assert.include(
        entriesOf(blocks).map(({ term }) => term),
        "-q, --quiet",
        name
      )
      const texts = blocks.flatMap((block) => (block.kind === "text" ? [block.text] : []))
      for (const text of reference[name] ?? []) if (!text.startsWith(" ")) assert.include(texts, text)
    }
    for (const name of [...Object.keys(reference), ...Object.keys(jsonExamples)]) assert.include(known, name)
  })

  it("prints a command, its words apart, and all about replicas", async () => {
    const shown = await help(["run"])
    assert.include(shown.filled, "zipper run [--config FILE] [--dry-run]")
    assert.include(shown.filled, "--force Archive the folders whether they changed or not")
    assert.include(shown.filled, filled(reference["run"]?.[0] ?? "none"))
    assert.include(
      shown.lines.join("\n"),
      "\n        zfs allow -u backup snapshot,destroy,mount,diff,userprop tank/data\n"
    )
    assert.include(shown.filled, '"left_out": { "symlinks": 0')
    for (const line of shown.lines) assert.isAtMost(line.length, 80, line)
    assert.include((await help(["config", "init"])).filled, "--gotify-token-file FILE")
    const replicas = await help(["replication"])
    for (const name of ["pull", "push", "prune", "prepare", "delegate"])
      assert.include(replicas.filled, `zipper ${name} [`)
    assert.include(replicas.filled, "zfs change-key -i")
  })

  it("prints everything, and every key of the configuration", async () => {
    const all = await help([])
    for (const { name } of topics) assert.include(all.filled, ` zipper ${name} `)
    for (const block of programManual(tree)) if (block.kind === "text") assert.include(all.filled, block.text)
    const keys = await help(["config"])
    for (const { term, text } of entriesOf(configManual())) assert.include(keys.filled, `${term} ${text}`)
  })

  it("is plain text where the locale has no more", async () => {
    const utf8 = await help(["schema"])
    assert.include(utf8.filled, "run, config validate, …;")
    const plain = await help(["schema"], { LANG: "C" })
    assert.include(plain.filled, "run, config validate, ...;")
    assert.match(plain.filled, /^[\x20-\x7e]*$/)
  })

  it("names what is near to a word that it does not know, else all that there is, with exit status 2", async () => {
    for (const [word, nearest] of [
      ["restor", "did you mean restore?"],
      ["config", undefined],
      ["confg", "did you mean config?"],
      ["CONFG", "did you mean config?"],
      [
        "nonsense",
        `it has ${[...topics.map(({ name }) => name), "config", "replication", "hooks", "freebsd"].join(", ")}\n`
      ]
    ] as const) {
      const { status, stderr, stdout } = await run(["help", word])
      assert.strictEqual(status, nearest === undefined ? 0 : 2, stderr)
      if (nearest === undefined) continue
      assert.strictEqual(stdout, "")
      assert.include(stderr, JSON.stringify(word))
      assert.include(stderr, nearest)
    }
  })
})

describe.runIf(installed("python3"))("zipper help on a terminal", () => {
  const onPty = (env: ReadonlyArray<string>, ...args: ReadonlyArray<string>) =>
    onTerminal(["/usr/bin/env", ...env, process.execPath, zipper, "help", ...args], { columns: 80, rows: 24 })

  it("goes through $PAGER, with headings in bold and without secrets", async () => {
    const pager = "PAGER=sed 's/^/> /' | cat -v; echo [$ZIPPER_GOTIFY_TOKEN]"
    const { status, text } = await onPty([pager, "ZIPPER_GOTIFY_TOKEN=sEcReT"])
    assert.strictEqual(status, 0)
    assert.include(text, "> N^HNA^HAM^HME^HE\r\n")
    assert.include(text, "\n[]\r\n")
  })

  it("is printed where there is no such program, or none is wanted", async () => {
    for (const variable of ["PAGER=/nonexistent/pager", "PAGER=", "PAGER=cat", "PATH=/nonexistent"]) {
      const { status, text } = await onPty([variable], "schema")
      assert.strictEqual(status, 0, variable)
      assert.include(text, "  zipper schema\r\n")
      assert.strictEqual(text.includes("not found"), variable === "PAGER=/nonexistent/pager", text)
    }
  })
})

describe("an example of JSON", () => {
  it("has no line that is too long for a page", () => {
    for (const { document } of Object.values(jsonExamples)) {
      for (const line of document.split("\n")) assert.isAtMost(line.length, 70, line)
    }
  })
})
