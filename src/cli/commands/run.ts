import { resolve } from "node:path"
import { p } from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import { invalidValue } from "@effect/cli/ValidationError"
import * as Effect from "effect/Effect"
import { runArchive } from "../../archive/ArchiveJob.ts"
import { nameRule, wholeName } from "../../config/Config.ts"
import { allWell, RunDocument, type RunSummary } from "../../runs/ArchiveResult.ts"
import * as FolderName from "../../source/FolderName.ts"
import { quoted } from "../../text/Text.ts"
import { applyProcessSettings, archiving, makeCommand, readConfig, warn, withLayers } from "../command.ts"
import { findConfig } from "../configPath.ts"
import { stopUnless, UsageError } from "../exit.ts"
import * as services from "../layers.ts"
import * as options from "../options.ts"
import { documentUnfinished, printDocument } from "../output.ts"
import * as progressBar from "../progressBar.ts"

const folderOf = (name: string) =>
  Effect.mapError(Effect.fromNullable(FolderName.parseFolderName(name)), () =>
    invalidValue(p(`--folder: ${quoted(name)} is not the name of a folder: it ${FolderName.nameProblem(name)}`))
  )

const folders = Options.text("folder").pipe(
  Options.withPseudoName("ABCD"),
  Options.repeated,
  Options.mapEffect((names) => Effect.forEach(names, folderOf)),
  Options.withDescription("Only this folder; may be given several times.")
)

const force = options.flag("force", "Archive the folders whether they changed or not, and compress every file anew.")

/** `zipper run`: the archive job. */
export const run = makeCommand(
  "run",
  "Archive the folders that changed: one verified zip each, published atomically. Example: zipper run --dry-run",
  { config: options.optionalConfig, dryRun: options.dryRun, folders, force },
  function* (flags) {
    const { path } = findConfig(flags.config)
    const { config: whole, warnings } = yield* readConfig(path)
    const config = yield* archiving(path, whole)
    const wanted = wholeName(config.folders)
    const problems = flags.folders
      .filter((name) => !wanted.test(name))
      .map((name) => `--folder: ${quoted(name)} ${nameRule(config.folders, false)}`)
    if (problems.length > 0) yield* new UsageError({ command: "run", problems })
    const id = services.archiveIdentity(config)
    // The whole path, however it was given: the reasons of a failure have it, and another reason is told anew.
    const configWords = ["--config", resolve(path)]
    const { folders, force } = flags
    const unfinished = yield* documentUnfinished(RunDocument)
    const onUnfinished = (summary: RunSummary) => unfinished({ ...summary, dry_run: flags.dryRun })
    const summary = yield* applyProcessSettings(config).pipe(
      Effect.zipRight(warn(warnings)),
      Effect.zipRight(runArchive(config, { ...id, folders, force, configWords, onUnfinished })),
      Effect.provide(progressBar.layer),
      withLayers({
        dryRun: flags.dryRun,
        layer: services.archiveLayers(config, id, flags.dryRun),
        disclaimer: "nothing is written, no snapshot is made, no message is sent",
        logs: services.logs(config, id)
      })
    )
    yield* printDocument(RunDocument, { ...summary, dry_run: flags.dryRun })
    yield* stopUnless(allWell(summary))
  }
)
