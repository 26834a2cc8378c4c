import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { jobFromConfig } from "../../config/ReplicationJob.ts"
import { type Reader, readersOf, runPrune } from "../../replication/Prune.ts"
import { survey } from "../../replication/Survey.ts"
import { exitStatusOf, PruneDocument } from "../../runs/PruneResult.ts"
import { Process } from "../../system/Process.ts"
import { makeCommand } from "../command.ts"
import { endWith, UsageError } from "../exit.ts"
import * as services from "../layers.ts"
import * as options from "../options.ts"
import { documentUnfinished, printDocument } from "../output.ts"
import { type ResolvedJob, resolveJob, retentionOf } from "../replicationJob.ts"
import { withJobLayers } from "./replicate.ts"

const direction = options.single(
  "direction",
  "pull|push",
  "Which command made the replicas: pull (they are here) or push (on the other host)."
)

const count = (period: string, units: string) =>
  options.single(period, "N", `Keep the newest snapshot of each of the latest N ${units}.`)

/** `zipper prune`: fewer snapshots of replicas. */
export const prune = makeCommand(
  "prune",
  "Destroy snapshots of replicas, but for the newest of each of the latest hours, days, weeks and months, and what replication still needs. Example: zipper prune --job nas --dry-run",
  {
    direction,
    ...options.remote,
    destination: options.pulledBelow,
    stripPrefix: options.stripPrefix,
    exclude: options.exclude,
    hourly: count("hourly", "hours"),
    daily: count("daily", "days"),
    weekly: count("weekly", "weeks"),
    monthly: count("monthly", "months"),
    job: options.job,
    config: options.jobConfig,
    lock: options.lock,
    dryRun: options.replicationDryRun,
    datasets: options.sourceDatasets
  },
  function* (flags) {
    const asked = retentionOf(flags)
    const direction = flags.direction === "pull" || flags.direction === "push" ? flags.direction : undefined
    const resolved = yield* resolveJob("prune", { ...flags, direction }, [
      ...(flags.direction === direction
        ? []
        : [`--direction: ${JSON.stringify(flags.direction)} is not "pull" or "push"`]),
      ...Either.match(asked, { onLeft: (problems) => problems, onRight: () => [] })
    ])
    const retention = Either.getOrUndefined(asked) ?? resolved.job.retention
    if (retention === undefined) {
      const problem =
        "nothing says what to keep: give --hourly, --daily, --weekly or --monthly a number, or the job a retention"
      return yield* new UsageError({ command: "prune", problems: [problem] })
    }
    const onUnfinished = yield* documentUnfinished(PruneDocument)
    const summary = yield* withJobLayers("prune", flags, resolved, (context) =>
      runPrune(resolved.job, retention, { ...context, onUnfinished, readers: readers(resolved, context.retries) })
    )
    yield* printDocument(PruneDocument, summary)
    yield* endWith(exitStatusOf(summary))
  }
)

/** The jobs of the same configuration that send on what is to be pruned, each asked through services of its own. */
const readers = ({ config, job }: ResolvedJob, retries: number): ReadonlyArray<Reader> =>
  config === undefined
    ? []
    : readersOf(job, config.replication.map(jobFromConfig)).map((reader) => ({
        job: reader.name,
        lockfile: services.lockfileBeside(config, reader),
        ask: Effect.provide(survey(reader, retries), Layer.provide(services.connected(reader, true), Process.layer))
      }))
