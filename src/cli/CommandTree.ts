import * as CliConfig from "@effect/cli/CliConfig"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
import type * as HelpDoc from "@effect/cli/HelpDoc"
import type * as Span from "@effect/cli/HelpDoc/Span"
import type * as Usage from "@effect/cli/Usage"
import * as Option from "effect/Option"
import { boilerplate } from "./Help.ts"

/** An option or an argument: `-c, --config FILE`, and what it is for. */
export interface Entry {
  readonly term: string
  readonly text: string
}

/** One command as its `--help` has it. */
export interface CommandPage {
  /** "zipper config init". */
  readonly name: string
  /** What goes after the name: "--config FILE [--days N]". */
  readonly usage: string
  readonly description: string
  /** A command line to begin with; undefined when its description has none. */
  readonly example: string | undefined
  readonly arguments: ReadonlyArray<Entry>
  readonly options: ReadonlyArray<Entry>
}

/** A command of the library, whatever its options come to. */
interface AnyCommand {
  readonly descriptor: CommandDescriptor.Command<unknown>
}

/** Everything that can be run: the commands, and in place of one that has commands below it, those. */
export const pagesOf = (commands: ReadonlyArray<AnyCommand>): ReadonlyArray<CommandPage> =>
  commands.flatMap(({ descriptor }) => {
    const [own = ""] = CommandDescriptor.getNames(descriptor)
    return [...CommandDescriptor.getSubcommands(descriptor)].map(([name, command]) =>
      pageOf(name === own ? `zipper ${own}` : `zipper ${own} ${name}`, command)
    )
  })

const pageOf = (name: string, command: CommandDescriptor.Command<unknown>): CommandPage => {
  const blocks = blocksOf(CommandDescriptor.getHelp(command, CliConfig.make({ showBuiltIns: false })))
  const described = blocks.filter(({ section }) => section === "DESCRIPTION").map(({ text }) => text)
  const [description = "", example] = described.join(" ").split(/ ?Example: /)
  const entries = (wanted: string) =>
    blocks
      .filter(({ section, term }) => section === wanted && term !== undefined)
      .map(({ term = "", text }) => ({ term, text }))
  return {
    name,
    usage: usageOf(CommandDescriptor.getUsage(command)).split(" ").slice(1).join(" "),
    description,
    example,
    arguments: entries("ARGUMENTS"),
    options: entries("OPTIONS")
  }
}

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
        for (const [term, text] of part.definitions) {
          found.push({
            section,
            term: textOf(term)
              .trim()
              .replace(/^\((.*)\)$/, "$1"),
            text: paragraphsOf(text)
          })
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

/** The paragraphs of a description, without what the library says of every option of a kind. */
const paragraphsOf = (doc: HelpDoc.HelpDoc): string =>
  blocksOf(doc)
    .map(({ text }) => text)
    .filter((text) => !boilerplate.test(text))
    .join(" ")

const textOf = (span: Span.Span): string => {
  switch (span._tag) {
    case "Text":
    case "URI":
      return span.value
    case "Sequence":
      return textOf(span.left) + textOf(span.right)
    case "Highlight":
    case "Strong":
    case "Weak":
      return textOf(span.value)
  }
}

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
    case "Optional": {
      const inner = usageOf(usage.usage)
      return inner.startsWith("[") ? inner : `[${inner}]`
    }
    case "Repeated": {
      const inner = usageOf(usage.usage)
      return inner.startsWith("[") ? `${inner}...` : `[${inner}]...`
    }
    case "Alternation":
      return `${usageOf(usage.left)}|${usageOf(usage.right)}`
    case "Concat":
      return [usageOf(usage.left), usageOf(usage.right)].filter((word) => word !== "").join(" ")
  }
}
