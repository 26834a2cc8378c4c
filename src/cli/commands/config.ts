import { dirname, resolve } from "node:path"
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { wordOf } from "../../check/Crontab.ts"
import { type Answers, exampleWith, render, withoutSecrets } from "../../config/ConfigExample.ts"
import { ConfigFile } from "../../config/ConfigFile.ts"
import { answersFrom, fileOf, mustBeNew, writeConfig } from "../../config/ConfigInit.ts"
import { interview, Questions } from "../../config/ConfigInterview.ts"
import { Disk } from "../../system/Disk.ts"
import { tokenVariable } from "../../system/Environment.ts"
import { Process } from "../../system/Process.ts"
import { shellWords } from "../../text/ShellWord.ts"
import { Datasets } from "../../zfs/Datasets.ts"
import { command, loadConfig, readConfig, warn } from "../command.ts"
import { UsageError } from "../exit.ts"
import * as options from "../options.ts"
import { Output, printDocument } from "../output.ts"
import { ConfigInitDocument, ConfigShowDocument, ConfigValidateDocument } from "./schema.ts"

// A mistyped option must not become a file's name.
const file = Args.text({ name: "FILE" }).pipe(
  Args.withSchema(
    Schema.String.pipe(
      Schema.pattern(/^[^-]/, { message: () => "a file name cannot begin with a dash: write ./-name" })
    )
  ),
  Args.withDefault("config.json"),
  Args.withDescription("Where to write it; config.json in this folder when left out.")
)

const initOptions = {
  source: options.single("source", "DIR", "Folder whose ABCD subfolders are archived."),
  target: options.single("target", "DIR", "Folder for the archives."),
  tmpDir: options.single("tmp-dir", "DIR", "Where archives are put together, on the target's file system."),
  live: options.flag("live", "Read the source as it is, without snapshots: for a folder that is not on ZFS."),
  gotifyUrl: options.single("gotify-url", "URL", "Address that messages are posted to."),
  gotifyTokenFile: options.single("gotify-token-file", "FILE", `File with its token; or set ${tokenVariable}.`),
  notifySuccess: options.flag("notify-success", "A message after every run that went well, too.")
}

const init = Command.make("init", { file, ...initOptions, json: options.json, ...options.output }, (flags) =>
  Effect.gen(function* () {
    yield* mustBeNew(flags.file)
    const { gotifyTokenFile, gotifyUrl, live, notifySuccess, source, target, tmpDir } = flags
    const byOptions =
      live || notifySuccess || [source, target, tmpDir, gotifyUrl, gotifyTokenFile].some((value) => value !== undefined)
    const interactive = process.stdin.isTTY === true && process.stderr.isTTY === true && !flags.json
    const tokenGiven = (process.env[tokenVariable] ?? "") !== ""
    const own = ownPlaces(flags.file)
    const answers = Effect.mapError(
      answersFrom(flags, tokenGiven),
      (problems) => new UsageError({ command: "config init", problems })
    )
    const content = byOptions
      ? fileOf({ ...own, ...(yield* answers) })
      : interactive
        ? fileOf(yield* interview({ tokenGiven, own }))
        : exampleWith(own.lockfile_path)
    const written = yield* writeConfig(flags.file, content)
    yield* Effect.logInfo(`wrote ${written.file}, and ${written.example}, which explains every key`)
    const isExample = !byOptions && !interactive
    if (own.log_file !== undefined && !isExample) {
      yield* Effect.logInfo(`not root: lock and log go to ${dirname(own.log_file)}`)
    }
    const edit = isExample ? "set source_path, target_path and gotify in it; " : ""
    yield* Effect.logInfo(`next: ${edit}${shellWords(["zipper", "check", "--config", flags.file])}`)
    if (flags.json) yield* printDocument(ConfigInitDocument, { version: 1, ...written })
  }).pipe(
    Effect.provide(
      Layer.mergeAll(ConfigFile.layer, Disk.layer, Questions.layer, Layer.provide(Datasets.layer, Process.layer))
    ),
    command(flags)
  )
).pipe(
  Command.withDescription(
    "Write a configuration: asks what matters on a terminal, goes by the options when there are any, and writes an example otherwise. Readable by you alone. Example: zipper config init /etc/zipper.json"
  )
)

/** A lock file of the configuration's own: jobs with the same one never run at once. Only root may write to the usual folders. */
const ownPlaces = (path: string): Pick<Answers, "log_file"> & { readonly lockfile_path: string } => {
  const lock = `zipper.${wordOf(resolve(path))}.lock`
  if (process.getuid?.() === 0) return { lockfile_path: `/var/run/${lock}` }
  const folder = dirname(resolve(path))
  return { lockfile_path: resolve(folder, lock), log_file: resolve(folder, "zipper.log") }
}

const validate = Command.make("validate", { config: options.config, json: options.json, ...options.output }, (flags) =>
  Effect.gen(function* () {
    const { warnings } = yield* readConfig(flags.config).pipe(
      Effect.tapError(({ issues }) => (flags.json ? printResult(flags.config, issues, []) : Effect.void))
    )
    yield* warn(warnings)
    yield* Effect.logInfo(`${flags.config} is in order`)
    if (flags.json) yield* printResult(flags.config, [], warnings)
  }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Check a configuration and name every mistake in it. Example: zipper config validate --config config.json"
  )
)

const printResult = (file: string, problems: ReadonlyArray<string>, warnings: ReadonlyArray<string>) =>
  printDocument(ConfigValidateDocument, {
    version: 1,
    file,
    valid: problems.length === 0,
    problems,
    warnings
  })

const show = Command.make("show", { config: options.config, json: options.json, ...options.output }, (flags) =>
  Effect.gen(function* () {
    const config = yield* loadConfig(flags.config)
    if (flags.json) {
      yield* printDocument(ConfigShowDocument, {
        version: 1,
        file: flags.config,
        config: withoutSecrets(config)
      })
    } else {
      yield* (yield* Output).print(render(config).trimEnd())
    }
  }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Print the effective configuration with every default, secrets hidden. Example: zipper config show --config config.json"
  )
)

/** `zipper config init|validate|show`. */
export const config = Command.make("config").pipe(
  Command.withDescription("Write, check or show a configuration. Example: zipper config init"),
  Command.withSubcommands([init, validate, show])
)
