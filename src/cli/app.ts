import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import { isCommandMismatch, isValidationError, type ValidationError } from "@effect/cli/ValidationError"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import { ExitStatus } from "../system/ExitStatus.ts"
import { didYouMean, quoted } from "../text/Text.ts"
import { commandLength, knownOptionsOf, optionsFirst, optionsOf, withDefaultCommand } from "./arguments.ts"
import { version } from "./build.ts"
import { completions } from "./completions.ts"
import { shells } from "./completionTable.ts"
import { Stop } from "./exit.ts"
import { formatHelp, leavesOf, overview, type Topic } from "./help.ts"
import type { Tree } from "./manual.ts"
import { fatal, plainUnlessTerminal } from "./output.ts"
import { outputProblem, processTerminal } from "./terminal.ts"

/** The commands in the order of the overview. */
const topics: ReadonlyArray<Topic> = [
  { name: "run", summary: "archive the folders that changed" },
  { name: "status", summary: "show what is archived and replicated, and what is overdue" },
  { name: "check", summary: "look at everything a run depends on; changes nothing" },
  { name: "verify", summary: "read archives back: is every byte of them good?" },
  { name: "report", summary: "write a web page about the runs so far" },
  { name: "ls", summary: "list what is in an archive" },
  { name: "restore", summary: "put archived folders' content back" },
  { name: "notify-test", summary: "send a test message" },
  { name: "config init", summary: "write a configuration: asks, or goes by options" },
  { name: "config validate", summary: "name every mistake in a configuration" },
  { name: "config show", summary: "print the effective configuration, secrets hidden" },
  { name: "pull", summary: "replicate datasets of another host to this one" },
  { name: "push", summary: "replicate datasets to another host" },
  { name: "recover", summary: "bring a replica back as a working dataset, or look at it" },
  { name: "prune", summary: "destroy old snapshots of replicas" },
  { name: "prepare", summary: "make the dataset that replicas are written below" },
  { name: "delegate", summary: "print or set the rights of a user who is not root" },
  { name: "suspend", summary: "publish over MQTT that the backup hosts may suspend" },
  { name: "schema", summary: "print the JSON Schema of a command's --json, or of config" },
  { name: "demo", summary: "show zipper at work on a sample, with ZFS or without" },
  { name: "help", summary: "show the manual: of a command, of the configuration, all of it" }
]

/** A command is loaded when it is asked for: all of them take 10 MiB and a twentieth of the time of a short run. */
const loaders = {
  run: async () => (await import("./commands/run.ts")).run,
  status: async () => (await import("./commands/status.ts")).status,
  check: async () => (await import("./commands/check.ts")).check,
  verify: async () => (await import("./commands/verify.ts")).verify,
  report: async () => (await import("./commands/report.ts")).report,
  ls: async () => (await import("./commands/ls.ts")).ls,
  restore: async () => (await import("./commands/restore.ts")).restore,
  "notify-test": async () => (await import("./commands/messages.ts")).notifyTest,
  config: async () => (await import("./commands/config.ts")).config,
  pull: async () => (await import("./commands/replicate.ts")).pull,
  push: async () => (await import("./commands/replicate.ts")).push,
  recover: async () => (await import("./commands/recover.ts")).recover,
  prune: async () => (await import("./commands/prune.ts")).prune,
  prepare: async () => (await import("./commands/delegate.ts")).prepare,
  delegate: async () => (await import("./commands/delegate.ts")).delegate,
  suspend: async () => (await import("./commands/messages.ts")).suspend,
  schema: async () => (await import("./commands/schema.ts")).schema,
  demo: async () => (await import("./commands/demo.ts")).demo,
  help: async () => (await import("./commands/help.ts")).makeHelp(manualTree)
}

// Not a value: the commands have `help` among them.
async function manualTree(): Promise<Tree> {
  return commandTree()
}

const isCommand = (word: string): word is keyof typeof loaders => Object.hasOwn(loaders, word)

/** The command tree, for parsing, completions and the manual page; of one command, if `word` is one. */
export const commandTree = async (word = "") => {
  const { run, ...others } = loaders
  const commands = isCommand(word)
    ? ([await loaders[word]()] as const)
    : ([await run(), ...(await Promise.all(Object.values(others).map((load) => load())))] as const)
  return { commands, topics }
}

type Commands = Awaited<ReturnType<typeof commandTree>>["commands"]

/**
 * Runs the command line `process.argv`. Reports a mistake in it once, on standard error, and fails with the library's
 * ValidationError; a command that ends with a status fails with Stop.
 */
