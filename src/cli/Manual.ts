import { type CommandPage, type Entry, pagesOf } from "./CommandTree.ts"
import * as text from "./manualText.ts"
import * as Roff from "./Roff.ts"
import { commands, topics } from "./Zipper.ts"

/**
 * The manual page, `zipper.1`, in the macros of man(7): what the commands say of themselves, and what belongs to none of them.
 * `date` is the day it was made, `2025-01-01`.
 */
export const manual = (version: string, date: string): string => {
  const pages = inOrder(pagesOf(commands))
  const common = commonOf(pages)
  return Roff.page([
    `.TH ZIPPER 1 ${date} "zipper ${version}" "User Commands"`,
    Roff.section("NAME", Roff.lines(`zipper - ${text.purpose}`)),
    Roff.section("SYNOPSIS", text.synopses.flatMap(Roff.command)),
    Roff.section("DESCRIPTION", text.description.flatMap(Roff.paragraph)),
    Roff.section("OPTIONS", [
      ...Roff.paragraph("Every command takes these; they go after the command, in any order."),
      ...common.flatMap(entry),
      ...text.general.flatMap(entry)
    ]),
    Roff.section(
      "COMMANDS",
      pages.flatMap((page) => command(page, common))
    ),
    Roff.section("FILES", text.files.flatMap(literal)),
    Roff.section("ENVIRONMENT", text.environment.flatMap(literal)),
    Roff.section("EXIT STATUS", text.statuses.flatMap(literal)),
    Roff.section(
      "EXAMPLES",
      text.examples.flatMap(({ typed, what }) => [...Roff.paragraph(what), ...Roff.verbatim(typed)])
    ),
    Roff.section("SEE ALSO", Roff.lines(text.seeAlso))
  ])
}

/** As in the overview. */
const inOrder = (pages: ReadonlyArray<CommandPage>): ReadonlyArray<CommandPage> => {
  const order = topics.map(({ name }) => `zipper ${name}`)
  return [...pages].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
}

/** Options that every command has, in the same words. */
const commonOf = ([first, ...others]: ReadonlyArray<CommandPage>): ReadonlyArray<Entry> =>
  (first?.options ?? []).filter((option) => others.every(({ options }) => has(options, option)))

const has = (entries: ReadonlyArray<Entry>, wanted: Entry): boolean =>
  entries.some(({ term, text: words }) => term === wanted.term && words === wanted.text)

const command = (page: CommandPage, common: ReadonlyArray<Entry>): ReadonlyArray<string> => [
  `.SS ${Roff.argument(page.name)}`,
  ...Roff.command(`${page.name} ${withoutCommon(page.usage, common)}`.trim()),
  ...Roff.paragraph(page.description),
  ...page.arguments.flatMap(entry),
  ...page.options.filter((option) => !has(common, option)).flatMap(entry),
  ...(page.example === undefined ? [] : [...Roff.paragraph("Example:"), ...Roff.verbatim([page.example])])
]

const withoutCommon = (usage: string, common: ReadonlyArray<Entry>): string => {
  const names = new Set(common.flatMap(({ term }) => term.split(", ")))
  return usage
    .split(/ (?=[[<-])/)
    .filter((word) => !names.has(word.replace(/^\[(.*)\]$/, "$1")))
    .join(" ")
}

const entry = ({ term, text: words }: Entry): ReadonlyArray<string> => [
  ".TP",
  Roff.term(term),
  ...Roff.lines(words)
]

/** Like an entry, of a name that is typed as it is. */
const literal = ({ term, text: words }: Entry): ReadonlyArray<string> => [
  ".TP",
  Roff.literal(term),
  ...Roff.lines(words)
]
