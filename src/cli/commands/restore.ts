import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Restore from "../../restore/Restore.ts"
import { RestoreDocuments, type RestoreSummary, restoreDocument, resultOf } from "../../restore/RestoreResult.ts"
import { isWithoutName } from "../../text/Glob.ts"
import { withoutControls } from "../../text/Text.ts"
import { Extractor } from "../../zip/Archiver.ts"
import { type PlannedFile, plannedText } from "../../zip/RestorePlan.ts"
import { archiveFlags, archivesToRead, parseFolders, unknownAsUsage } from "../archives.ts"
import { makeCommand } from "../command.ts"
import { stopUnless } from "../exit.ts"
import * as options from "../options.ts"
import { logUnlessSaid, Output, printDocument, requireOutput } from "../output.ts"

const folders = Args.text({ name: "ABCD" }).pipe(
  Args.repeated,
  Args.withDescription(
    "The folders that were archived. The content of one goes to DIR itself, of several to DIR/ABCD, …"
  )
)

const to = Options.text("to").pipe(
  Options.withPseudoName("DIR"),
  Options.withDescription("Where to put its content; made if it is not there, but no folder above it.")
)

/** `zipper restore`: archives' content, back in a folder. */
export const restore = makeCommand(
  "restore",
  "Put archived folders' content back, checked before and while it is written. Example: zipper restore ABCD --to /mnt/tank/back",
  {
    to,
    all: options.flag("all", "All folders that have archives, each to DIR/ABCD, also where there is one alone."),
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
    noSync: options.flag(
      "no-sync",
      "Do not wait until the disk has everything; a power cut may then lose what was restored."
    ),
    dryRun: options.flag("dry-run", "Name each file that would be written, and what is in the way; write nothing."),
    folders
  },
  function* (flags) {
    const { all, dryRun, noSync, only, overwrite, to } = flags
    const folders = yield* parseFolders("restore", flags.folders, [
      ...(all && flags.folders.length > 0 ? ["--all: takes all folders; leave the names out"] : []),
      ...(all || flags.folders.length > 0 ? [] : ["give the folders to restore, or --all"]),
      ...(to === "" ? ["--to: the name of the folder is empty"] : []),
      ...(only.some(isWithoutName) ? ["--only: a pattern without a name; leave it out to restore everything"] : [])
    ])
    const { layer, which, words } = yield* archivesToRead("restore", flags)
    if (dryRun) yield* Effect.logInfo("dry run: nothing is written")
    const output = yield* Output
    const request = {
      ...words,
      folders,
      which,
      to,
      below: all || folders.length > 1,
      only,
      overwrite,
      sync: !noSync,
      dryRun
    }
    const print = (summaries: ReadonlyArray<RestoreSummary>) =>
      Effect.provideService(printDocument(RestoreDocuments, restoreDocument(request, summaries)), Output, output)
    const { json, quiet } = output.options
    const onPlanned = (files: ReadonlyArray<PlannedFile>) =>
      Effect.catchAll(output.print(withoutControls(files.map(plannedText).join("\n"))), logUnlessSaid)
    const summaries = yield* Restore.restore(request, {
      // A signal leaves a document too.
      onStopped: (stopped) => Effect.catchAll(print(stopped), logUnlessSaid),
      onPlanned: quiet || json ? undefined : onPlanned
    }).pipe(
      unknownAsUsage("restore"),
      Effect.provide(Layer.provideMerge(dryRun ? Extractor.layerDryRun : Extractor.layer, layer))
    )
    yield* print(summaries)
    yield* stopUnless(resultOf(summaries) === "restored")
    yield* requireOutput
  }
)
