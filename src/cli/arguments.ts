import type { Usage } from "@effect/cli/Usage"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { didYouMean, quoted } from "../text/Text.ts"

/** What asks for a text of the program itself, wherever it stands among the options; by what is typed, what the library takes. */
const builtIn = new Map([
  ["--help", "--help"],
  ["-h", "--help"],
  ["--version", "--version"]
])

/**
 * `zipper --config F …` is `run`, as in the crontabs of the script that zipper replaces; `--help run` is `run --help`, which
 * {@link optionsFirst} also makes of `run --config F --help`.
 */
export const withDefaultCommand = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const [first = "", ...rest] = args
  if (first.startsWith("--completions")) return [...first.split("="), ...rest]
  const asked = builtIn.get(first)
  if (asked === "--help" && rest.some((word) => !builtIn.has(word))) return [...withDefaultCommand(rest), asked]
  if (asked !== undefined) return [asked]
  const whole = first.startsWith("-") ? ["run", ...args] : args
  const length = commandLength(whole)
  const next = builtIn.get(whole[length] ?? "")
  return next === undefined ? whole : [...whole.slice(0, length), next]
}

/** The words before `--`. */
export const optionsOf = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
  args.includes("--") ? args.slice(0, args.indexOf("--")) : args

/** How many words the name of the command has. */
export const commandLength = ([first, second = "-"]: ReadonlyArray<string>): number =>
  first === "config" && !second.startsWith("-") ? 2 : 1

/** What a command takes: names, and options by what follows them, each with the first name of the same option. */
export interface KnownOptions {
  /** A value; the last one counts, as with ssh. */
  readonly once: ReadonlyMap<string, string>
  /** A value, each time. */
  readonly several: ReadonlyMap<string, string>
  /** No value; one that is given again says nothing new. */
  readonly flags: ReadonlyMap<string, string>
  readonly takesNames: boolean
}

export const knownOptionsOf = (usage: Usage): KnownOptions => {
  const names = () => new Map<string, string>()
  const known = { once: names(), several: names(), flags: names(), takesNames: false }
  const walk = (part: Usage, valued: Map<string, string>): void => {
    if (part._tag === "Optional") walk(part.usage, valued)
    else if (part._tag === "Repeated") walk(part.usage, known.several)
    else if (part._tag === "Concat" || part._tag === "Alternation") {
      walk(part.left, valued)
      walk(part.right, valued)
    } else if (part._tag === "Named") {
      const [first = ""] = part.names
      // The command itself is among them by its bare name, and names as <FOLDER>.
      if (first.startsWith("<")) known.takesNames = true
      if (!first.startsWith("-")) return
      for (const name of part.names) (Option.isSome(part.acceptedValues) ? valued : known.flags).set(name, first)
    }
  }
  walk(usage, known.once)
  return known
}

/**
 * Sorts the arguments of a command: options first, each value a word of its own, then `--` and the names; or only `--help` or
 * `--version` where one of them is asked for. The library itself reads `--dry-run n` as "no dry run", drops a last option without
 * its value, and takes an unknown option for a name. Left: the first thing that is wrong. `command`: for the message.
 */
export const optionsFirst = (
  args: ReadonlyArray<string>,
  { flags, once, several }: KnownOptions,
  command: string
): Either.Either<ReadonlyArray<string>, string> => {
  const single = new Map<string, string>()
  const given = new Set<string>()
  const options: Array<string> = []
  const names: Array<string> = []
  const problems: Array<string> = []
  const words = [...args]
  const isKnown = (word: string) => [flags, once, several].some((some) => some.has(word))
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const [name = word, ...joined] = word.startsWith("--") ? word.split("=") : [word]
    const asked = builtIn.get(word)
    if (asked !== undefined) return Either.right([asked])
    if (word === "--") {
      names.push(...words.splice(0))
    } else if (once.has(name) || several.has(name)) {
      const isJoined = joined.length > 0
      const [next = ""] = isJoined ? [joined.join("=")] : words
      // A joined value belongs to its option, also when it looks like one; a folder may be called -rf.
      if (next === "") problems.push(`${name}: its value is missing`)
      else if (!isJoined && (next.startsWith("--") || isKnown(next)))
        problems.push(`${name}: its value is missing; what follows it is ${next}`)
      else {
        if (!isJoined) words.shift()
        if (several.has(name)) options.push(name, next)
        else single.set(once.get(name) ?? name, next)
      }
    } else if (flags.has(name)) {
      const [next] = joined.length > 0 ? joined : words
      if (joined.length > 0 || next === "true" || next === "false") {
        problems.push(`${name}: takes no value such as ${quoted(next ?? "")}; give the option alone, or leave it out`)
      }
      given.add(flags.get(name) ?? name)
    } else if (word.startsWith("-")) {
      const known = [once, several, flags].flatMap((some) => [...some.keys()])
      problems.push(
        `unknown option ${name} of \`zipper ${command}\`${elseMeant(name, known, flags.has(name.replace("--no-", "--")))}`
      )
    } else {
      names.push(word)
    }
  }
  const [problem] = problems
  if (problem !== undefined) return Either.left(problem)
  return Either.right([...given, ...options, ...[...single].flat(), ...(names.length > 0 ? ["--", ...names] : [])])
}

const elseMeant = (name: string, known: ReadonlyArray<string>, isOpposite: boolean): string => {
  const opposite = name.replace("--", "--no-")
  if (known.includes(opposite)) return `; it is the default, and ${opposite} turns it off`
  if (isOpposite) return `; without ${name.replace("--no-", "--")} it is off`
  return (
    didYouMean(known, name) ||
    (/^-[^-]./.test(name) ? "; write short options one by one, and a name that begins with a dash after --" : "")
  )
}
