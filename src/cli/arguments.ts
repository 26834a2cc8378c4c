import type { Usage } from "@effect/cli/Usage"
import * as Either from "effect/Either"
import * as Option from "effect/Option"

const builtIn: ReadonlySet<string> = new Set(["--help", "-h", "--version", "--completions"])

/** `zipper --config F …` is `run`, as in the crontabs of the script that zipper replaces; `zipper --help run` is `run --help`. */
export const withDefaultCommand = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const [first, ...others] = args
  if (first === undefined || !first.startsWith("-")) return args
  if ((first === "--help" || first === "-h") && others.length > 0) return [...others, first]
  const name = first.split("=", 1)[0] ?? first
  return builtIn.has(name) ? args : ["run", ...args]
}

export interface ValueOptions {
  /** The last one counts, as with ssh. */
  readonly once: ReadonlySet<string>
  readonly several: ReadonlySet<string>
}

export const valueOptionsOf = (usage: Usage): ValueOptions => {
  const once = new Set<string>()
  const several = new Set<string>()
  const walk = (part: Usage, found: Set<string>): void => {
    if (part._tag === "Optional") walk(part.usage, found)
    else if (part._tag === "Repeated") walk(part.usage, several)
    else if (part._tag === "Concat" || part._tag === "Alternation") {
      walk(part.left, found)
      walk(part.right, found)
    } else if (part._tag === "Named" && Option.isSome(part.acceptedValues)) {
      for (const name of part.names) found.add(name)
    }
  }
  walk(usage, once)
  return { once, several }
}

/**
 * Sorts the arguments of a command with names: options first, each value a word of its own, then `--` and the names. The library
 * itself reads `--dry-run n` as "no dry run" and drops a last option without its value. Left: what is wrong.
 */
export const optionsFirst = (
  args: ReadonlyArray<string>,
  { once, several }: ValueOptions
): Either.Either<ReadonlyArray<string>, string> => {
  const single = new Map<string, string>()
  const options: Array<string> = []
  const names: Array<string> = []
  const words = [...args]
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const [name = word, ...joined] = word.startsWith("--") ? word.split("=") : [word]
    if (word === "--") {
      names.push(...words.splice(0))
    } else if (once.has(name) || several.has(name)) {
      const value = joined.length > 0 ? joined.join("=") : words.shift()
      // A joined value belongs to its option, also when it looks like one.
      const problem = valueProblem(value, joined.length > 0)
      if (value === undefined || problem !== undefined) return Either.left(`${name}: its value is missing${problem}`)
      if (several.has(name)) options.push(name, value)
      else single.set(name, value)
    } else if (word.startsWith("-")) {
      const [next] = words
      if (next === "true" || next === "false") {
        return Either.left(`${word}: takes no ${next}; give the option or leave it out`)
      }
      // First, since the library takes all that follows an unknown option for names, and the error needs its document.
      if (word === "--json") options.unshift(word)
      else options.push(word)
    } else {
      names.push(word)
    }
  }
  return Either.right([...options, ...[...single].flat(), ...(names.length > 0 ? ["--", ...names] : [])])
}

/** To go after "its value is missing". */
const valueProblem = (value: string | undefined, isJoined: boolean): string | undefined => {
  if (value === undefined || value === "") return ""
  return !isJoined && /^-(?:-|[A-Za-z])/.test(value) ? `; what follows it is ${value}` : undefined
}
