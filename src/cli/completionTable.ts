import { roles } from "../zfs/Allow.ts"
import { pagesOf, type Topic } from "./help.ts"

/** The shells that there are completions for; sh takes those of bash. */
export const shells = ["bash", "zsh", "fish", "sh"] as const

/** What the completions are made of. */
export interface CompletionSource {
  readonly commands: Parameters<typeof pagesOf>[0]
  readonly topics: ReadonlyArray<Topic>
  /** The commands that `zipper schema` takes. */
  readonly documented: ReadonlyArray<string>
}

/** What is offered for a value: `of` are words, or for names what `zipper --complete` calls them. */
export interface Values {
  readonly kind: "text" | "files" | "directories" | "hosts" | "users" | "names" | "words" | "phrases"
  readonly of: ReadonlyArray<string>
  /** As it is called in the help: FILE. */
  readonly placeholder: string
}

interface CompletedOption {
  readonly names: ReadonlyArray<string>
  readonly repeated: boolean
  /** Undefined for a flag. */
  readonly values: Values | undefined
  readonly text: string
}

/** A place in the tree: "" before any command, "config" before its commands, "config init". */
export interface Place {
  readonly words: string
  readonly commands: ReadonlyArray<Topic>
  readonly options: ReadonlyArray<CompletedOption>
  readonly arguments: ReadonlyArray<{ readonly values: Values; readonly repeated: boolean }>
}

/** The places of the tree, the first one that of no command. */
export const tableOf = ({ commands, documented, topics }: CompletionSource): ReadonlyArray<Place> => {
  const leaves = topics.flatMap(({ name }) => pagesOf(commands).filter((page) => page.name === `zipper ${name}`))
  const names = topics.map(({ name }) => name)
  const places = leaves.map((page): Place => {
    const words = page.name.replace("zipper ", "")
    const value = (placeholder: string, isArgument: boolean) =>
      valuesOf(
        placeholder,
        words,
        isArgument,
        words === "schema" ? documented : [...names, "config", "replication", "hooks", "freebsd"]
      )
    return {
      words,
      commands: [],
      options: [
        ...page.options.map(({ term, text }): CompletedOption => {
          const [, long = term, placeholder, dots] =
            /^(.*?)(?: (\S+?)(\.\.\.)?)?$/.exec(term.replaceAll(", ", ",")) ?? []
          const values = placeholder === undefined ? undefined : value(placeholder, false)
          return { names: long.split(","), repeated: dots !== undefined, values, text: shortened(text) }
        }),
        help
      ],
      arguments: page.arguments.map(({ term }) => ({
        values: value(term.replace(/[<>]|\.\.\.$/g, ""), true),
        repeated: term.endsWith("...")
      }))
    }
  })
  const groups = [...new Set(names.flatMap((name) => (name.includes(" ") ? [name.split(" ", 1)[0] ?? ""] : [])))]
  const below = (group: string): ReadonlyArray<Topic> =>
    topics.flatMap(({ name, summary }) =>
      name.startsWith(`${group} `) ? [{ name: name.slice(group.length + 1), summary }] : []
    )
  const root: Place = {
    words: "",
    commands: [
      ...topics.filter(({ name }) => !name.includes(" ")),
      ...groups.map((name) => ({
        name,
        summary: below(name)
          .map((topic) => topic.name)
          .join(", ")
      }))
    ],
    // Without a command it is `run`.
    options: [...(places.find(({ words }) => words === "run")?.options ?? []), shellOption, versionOption],
    arguments: []
  }
  const helpPlace = { commands: [], options: [], arguments: [{ values: phrases(names), repeated: true }] }
  return [
    root,
    ...help.names.map((words): Place => ({ ...helpPlace, words })),
    ...groups.map((words): Place => ({ words, commands: below(words), options: [help], arguments: [] })),
    ...places
  ]
}

const valuesOf = (
  placeholder: string,
  command: string,
  isArgument: boolean,
  commands: ReadonlyArray<string>
): Values => {
  const values = (kind: Values["kind"], ...of: ReadonlyArray<string>): Values => ({ kind, of, placeholder })
  if (placeholder.includes("COMMAND")) return { ...phrases(commands), placeholder }
  if (/^[a-z]+(?:\|[a-z]+)+$/.test(placeholder)) return values("words", ...placeholder.split("|"))
  switch (placeholder) {
    case "FILE":
      return values("files")
    case "DIR":
      return values("directories")
    case "TARGET":
      return values(command === "recover" ? "text" : "directories")
    case "DATASET":
      return command === "recover" ? values("names", "datasets") : values("text")
    case "HOST":
      return values("hosts")
    case "USER":
      return values("users")
    case "ROLE":
      return values("words", ...roles)
    case "NAME":
      return values("names", command === "pull" || command === "push" ? command : "jobs")
    case "ABCD":
      return values("names", isArgument ? "archives" : "folders")
    default:
      return values("text")
  }
}

/** Names of commands, some of two words: each word is completed by itself. */
const phrases = (of: ReadonlyArray<string>): Values => ({ kind: "phrases", of, placeholder: "COMMAND" })

const flag = (text: string, ...names: ReadonlyArray<string>): CompletedOption => ({
  names,
  repeated: false,
  values: undefined,
  text
})

const help = flag("explain the command", "--help", "-h")
const versionOption = flag("print the version", "--version")
const shellOption: CompletedOption = {
  ...flag("print completions", "--completions"),
  values: { kind: "words", of: shells.filter((shell) => shell !== "sh"), placeholder: "SHELL" }
}

const shortened = (text: string): string => text.split(/[.:;](?: |$)/, 1)[0] ?? ""
