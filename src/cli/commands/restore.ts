import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ArchiveConfig } from "../../config/Config.ts"
import * as Restore from "../../restore/Restore.ts"
import { RestoreDocument, type RestoreSummary, restoreDocument } from "../../restore/RestoreResult.ts"
import { JobStates } from "../../runs/JobState.ts"
import * as FolderName from "../../source/FolderName.ts"
import { PublishedArchives } from "../../store/PublishedArchive.ts"
import { Disk } from "../../system/Disk.ts"
import { ExitStatus } from "../../system/ExitStatus.ts"
import { Hasher } from "../../system/Hasher.ts"
import { Workers } from "../../system/Workers.ts"
import { quoted } from "../../text/Text.ts"
import { ArchiveReader, Extractor } from "../../zip/Archiver.ts"
import type { ValueOptions } from "../arguments.ts"
import { archiving, command, loadConfig } from "../command.ts"
import { Stop, UsageError } from "../exit.ts"
import { stateOf } from "../layers.ts"
import * as options from "../options.ts"
import { Output, printDocument } from "../output.ts"
import * as progressBar from "../progressBar.ts"

export const valued: ValueOptions = {
  once: new Set(["--config", "-c", "--to"]),
  several: new Set(["--only"])
}

const folder = Args.text({ name: "ABCD" }).pipe(Args.withDescription("The folder that was archived."))

const to = Options.text("to").pipe(
  Options.withPseudoName("DIR"),
  Options.withDescription("Where to put its content; made if it is not there, but no folder above it.")
)

const only = Options.text("only").pipe(
  Options.withPseudoName("PATTERN"),
  Options.repeated,
  Options.withDescription(
    "Only what has this name, with what is below it; * ? ** are understood, and a backslash before one of them takes it as it is. May be given several times."
  )
)

const overwrite = options.flag(
  "overwrite",
  "Replace regular files in DIR, and give folders there their archived modes and times."
)

const dryRun = options.flag("dry-run", "Say what would be written and what is in the way; write nothing.")

/** `zipper restore`: an archive's content, back in a folder. */
export const restore = Command.make(
  "restore",
  {
    folder,
    to,
    config: options.config,
    prev: options.flag("prev", "The archive before the current one."),
    only,
    overwrite,
    dryRun,
    json: options.json,
    ...options.output
  },
  (flags) =>
    Effect.gen(function* () {
      const request = yield* requestOf(flags)
      const config = yield* archiving(flags.config, yield* loadConfig(flags.config))
      if (flags.dryRun) yield* Effect.logInfo("dry run: nothing is written")
      const output = yield* Output
      const printSummary = (summary: RestoreSummary) =>
        flags.json ? printDocument(RestoreDocument, restoreDocument(summary, flags.dryRun)) : Effect.void
      const summary = yield* Restore.restore(
        {
          ...request,
          which: flags.prev ? "previous" : "current",
          only: flags.only,
          overwrite: flags.overwrite,
          dryRun: flags.dryRun,
          config: flags.config
        },
        // A signal leaves a document too.
        (stopped) =>
          printSummary(stopped).pipe(
            Effect.catchAll(({ message }) => Effect.logError(message)),
            Effect.provideService(Output, output)
          )
      ).pipe(
        Effect.mapError((error) =>
          error._tag === "RestoreError" && error.reason === "UnknownFolder"
            ? new UsageError({ command: "restore", problems: [error.message] })
            : error
        ),
        Effect.provide(services(config, flags.dryRun))
      )
      yield* printSummary(summary)
      if (summary.result !== "restored") return yield* new Stop({ status: ExitStatus.someFailed })
    }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Put an archived folder's content back, checked before and while it is written. Example: zipper restore ABCD --to /mnt/tank/back --config /usr/local/etc/zipper.json"
  )
)

const requestOf = (flags: { readonly folder: string; readonly to: string; readonly only: ReadonlyArray<string> }) => {
  const name = FolderName.parseFolderName(flags.folder)
  const problems = [
    ...(name === undefined ? [`${quoted(flags.folder)} is not four upper-case letters or digits, such as ABCD`] : []),
    ...(flags.to === "" ? ["--to: the name of the folder is empty"] : []),
    ...(flags.only.some((pattern) => /^\.{0,2}\/*$/.test(pattern))
      ? ["--only: a pattern without a name; leave it out to restore everything"]
      : [])
  ]
  return name === undefined || problems.length > 0
    ? Effect.fail(new UsageError({ command: "restore", problems }))
    : Effect.succeed({ folder: name, to: flags.to })
}

const services = (config: ArchiveConfig, dryRun: boolean) =>
  Layer.mergeAll(
    PublishedArchives.layer(config.target_path),
    JobStates.layerDryRun(stateOf(config)),
    ArchiveReader.layer,
    Hasher.layer,
    dryRun ? Extractor.layerDryRun : Extractor.layer,
    progressBar.layer
  ).pipe(Layer.provide(Workers.layer(config.compression.threads)), Layer.provide(Disk.layer))
