import { setPriority } from "node:os"
import * as Command from "@effect/cli/Command"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { YieldWrap } from "effect/Utils"
import { type ArchiveConfig, archiveOf, type Config, umaskOf } from "../config/Config.ts"
import { ConfigError, ConfigFile } from "../config/ConfigFile.ts"
import { RecoverRefusal } from "../replication/RecoverPlan.ts"
import { LockError } from "../runs/Lock.ts"
import { PreflightError, stoppedBySignal } from "../runs/Run.ts"
import { Disk } from "../system/Disk.ts"
import { ExitStatus } from "../system/ExitStatus.ts"
import { notThere } from "./configPath.ts"
import { Stop, UsageError } from "./exit.ts"
import * as options from "./options.ts"
import { Output, reportCause, requireOutput } from "./output.ts"

/** The values of `options.output`. */
type OutputFlags = Command.Command.ParseConfig<typeof options.output>

/**
 * A command of the tree: its `--help` and completions, and a body that gets the values of `own`. Every command takes the
 * options of `options.output` too. `apart`: its messages go to standard error.
 */
export const makeCommand = <
  const Name extends string,
  const Own extends Command.Command.Config,
  Step extends YieldWrap<Effect.Effect<unknown, unknown, unknown>>
>(
  name: Name,
  description: string,
  own: Own,
  body: (flags: Command.Command.ParseConfigValue<Own>) => Generator<Step, unknown, never>,
  apart: (flags: Command.Command.ParseConfigValue<Own>) => boolean = () => false
) =>
  Command.make(name, { own, output: options.output }, (flags) =>
    Effect.gen(() => body(flags.own)).pipe(command({ ...flags.output, dryRun: isDryRun(flags.own) }, apart(flags.own)))
  ).pipe(Command.withDescription(description))

const isDryRun = (flags: object): boolean => "dryRun" in flags && flags.dryRun === true

interface CommandFlags extends Omit<OutputFlags, "json"> {
  readonly json?: boolean
  readonly dryRun?: boolean
}

/**
 * Runs the body of a command with its Output and {@link reportErrors}. With `--json` it prints a document also when a signal
 * ends it. A dry run, which leaves nothing but its output, fails when that is lost.
 */
export const command =
  ({ dryRun = false, json = false, ...flags }: CommandFlags, apart = false) =>
  <A, E, R>(body: Effect.Effect<A, E, R>) =>
    body.pipe(
      Effect.zipRight(dryRun ? requireOutput : Effect.void),
      reportErrors,
      Effect.onExit((exit) =>
        Exit.isInterrupted(exit) ? Effect.flatMap(Output, ({ gaveUp }) => gaveUp(stoppedBySignal)) : Effect.void
      ),
      Effect.provide(
        Output.layer({ debug: flags.debug, quiet: flags.quiet && !flags.noQuiet, ascii: flags.ascii, json, apart })
      )
    )

/** Reports a failure or defect on the terminal and in the open logs, and turns it into Stop. Interruptions and Stop pass. */
export const reportErrors = <A, E, R>(body: Effect.Effect<A, E, R>) =>
  Effect.catchAllCause(body, (cause) =>
    Effect.zipRight(
      reportCause(cause),
      Option.match(Cause.failureOption(cause), {
        onSome: (error) => Effect.fail(error instanceof Stop ? error : new Stop({ status: statusOf(error) })),
        onNone: () =>
          Cause.isInterrupted(cause)
            ? Effect.failCause(Cause.stripFailures(cause))
            : Effect.fail(new Stop({ status: ExitStatus.someFailed }))
      })
    )
  )

const statusOf = (error: unknown): ExitStatus => {
  if (error instanceof ConfigError || error instanceof UsageError) return ExitStatus.usage
  if (error instanceof PreflightError) return ExitStatus.preflight
  if (error instanceof RecoverRefusal) return ExitStatus.refused
  if (error instanceof LockError) return error.reason === "Held" ? ExitStatus.locked : ExitStatus.preflight
  return ExitStatus.someFailed
}

/** Reads a configuration. Where it is missing and no option named it, the error says where was looked, and how to make one. */
export const readConfig = (path: string) =>
  Effect.flatMap(ConfigFile, (file) => file.load(path)).pipe(
    Effect.catchAll((error) =>
      Effect.flatMap(Disk, (disk) => disk.stat(path)).pipe(
        Effect.match({ onFailure: () => undefined, onSuccess: (found) => (found ? undefined : notThere(path)) }),
        Effect.flatMap((issue) => (issue === undefined ? error : new ConfigError({ path, issues: [issue] })))
      )
    ),
    Effect.provide(Layer.merge(ConfigFile.layer, Disk.layer))
  )

export const warn = (warnings: ReadonlyArray<string>) =>
  Effect.forEach(warnings, (warning) => Effect.logWarning(warning), { discard: true })

/** The configuration; its warnings are logged. */
export const loadConfig = Effect.fnUntraced(function* (path: string) {
  const { config, warnings } = yield* readConfig(path)
  yield* warn(warnings)
  return config
})

/** The configuration with its archive job; a ConfigError when it has none. */
export const archiving = (path: string, config: Config): Effect.Effect<ArchiveConfig, ConfigError> => {
  const archive = archiveOf(config)
  const instead =
    config.replication.length > 0 ? "its replication jobs are for zipper pull, push and prune" : "set both"
  const issue = `has no source_path and target_path: there is nothing to archive; ${instead}`
  return archive === undefined ? Effect.fail(new ConfigError({ path, issues: [issue] })) : Effect.succeed(archive)
}

/** Sets the umask and the priority of this process. */
export const applyProcessSettings = (config: Config) =>
  Effect.sync(() => process.umask(umaskOf(config))).pipe(
    Effect.zipRight(Effect.try(() => setPriority(config.nice))),
    Effect.catchAll(() => Effect.logWarning(`the priority stays as it is: nice ${config.nice} is for root alone`))
  )

interface RunMode<P, In> {
  readonly dryRun: boolean
  readonly layer: Layer.Layer<P, never, In>
  /** Logged before a dry run. */
  readonly disclaimer: string
  /** Adds log file and syslog; a dry run has neither. */
  readonly logs: <A, E, R>(job: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** Runs a job on the layers of its mode. Its errors are reported inside its logs. */
export const withLayers =
  <P, In>({ disclaimer, dryRun, layer, logs }: RunMode<P, In>) =>
  <A, E, R>(job: Effect.Effect<A, E, R>) =>
    dryRun
      ? Effect.zipRight(Effect.logInfo(`dry run: ${disclaimer}`), job).pipe(Effect.provide(layer))
      : job.pipe(Effect.provide(layer), reportErrors, logs)
