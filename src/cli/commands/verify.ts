import * as Args from "@effect/cli/Args"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { closest, distance } from "fastest-levenshtein"
import type { ArchiveConfig } from "../../config/Config.ts"
import { Notifier } from "../../notify/Notifier.ts"
import { allGood, VerifyDocument } from "../../runs/VerifyResult.ts"
import { Disk } from "../../system/Disk.ts"
import { Hasher } from "../../system/Hasher.ts"
import { Workers } from "../../system/Workers.ts"
import { runVerify, type UnknownFolders } from "../../verify/Verify.ts"
import { ArchiveReader } from "../../zip/Archiver.ts"
import { type ChosenArchives, configuredArchives, configuredFlags, parseFolders } from "../archives.ts"
import { applyProcessSettings, makeCommand, reportErrors } from "../command.ts"
import { stopUnless, UsageError } from "../exit.ts"
import { archiveIdentity, logs, notifier, stateLayers, stateNone } from "../layers.ts"
import * as options from "../options.ts"
import { printDocument } from "../output.ts"
import * as progressBar from "../progressBar.ts"

const folders = Args.text({ name: "ABCD" }).pipe(
  Args.repeated,
  Args.withDescription("The folders whose archives are read; without any, all that there are.")
)

/** `zipper verify`: are the archives good? */
export const verify = makeCommand(
  "verify",
  "Read archives back, every byte: each entry's CRC, both checksums, the metadata against the contents. Changes no archive, and needs no lock; a message is sent for what is wrong, as for a run that failed. Example: zipper verify ABCD",
  {
    ...configuredFlags,
    maxAge: options.age(
      "max-age",
      "Only archives that were not checked since they were published, or whose last check is older than this (12h, 30d) or was not good."
    ),
    limit: options.size(
      "limit",
      "Read at most so much within an hour (800M, 500G, 2T), the oldest check first; calls of the last hour count."
    ),
    folders
  },
  function* (flags) {
    const { at, limit, maxAge } = flags
    const folders = yield* parseFolders(
      "verify",
      flags.folders,
      at !== undefined && (limit !== undefined || maxAge !== undefined)
        ? ["--at: no check of a snapshot is remembered; leave out --max-age and --limit"]
        : []
    )
    const { config, layer, which, words } = yield* configuredArchives("verify", flags)
    yield* applyProcessSettings(config)
    const id = archiveIdentity(config)
    const summary = yield* runVerify({
      ...id,
      folders,
      which,
      words,
      maxAge,
      limit,
      notify_on: config.notify_on,
      reminder_hours: config.reminder_hours
    }).pipe(
      Effect.catchTag("UnknownFolders", unknownFolders),
      Effect.provide(services(config, layer, at !== undefined)),
      reportErrors,
      logs(config, id)
    )
    yield* printDocument(VerifyDocument, summary)
    yield* stopUnless(allGood(summary))
  }
)

/** What is found in a snapshot is neither remembered nor reported: it says nothing of the archives of now. */
const services = (config: ArchiveConfig, archives: ChosenArchives["layer"], frozen: boolean) =>
  Layer.mergeAll(
    archives,
    frozen ? stateNone : stateLayers(config, config.ping_url),
    frozen ? Notifier.layerNone : notifier(config),
    ArchiveReader.layer,
    progressBar.layer
  ).pipe(
    Layer.provideMerge(Hasher.layer),
    Layer.provide(Workers.layer(config.compression.threads)),
    Layer.provide(Disk.layer)
  )

/** A name that differs in more than two characters is not a typing mistake. */
const mostTypos = 2

const unknownFolders = ({ folders, known, message }: UnknownFolders) => {
  const meant = folders.flatMap((folder) => {
    const nearest = known.length === 0 ? undefined : closest(folder, known)
    return nearest !== undefined && distance(folder, nearest) <= mostTypos ? [nearest] : []
  })
  const hint = meant.length === 0 ? "" : `; did you mean ${[...new Set(meant)].join(", ")}?`
  return new UsageError({ command: "verify", problems: [`${message}${hint}`] })
}
