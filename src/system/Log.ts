import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import type * as Layer from "effect/Layer"
import * as List from "effect/List"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import { causeText, messageText, quoted } from "../text/Text.ts"
import { explain } from "./Errno.ts"
import { Process } from "./Process.ts"
import { RotatingFile, type RotatingFileSettings } from "./RotatingFile.ts"

type Options = Logger.Logger.Options<unknown>

/** One record on one line: time and level (`stamp`), run, folder, dataset, msg, other annotations, spans, the cause. */
const logfmt = (options: Options, given: { readonly runId?: string; readonly stamp: boolean }): string => {
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
  pairs.push(`msg=${quoted(messageText(options.message))}`)
  for (const [key, value] of [...annotations].sort(([a], [b]) => (a < b ? -1 : 1))) pairs.push(pair(key, value))
  for (const span of List.toArray(options.spans)) {
    pairs.push(pair(span.label, `${options.date.getTime() - span.startTime}ms`))
  }
  if (options.cause._tag !== "Empty") pairs.push(pair("error", causeText(options.cause)))
  return pairs.join(" ")
}

const reserved: ReadonlySet<string> = new Set(["time", "level", "msg"])

const pair = (key: string, value: unknown): string => {
  const name = key.replace(/[^\w.-]/g, "_") || "_"
  const text = messageText([value])
  return `${reserved.has(name) ? `_${name}` : name}=${/^[\w.:/@+,-]+$/.test(text) ? text : quoted(text)}`
}

