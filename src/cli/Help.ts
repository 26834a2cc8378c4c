import { withoutColours } from "./Output.ts"

/** A command in the overview: its name and what it does. */
export interface Topic {
  readonly name: string
  readonly summary: string
}

/** What `zipper`, `zipper --help` and `zipper -h` print: at most 80 columns, one line a command. */
export const overview = (version: string, topics: ReadonlyArray<Topic>): string => {
  const width = Math.max(...topics.map(({ name }) => name.length)) + 2
  return `zipper ${version}: verified zips of a ZFS dataset's folders, and replication, from cron.

Usage: zipper COMMAND [OPTIONS]
       zipper --config FILE [OPTIONS]      the same as zipper run --config FILE

Commands:
${topics.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`).join("\n")}

  --completions SHELL   print completions for bash, zsh or fish
  --version             print the version

Each command tells more with --help, for example: zipper run --help
First steps: zipper demo, then zipper config init.`
}

/**
 * The library's help for one command without what it says of every option of a kind ("A true or false value."), with the
 * whole command line in its usage, its example under a heading of its own, and no line longer than 80 columns.
 */
export const tidy = (text: string, parents: ReadonlyArray<string>): string => {
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
      // What is said of an option or argument stands right below it.
      .replace(/\n\n {2}(?=\S)/g, "\n  ")
      .split("\n")
      .map((line) => (line.startsWith("$ ") ? wrappedUsage(line) : wrapped(line.split(" "))))
      .join("\n")
  )
}

const bold = (text: string): string => `\x1b[0;1m${text}\x1b[0m`

const width = 80

/** The words in lines, those after the first indented like what it says (after a name in a list), and by `more`. */
const wrapped = (words: ReadonlyArray<string>, more = ""): string => {
  const begin = /^ {2}[a-z-]+ {2,}|^ */.exec(words.join(" "))?.[0] ?? ""
  const indent = `${" ".repeat(begin.length)}${more}`
  const lines: Array<string> = []
  let line: string | undefined
  for (const word of words) {
    const longer: string = line === undefined ? word : `${line} ${word}`
    if (line === undefined || line.trim() === "" || withoutColours(longer).length <= width) {
      line = longer
    } else {
      lines.push(line)
      line = `${indent}${word}`
    }
  }
  return [...lines, line ?? ""].join("\n")
}

// An option and its value stay on one line.
const wrappedUsage = (line: string): string =>
  wrapped(line.match(/\[[^\]]*\]\S*|\([^)]*\)|\S+/g) ?? [], "    ")

/** What the library says of every option of a kind. */
export const boilerplate =
  /^(A true or false value\.|This setting is optional\.|A user-defined piece of text\.|An integer\.|This (?:option|argument) may be repeated zero or more times\.)$/
