import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { consoleLogger, line, type OutputOptions } from "./consoleLogger.ts"
import { messagesOf } from "./failures.ts"
import { hasColour, processTerminal, type Terminal } from "./Terminal.ts"

export type { OutputOptions } from "./consoleLogger.ts"

/** What a command was asked for, on standard output; what it has to say on the way goes through the log (Effect.logInfo …). */
export class Output extends Context.Tag("zipper/Output")<
  Output,
  {
    readonly options: OutputOptions
    /** Whether standard output may be coloured. */
    readonly colour: boolean
    /** Prints text that was asked for (a table, a file), also when quiet. Nothing when a JSON document was asked for instead. */
    readonly print: (text: string) => Effect.Effect<void>
    /** Prints the one JSON document of `--json`. */
    readonly json: (document: unknown) => Effect.Effect<void>
    /** Tells of a failure in the error tier, a line or two each. */
    readonly report: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
  }
>() {
  /** The terminal, in three tiers: replaces the default logger, and lets debug records through only when asked for. */
  static readonly layer = (
    options: OutputOptions,
    terminal: Terminal = processTerminal()
  ): Layer.Layer<Output> =>
    Layer.mergeAll(
      Layer.succeed(Output, {
        options,
        colour: hasColour(terminal, "stdout"),
        print: (text) =>
          Effect.sync(() => {
            if (!options.json) terminal.write("stdout", text.endsWith("\n") ? text : `${text}\n`)
          }),
        json: (document) =>
          Effect.sync(() => terminal.write("stdout", `${JSON.stringify(document, undefined, 2)}\n`)),
        report: (cause) =>
          Effect.forEach(messagesOf(cause, options.debug), (message) => Effect.logError(message), {
            discard: true
          })
      }),
      Logger.replace(Logger.defaultLogger, consoleLogger(options, terminal)),
      Logger.minimumLogLevel(options.debug ? LogLevel.Debug : LogLevel.Info)
    )
}

/** {@link Output}'s report. */
export const reportCause = (cause: Cause.Cause<unknown>): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, ({ report }) => report(cause))

/** Prints an error where there is no {@link Output} yet: before any option is understood. */
export const fatal = (message: string, terminal: Terminal = processTerminal()): Effect.Effect<void> =>
  Effect.sync(() =>
    terminal.write("stderr", line(terminal, "stderr", { tier: "error", ascii: false }, message))
  )

/** Text of a library that always colours, without the colours unless they are wanted on standard output. */
export const plainUnlessTerminal = (text: unknown): unknown =>
  typeof text !== "string" || hasColour(processTerminal(), "stdout") ? text : withoutColours(text)

/** Text without escape sequences for colour. */
export const withoutColours = (text: string): string => text.replace(/\x1b\[[0-9;]*m/g, "")
