import { wrapped } from "../text/Text.ts"
import { commandTree } from "./app.ts"
import { type Block, configManual, programManual } from "./manual.ts"

/** The manual pages by their file, in the macros of man(7). `date` is the day on which they were made, `2025-01-01`. */
export const manualPages = async (
  version: string,
  date: string
): Promise<Readonly<Record<"zipper.1" | "zipper.json.5", string>>> => ({
  "zipper.1": page(`.TH ZIPPER 1 ${date} "zipper ${version}" "User Commands"`, programManual(await commandTree())),
  "zipper.json.5": page(`.TH ZIPPER.JSON 5 ${date} "zipper ${version}" "File Formats"`, configManual())
})

const page = (title: string, blocks: ReadonlyArray<Block>): string =>
  `${[title, ...blocks.flatMap((block, index) => roffOf(block, blocks[index - 1]))].join("\n")}\n`

const roffOf = (block: Block, before: Block | undefined): ReadonlyArray<string> => {
  switch (block.kind) {
    case "section":
      return [`.SH ${argument(block.text)}`]
    case "subsection":
      return [`.SS ${argument(block.text)}`]
    case "usage":
      return command(block.text)
    case "text":
      // The first paragraph of a section needs no beginning.
      return before?.kind === "section" ? lines(block.text) : [".PP", ...lines(block.text)]
    case "typed":
      return verbatim(block.lines)
    case "entry":
      return [".TP", (block.isOption ? optionTerm : bold)(block.term), ...lines(block.text)]
  }
}

const escapes: Readonly<Record<string, string>> = {
  "\\": "\\e",
  "-": "\\-",
  "`": "\\(ga",
  "'": "\\(aq",
  "~": "\\(ti",
  "^": "\\(ha"
}

const escaped = (text: string): string =>
  text.replace(
    /[\\`'~^-]|[^\x00-\x7f]/gu,
    (char) => escapes[char] ?? `\\[u${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}]`
  )

/** A line that begins with a dot would be a macro. */
const line = (text: string): string => escaped(text).replace(/^\./, "\\&.")

/** Text to be filled: each sentence begins a line, so that the space after it is right, and no line is long. */
export const lines = (text: string): ReadonlyArray<string> =>
  text.split(/(?<=[.?!:]) (?=\p{Lu})/u).flatMap((sentence) => wrapped(sentence, 70, "").map(line))

const argument = (text: string): string => `"${escaped(text).replaceAll('"', "\\(dq")}"`

export const verbatim = (typed: ReadonlyArray<string>) => [".PP", ".RS 4", ".nf", ...typed.map(line), ".fi", ".RE"]

const bold = (text: string): string => `\\fB${escaped(text)}\\fR`
const italic = (text: string): string => `\\fI${escaped(text)}\\fR`

/** `-c, --config FILE`: what is typed is bold, a placeholder italic. */
const optionTerm = (text: string): string =>
  text
    .replaceAll(/<([^>]*)>/g, "$1")
    .split(/([\s,|[\]().…]+)/)
    .map((word) => (/^[A-Z][A-Z=]*$/.test(word) ? italic(word) : /\w/.test(word) ? bold(word) : escaped(word)))
    .join("")

/** A synopsis: each option with its value on a line, further in than the name where it does not fit. */
const command = (text: string): ReadonlyArray<string> => {
  const [name = "", ...parts] = text.split(/ (?=-|\[|<)/)
  // Dots at the end of a line would be taken for the end of a sentence.
  return [".HP 4", ...[name, ...parts].map((part) => optionTerm(part).replace(/\.$/, ".\\&"))]
}
