import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import type { Config } from "../config/Config.ts"
import { type Notification, Notifier, NotifyError, type Probed } from "../notify/Notifier.ts"
import { Disk } from "../system/Disk.ts"
import { Process } from "../system/Process.ts"
import { document, errorsDocument, optional, text } from "../text/Document.ts"
import { quoted, shellWords, visibleJson, withoutControls } from "../text/Text.ts"
import { allWell, type RunSummary } from "./ArchiveResult.ts"
import { archiveDocument, withoutMarkdown } from "./MessageTexts.ts"
import { asPreflight, Outcome, shortened } from "./Run.ts"
import { failureOf } from "./superviseRun.ts"

/**
 * Programs of the user: `before` and `after` around the archive job, `failure` for each message. A hook gets a document on standard
 * input, and the texts at its top as variables: ZIPPER_EVENT, ZIPPER_TITLE, … What it prints goes to the log.
 */

export const HookDocument = document({
  event: Schema.Literal("before", "after", "failure", "success", "recovery", "test").annotations({
    description:
      "before and after a run of the archive job; the others say why there is a message, test that of notify-test"
  }),
  host: text("this machine"),
  job: optional(text("archive, or the name of a replication job; not with a test")),
  task: optional(
    Schema.Literal("run", "prune", "verify").annotations({ description: "what was done: run is a pull or push, too" })
  ),
  run: optional(text("id of the run, as in the log; before and after")),
  outcome: optional(Outcome.annotations({ description: "how the run ended; after" })),
  title: optional(text("of the message, one line")),
  message: optional(text("of the message, plain text of several lines")),
  result: optional(
    Schema.Unknown.annotations({
      description:
        "what the command prints with --json (zipper schema run, pull, push, prune, verify); not before a run, with a test, or with a message that an earlier run could not deliver"
    })
  )
})
export type HookDocument = typeof HookDocument.Type

export class HookError extends Data.TaggedError("HookError")<{
  readonly message: string
  readonly transient: boolean
}> {}

export class Hooks extends Context.Tag("zipper/Hooks")<
  Hooks,
  {
    /** The names of the hooks that are configured. Fails when the program of one is not there or may not be executed. */
    readonly probe: Effect.Effect<ReadonlyArray<string>, HookError>
    /** Runs the hook of the event, if there is one, to its end. `briefly`: at most half a minute. */
    readonly run: (about: Omit<HookDocument, "version" | "host">, briefly?: "briefly") => Effect.Effect<void, HookError>
  }
>() {
  static readonly layer = (settings: HookSettings): Layer.Layer<Hooks, never, Process | Disk> =>
    Layer.effect(Hooks, makeHooks(settings))

  /** Names the hooks that would run. */
  static readonly layerDryRun = (settings: HookSettings): Layer.Layer<Hooks, never, Process | Disk> =>
    Layer.effect(
      Hooks,
      Effect.map(makeHooks(settings), ({ probe }) => ({
        probe,
        run: ({ event, title }) => {
          const { name, words } = hookOf(settings, event)
          const what = title === undefined ? "" : `, with the message: ${title}`
          return words === undefined
            ? Effect.void
            : Effect.logInfo(`would run the hook ${name}: ${shellWords(words)}${what}`)
        }
      }))
    )

  /** Sends messages through the hook `failure` too, besides the given Notifier. Fresh: a check builds two, on two Notifiers. */
  static readonly layerNotifier: Layer.Layer<Notifier, never, Hooks | Notifier> = Layer.fresh(
    Layer.effect(
      Notifier,
      Effect.suspend(() => makeNotifier)
    )
  )
}

interface HookSettings extends Partial<Pick<Config, "hooks">>, Pick<Config, "hook_timeout_seconds"> {
  readonly host: string
}

/**
 * Runs `before`, the archive job, and `after` however these two ended; the caller holds the lock. Fails before it runs anything when a
 * program cannot be executed, and when `before` fails. That `after` failed is in the summary.
 */
