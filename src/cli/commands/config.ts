import { dirname, resolve } from "node:path"
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type Answers, exampleWith, render, withoutSecrets } from "../../config/ConfigExample.ts"
import { ConfigFile } from "../../config/ConfigFile.ts"
import { answersFrom, ConfigInitError, fileOf, mustBeNew, writeConfig } from "../../config/ConfigInit.ts"
import { interview, Questions } from "../../config/ConfigInterview.ts"
import { shortDigest } from "../../config/ReplicationJob.ts"
import { Disk } from "../../system/Disk.ts"
import { Process, tokenVariable } from "../../system/Process.ts"
import { optionWords } from "../../text/Text.ts"
import { Datasets } from "../../zfs/Datasets.ts"
import { loadConfig, makeCommand, readConfig, warn } from "../command.ts"
import { configVariable, findConfig } from "../configPath.ts"
import { UsageError } from "../exit.ts"
import * as options from "../options.ts"
import { Output, printDocument, requireOutput } from "../output.ts"
import { commandLine } from "../program.ts"
import { ConfigInitDocument, ConfigShowDocument, ConfigValidateDocument } from "./schema.ts"

// A mistyped option must not become a file's name.
const file = Args.text({ name: "FILE" }).pipe(
  Args.withSchema(
    Schema.String.pipe(
      Schema.pattern(/^[^-]/, {
        message: ({ actual }) => (actual ? "a file name cannot begin with a dash: write ./-name" : "FILE: is empty")
      })
    )
  ),
  Args.optional,
  Args.map(Option.getOrUndefined),
  Args.withDescription("The configuration, as with --config.")
)

const place = { file, config: options.optionalConfig }

/** The configuration by either form. */
const placeOf = (command: string, { config, file }: { readonly [key in keyof typeof place]: string | undefined }) =>
  file !== undefined && config !== undefined
    ? new UsageError({ command, problems: ["the configuration is named twice: give FILE or --config FILE"] })
    : Effect.succeed(findConfig(file ?? config))

const initOptions = {
  source: options.single("source", "DIR", "Folder whose ABCD subfolders are archived."),
  target: options.single("target", "DIR", "Folder for the archives."),
  folders: options.single("folders", "PATTERN", "Names of the folders to archive, a regular expression."),
  tmpDir: options.single("tmp-dir", "DIR", "Where archives are put together, on the target's file system."),
  live: options.flag("live", "Read the source as it is, without snapshots: for a folder that is not on ZFS."),
  gotifyUrl: options.single("gotify-url", "URL", "Address that messages are posted to."),
  gotifyTokenFile: options.single("gotify-token-file", "FILE", `File with its token; or set ${tokenVariable}.`),
  notifySuccess: options.flag("notify-success", "A message after every run that went well, too.")
}

const init = makeCommand(
  "init",
  "Write a configuration: asks what matters on a terminal, goes by the options when there are any, and writes an example otherwise. Readable by you alone. Example: zipper config init --source /mnt/tank/data --target /mnt/safe/archives",
  { ...place, ...initOptions },
  function* ({ config, file: word, ...given }) {
    const { from, named, path: file } = yield* placeOf("config init", { config, file: word })
    yield* Effect.mapError(mustBeNew(file), ({ message }) => {
      const another = `in another place: zipper config init FILE, and then --config FILE or ${configVariable}=FILE`
      return new ConfigInitError({ message: from === undefined ? message : `${message}\n${another}` })
    })
    const byOptions = Object.values(given).some((value) => value !== undefined && value !== false)
    const { json } = (yield* Output).options
    const interactive = process.stdin.isTTY === true && process.stderr.isTTY === true && !json
    const tokenGiven = (process.env[tokenVariable] ?? "") !== ""
    const own = ownPlaces(file)
    const answers = Effect.mapError(
      answersFrom(given, tokenGiven),
      (problems) => new UsageError({ command: "config init", problems })
    )
    const content = byOptions
      ? fileOf({ ...own, ...(yield* answers) })
      : interactive
        ? fileOf(yield* interview({ tokenGiven, own }))
        : exampleWith(own.lockfile_path)
    const written = yield* writeConfig(file, content)
    yield* Effect.logInfo(`wrote ${written.file}, and ${written.example}, which explains every key`)
    const isExample = !byOptions && !interactive
    if (own.log_file !== undefined && !isExample) {
      yield* Effect.logInfo(`not root: lock and log go to ${dirname(own.log_file)}`)
    }
    const edit = isExample ? "set source_path, target_path and gotify in it; " : ""
    yield* Effect.logInfo(`next: ${edit}${commandLine("check", ...optionWords("--config", named))}`)
    yield* printDocument(ConfigInitDocument, { version: 1, ...written })
  }
).pipe(
  Command.provide(
    Layer.mergeAll(ConfigFile.layer, Disk.layer, Questions.layer, Layer.provide(Datasets.layer, Process.layer))
  )
)

/** A lock file of the configuration's own: jobs with the same one never run at once. Only root may write to the usual folders. */
const ownPlaces = (path: string): Pick<Answers, "log_file"> & { readonly lockfile_path: string } => {
  const lock = `zipper.${shortDigest(resolve(path))}.lock`
  if (process.getuid?.() === 0) return { lockfile_path: `/var/run/${lock}` }
  const folder = dirname(resolve(path))
  return { lockfile_path: resolve(folder, lock), log_file: resolve(folder, "zipper.log") }
}

const validate = makeCommand(
  "validate",
  "Check a configuration and name every mistake in it. Example: zipper config validate",
  place,
  function* (asked) {
    const { path: file } = yield* placeOf("config validate", asked)
    const print = (problems: ReadonlyArray<string>, warnings: ReadonlyArray<string>) =>
      printDocument(ConfigValidateDocument, { version: 1, file, valid: problems.length === 0, problems, warnings })
    const { warnings } = yield* Effect.tapError(readConfig(file), ({ issues }) => print(issues, []))
    yield* warn(warnings)
    yield* Effect.logInfo(`${file} is in order`)
    yield* print([], warnings)
    yield* requireOutput
  }
)

const show = makeCommand(
  "show",
  "Print the effective configuration with every default, secrets hidden. Example: zipper config show",
  place,
  function* (asked) {
    const { path: file } = yield* placeOf("config show", asked)
    const config = yield* loadConfig(file)
    yield* printDocument(ConfigShowDocument, { version: 1, file, config: withoutSecrets(config) })
    yield* (yield* Output).print(render(config).trimEnd())
  }
)

/** `zipper config init|validate|show`. */
export const config = Command.make("config").pipe(
  Command.withDescription("Write, check or show a configuration. Example: zipper config init"),
  Command.withSubcommands([init, validate, show])
)
