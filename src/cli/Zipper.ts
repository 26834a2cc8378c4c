import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import { isCommandMismatch, isValidationError, type ValidationError } from "@effect/cli/ValidationError"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { closest, distance } from "fastest-levenshtein"
import { ExitStatus } from "../domain/ExitStatus.ts"
import { unmistakable, withDefaultCommand } from "./Arguments.ts"
import { check } from "./check.ts"
import { mendCompletions } from "./completions.ts"
import { config } from "./config.ts"
import { delegate } from "./delegate.ts"
import { demo } from "./demo.ts"
import { Stop } from "./Exit.ts"
import { overview, type Topic, tidy } from "./Help.ts"
import { notifyTest } from "./notifyTest.ts"
import { fatal, plainUnlessTerminal } from "./Output.ts"
import { prepare } from "./prepare.ts"
import { prune } from "./prune.ts"
import { pull } from "./pull.ts"
import { push } from "./push.ts"
import { valued } from "./replicationOptions.ts"
import { run } from "./run.ts"
import { suspend } from "./suspend.ts"
import { version } from "./version.ts"

const topics: ReadonlyArray<Topic> = [
  { name: "run", summary: "archive the folders that changed" },
  { name: "check", summary: "look at everything a run depends on; changes nothing" },
  { name: "notify-test", summary: "send a test message through Gotify" },
  { name: "config init", summary: "write an example configuration" },
  { name: "config validate", summary: "name every mistake in a configuration" },
  { name: "config show", summary: "print the effective configuration, secrets hidden" },
  { name: "pull", summary: "replicate datasets of another host to this one" },
  { name: "push", summary: "replicate datasets to another host" },
  { name: "prune", summary: "destroy old snapshots of replicas" },
  { name: "prepare", summary: "make the dataset that replicas are written below" },
  { name: "delegate", summary: "tell or set the rights of a user who is not root" },
  { name: "suspend", summary: "tell the backup hosts over MQTT that they may suspend" },
  { name: "demo", summary: "show the job at work on a sample; needs no ZFS" }
]

const root = Command.make("zipper").pipe(
  Command.withSubcommands([
    run,
    check,
    notifyTest,
    config,
    pull,
    push,
    prune,
    prepare,
    delegate,
    suspend,
    demo
  ])
)

const cli = Command.run(root, { name: "zipper", version, executable: "zipper" })

/**
 * The whole command line: takes `process.argv`. A mistake in it is told once, on standard error, and fails with
 * the library's ValidationError; a command that ends with a status fails with Stop.
 */
export const zipper = (argv: ReadonlyArray<string>) => {
  const given = withDefaultCommand(argv.slice(2))
  if (asksForOverview(given)) return Console.log(overview(version, topics))
  const parsed = readable(given)
  const args = Either.getOrElse(parsed, () => given)
  const refused = refusal(args) ?? Option.getOrUndefined(Either.getLeft(parsed))
  if (refused !== undefined) {
    return Effect.zipRight(
      fatal(`${refused}\n${hintFor(args)}`, asksFor(args)),
      new Stop({ status: ExitStatus.usage })
    )
  }
  const parents = args[0] === "config" && !args[1]?.startsWith("-") ? ["config"] : []
  const mended = args[0]?.startsWith("--completions")
    ? mendCompletions
    : (text: string) => tidy(text, parents)
  return Console.consoleWith((console) =>
    cli([...argv.slice(0, 2), ...args]).pipe(
      Effect.tapError((error) => (isValidationError(error) ? explain(error, args) : Effect.void)),
      // The library prints its help in colour wherever it goes, and its errors before it fails with them.
      Console.withConsole({
        ...console,
        log: (...lines) => console.log(...lines.map((line) => plainUnlessTerminal(mended(String(line))))),
        error: () => Effect.void
      }),
      Effect.provide(CliConfig.layer({ showBuiltIns: false })),
      // Every failure is told by the command itself.
      Effect.withUnhandledErrorLogLevel(Option.none())
    )
  )
}

/** Commands that take names of datasets beside their options. */
const takingNames: ReadonlySet<string> = new Set(["pull", "push", "prune", "prepare", "delegate"])

const readable = (args: ReadonlyArray<string>): Either.Either<ReadonlyArray<string>, string> => {
  const [name = "", ...rest] = args
  return takingNames.has(name)
    ? Either.map(unmistakable(rest, valued), (words) => [name, ...words])
    : Either.right(args)
}

const asksForOverview = (args: ReadonlyArray<string>): boolean =>
  args.length === 0 || (args.length === 1 && ["--help", "-h", "help"].includes(args[0] ?? ""))

const shells = ["bash", "zsh", "fish", "sh"]

/** What the library would take, and should not: its wizard waits for keys that nobody presses under cron. */
const refusal = (args: ReadonlyArray<string>): string | undefined => {
  if (args.includes("--wizard")) return "unknown option: --wizard"
  if (args[0] === "--completions" && !shells.includes(args[1] ?? "")) {
    return `--completions: "${args[1] ?? ""}" is none of bash, zsh, fish`
  }
  return undefined
}

/** Whether the document of `--json` is wanted, as far as that can be told of a command line that is wrong. */
const asksFor = (args: ReadonlyArray<string>): { readonly json: boolean } => {
  const names = args.indexOf("--")
  return { json: (names === -1 ? args : args.slice(0, names)).includes("--json") }
}

const hintFor = (args: ReadonlyArray<string>): string => {
  const command = [args.slice(0, 2).join(" "), args[0]].find((words) =>
    topics.some(({ name }) => name === words)
  )
  return `zipper ${command === undefined ? "" : `${command} `}--help tells what there is`
}

const explain = (error: ValidationError, args: ReadonlyArray<string>) =>
  fatal(`${isCommandMismatch(error) ? unknownCommand(args) : textOf(error)}\n${hintFor(args)}`, asksFor(args))

const textOf = (error: ValidationError): string =>
  HelpDoc.toAnsiText(error.error).trim() || "short options cannot be joined: write them one by one"

// The library lists the commands, but not the word that was none of them.
const unknownCommand = (args: ReadonlyArray<string>): string => {
  const known = topics.map(({ name }) => name)
  const word = args[0] === "config" && args[1] !== undefined ? `config ${args[1]}` : (args[0] ?? "")
  const nearest = closest(word, known)
  return `unknown command: ${word}${distance(word, nearest) <= 3 ? `; did you mean ${nearest}?` : ""}`
}