export const withHooks =
  (run: string) =>
  <E extends { readonly message: string }, R>(job: Effect.Effect<RunSummary, E, R>) =>
    Effect.gen(function* () {
      const hooks = yield* Hooks
      yield* hooks.probe.pipe(
        Effect.mapError(({ message, transient }) => {
          const lines = message.replace(/$/gm, "; nothing was archived")
          return new HookError({ message: lines, transient })
        }),
        asPreflight
      )
      const about = { job: "archive", task: "run", run } as const
      return yield* Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const before = asPreflight(hooks.run({ event: "before", ...about }))
          const exit = yield* Effect.exit(restore(Effect.zipRight(before, job)))
          const end = endOf(exit)
          const after = { event: "after", ...about, ...end } as const
          // A signal has come already: the hook is not interrupted by it, but has less time.
          const ran = yield* Effect.either(
            (end.outcome === "interrupted" ? hooks.run(after, "briefly") : restore(hooks.run(after))).pipe(
              Effect.tapError(({ message }) => Effect.logError(message))
            )
          )
          const summary = yield* exit
          return Either.isRight(ran) ? summary : { ...summary, hook_error: ran.left.message }
        })
      )
    })

const endOf = <E>(exit: Exit.Exit<RunSummary, E>) => {
  if (Exit.isSuccess(exit)) {
    return { outcome: allWell(exit.value) ? "ok" : "failed", result: archiveDocument(exit.value) } as const
  }
  const { error, outcome } = failureOf(exit.cause)
  return { outcome, result: errorsDocument(error) }
}

const hookOf = ({ hooks = {} }: HookSettings, event: HookDocument["event"]) => {
  const name = event === "before" || event === "after" ? event : "failure"
  return { name, words: hooks[name] }
}

/** Seconds for `after` when a signal has come: service managers wait longer than that before they kill. */
const briefSeconds = 30

const makeHooks = Effect.fnUntraced(function* (settings: HookSettings) {
  const { run } = yield* Process
  const disk = yield* Disk
  const { hook_timeout_seconds, host } = settings
  const configured = (["before", "after", "failure"] as const).map((event) => hookOf(settings, event))

  /**
   * Fails where the first line of a script names a program that is not there: the kernel calls the script itself missing.
   * Of a symlink, of a path with other characters than ASCII, and of what `env` looks for, only the start tells.
   */
  const interpreter = Effect.fnUntraced(function* (script: string) {
    const head = (yield* Effect.orElseSucceed(disk.head(script), () => "")) ?? ""
    const [, path] = /^#![ \t]*(\/[\x21-\x7e]+\r?)(?:[ \t\n]|$)/.exec(head) ?? []
    if (path === undefined || (yield* disk.stat(path)) !== undefined) return
    const why = path.endsWith("\r") ? "its lines end as on Windows" : "which is not there"
    const message = `cannot execute ${script}: its first line names ${quoted(path)}, ${why}`
    return yield* Effect.fail({ message, transient: false })
  })

  const probe = Effect.partition(configured, ({ name, words }) => {
    const program = words?.[0]
    return program === undefined
      ? Effect.succeed([])
      : Effect.as(
          Effect.mapError(Effect.zipRight(disk.executable(program), interpreter(program)), (error) =>
            failed(name, error)
          ),
          [name]
        )
  }).pipe(
    Effect.flatMap(([errors, names]) => {
      const message = errors.map((error) => error.message).join("\n")
      return errors.length === 0 ? Effect.succeed(names.flat()) : new HookError({ message, transient: false })
    })
  )

  const start: typeof Hooks.Service.run = Effect.fn("Hooks.run")(function* (about, briefly) {
    const { name, words = [] } = hookOf(settings, about.event)
    const [program, ...args] = words
    if (program === undefined) return
    yield* Effect.logDebug(`hook ${name}: starts ${program}`)
    const log = Runtime.runSync(yield* Effect.runtime())
    const { event, ...rest } = about
    const found: HookDocument = { version: 1, event, host, ...rest }
    const { exitCode, stderr } = yield* run({
      program,
      args,
      cwd: "/",
      env: { LC_ALL: process.env["LC_ALL"], ...variablesOf(found) },
      stdin: `${visibleJson(found)}\n`,
      timeoutMillis: 1000 * (briefly ? Math.min(hook_timeout_seconds, briefSeconds) : hook_timeout_seconds),
      onOutput: limited((line, from) =>
        log((from === "stderr" ? Effect.logWarning : Effect.logInfo)(`hook ${name}: ${line}`))
      )
    }).pipe(
      Effect.mapError(({ message, reason }) => {
        const isLate = reason === "Timeout"
        const limit = isLate && !briefly ? " (hook_timeout_seconds)" : ""
        return failed(name, { message: `${message}${limit}`, transient: isLate })
      })
    )
    if (exitCode === 0) return
    const said = stderr.split("\n").flatMap((line) => line.trim() || [])
    const last = shortened(said.slice(-lastLines).join("; "))
    const message = `${program} ended with status ${exitCode}${last === "" ? "" : `: ${last}`}`
    return yield* failed(name, { message, transient: false })
  })
  return { probe, run: start }
})

