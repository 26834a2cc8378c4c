import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { ExitStatus } from "../system/ExitStatus.ts"
import { errorsDocument } from "../text/Document.ts"
import { causeText, messageText, visibleJson, withoutControls } from "../text/Text.ts"
import { Stop, stopUnless } from "./exit.ts"
import { hasColour, isUtf8, outputProblem, processTerminal, type StreamName, type Terminal } from "./terminal.ts"

export interface OutputOptions {
  readonly quiet: boolean
  readonly debug: boolean
  /** No symbols before lines, even where the locale has them. */
  readonly ascii: boolean
  /** Standard output is for one JSON document; lines go to standard error. */
  readonly json: boolean
  /** Lines go to standard error, so that standard output holds what was printed alone. */
  readonly apart?: boolean
}

/** How records of a level, and above it, are printed. `word` stands for the symbol where the locale has none. */
interface Tier {
  readonly level: LogLevel.LogLevel
  readonly symbol: string
  readonly word: string
  readonly colour: readonly [on: string, off: string]
}

const debug: Tier = { level: LogLevel.All, symbol: "ℹ️ ", word: "debug: ", colour: ["\x1b[2m", "\x1b[22m"] }
const info: Tier = { level: LogLevel.Info, symbol: "* ", word: "* ", colour: ["", ""] }
const warning: Tier = {
  level: LogLevel.Warning,
  symbol: "* warning: ",
  word: "* warning: ",
  colour: ["\x1b[33m", "\x1b[39m"]
}
const error: Tier = { level: LogLevel.Error, symbol: "🚨 ", word: "error: ", colour: ["\x1b[31m", "\x1b[39m"] }

const tierOf = (level: LogLevel.LogLevel): Tier =>
  [error, warning, info].find((tier) => LogLevel.greaterThanEqual(level, tier.level)) ?? debug

/** A line in its tier: symbol or word before it, the lines of a long message indented below the first. */
const line = (terminal: Terminal, stream: StreamName, { colour, symbol, word }: Tier, ascii: boolean, text: string) => {
  const [on, off] = hasColour(terminal, stream) ? colour : ["", ""]
  const prefix = ascii || !isUtf8(terminal.env) ? word : symbol
  return `${on}${prefix}${withoutControls(text).trimEnd().replace(/\n/g, "\n  ")}${off}\n`
}

/** Whether a line has said that standard output takes nothing. */
interface Lost {
  isSaid: boolean
}

/**
 * Prints records in three tiers (warnings are hidden like info); lines of a folder or dataset begin with its name. That standard
 * output takes none is said once: alone it fails no run; see {@link requireOutput}.
 */
const consoleLogger = (options: OutputOptions, terminal: Terminal, lost: Lost): Logger.Logger<unknown, void> =>
  Logger.make(({ annotations, cause, logLevel, message }) => {
    const tier = tierOf(logLevel)
    if (tier !== error && (options.quiet || (tier === debug && !options.debug))) return
    const subject = Option.orElse(HashMap.get(annotations, "folder"), () => HashMap.get(annotations, "dataset"))
    const parts = [messageText(message), cause._tag === "Empty" ? "" : causeText(cause)].filter((part) => part !== "")
    const text = [...Option.toArray(Option.map(subject, messageText)), parts.join(": ")].join(": ")
    const stream = tier === error || tier === warning || options.json || options.apart === true ? "stderr" : "stdout"
    const problem = terminal.write(stream, line(terminal, stream, tier, options.ascii, text))
    if (problem === undefined || stream === "stderr" || lost.isSaid) return
    lost.isSaid = true
    terminal.write("stderr", line(terminal, "stderr", error, options.ascii, outputProblem(problem)))
  })

/** A message for each failure, without a stack, and for each defect, with its stack if `debug`. None for Stop and interruptions. */
const messagesOf = (cause: Cause.Cause<unknown>, debug: boolean): ReadonlyArray<string> => [
  ...Array.from(Cause.failures(cause))
    .filter((error) => !(error instanceof Stop))
    .map(messageOf),
  ...Array.from(Cause.defects(cause), (defect) => {
    const what = `internal error: ${messageOf(defect)} (please report)`
    return debug && defect instanceof Error && defect.stack !== undefined ? `${what}\n${defect.stack}` : what
  })
]

const messageOf = (error: unknown): string => {
  if (typeof error === "object" && error !== null && "message" in error && typeof error.message === "string") {
    if (error.message !== "") return error.message
    if ("_tag" in error && typeof error._tag === "string") return error._tag
    return error instanceof Error ? error.name : "unknown error"
  }
  return Inspectable.toStringUnknown(error, 0)
}

class OutputError extends Data.TaggedError("OutputError")<{
  readonly message: string
  readonly cause: unknown
}> {}

/** What failed is {@link Stop} where a line has said it. */
type NotPrinted = OutputError | Stop

export const logUnlessSaid = (error: NotPrinted): Effect.Effect<void> =>
  error instanceof Stop ? Effect.void : Effect.logError(error.message)

