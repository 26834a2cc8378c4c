import * as Either from "effect/Either"
import { cronLines } from "../../src/check/Crontab.ts"
import * as Config from "../../src/config/Config.ts"
import * as ConfigRender from "../../src/config/ConfigExample.ts"
import * as JsonText from "../../src/config/JsonText.ts"
import { jobFromConfig } from "../../src/config/ReplicationJob.ts"
import * as Glob from "../../src/text/Glob.ts"
import { shellWords } from "../../src/text/Text.ts"
import * as Ssh from "../../src/zfs/Endpoint.ts"
import { asText, holds, type Target } from "./Target.ts"

// What the operator gives, and what is made of it for other programs.

/** Stands for a secret in the corpus. */
const secret = "tOKEn"

const config: Target = {
  name: "config",
  check: (bytes) => {
    const text = asText(bytes)
    const read = JsonText.parse(text)
    const plain = builtIn(text)
    if (Either.isLeft(read)) {
      const { column, line, message } = read.left
      holds(line >= 1 && line <= text.split("\n").length && column >= 1, "a mistake is nowhere")
      holds(!message.includes(secret), "a mistake tells a secret")
      holds(plain === undefined || /nested too deeply/.test(message), `refused: ${message}`)
      return
    }
    const { mistakes, value } = read.right
    holds(!mistakes.some(({ message }) => message.includes(secret)), "a mistake tells a secret")
    // JSON with comments is read as well; what is JSON has the same value.
    const same = plain === undefined || JSON.stringify(plain.value) === JSON.stringify(value)
    holds(same || mistakes.some(({ message }) => /second time/.test(message)), "another value")
    const decoded = Config.decode(value)
    if (Either.isLeft(decoded)) {
      holds(decoded.left.length > 0, "it is wrong, and nothing is said")
      for (const issue of decoded.left) {
        holds(!/[\n\x1b]/.test(issue), `a line of a mistake: ${issue}`)
        holds(misplaced(value) || !issue.includes(secret), `a mistake tells a secret: ${issue}`)
      }
      return
    }
    const { gotify: _, ...rest } = decoded.right
    const shown = ConfigRender.render(rest)
    holds(!shown.includes(secret), "what is shown tells a secret")
    // What is shown is a configuration that says the same.
    const again = Config.decode(JSON.parse(shown.replace(/<hidden>/g, "https://hc-ping.com/hidden")))
    holds(Either.isRight(again), "what is shown is no configuration")
    for (const key of ["source_path", "umask", "retries", "log_keep"] as const) {
      holds(again.right[key] === rest[key], `${key} is shown as another`)
    }
    for (const job of rest.replication) {
      const { remote } = jobFromConfig(job)
      const { args } = Ssh.commandOn(remote, { program: "true", args: [] })
      // Between these, ssh takes each as what it is.
      const end = args.indexOf("--")
      holds(end === args.length - 3 && args[end + 1]?.startsWith("-") === false, "a host is an option")
    }
  }
}

/** Whether the secret stands where none is looked for. */
const misplaced = (value: unknown, key = ""): boolean => {
  if (typeof value === "string") return value.includes(secret) && !/^(token|password|ping_url)$/.test(key)
  if (typeof value !== "object" || value === null) return false
  return Object.entries(value).some(([name, inner]) => name.includes(secret) || misplaced(inner, name))
}

const builtIn = (text: string): { readonly value: unknown } | undefined => {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}

/** The first line is the configuration's path, the others are arguments. */
const shell: Target = {
  name: "shell",
  check: (bytes) => {
    const [path = "", ...rest] = asText(bytes).replaceAll("\0", "").split("\n")
    const words = [path, ...rest]
    const line = shellWords(words)
    holds(JSON.stringify(wordsOf(line)) === JSON.stringify(words), `sh takes ${line} for something else`)
    // Neither may csh: it looks for history before it looks for quotes.
    holds(!/(^|[^\\])!/.test(line), "csh would look for history")
    const place = {
      platform: "linux",
      user: "root",
      zipper: "/usr/local/bin/zipper",
      node: undefined,
      config: path
    }
    for (const { line: cron, shell: command } of cronLines(place, {
      archive: true,
      lockfile: `/run/${rest[0] ?? ""}.lock`,
      replication: []
    })) {
      holds(!cron.includes("\n"), "a line for cron is two")
      const field = cron.split(" ").slice(6).join(" ")
      holds(asCronReadsIt(field) === command, `cron takes ${field} for something else`)
      holds(wordsOf(command).includes(path), "the configuration is another one")
    }
  }
}

/** What cron hands to sh: an unescaped % ends it, and before an escaped one the backslash goes. */
const asCronReadsIt = (field: string): string => {
  const end = /(^|[^\\])%/.exec(field)
  return (end === null ? field : field.slice(0, end.index + 1)).replaceAll("\\%", "%")
}

/** The words of a line, as sh has them: of its syntax what words for a shell use. */
const wordsOf = (line: string): ReadonlyArray<string> => {
  const words: Array<string> = []
  let word: string | undefined
  for (let at = 0; at < line.length; at += 1) {
    const char = line.charAt(at)
    if (char === " ") {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (char === "'") {
      const end = line.indexOf("'", at + 1)
      holds(end !== -1, "a quote is open")
      word = (word ?? "") + line.slice(at + 1, end)
      at = end
    } else if (char === "\\") {
      at += 1
      word = (word ?? "") + line.charAt(at)
    } else {
      holds(!/[\s|&;<>()$`"*?[\]{}#~^!]/.test(char), `${char} is not quoted`)
      word = (word ?? "") + char
    }
  }
  return word === undefined ? words : [...words, word]
}

/** The first line is the pattern, the others are names. */
const glob: Target = {
  name: "glob",
  check: (bytes) => {
    const [pattern = "", ...names] = asText(bytes).split("\n")
    const matches = Glob.matcher(pattern)
    const path = Glob.pathMatcher(pattern)
    for (const name of names) {
      // A pattern of nothing special means its name.
      if (!/[*?\\]/.test(pattern) && pattern.includes("/")) holds(matches(name) === (name === pattern), "another name")
      const first = matches(name)
      path(name)
      holds(matches(name) === first, "it says now this, now that")
    }
  }
}

export const given: ReadonlyArray<Target> = [config, shell, glob]
