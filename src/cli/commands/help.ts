import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { showInPager } from "../../system/Process.ts"
import { didYouMean, quoted, wrapped, wrappedWords } from "../../text/Text.ts"
import { command } from "../command.ts"
import { UsageError } from "../exit.ts"
import {
  type Block,
  commandManual,
  configManual,
  freebsdManual,
  hooksManual,
  programManual,
  type Tree
} from "../manual.ts"
import * as options from "../options.ts"
import { Output } from "../output.ts"
import { isUtf8 } from "../terminal.ts"

const words = Args.text({ name: "COMMAND" }).pipe(
  Args.repeated,
  Args.withDescription(
    "The command, as it is typed: run, config init, …; config for the keys of the configuration, replication for all of it; hooks for programs of your own; freebsd for what differs there. Without one, everything."
  )
)

/** `zipper help`: the manual as text, on a terminal through a pager. */
export const makeHelp = (load: () => Promise<Tree>) =>
  Command.make("help", { words, ...options.messages }, (flags) =>
    Effect.gen(function* () {
      const name = flags.words.join(" ")
      const tree = yield* Effect.promise(load)
      const blocks = pageOf(tree, name.toLowerCase())
      if (blocks === undefined) {
        return yield* new UsageError({ command: "help", problems: [unknownPage(tree, name)] })
      }
      const { options, print, terminal } = yield* Output
      const plain = options.ascii || !isUtf8(terminal.env)
      const pager = terminal.isTerminal("stdout") ? (terminal.env["PAGER"] ?? less) : ""
      const text = textOf(blocks, Math.min(terminal.columns("stdout"), widest), pager !== "" && pager !== "cat")
      const shown = plain ? text.replaceAll("…", "...") : text
      if (pager === "" || !(yield* showInPager(pager, shown))) yield* print(withoutBold(shown))
    }).pipe(command(flags))
  ).pipe(
    Command.withDescription(
      "Show the manual: of one command, of the configuration, or all of it; on a terminal through $PAGER or less. Example: zipper help config"
    )
  )

/** The commands about replicas, which `zipper help replication` shows together. */
const replication = ["pull", "push", "prune", "prepare", "delegate"]

/** The pages that are not of one command. */
const pages = new Map<string, (tree: Tree) => ReadonlyArray<Block>>([
  ["config", configManual],
  ["replication", (tree) => replication.flatMap((each) => commandManual(tree, each) ?? [])],
  ["hooks", hooksManual],
  ["freebsd", freebsdManual]
])

const pageOf = (tree: Tree, name: string): ReadonlyArray<Block> | undefined =>
  name === "" ? programManual(tree) : (pages.get(name)?.(tree) ?? commandManual(tree, name))

const unknownPage = ({ topics }: Tree, name: string): string => {
  const known = [...topics.map((topic) => topic.name), ...pages.keys()]
  return `the manual has no ${quoted(name)}${didYouMean(known, name) || `; it has ${known.join(", ")}`}`
}

/** Where there is none, the shell says nothing of it. */
const less = "command -v less >/dev/null || exit 127; exec less"

const widest = 80

/** The manual as text. `bold`: headings are struck twice, as pagers know it from man. */
const textOf = (blocks: ReadonlyArray<Block>, width: number, bold: boolean): string => {
  const strong = (text: string) => (bold ? text.replace(/\S/g, (char) => `${char}\b${char}`) : text)
  const lines = blocks.flatMap((block) => ["", ...linesOf(block, width, strong)])
  return `${lines.slice(1).join("\n")}\n`
}

const linesOf = (block: Block, width: number, strong: (text: string) => string): ReadonlyArray<string> => {
  const indented = (text: string, by: number) => wrapped(`${" ".repeat(by)}${text}`, width, " ".repeat(by))
  switch (block.kind) {
    case "section":
      return [strong(block.text)]
    case "subsection":
      return [`  ${strong(block.text)}`]
    case "usage":
      return wrappedWords(block.text.split(/ (?=-|\[|<)/), width, " ".repeat(8), " ".repeat(4))
    case "text":
      return indented(block.text, 4)
    case "typed":
      return block.lines.map((line) => `        ${line}`)
    case "entry":
      return [`    ${strong(block.term.replace(/[<>]/g, ""))}`, ...indented(block.text, 8)]
  }
}

const withoutBold = (text: string): string => text.replace(/.\x08/g, "")