/** Prints the result of a command on standard output. Messages go through the log (Effect.logInfo …). */
export class Output extends Context.Tag("zipper/Output")<
  Output,
  {
    readonly options: OutputOptions
    readonly terminal: Terminal
    readonly colour: boolean
    /** Stops the command with status 1 where standard output took not everything, and a line has said so. */
    readonly required: Effect.Effect<void, Stop>
    /** Prints the result as text, also when quiet, but not with `--json`. */
    readonly print: (text: string) => Effect.Effect<void, NotPrinted>
    /** Prints the one JSON document of `--json`. */
    readonly json: (document: unknown) => Effect.Effect<void, NotPrinted>
    /** The same in parts, each of whole lines; the last one has to follow, also after an error. */
    readonly jsonPart: (text: string) => Effect.Effect<void, NotPrinted>
    /** Logs each failure as an error. With `--json` the failures are the document, unless one was printed. */
    readonly report: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
    /** Why the command ends early: with `--json` it is the document, unless one was printed. */
    readonly gaveUp: (why: string) => Effect.Effect<void>
  }
>() {
  static readonly layer = (options: OutputOptions, terminal: Terminal = processTerminal()): Layer.Layer<Output> => {
    const lost = { isSaid: false }
    return Layer.mergeAll(
      Layer.sync(Output, () => makeOutput(options, terminal, lost)),
      Logger.replace(Logger.defaultLogger, consoleLogger(options, terminal, lost)),
      Logger.minimumLogLevel(options.debug ? LogLevel.Debug : LogLevel.Info)
    )
  }
}

const makeOutput = (options: OutputOptions, terminal: Terminal, lost: Lost): typeof Output.Service => {
  let documents = 0
  const write = (text: string) =>
    Effect.suspend((): Effect.Effect<void, NotPrinted> => {
      const cause = terminal.write("stdout", text.endsWith("\n") ? text : `${text}\n`)
      if (cause === undefined) return Effect.void
      if (lost.isSaid) return new Stop({ status: ExitStatus.someFailed })
      lost.isSaid = true
      return new OutputError({ message: outputProblem(cause), cause })
    })
  const jsonPart = (text: string) =>
    Effect.suspend(() => {
      documents += 1
      return write(text)
    })
  const json = (document: unknown) => Effect.suspend(() => jsonPart(visibleJson(document)))
  const refuse = ([first, ...others]: ReadonlyArray<string>) =>
    Effect.suspend(() =>
      options.json && documents === 0 && first !== undefined
        ? Effect.catchAll(json(errorsDocument(first, ...others)), logUnlessSaid)
        : Effect.void
    )
  return {
    options,
    terminal,
    colour: hasColour(terminal, "stdout"),
    required: Effect.suspend(() => stopUnless(!lost.isSaid)),
    print: (text) => (options.json ? Effect.void : write(text)),
    json,
    jsonPart,
    report: Effect.fnUntraced(function* (cause: Cause.Cause<unknown>) {
      const messages = messagesOf(cause, options.debug)
      yield* Effect.forEach(messages, (message) => Effect.logError(message), { discard: true })
      yield* refuse(messages)
    }),
    gaveUp: (why) => refuse([why])
  }
}

/** With `--json`: prints the document, encoded by its schema. One that does not fit the schema is a defect. */
export const printDocument = Effect.fnUntraced(function* <A, I>(schema: Schema.Schema<A, I>, document: NoInfer<A>) {
  const { json, options } = yield* Output
  if (options.json) yield* json(yield* Effect.orDie(Schema.encode(schema)(document)))
})

/** {@link Output.required}, at the end of a command whose lines are its result. */
export const requireOutput = Effect.flatMap(Output, ({ required }) => required)

/** What prints the document of a run that ended too soon, before the error would be the document. */
export const documentUnfinished = <A, I>(schema: Schema.Schema<A, I>) =>
  Effect.map(
    Output,
    (output) => (document: NoInfer<A>) =>
      printDocument(schema, document).pipe(Effect.catchAll(logUnlessSaid), Effect.provideService(Output, output))
  )

export const reportCause = (cause: Cause.Cause<unknown>): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, ({ report }) => report(cause))

/** Prints an error before there is an {@link Output}: the command line is not parsed yet. */
export const fatal = (
  message: string,
  options: { readonly json: boolean },
  terminal: Terminal = processTerminal()
): Effect.Effect<void> =>
  Effect.sync(() => {
    terminal.write("stderr", line(terminal, "stderr", error, false, message))
    if (options.json) terminal.write("stdout", `${visibleJson(errorsDocument(message))}\n`)
  })

/** Text of the CLI library, which always colours it. */
export const plainUnlessTerminal = (text: string): string =>
  hasColour(processTerminal(), "stdout") ? text : withoutColours(text)

export const withoutColours = (text: string): string => text.replace(/\x1b\[[0-9;]*m/g, "")
