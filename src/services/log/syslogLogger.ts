import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import { Process } from "../Process.ts"
import { logfmt, warnOthers } from "./Entry.ts"

/** How lines reach syslog. */
export interface SyslogSettings {
  /** What lines are tagged with, before the process id. */
  readonly tag: string
  readonly runId?: string
}

type Severity = "debug" | "info" | "warning" | "err" | "crit"

interface Line {
  readonly severity: Severity
  readonly text: string
  /** Tells the other loggers of the record's fiber. */
  readonly warn: (message: string) => void
}

/** How long one `logger` may take, and how long the end of the program waits for the last lines. */
const patience = "5 seconds"
const patienceMillis = 5000

/** Bytes of one line: most programs called `logger` would cut it after 1 KiB. */
const lineSize = 64 * 1024

/** No more lines than this wait: a syslog that hangs must not eat the memory. */
const capacity = 10_000

/**
 * Sends every record to syslog through `logger`, facility daemon, in batches of equal severity, from a fiber
 * of its own, so that nobody waits for it. When the scope closes, what is left is sent first, for at most five
 * seconds. What goes wrong is told once to the other loggers.
 */
export const syslogLogger = Effect.fnUntraced(function* (settings: SyslogSettings) {
  const { run } = yield* Process
  const queue = yield* Queue.unbounded<Line | "end">()
  const tag = `${settings.tag}[${process.pid}]`
  let told = false
  let silent = false

  const complain = (line: Line, why: string) => {
    if (told) return
    told = true
    line.warn(`syslog gets no lines: ${why}`)
  }

  const call = (args: ReadonlyArray<string>, stdin?: string) =>
    run({
      program: "logger",
      args,
      timeoutMillis: patienceMillis,
      ...(stdin === undefined ? {} : { stdin })
    })

  // util-linux has the option; elsewhere a long line comes in pieces. What else is wrong with `logger` shows when it gets lines.
  const sizeOption = yield* Effect.cached(
    call(["--help"]).pipe(
      Effect.map(({ stderr, stdout }) =>
        /--size\b/.test(stdout + stderr) ? ["--size", String(lineSize)] : []
      ),
      Effect.catchIf(
        ({ reason }) => reason === "Other",
        () => Effect.succeed([])
      )
    )
  )

  const deliver = Effect.fnUntraced(function* (lines: ReadonlyArray<Line>) {
    const [first] = lines
    if (first === undefined || silent) return
    const stdin = lines.map(({ text }) => `${text}\n`).join("")
    yield* sizeOption.pipe(
      Effect.flatMap((size) => call(["-p", `daemon.${first.severity}`, "-t", tag, ...size], stdin)),
      // Lines about sending lines would never end.
      Logger.withMinimumLogLevel(LogLevel.None),
      Effect.match({
        onFailure: (error) => {
          // Without the program, or with one that hangs, further lines would only cost time.
          silent = error.reason !== "Other"
          complain(first, error.message)
        },
        onSuccess: ({ exitCode, stderr }) => {
          if (exitCode !== 0) complain(first, `logger ended with status ${exitCode}: ${stderr.trim()}`)
        }
      })
    )
  })

  const drain = Effect.gen(function* () {
    for (;;) {
      const taken = Array.from(yield* Queue.takeBetween(queue, 1, 256))
      const end = taken.indexOf("end")
      const lines = (end < 0 ? taken : taken.slice(0, end)).filter((line) => line !== "end")
      for (const batch of batches(lines)) yield* deliver(batch)
      if (end >= 0) return
    }
  })

  const self: Logger.Logger<unknown, void> = Logger.make((record) => {
    const line: Line = {
      severity: severityOf(record.logLevel),
      text: logfmt(record, { ...settings, stamp: false }),
      warn: (message) => warnOthers(record, self, message)
    }
    if (silent) return
    if (Option.getOrElse(queue.unsafeSize(), () => 0) >= capacity)
      return complain(line, "logger does not keep up")
    queue.unsafeOffer(line)
  })

  yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(drain)), (fiber) =>
    Queue.offer(queue, "end").pipe(
      // Not join: a release must not fail, whatever became of the fiber.
      Effect.zipRight(Fiber.await(fiber)),
      Effect.tap((exit) =>
        Exit.isFailure(exit) ? Effect.logWarning("syslog lacks lines", exit.cause) : Effect.void
      ),
      Effect.interruptible,
      Effect.timeoutOption(patience),
      Effect.zipRight(Fiber.interrupt(fiber))
    )
  )
  return self
})

const severityOf = (level: LogLevel.LogLevel): Severity => {
  switch (level._tag) {
    case "Fatal":
      return "crit"
    case "Error":
      return "err"
    case "Warning":
      return "warning"
    case "Info":
      return "info"
    default:
      return "debug"
  }
}

/** Runs of lines with the same severity, in order. */
const batches = (lines: ReadonlyArray<Line>): ReadonlyArray<ReadonlyArray<Line>> => {
  const all: Array<Array<Line>> = []
  for (const line of lines) {
    const last = all.at(-1)
    if (last !== undefined && last[0]?.severity === line.severity) last.push(line)
    else all.push([line])
  }
  return all
}
