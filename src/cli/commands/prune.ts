import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { jobFromConfig } from "../../config/ReplicationJob.ts"
import { type Reader, readersOf, runPrune } from "../../replication/Prune.ts"
import { survey } from "../../replication/Survey.ts"
import { exitStatusOf, PruneDocument } from "../../runs/PruneResult.ts"
import { ExitStatus } from "../../system/ExitStatus.ts"
import { command } from "../command.ts"
import { Stop, UsageError } from "../exit.ts"
import * as services from "../layers.ts"
import * as options from "../options.ts"
import { printDocument } from "../output.ts"
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
export const prune = Command.make(
  "prune",
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
    config: options.optionalConfig,
    lock: options.lock,
    dryRun: options.replicationDryRun,
    json: options.json,
    datasets: options.datasets,
    ...options.output
  },
  (flags) =>
    Effect.gen(function* () {
      const asked = retentionOf(flags)
      const towards = flags.direction === "pull" || flags.direction === "push" ? flags.direction : undefined
      const resolved = yield* resolveJob(
        "prune",
        { ...flags, direction: towards, raw: undefined, bandwidth: undefined, compress: undefined },
        [
          ...(flags.direction === towards
            ? []
            : [`--direction: ${JSON.stringify(flags.direction)} is not "pull" or "push"`]),
          ...Either.match(asked, { onLeft: (problems) => problems, onRight: () => [] })
        ]
      )
      const retention = Either.getOrUndefined(asked) ?? resolved.job.retention
      if (retention === undefined) {
        return yield* new UsageError({
          command: "prune",
          problems: [
            "nothing says what to keep: give --hourly, --daily, --weekly or --monthly a number, or the job a retention"
          ]
        })
      }
      const summary = yield* withJobLayers("prune", flags, resolved, (context) =>
        runPrune(resolved.job, retention, { ...context, readers: readers(resolved, context.retries) })
      )
      if (flags.json) yield* printDocument(PruneDocument, summary)
      const status = exitStatusOf(summary)
      if (status !== ExitStatus.ok) return yield* new Stop({ status })
    }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Destroy snapshots of replicas, but for the newest of each of the latest hours, days, weeks and months, and what replication still needs. Example: zipper prune --job nas --config /usr/local/etc/zipper.json --dry-run"
  )
)

/** The jobs of the same configuration that send on what is to be pruned, each asked through services of its own. */
const readers = ({ config, job }: ResolvedJob, retries: number): ReadonlyArray<Reader> =>
  config === undefined
    ? []
    : readersOf(job, config.replication.map(jobFromConfig)).map((reader) => ({
        job: reader.name,
        lockfile: services.lockfileBeside(config, reader),
        ask: Effect.provide(survey(reader, retries), services.replicationDryRun(reader, config))
      }))
