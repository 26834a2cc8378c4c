import * as Cause from "effect/Cause"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import * as List from "effect/List"
import type * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { causeText, quoted, textOf } from "../../domain/Text.ts"

type Options = Logger.Logger.Options<unknown>

/**
 * One record as logfmt, on one line whatever it says: `time`, `level`, `run`, `folder`, `dataset`, `msg`, then the other
 * annotations, spans and the cause. Without `stamp`, time and level are left out.
 */
export const logfmt = (
  options: Options,
  given: { readonly runId?: string; readonly stamp: boolean }
): string => {
  const annotations = new Map(HashMap.toEntries(options.annotations))
  const leading = { run: given.runId, folder: undefined, dataset: undefined }
  const pairs: Array<string> = given.stamp
    ? [`time=${options.date.toISOString()}`, `level=${options.logLevel._tag.toLowerCase()}`]
    : []
  for (const [key, standIn] of Object.entries(leading)) {
    const value = annotations.get(key) ?? standIn
    annotations.delete(key)
    if (value !== undefined) pairs.push(pair(key, value))
  }
  pairs.push(`msg=${quoted(textOf(options.message))}`)
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
  const text = textOf([value])
  return `${taken.has(name) ? `_${name}` : name}=${/^[\w.:/@+,-]+$/.test(text) ? text : quoted(text)}`
}

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
