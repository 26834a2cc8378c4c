import * as Args from "@effect/cli/Args"
import type * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ArchiveConfig } from "../../config/Config.ts"
import { Notifier } from "../../notify/Notifier.ts"
import { runVerifyReplicas } from "../../replication/VerifyReplicas.ts"
import { exitStatusOf, VerifyReplicasDocument } from "../../runs/VerifyReplicasResult.ts"
import { allGood, VerifyDocument } from "../../runs/VerifyResult.ts"
import { Disk } from "../../system/Disk.ts"
import { Hasher } from "../../system/Hasher.ts"
import { Workers } from "../../system/Workers.ts"
import { didYouMean } from "../../text/Text.ts"
import { runVerify, type UnknownFolders } from "../../verify/Verify.ts"
import { ArchiveReader } from "../../zip/Archiver.ts"
import { type ChosenArchives, configuredArchives, configuredFlags, parseFolders } from "../archives.ts"
import { applyProcessSettings, makeCommand, reportErrors } from "../command.ts"
import { endWith, stopUnless, UsageError } from "../exit.ts"
import { archiveIdentity, logs, notifier, stateLayers, stateNone } from "../layers.ts"
import * as options from "../options.ts"
import { documentUnfinished, printDocument, requireOutput } from "../output.ts"
import * as progressBar from "../progressBar.ts"
import { noPlace, resolveJob } from "../replicationJob.ts"
import { withJobLayers } from "./replicate.ts"

const folders = Args.text({ name: "ABCD" }).pipe(
  Args.repeated,
  Args.withDescription("The folders whose archives are read; without any, all that there are.")
)

const verifyOptions = {
  ...configuredFlags,
  maxAge: options.age(
    "max-age",
    "Only archives that were not checked since they were published, or whose last check is older than this (12h, 30d) or was not good."
  ),
  limit: options.size(
    "limit",
    "Read at most so much within an hour (800M, 500G, 2T), the oldest check first; calls of the last hour count."
  ),
  job: options.single("job", "NAME", "The replicas of this job of the configuration, instead of archives."),
  read: options.flag("read", "With --job: read every block of the newest snapshot of each replica, where it is."),
  folders
}

/** `zipper verify`: are the archives good? */
export const verify = makeCommand(
  "verify",
  "Read archives back, every byte: each entry's CRC, both checksums, the metadata against the contents. Or, with --job, compare replicas with their source, and look at the health of their pool. Changes nothing, and needs no lock for archives; a message is sent for what is wrong, as for a run that failed. Example: zipper verify ABCD",
  verifyOptions,
  function* (flags) {
    const { at, job, limit, maxAge } = flags
    if (job !== undefined || flags.read) return yield* verifyJob(flags)
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
      onUnfinished: yield* documentUnfinished(VerifyDocument),
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
    yield* requireOutput
  }
)

/** `zipper verify --job`: are the replicas good? */
const verifyJob = Effect.fnUntraced(function* ({
  at,
  config,
  folders,
  job,
  limit,
  maxAge,
  prev,
  read
}: Command.Command.ParseConfig<typeof verifyOptions>) {
  const others = { "--prev": prev || undefined, "--at": at, "--max-age": maxAge, "--limit": limit, ABCD: folders[0] }
  const given = Object.entries(others).flatMap(([name, value]) => (value === undefined ? [] : [name]))
  const problems = [
    ...(job === undefined ? ["--read is for replicas, and goes with --job NAME"] : []),
    ...(given.length > 0 ? [`${given.join(", ")}: for archives only, and not with --job`] : [])
  ]
  if (problems.length > 0) return yield* new UsageError({ command: "verify", problems })
  const resolved = yield* resolveJob("verify", { ...noPlace, job, config })
  const found = yield* withJobLayers("verify", { lock: undefined, dryRun: false }, resolved, (context) =>
    runVerifyReplicas(resolved.job, { ...context, read })
  )
  yield* printDocument(VerifyReplicasDocument, found)
  yield* endWith(exitStatusOf(found))
  yield* requireOutput
})

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

const unknownFolders = ({ folders, known, message }: UnknownFolders) =>
  new UsageError({ command: "verify", problems: [`${message}${didYouMean(known, ...folders)}`] })