/** A logger cannot run effects: passes a warning to the other loggers of the record's fiber. */
const warnOthers = (options: Options, self: unknown, message: string): void => {
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

/** Writes every record to `file`. The first failure is reported to the other loggers; each record is tried again. */
const fileLogger = (
  file: RotatingFile,
  options: { readonly path: string; readonly runId?: string }
): Logger.Logger<unknown, void> => {
  const reported = new Set<string>()
  const self: Logger.Logger<unknown, void> = Logger.make((record) => {
    const warnOnce = (what: string, why: string) => {
      if (reported.has(what)) return
      reported.add(what)
      warnOthers(record, self, `log file ${options.path} ${what}: ${why}`)
    }
    try {
      file.append(logfmt(record, { ...options, stamp: true }))
    } catch (cause) {
      warnOnce("cannot be written, lines are missing from it", explain(cause))
    }
    if (file.rotationFailure !== undefined) warnOnce("cannot be rotated and goes on growing", file.rotationFailure)
  })
  return self
}

interface SyslogSettings {
  readonly tag: string
  readonly runId?: string
}

type Severity = "debug" | "info" | "warning" | "err" | "crit"

const sameSeverity = (a: Line, b: Line): boolean => a.severity === b.severity

interface Line {
  readonly severity: Severity
  readonly text: string
  readonly warn: (message: string) => void
}

/** For one `logger`, and for the last lines at the end of the program. */
const timeoutMillis = 5000

/** Bytes of one line: most programs called `logger` would cut it after 1 KiB. */
const lineSize = 64 * 1024

/** Lines that wait at most: a syslog that hangs must not fill the memory. */
const capacity = 10_000

/** Sends batches of equal severity from a fiber of its own. The first failure is reported to the other loggers. */
const syslogLogger = Effect.fnUntraced(function* (settings: SyslogSettings) {
  const { run } = yield* Process
  const queue = yield* Queue.unbounded<Line | "end">()
  const tag = `${settings.tag}[${process.pid}]`
  let reported = false
  let silent = false

  const report = (line: Line, why: string) => {
    if (!reported) line.warn(`syslog gets no lines: ${why}`)
    reported = true
  }

  const logger = { program: "logger", timeoutMillis }
  // util-linux has the option; elsewhere a long line comes in pieces. Other faults of `logger` show when it gets lines.
  const sizeOption = yield* Effect.cached(
    run({ ...logger, args: ["--help"] }).pipe(
      Effect.map(({ stderr, stdout }) => (/--size\b/.test(stdout + stderr) ? ["--size", String(lineSize)] : [])),
      Effect.catchIf(
        ({ reason }) => reason === "Other",
        () => Effect.succeed([])
      )
    )
  )

  const deliver = Effect.fnUntraced(function* (lines: Arr.NonEmptyArray<Line>) {
    const [first] = lines
    if (silent) return
    const stdin = lines.map(({ text }) => `${text}\n`).join("")
    yield* sizeOption.pipe(
      Effect.flatMap((size) => run({ ...logger, args: ["-p", `daemon.${first.severity}`, "-t", tag, ...size], stdin })),
      // Lines about sending lines would never end.
      Logger.withMinimumLogLevel(LogLevel.None),
      Effect.match({
        onFailure: (error) => {
          // Without the program, or with one that hangs, further lines would only cost time.
          silent = error.reason !== "Other"
          report(first, error.message)
        },
        onSuccess: ({ exitCode, stderr }) => {
          if (exitCode !== 0) report(first, `logger ended with status ${exitCode}: ${stderr.trim()}`)
        }
      })
    )
  })

  const drain = Effect.gen(function* () {
    for (;;) {
      const taken = Array.from(yield* Queue.takeBetween(queue, 1, 256))
      const lines = Arr.takeWhile(taken, (line): line is Line => line !== "end")
      if (Arr.isNonEmptyArray(lines)) yield* Effect.forEach(Arr.groupWith(lines, sameSeverity), deliver)
      if (lines.length < taken.length) return
    }
  })

  const self: Logger.Logger<unknown, void> = Logger.make((record) => {
    const line: Line = {
      severity: severities[record.logLevel._tag] ?? "debug",
      text: logfmt(record, { ...settings, stamp: false }),
      warn: (message) => warnOthers(record, self, message)
    }
    if (silent) return
    if (Option.getOrElse(queue.unsafeSize(), () => 0) >= capacity) return report(line, "logger does not keep up")
    queue.unsafeOffer(line)
  })

  yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(drain)), (fiber) =>
    Queue.offer(queue, "end").pipe(
      // Not join: a release must not fail.
      Effect.zipRight(Fiber.await(fiber)),
      Effect.tap((exit) => (Exit.isFailure(exit) ? Effect.logWarning("syslog lacks lines", exit.cause) : Effect.void)),
      Effect.interruptible,
      Effect.timeoutOption(timeoutMillis),
      Effect.zipRight(Fiber.interrupt(fiber))
    )
  )
  return self
})

const severities: Readonly<Partial<Record<LogLevel.LogLevel["_tag"], Severity>>> = {
  Fatal: "crit",
  Error: "err",
  Warning: "warning",
  Info: "info"
}

/** Adds a log file in logfmt that rotates. It is opened when the first line comes. */
export const layerFile = (settings: RotatingFileSettings & { readonly runId?: string }): Layer.Layer<never> =>
  Logger.addScoped(
    Effect.acquireRelease(
      Effect.sync(() => new RotatingFile(settings)),
      (file) =>
        // What close says comes too late for anything but a warning, and must not fail the run.
        Effect.try(() => file.close()).pipe(
          Effect.catchAll(({ error }) =>
            Effect.logWarning(`log file ${settings.path} may lack its last lines: ${explain(error)}`)
          )
        )
    ).pipe(Effect.map((file) => fileLogger(file, settings)))
  )

/** Adds syslog through the program `logger`, facility daemon. Closing waits for the last lines, at most five seconds. */
export const layerSyslog = (settings: SyslogSettings): Layer.Layer<never, never, Process> =>
  Logger.addScoped(syslogLogger(settings))

/** A failure that only costs something later is a warning, which begins with `what`; `otherwise` is the result then. */
export const orWarn =
  <B>(what: string, otherwise: B) =>
  <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A | B, never, R> =>
    Effect.catchAll(effect, ({ message }) => Effect.as(Effect.logWarning(`${what}: ${message}`), otherwise))
