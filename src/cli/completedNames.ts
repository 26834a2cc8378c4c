import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import { defaultFolders, wholeName } from "../config/Config.ts"
import * as JsonText from "../config/JsonText.ts"
import { parseFolderName } from "../source/FolderName.ts"
import { findConfig } from "./configPath.ts"

/**
 * What `zipper --complete KIND [CONFIG]` prints for the completions of a shell: a name a line. CONFIG is as it was typed, with
 * its quotes. Where something fails there are no names: a message would land in the line that the user is typing.
 */
export const completedNames = ([kind = "", typed = ""]: ReadonlyArray<string>): string => {
  try {
    const { path } = findConfig(typed === "" ? undefined : unquoted(typed))
    const names = namesIn(kind, configOf(path)).filter((name) => offered.test(name))
    return [...new Set(names)]
      .sort()
      .map((name) => `${name}\n`)
      .join("")
  } catch {
    return ""
  }
}

/** What a shell makes of a word: quotes, backslashes, `~/` and variables; commands in it are not run. */
export const unquoted = (typed: string, env: Readonly<Record<string, string | undefined>> = process.env): string =>
  typed.replace(
    /^~(?=\/|$)|'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|\\([\s\S])|\$(?:\{(\w+)\}|(\w+))/g,
    (part, single?: string, double?: string, escaped?: string, braced?: string, name?: string) =>
      part === "~"
        ? (env["HOME"] ?? part)
        : (single ??
          (double === undefined ? undefined : inDoubleQuotes(double, env)) ??
          escaped ??
          env[braced ?? name ?? ""] ??
          "")
  )

const inDoubleQuotes = (text: string, env: Readonly<Record<string, string | undefined>>): string =>
  text.replace(
    /\\(["$`\\])|\$(?:\{(\w+)\}|(\w+))/g,
    (_, escaped?: string, braced?: string, name?: string) => escaped ?? env[braced ?? name ?? ""] ?? ""
  )

/** A name that could be typed and is no option. */
const offered = /^(?!-)\P{Cc}+$/u

const maxBytes = 1024 * 1024

/** Not from a pipe: reading would take the text away from the command that is being typed, or wait for it. */
const configOf = (path: string): unknown => {
  const stat = statSync(path)
  if (!stat.isFile() || stat.size > maxBytes) return undefined
  const parsed = JsonText.parse(new TextDecoder().decode(readFileSync(path)))
  return Either.isRight(parsed) ? parsed.right.value : undefined
}

/** Jobs (all, or of one direction) and their datasets, folders of source and target. A mistake elsewhere does not matter here. */
const namesIn = (kind: string, config: unknown): ReadonlyArray<string> => {
  switch (kind) {
    case "datasets":
      return jobsIn(config)
        .flatMap((job) => fieldOf(job, "datasets"))
        .filter(Predicate.isString)
    case "jobs":
    case "pull":
    case "push":
      return jobsIn(config)
        .filter((job) => kind === "jobs" || fieldOf(job, "direction") === kind)
        .map((job) => fieldOf(job, "name"))
        .filter(Predicate.isString)
    case "folders":
      return foldersOf(config, "source_path", () => false)
    case "archives":
      return foldersOf(config, "target_path", (path) => existsSync(`${path}/.state.json`))
    default:
      return []
  }
}

const jobsIn = (config: unknown): ReadonlyArray<unknown> => {
  const jobs = fieldOf(config, "replication")
  return Array.isArray(jobs) ? jobs : []
}

const fieldOf = (value: unknown, key: string): unknown => (Predicate.hasProperty(value, key) ? value[key] : undefined)

/** The folders that `folders` asks for, and those of which `isOurs` says so. */
const foldersOf = (config: unknown, key: string, isOurs: (path: string) => boolean): ReadonlyArray<string> => {
  const path = fieldOf(config, key)
  const pattern = fieldOf(config, "folders")
  if (typeof path !== "string" || !path.startsWith("/")) return []
  const wanted = wholeName(typeof pattern === "string" ? pattern : defaultFolders)
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && parseFolderName(entry.name) !== undefined)
    .map(({ name }) => name)
    .filter((name) => wanted.test(name) || isOurs(`${path}/${name}`))
}