/** Of standard error, for the message of a hook that failed. */
const lastLines = 3

const failed = (name: string, { message, transient }: Pick<HookError, "message" | "transient">) =>
  new HookError({ message: `hook ${name}: ${message}`, transient })

/** So many characters of a hook's output are logged, with some for what each line has besides. */
const mostLogged = 100_000
const perLine = 100

const limited = (log: (line: string, from: "stdout" | "stderr") => void) => {
  let left = mostLogged
  return (line: string, from: "stdout" | "stderr") => {
    if (left < 0) return
    left -= line.length + perLine
    if (left < 0) log("it prints more than this, which is not logged", from)
    else log(shortened(line), from)
  }
}

/** The kernel takes 128 KiB of a variable; the whole text is in the document. */
const longestVariable = 16_000

const variablesOf = (found: HookDocument): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(found).flatMap(([key, value]) => {
      if (typeof value !== "string") return []
      const shown = withoutControls(value).slice(0, longestVariable)
      return [[`ZIPPER_${key.toUpperCase()}`, key === "message" ? shown : shown.replaceAll("\n", " ")]]
    })
  )

const makeNotifier = Effect.gen(function* () {
  const hooks = yield* Hooks
  const gotify = yield* Notifier
  const throughHook = ({ about, message, title }: Notification) =>
    hooks
      .run({ event: "failure", title, message: withoutMarkdown(message), ...about })
      .pipe(Effect.mapError(({ message, transient }) => new NotifyError({ reason: "Hook", message, transient })))
  const ways = [
    ...(gotify.mute === true ? [] : [{ way: "gotify" as const, sendBy: gotify.send }]),
    { way: "hook" as const, sendBy: throughHook }
  ]
  const send = Effect.fnUntraced(function* (notification: Notification) {
    const missing = ways.filter(({ way }) => way === notification.only)
    const used = missing.length === 0 ? ways : missing
    const [errors] = yield* Effect.partition(used, ({ sendBy, way }) =>
      Effect.mapError(sendBy(notification), ({ message, reason, transient }) => ({ message, reason, transient, way }))
    )
    const [first] = errors
    if (first === undefined) return
    return yield* new NotifyError({
      reason: first.reason,
      message: errors.map(({ message }) => message).join("; "),
      // Otherwise the next message is not tried, and one way works.
      transient: errors.length === ways.length && errors.every(({ transient }) => transient),
      ...(errors.length < used.length ? { only: first.way } : {})
    })
  })
  return { send, probe: gotify.mute === true ? Effect.succeed<Probed>("Hook") : gotify.probe }
})