export const zipper = Effect.fnUntraced(function* (argv: ReadonlyArray<string>) {
  // The command itself reports every failure; for longer than this function, since the fiber ends after it.
  yield* FiberRef.set(FiberRef.unhandledErrorLogLevel, Option.none())
  const given = withDefaultCommand(argv.slice(2))
  if (asksForOverview(given)) return yield* print(overview(version, topics))
  const { commands } = yield* Effect.promise(() => commandTree(given[0]))
  const parsed = readable(given, commands)
  const args = Either.getOrElse(parsed, () => given)
  const refused = refusal(args) ?? Option.getOrUndefined(Either.getLeft(parsed))
  if (refused !== undefined) {
    yield* fatal(`${refused}\n${hintFor(args)}`, asksFor(args))
    return yield* new Stop({ status: ExitStatus.usage })
  }
  if ([args[0], args[commandLength(args)]].includes("--version")) return yield* print(version)
  if (args[0] === "--completions") return yield* completionScript(commands, args[1])
  const parents = args.slice(0, commandLength(args) - 1)
  const root = Command.make("zipper").pipe(Command.withSubcommands(commands))
  const cli = Command.run(root, { name: "zipper", version, executable: "zipper" })
  const help: Array<string> = []
  yield* Console.consoleWith((console) =>
    cli([...argv.slice(0, 2), ...args]).pipe(
      Effect.tapError((error) => (isValidationError(error) ? explain(error, args) : Effect.void)),
      // The library prints its help in colour wherever it goes, and its errors before it fails with them.
      Console.withConsole({
        ...console,
        log: (...lines) => Effect.sync(() => help.push(...lines.map((line) => formatHelp(String(line), parents)))),
        error: () => Effect.void
      }),
      Effect.provide(CliConfig.layer({ showBuiltIns: false }))
    )
  )
  if (help.length > 0) yield* print(plainUnlessTerminal(help.join("\n")))
})

/** Prints help, version or completions: there is no Output yet. */
const print = Effect.fnUntraced(function* (text: string) {
  const cause = processTerminal().write("stdout", `${text}\n`)
  if (cause === undefined) return
  yield* fatal(outputProblem(cause), { json: false })
  yield* new Stop({ status: ExitStatus.someFailed })
})

const readable = (args: ReadonlyArray<string>, commands: Commands): Either.Either<ReadonlyArray<string>, string> => {
  const words = commandLength(args)
  const name = args.slice(0, words).join(" ")
  const command = leavesOf(commands).find((leaf) => leaf.name === name)
  if (command === undefined || args[words] === "--help") return Either.right(args)
  const known = knownOptionsOf(command.usage)
  const sorted = optionsFirst(args.slice(words), known, name)
  if (Either.isLeft(sorted)) return sorted
  const rest = sorted.right
  const [word] = known.takesNames || !rest.includes("--") ? [] : rest.slice(rest.indexOf("--") + 1)
  return word === undefined ? Either.right([...args.slice(0, words), ...rest]) : Either.left(misplaced(name, word))
}

/** Why a command that takes options alone does not take this word, and where it belongs. */
const misplaced = (command: string, word: string): string =>
  isCommand(word)
    ? `options go after the command: zipper ${word} …`
    : `zipper ${command} takes options alone, and not ${quoted(word)}`

const asksForOverview = ([first, second]: ReadonlyArray<string>): boolean =>
  first === undefined || (second === undefined && first === "--help")

const completionScript = Effect.fnUntraced(function* (commands: Commands, shell = "") {
  const { documents } = yield* Effect.promise(() => import("./commands/schema.ts"))
  const documented = [...Object.keys(documents), "hook"]
  yield* print(completions(shell, { commands, topics, documented }, process.argv[1] ?? "zipper") ?? "")
})

/** Why a command line is refused that the library would answer with help. */
const refusal = (args: ReadonlyArray<string>): string | undefined => {
  if (!isKnown(args)) return unknownCommand(args)
  if (args[0] === "--completions" && (args.length !== 2 || shells.every((shell) => shell !== args[1]))) {
    return `--completions: "${args.slice(1).join(" ")}" is none of bash, zsh, fish`
  }
  return undefined
}

const isKnown = ([first = "", second = "--help"]: ReadonlyArray<string>): boolean =>
  first.startsWith("-") ||
  (isCommand(first) &&
    (first !== "config" || second === "--help" || topics.some(({ name }) => name === `config ${second}`)))

/** Whether a wrong command line asks for the document of `--json`. */
const asksFor = (args: ReadonlyArray<string>) => ({ json: optionsOf(args).includes("--json") })

const hintFor = (args: ReadonlyArray<string>): string => {
  const command = [args.slice(0, 2).join(" "), args[0]].find((words) => topics.some(({ name }) => name === words))
  return command === undefined ? "`zipper --help` lists the commands" : `\`zipper ${command} --help\` lists its options`
}

const explain = (error: ValidationError, args: ReadonlyArray<string>) => {
  const text = isCommandMismatch(error)
    ? unknownCommand(args)
    : HelpDoc.toAnsiText(error.error)
        .trim()
        .replace(/\n\s*\n\s*/g, "\n")
        .replace(/^Expected to find option: '(.*)'$/gm, "$1: is missing")
        .replace(/^Received unknown argument: '(.*)'$/s, (_, name: string) => `one name too many: ${quoted(name)}`)
  return fatal(`${text}\n${hintFor(args)}`, asksFor(args))
}

// The library lists the commands, but does not show the unknown word.
const unknownCommand = (args: ReadonlyArray<string>): string => {
  const known = [...topics.map(({ name }) => name), "config", "--help", "--version"]
  if (args[0] === "config" && commandLength(args) === 1) return "options of config go after init, validate or show"
  const word = args.slice(0, commandLength(args)).join(" ")
  return `unknown command: ${word}${didYouMean(known, word)}`
}
