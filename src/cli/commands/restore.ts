import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Restore from "../../restore/Restore.ts"
import { RestoreDocument, type RestoreSummary, restoreDocument } from "../../restore/RestoreResult.ts"
import * as FolderName from "../../source/FolderName.ts"
import { isWithoutName } from "../../text/Glob.ts"
import { quoted } from "../../text/Text.ts"
import { Extractor } from "../../zip/Archiver.ts"
import { archiveFlags, archivesToRead } from "../archives.ts"
import { makeCommand } from "../command.ts"
import { stopUnless, UsageError } from "../exit.ts"
import * as options from "../options.ts"
import { Output, printDocument } from "../output.ts"

const folder = Args.text({ name: "ABCD" }).pipe(Args.withDescription("The folder that was archived."))

const to = Options.text("to").pipe(
  Options.withPseudoName("DIR"),
  Options.withDescription("Where to put its content; made if it is not there, but no folder above it.")
)

/** `zipper restore`: an archive's content, back in a folder. */
export const restore = makeCommand(
  "restore",
  "Put an archived folder's content back, checked before and while it is written. Example: zipper restore ABCD --to /mnt/tank/back",
  {
    folder,
    to,
    ...archiveFlags,
    only: options.several(
      "only",
      "PATTERN",
      "Only what has this name, with what is below it; * ? ** are understood, and a backslash before one of them takes it as it is."
    ),
    overwrite: options.flag(
      "overwrite",
      "Replace regular files in DIR, and give folders there their archived modes and times."
    ),
    dryRun: options.flag("dry-run", "Say what would be written and what is in the way; write nothing.")
  },
  function* (flags) {
    const { dryRun, only, overwrite } = flags
    const request = yield* requestOf(flags)
    const { layer, which, words } = yield* archivesToRead("restore", flags)
    if (dryRun) yield* Effect.logInfo("dry run: nothing is written")
    const output = yield* Output
    const print = (summary: RestoreSummary) =>
      Effect.provideService(printDocument(RestoreDocument, restoreDocument(summary, dryRun)), Output, output)
    const summary = yield* Restore.restore(
      { ...request, ...words, which, only, overwrite, dryRun },
      // A signal leaves a document too.
      (stopped) => Effect.catchAll(print(stopped), ({ message }) => Effect.logError(message))
    ).pipe(
      Effect.mapError((error) =>
        error._tag === "RestoreError" && error.reason === "UnknownFolder"
          ? new UsageError({ command: "restore", problems: [error.message] })
          : error
      ),
      Effect.provide(Layer.provideMerge(dryRun ? Extractor.layerDryRun : Extractor.layer, layer))
    )
    yield* print(summary)
    yield* stopUnless(summary.result === "restored")
  }
)

const requestOf = (flags: { readonly folder: string; readonly to: string; readonly only: ReadonlyArray<string> }) => {
  const name = FolderName.parseFolderName(flags.folder)
  const problems = [
    ...(name === undefined ? [`${quoted(flags.folder)} is not four upper-case letters or digits, such as ABCD`] : []),
    ...(flags.to === "" ? ["--to: the name of the folder is empty"] : []),
    ...(flags.only.some(isWithoutName) ? ["--only: a pattern without a name; leave it out to restore everything"] : [])
  ]
  return name === undefined || problems.length > 0
    ? Effect.fail(new UsageError({ command: "restore", problems }))
    : Effect.succeed({ folder: name, to: flags.to })
}
