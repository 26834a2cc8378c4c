import * as Cause from "effect/Cause"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import * as Inspectable from "effect/Inspectable"
import * as List from "effect/List"
import type * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Redacted from "effect/Redacted"

type Options = Logger.Logger.Options<unknown>

/** The parts of a message as one text; what is not text as JSON (a Redacted shows nothing of its value). */
export const textOf = (message: unknown): string =>
  (Array.isArray(message) ? message : [message]).map(show).join(" ")

const show = (value: unknown): string => {
  if (value instanceof Error) return value.message
  return Redacted.isRedacted(value) ? String(value) : Inspectable.toStringUnknown(value, 0)
}

/** What a cause says: the message of each failure, and the stack of what nobody expected. */
export const causeText = (cause: Cause.Cause<unknown>): string =>
  Cause.isInterruptedOnly(cause)
    ? "interrupted"
    : [
        ...Array.from(Cause.failures(cause), show),
        ...Array.from(Cause.defects(cause), (defect) =>
          defect instanceof Error ? (defect.stack ?? defect.message) : show(defect)
        )
      ].join("; ")

/**
 * One record as logfmt, on one line whatever it says: `time`, `level`, `run`, `folder`, `msg`, then the other
 * annotations, spans and the cause. Without `stamp`, time and level are left out.
 */
export const logfmt = (
  options: Options,
  given: { readonly runId?: string; readonly stamp: boolean }
): string => {
  const annotations = new Map(HashMap.toEntries(options.annotations))
  const run = annotations.get("run") ?? given.runId
  const folder = annotations.get("folder")
  annotations.delete("run")
  annotations.delete("folder")
  const pairs: Array<string> = given.stamp
    ? [`time=${options.date.toISOString()}`, `level=${options.logLevel._tag.toLowerCase()}`]
    : []
  if (run !== undefined) pairs.push(pair("run", run))
  if (folder !== undefined) pairs.push(pair("folder", folder))
  pairs.push(`msg=${quote(textOf(options.message))}`)
  for (const [key, value] of [...annotations].sort(([a], [b]) => (a < b ? -1 : 1)))
    pairs.push(pair(key, value))
  for (const span of List.toArray(options.spans)) {
    pairs.push(pair(span.label, `${options.date.getTime() - span.startTime}ms`))
  }
  if (options.cause._tag !== "Empty") pairs.push(pair("error", causeText(options.cause)))
  return pairs.join(" ")
}

const taken: ReadonlySet<string> = new Set(["time", "level", "msg"])

const pair = (key: string, value: unknown): string => {
  const name = key.replace(/[^\w.-]/g, "_") || "_"
  const text = show(value)
  return `${taken.has(name) ? `_${name}` : name}=${/^[\w.:/@+,-]+$/.test(text) ? text : quote(text)}`
}

// JSON escapes quotes, backslashes and C0; the rest are other line ends, C1 controls and what turns text around.
const quote = (text: string): string =>
  JSON.stringify(text).replace(
    /[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/**
 * Gives a warning to the loggers that stand beside `self` for this record: a log that does not work must say
 * so somewhere, and a logger cannot run effects.
 */
export const warnOthers = (options: Options, self: unknown, message: string): void => {
  const loggers = FiberRefs.getOrDefault(options.context, FiberRef.currentLoggers)
  for (const logger of HashSet.filter(loggers, (other) => other !== self)) {
    logger.log({
      ...options,
      logLevel: LogLevel.Warning,
      message: [message],
      cause: Cause.empty,
      spans: List.empty(),
      annotations: HashMap.empty()
    })
  }
}
