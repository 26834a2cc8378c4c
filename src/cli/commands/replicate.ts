import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import type * as Layer from "effect/Layer"
import type { Config } from "../../config/Config.ts"
import type { Job } from "../../config/ReplicationJob.ts"
import { runReplication } from "../../replication/Replicate.ts"
import { exitStatusOf, ReplicationDocument, type ReplicationSummary } from "../../runs/ReplicationResult.ts"
import { applyProcessSettings, command, warn, withLayers } from "../command.ts"
import { endWith, UsageError } from "../exit.ts"
import * as services from "../layers.ts"
import * as options from "../options.ts"
import { documentUnfinished, printDocument } from "../output.ts"
import { type JobSelection, type ResolvedJob, resolveJob } from "../replicationJob.ts"

/** The options that pull and push share. */
const shared = {
  ...options.remote,
  exclude: options.exclude,
  rollback: options.flag(
    "rollback",
    "Where a replica went its own way, destroy what it has after the latest common snapshot."
  ),
  snapshot: options.flag("snapshot", "Take a snapshot of the datasets at the source first; none of them is destroyed."),
  noBookmark: options.flag("no-bookmark", "Keep no bookmark of the latest common snapshot at the source."),
  bandwidth: options.single("bandwidth", "RATE", "At most so many bytes a second, such as 10M."),
  concurrency: options.single("concurrency", "N", "Send N datasets at the same time, 1 to 16."),
  compress: options.single("compress", "zstd|none", "Compress on the way; zstd has to be on both hosts."),
  job: options.job,
  config: options.jobConfig,
  lock: options.lock,
  dryRun: options.replicationDryRun,
  datasets: options.sourceDatasets,
  output: options.output
}

/** `zipper pull`: from another host to this one. */
export const pull = Command.make(
  "pull",
  {
    ...shared,
    destination: options.pulledBelow,
    raw: options.flag("raw", "Send as it is on disk: what is encrypted stays encrypted.")
  },
  (flags) => replicate("pull", { ...flags, raw: flags.raw || undefined })
).pipe(
  Command.withDescription(
    "Fetch datasets from another host, every snapshot of them, without ever destroying one here. Example: zipper pull --host nas --user backup --destination tank/backup tank/data"
  )
)

/** `zipper push`: from this host to another one. */
export const push = Command.make(
  "push",
  {
    ...shared,
    destination: options.single("destination", "DATASET", "Replicas go below DATASET on the other host."),
    stripPrefix: options.stripPrefix,
    noRaw: options.flag("no-raw", "Send decrypted: the other host can read it.")
  },
  (flags) => replicate("push", { ...flags, raw: flags.noRaw ? false : undefined })
).pipe(
  Command.withDescription(
    "Send datasets to another host, every snapshot of them, without ever destroying one there. Example: zipper push --host offsite --strip-prefix tank/backup --destination pool/replicas tank/backup/nas"
  )
)

type RunFlags = Command.Command.ParseConfig<Pick<typeof shared, "lock" | "dryRun">>

const replicate = (
  direction: Job["direction"],
  flags: RunFlags &
    Command.Command.ParseConfig<Pick<typeof shared, "rollback" | "snapshot" | "noBookmark" | "output">> &
    Omit<JobSelection, "direction" | "bookmark" | "snapshot">
) =>
  Effect.gen(function* () {
    const { noBookmark, snapshot } = flags
    const asked = { bookmark: noBookmark ? false : undefined, snapshot: snapshot || undefined }
    const resolved = yield* resolveJob(direction, { ...flags, ...asked, direction })
    const unfinished = yield* documentUnfinished(ReplicationDocument)
    const onUnfinished = (summary: ReplicationSummary) => unfinished({ ...summary, dry_run: flags.dryRun })
    const summary = yield* withJobLayers(direction, flags, resolved, (context) =>
      runReplication(resolved.job, { ...context, rollback: flags.rollback, onUnfinished })
    )
    yield* printDocument(ReplicationDocument, { ...summary, dry_run: flags.dryRun })
    yield* endWith(exitStatusOf(summary))
  }).pipe(command({ ...flags.output, dryRun: flags.dryRun }))

interface RunContext
  extends ReturnType<typeof services.replicationIdentity>,
    Pick<Config, "retries" | "notify_on" | "reminder_hours"> {
  /** Whether it is a job of the configuration. */
  readonly named: boolean
  readonly lockfile: string
  readonly lockWait: number
}

/** Runs a program about a job's replicas with the services, settings and logs of the job. */
export const withJobLayers = Effect.fnUntraced(function* <A, E>(
  command: string,
  flags: RunFlags,
  { config, job, warnings, written }: ResolvedJob,
  program: (
    context: RunContext
  ) => Effect.Effect<A, E, Layer.Layer.Success<ReturnType<typeof services.replicationLayers>>>
) {
  const id = services.replicationIdentity()
  const { notify_on, reminder_hours, retries } = services.settingsOf(config)
  const refuse = (problem: string) => new UsageError({ command, problems: [problem] })
  if (flags.lock === "" || flags.lock?.startsWith("-")) {
    return yield* refuse(`--lock: ${JSON.stringify(flags.lock)} is no file's name; write ./-name if it is meant`)
  }
  const lockfile = flags.lock ?? services.lockfileOf(job, config)
  if (lockfile === undefined) {
    return yield* refuse("neither XDG_RUNTIME_DIR nor HOME says where a lock file could be: give --lock FILE")
  }
  const lockWait = config?.lock_wait_seconds ?? 0
  const named = written !== undefined
  return yield* (config === undefined ? Effect.void : applyProcessSettings(config)).pipe(
    Effect.zipRight(warn(warnings)),
    Effect.zipRight(program({ ...id, named, retries, notify_on, reminder_hours, lockfile, lockWait })),
    withLayers({
      dryRun: flags.dryRun,
      layer: services.replicationLayers(job, config, { dryRun: flags.dryRun, pingUrl: written?.ping_url }),
      disclaimer: "nothing is changed on either host, no message is sent",
      logs: config === undefined ? identity : services.logs(config, id)
    })
  )
})
