/** The few macros of man(7) that the manual page needs. Text goes in as it is, lines of roff come out. */

const escaped = (text: string): string =>
  text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("`", "\\(ga")
    .replaceAll("'", "\\(aq")
    .replaceAll("~", "\\(ti")
    .replaceAll("^", "\\(ha")
    .replace(
      /[^\x00-\x7f]/gu,
      (char) => `\\[u${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}]`
    )

/** One line of text as it is: one that begins with a dot would be a macro. */
const line = (text: string): string => escaped(text).replace(/^\./, "\\&.")

const width = 70

/** Text to be filled: each sentence begins a line, so that the space after it is right, and no line is long. */
export const lines = (text: string): ReadonlyArray<string> =>
  text.split(/(?<=[.?!:]) (?=\p{Lu})/u).flatMap((sentence) => {
    const found: Array<string> = []
    let current = ""
    for (const word of sentence.split(" ")) {
      if (current !== "" && current.length + word.length >= width) {
        found.push(current)
        current = word
      } else {
        current = current === "" ? word : `${current} ${word}`
      }
    }
    return [...found, current].map(line)
  })

/** What is given to a macro. */
export const argument = (text: string): string => `"${escaped(text).replaceAll('"', "\\(dq")}"`

export const section = (title: string, body: ReadonlyArray<string>): ReadonlyArray<string> => [
  `.SH ${argument(title)}`,
  // The first paragraph of a section needs no beginning.
  ...(body[0] === ".PP" ? body.slice(1) : body)
]

export const paragraph = (text: string): ReadonlyArray<string> => [".PP", ...lines(text)]

/** Lines that are typed, as they are. */
export const verbatim = (typed: ReadonlyArray<string>): ReadonlyArray<string> => [
  ".PP",
  ".RS 4",
  ".nf",
  ...typed.map(line),
  ".fi",
  ".RE"
]

const bold = (text: string): string => `\\fB${escaped(text)}\\fR`
const italic = (text: string): string => `\\fI${escaped(text)}\\fR`

/** A name that is typed as it is. */
export const literal = bold

/** `-c, --config FILE`: what is typed is bold, what stands for something else italic. */
export const term = (text: string): string =>
  text
    .replaceAll(/<([^>]*)>/g, "$1")
    .split(/([\s,|[\]().…]+)/)
    .map((word) =>
      /^[A-Z][A-Z=]*$/.test(word) ? italic(word) : /\w/.test(word) ? bold(word) : escaped(word)
    )
    .join("")

/** A command line to be filled in, each option with its value on a line; where it does not fit, further in than the name. */
export const command = (text: string): ReadonlyArray<string> => {
  const [name = "", ...parts] = text.split(/ (?=-|\[|<)/)
  // Dots at the end of a line would be taken for the end of a sentence.
  return [".HP 4", ...[name, ...parts].map((part) => term(part).replace(/\.$/, ".\\&"))]
}

export const page = (parts: ReadonlyArray<string | ReadonlyArray<string>>): string =>
  `${parts.flat().join("\n")}\n`
