import * as CliConfig from "@effect/cli/CliConfig"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
import * as HelpDoc from "@effect/cli/HelpDoc"
import type * as Span from "@effect/cli/HelpDoc/Span"
import type * as Usage from "@effect/cli/Usage"
import * as Option from "effect/Option"
import { wrappedWords } from "../text/Text.ts"
import { withoutColours } from "./output.ts"

export interface Topic {
  readonly name: string
  readonly summary: string
}

/** What `zipper`, `zipper --help` and `zipper -h` print: at most 80 columns, one line a command. */
export const overview = (version: string, topics: ReadonlyArray<Topic>): string => {
  const width = Math.max(...topics.map(({ name }) => name.length)) + 2
  return `zipper ${version}: verified zips of a ZFS dataset's folders, and replication, from cron.

Usage: zipper COMMAND [OPTIONS]
       zipper OPTIONS                      the same as zipper run OPTIONS

Commands:
${topics.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`).join("\n")}

  --completions SHELL   print completions for bash, zsh or fish
  --version             print the version

zipper run --help lists the options of a command, zipper help run explains it.
First steps: zipper demo, then zipper config init.`
}

/**
 * The library's help for one command without its boilerplate ("A true or false value."), with the whole command line in its
 * usage, its example under a heading of its own, and no line longer than 80 columns.
 */
export const formatHelp = (text: string, parents: ReadonlyArray<string>): string => {
  const blocks = text
    .replace(/^(?:\x1b\[[0-9;]*m)*zipper(?:\x1b\[[0-9;]*m)*\n\n/, "")
    .split("\n\n")
    .filter((block) => !boilerplate.test(withoutColours(block).trim()))
  return (
    blocks
      .join("\n\n")
      .replace(/\$ (?!zipper)/, `$ ${["zipper", ...parents].join(" ")} `)
      .replace(/ --(folder|exclude|only|ssh-option|role) (\S+)\.\.\./g, " [--$1 $2]...")
      // Commands below this one: their own --help tells their options.
      .replace(
        /^ {2}- (\S+) .*? {2,}(\S.*?)(?: Example: .*)?$/gm,
        (_, name: string, summary: string) => `  ${name.padEnd(10)}${summary}`
      )
      .replace(/ Example: (.*)/, `\n\n${bold("EXAMPLE")}\n\n$$ $1`)
      .replace(/\n\n {2}(?=\S)/g, "\n  ")
      .split("\n")
      .map((line) => (line.startsWith("$ ") ? wrappedUsage(line) : wrappedLine(line.split(" "))))
      .join("\n")
  )
}

const bold = (text: string): string => `\x1b[0;1m${text}\x1b[0m`

/** Lines of at most 80 columns; further ones are indented to the text of the first (after a name in a list) and by `more`. */
const wrappedLine = (words: ReadonlyArray<string>, more = ""): string => {
  const line = words.join(" ")
  const begin = /^ {2}[a-z-]+ {2,}|^ */.exec(line)?.[0] ?? ""
  const indent = `${" ".repeat(begin.length)}${more}`
  const first = words.findIndex((word) => word !== "")
  const lead = " ".repeat(Math.max(0, first))
  return wrappedWords(words.slice(Math.max(0, first)), 80, indent, lead, (text) => withoutColours(text).length).join(
    "\n"
  )
}

// An option and its value stay on one line.
const wrappedUsage = (line: string): string => wrappedLine(line.match(/\[[^\]]*\]\S*|\([^)]*\)|\S+/g) ?? [], "    ")

/** What the library says of every option of a kind. */
const boilerplate =
  /^(A true or false value\.|This setting is optional\.|A user-defined piece of text\.|An integer\.|This (?:option|argument) may be repeated zero or more times\.)$/

/** An option or an argument: `-c, --config FILE`, and what it is for. */
export interface Entry {
  readonly term: string
  readonly text: string
}

/** One command as its `--help` has it; `usage` is what goes after its name. */
export type CommandPage = ReturnType<typeof pagesOf>[number]

/** Every command that can be run: in place of one that has subcommands, these. */
export const leavesOf = (commands: ReadonlyArray<{ readonly descriptor: CommandDescriptor.Command<unknown> }>) =>
  commands.flatMap(({ descriptor }) => {
    const [own = ""] = CommandDescriptor.getNames(descriptor)
    return [...CommandDescriptor.getSubcommands(descriptor)].map(([name, command]) => ({
      name: name === own ? own : `${own} ${name}`,
      command,
      usage: CommandDescriptor.getUsage(command)
    }))
  })

export const pagesOf = (...commands: Parameters<typeof leavesOf>) =>
  leavesOf(...commands).map(({ command, name, usage }) => {
    const blocks = blocksOf(CommandDescriptor.getHelp(command, CliConfig.make({ showBuiltIns: false })))
    const described = blocks.filter(({ section }) => section === "DESCRIPTION").map(({ text }) => text)
    const [description = "", example] = described.join(" ").split(/ ?Example: /)
    const entries = (wanted: string): ReadonlyArray<Entry> =>
      blocks.flatMap(({ section, term, text }) => (section === wanted && term !== undefined ? [{ term, text }] : []))
    return {
      name: `zipper ${name}`,
      usage: usageOf(usage).split(" ").slice(1).join(" "),
      description,
      example,
      arguments: entries("ARGUMENTS"),
      options: entries("OPTIONS")
    }
  })

interface Block {
  readonly section: string
  readonly term: string | undefined
  readonly text: string
}

const blocksOf = (doc: HelpDoc.HelpDoc): ReadonlyArray<Block> => {
  let section = ""
  const found: Array<Block> = []
  const walk = (part: HelpDoc.HelpDoc): void => {
    switch (part._tag) {
      case "Empty":
        return
      case "Header":
        section = textOf(part.value)
        return
      case "Paragraph":
        found.push({ section, term: undefined, text: textOf(part.value) })
        return
      case "DescriptionList":
        for (const [span, text] of part.definitions) {
          const term = textOf(span).replace(/^\((.*)\)$/, "$1")
          found.push({ section, term, text: paragraphsOf(text) })
        }
        return
      case "Enumeration":
        for (const element of part.elements) walk(element)
        return
      case "Sequence":
        walk(part.left)
        walk(part.right)
        return
    }
  }
  walk(doc)
  return found
}

const paragraphsOf = (doc: HelpDoc.HelpDoc): string =>
  blocksOf(doc)
    .map(({ text }) => text)
    .filter((text) => !boilerplate.test(text))
    .join(" ")

const textOf = (span: Span.Span): string => withoutColours(HelpDoc.toAnsiText(HelpDoc.p(span))).trim()

const usageOf = (usage: Usage.Usage): string => {
  switch (usage._tag) {
    case "Empty":
      return ""
    case "Mixed":
      return "COMMAND"
    case "Named": {
      const name = usage.names.find((each) => each.startsWith("--")) ?? usage.names[0] ?? ""
      const value = Option.getOrElse(usage.acceptedValues, () => "")
      return [name, value].filter((word) => word !== "").join(" ")
    }
    case "Optional":
    case "Repeated": {
      const inner = usageOf(usage.usage)
      const shown = inner.startsWith("[") ? inner : `[${inner}]`
      return usage._tag === "Repeated" ? `${shown}...` : shown
    }
    case "Alternation":
      return `${usageOf(usage.left)}|${usageOf(usage.right)}`
    case "Concat":
      return [usageOf(usage.left), usageOf(usage.right)].filter((word) => word !== "").join(" ")
  }
}
