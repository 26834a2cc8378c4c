import * as HashMap from "effect/HashMap"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import { causeText, harmless, textOf } from "../domain/Text.ts"
import { hasColour, isUtf8, type StreamName, type Terminal } from "./Terminal.ts"

/** How much is said, and how. */
export interface OutputOptions {
  /** Nothing but errors. */
  readonly quiet: boolean
  readonly debug: boolean
  /** No symbols before lines, even where the locale has them. */
  readonly ascii: boolean
  /** Standard output is for one JSON document; lines go to standard error. */
  readonly json: boolean
}

type Tier = "debug" | "info" | "warning" | "error"

const tierOf = (level: LogLevel.LogLevel): Tier =>
  LogLevel.greaterThanEqual(level, LogLevel.Error)
    ? "error"
    : LogLevel.greaterThanEqual(level, LogLevel.Warning)
      ? "warning"
      : LogLevel.greaterThanEqual(level, LogLevel.Info)
        ? "info"
        : "debug"

const symbols: Readonly<Record<Tier, string>> = {
  debug: "ℹ️ ",
  info: "* ",
  warning: "* warning: ",
  error: "🚨 "
}

const words: Readonly<Record<Tier, string>> = {
  debug: "debug: ",
  info: "* ",
  warning: "* warning: ",
  error: "error: "
}

const colours: Readonly<Record<Tier, readonly [string, string] | undefined>> = {
  debug: ["\x1b[2m", "\x1b[22m"],
  info: undefined,
  warning: ["\x1b[33m", "\x1b[39m"],
  error: ["\x1b[31m", "\x1b[39m"]
}

/** A line in its tier: symbol or word before it, the lines of a long message indented below the first. */
export const line = (
  terminal: Terminal,
  stream: StreamName,
  options: { readonly tier: Tier; readonly ascii: boolean },
  text: string
): string => {
  const prefix = (options.ascii || !isUtf8(terminal.env) ? words : symbols)[options.tier]
  const body = `${prefix}${harmless(text).trimEnd().replace(/\n/g, "\n  ")}`
  const colour = hasColour(terminal, stream) ? colours[options.tier] : undefined
  return colour === undefined ? `${body}\n` : `${colour[0]}${body}${colour[1]}\n`
}

/** Prints records in three tiers (warnings are hidden like info); lines of a folder or dataset begin with its name. */
export const consoleLogger = (options: OutputOptions, terminal: Terminal): Logger.Logger<unknown, void> =>
  Logger.make(({ annotations, cause, logLevel, message }) => {
    const tier = tierOf(logLevel)
    if (tier !== "error" && (options.quiet || (tier === "debug" && !options.debug))) return
    const subject = Option.orElse(HashMap.get(annotations, "folder"), () =>
      HashMap.get(annotations, "dataset")
    )
    const parts = [textOf(message), cause._tag === "Empty" ? "" : causeText(cause)].filter(
      (part) => part !== ""
    )
    const text = [...Option.toArray(Option.map(subject, textOf)), parts.join(": ")].join(": ")
    const stream = tier === "error" || tier === "warning" || options.json ? "stderr" : "stdout"
    terminal.write(stream, line(terminal, stream, { tier, ascii: options.ascii }, text))
  })
