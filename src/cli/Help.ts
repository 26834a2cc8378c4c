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
 * The library's help for one command without what it says of every option of a kind ("A true or false value."),
 * and with the whole command line in its usage.
 */
export const tidy = (text: string, parents: ReadonlyArray<string>): string => {
  const lines = text
    .replace(/^(?:\x1b\[[0-9;]*m)*zipper(?:\x1b\[[0-9;]*m)*\n\n/, "")
    .split("\n\n")
    .filter((block) => !boilerplate.test(withoutColours(block).trim()))
  return lines
    .join("\n\n")
    .replace(/\$ (?!zipper)/, `$ ${["zipper", ...parents].join(" ")} `)
    .replace(/ --(folder|exclude|ssh-option|role) (\S+)\.\.\./g, " [--$1 $2]...")
}

const boilerplate =
  /^(A true or false value\.|This setting is optional\.|A user-defined piece of text\.|An integer\.|This (?:option|argument) may be repeated zero or more times\.)$/
