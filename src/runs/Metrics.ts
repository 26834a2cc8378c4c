import { dirname } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { archiveJobKey, type JobKey, jobFileName, jobLabel } from "../config/JobKey.ts"
import type { FolderName } from "../source/FolderName.ts"
import { replaceByRename } from "../store/Records.ts"
import type { FolderVerification } from "../store/Verification.ts"
import { Disk } from "../system/Disk.ts"
import { quoted } from "../text/Text.ts"
import { type JobState, type JobStateError, JobStates, keyOf } from "./JobState.ts"
import { described, type Outcome } from "./StateFolder.ts"
import { type TrackedItem, trackedItems } from "./TrackedItems.ts"

/** What `metrics_file` holds: the text format of Prometheus, version 0.0.4, for node_exporter's textfile collector. */

type Labels = ReadonlyArray<readonly [name: string, value: string]>

interface Sample {
  readonly labels: Labels
  readonly value: number
}

interface Family {
  readonly name: string
  readonly help: string
  readonly samples: ReadonlyArray<Sample>
}

const outcomes: ReadonlyArray<Outcome> = ["ok", "failed", "not_started", "interrupted"]

/** The whole file. Families without a sample are left out. */
export const render = (
  standings: ReadonlyArray<JobState>,
  verified: ReadonlyMap<FolderName, FolderVerification> = new Map()
): string =>
  [...familiesOf(standings), ...verifiedFamilies(standings, verified)]
    .filter(({ samples }) => samples.length > 0)
    .map(({ help, name, samples }) =>
      [
        `# HELP ${name} ${escapedHelp(help)}`,
        `# TYPE ${name} gauge`,
        ...samples.map((sample) => `${name}{${labels(sample.labels)}} ${sample.value}`)
      ].join("\n")
    )
    .map((family) => `${family}\n`)
    .join("")

/** A text with what it says of a job's last run replaced, and all the rest of it as it is. */
export const withJobAlone = (text: string, standing: JobState): string => {
  const job = `{${labels(jobLabels(standing))}`
  const alone = standing.kind === "archive" ? { ...standing, folders: [] } : { ...standing, datasets: [] }
  const fresh = new Map(blocksOf(render([alone])).map((block) => [nameOf(block), block]))
  const kept = blocksOf(text).map((block) => {
    const replacement = fresh.get(nameOf(block))
    fresh.delete(nameOf(block))
    if (replacement === undefined) return block
    const others = block.filter((line) => !line.startsWith(`${nameOf(block)}${job}`))
    return [...others, ...replacement.filter((line) => !line.startsWith("#"))]
  })
  return [...kept, ...fresh.values()].map((block) => `${block.join("\n")}\n`).join("")
}

const ownerLine = "# zipper state: "

/** A text whose first line, a comment, names the state folder that it was made from. */
export const withOwner = (text: string, stateDir: string): string => `${ownerLine}${escapedHelp(stateDir)}\n${text}`

/**
 * The state folder that a text names, if it is not `stateDir`: two configurations write to one file, and each removes the lines
 * of the other. Undefined also for a text that names none, as earlier versions wrote it.
 */
export const otherOwner = (text: string | undefined, stateDir: string): string | undefined => {
  if (text?.startsWith(ownerLine) !== true) return undefined
  const owner = text.slice(ownerLine.length).split("\n", 1)[0]
  return owner === escapedHelp(stateDir) ? undefined : owner
}

/** The lines of each family. */
const blocksOf = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  text
    .split(/^(?=# HELP )/m)
    .map((block) => block.split("\n").filter((line) => line !== ""))
    .filter(([help]) => help?.startsWith("# HELP ") === true)

const nameOf = ([help]: ReadonlyArray<string>): string => help?.split(" ")[2] ?? ""

const familiesOf = (standings: ReadonlyArray<JobState>): ReadonlyArray<Family> => {
  const items = standings.flatMap((standing) =>
    trackedItems(standing).map((item) => ({
      ...item,
      labels: [...jobLabels(standing), [item.noun, item.name] as const]
    }))
  )
  const jobs = standings.map((standing) => ({ standing, labels: jobLabels(standing) }))
  const ofItems = (name: string, help: string, value: (item: TrackedItem) => number | undefined): Family => ({
    name: `zipper_${name}`,
    help,
    samples: items.flatMap((item) => sample(item.labels, value(item)))
  })
  const ofJobs = (name: string, help: string, value: (standing: JobState) => number | undefined): Family => ({
    name: `zipper_${name}`,
    help,
    samples: jobs.flatMap((each) => sample(each.labels, value(each.standing)))
  })
  return [
    ofItems(
      "last_success_timestamp_seconds",
      "When the last run began that archived the folder or found it unchanged, or replicated the dataset or found it up to date.",
      ({ last_success_utc }) => secondsOf(last_success_utc)
    ),
    ofItems(
      "last_attempt_timestamp_seconds",
      "When the last run began that tried the folder or dataset.",
      ({ last_attempt_utc }) => secondsOf(last_attempt_utc)
    ),
    ofItems(
      "last_attempt_failed",
      "1 if the last attempt at the folder or dataset failed or was refused, else 0.",
      ({ condition }) => (condition === "failing" ? 1 : 0)
    ),
    ofItems(
      "last_duration_seconds",
      "How long it took to archive the folder or to send the dataset, the last time that was done.",
      ({ seconds }) => seconds
    ),
    ofItems(
      "last_bytes",
      "Uncompressed bytes of the folder, or bytes sent of the dataset, the last time that was done.",
      ({ bytes }) => bytes
    ),
    ofItems("archive_bytes", "Size of the folder's current archive.", ({ zip_bytes }) => zip_bytes),
    ofItems("archive_files", "Files in the folder's current archive.", ({ files }) => files),
    ofJobs("last_run_timestamp_seconds", "When the job's last run began.", ({ last_run }) =>
      secondsOf(last_run.started_at_utc)
    ),
    ofJobs("last_run_success_timestamp_seconds", "When the job's last run began in which nothing failed.", (standing) =>
      secondsOf(standing.last_success_utc)
    ),
    ofJobs("last_run_duration_seconds", "How long the job's last run took.", ({ last_run }) => last_run.seconds),
    ofJobs(
      "last_run_bytes",
      "Uncompressed bytes archived, or bytes sent, by the job's last run.",
      ({ last_run }) => last_run.bytes
    ),
    ofJobs(
      "last_run_failures",
      "Folders or datasets that failed or were refused in the job's last run.",
      ({ last_run }) => last_run.failures
    ),
    {
      name: "zipper_last_run_outcome",
      help: "1 for how the job's last run ended (ok, failed, not_started, interrupted), 0 for the others.",
      samples: jobs.flatMap((each) =>
        outcomes.map((outcome) => ({
          labels: [...each.labels, ["outcome", outcome] as const],
          value: each.standing.last_run.outcome === outcome ? 1 : 0
        }))
      )
    }
  ]
}

/** Of the current archives. A result says nothing any more once another archive was published; when there was one stays. */
const verifiedFamilies = (
  standings: ReadonlyArray<JobState>,
  verified: ReadonlyMap<FolderName, FolderVerification>
): ReadonlyArray<Family> => {
  const archived = new Map(
    standings.flatMap((each) =>
      each.kind === "archive" ? each.folders.map((item) => [item.folder, item.archived_at_utc] as const) : []
    )
  )
  const all = [...verified].flatMap(([folder, { current }]) =>
    current === undefined
      ? []
      : [
          {
            folder,
            current,
            labels: [["job", jobLabel(archiveJobKey)] as const, ["folder", folder] as const]
          }
        ]
  )
  return [
    {
      name: "zipper_last_verified_timestamp_seconds",
      help: "When the folder's current archive was last read back by verify.",
      samples: all.flatMap(({ current, labels: pairs }) => sample(pairs, secondsOf(current.verified_at_utc)))
    },
    {
      name: "zipper_last_verify_failed",
      help: "1 if verify found the folder's current archive damaged or lost, or could not tell, else 0; none once another one is published.",
      samples: all.flatMap(({ current, folder, labels: pairs }) => {
        const now = archived.get(folder)
        const isAbout = now === undefined || current.archived_at_utc === now
        const isGood = current.result === "good" || current.result === "foreign"
        return isAbout ? sample(pairs, isGood ? 0 : 1) : []
      })
    }
  ]
}

const jobLabels = (standing: JobState): Labels => [["job", jobLabel(keyOf(standing))]]

const sample = (labels: Labels, value: number | undefined): ReadonlyArray<Sample> =>
  value === undefined ? [] : [{ labels, value }]

/** Seconds since 1970; undefined for what is no time. */
const secondsOf = (utc: string | undefined): number | undefined => {
  const millis = utc === undefined ? Number.NaN : Date.parse(utc)
  return Number.isNaN(millis) ? undefined : millis / 1000
}

const labels = (pairs: Labels): string => pairs.map(([name, value]) => `${name}="${escapedValue(value)}"`).join(",")

const escapedValue = (value: string): string => value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")

const escapedHelp = (text: string): string => text.replace(/\\/g, "\\\\").replace(/\n/g, "\\n")

export interface MetricsSettings {
  readonly path: string
  /** The state folder of the configuration: the file says whose it is. */
  readonly dir: string
  /** Those of the configuration; the state of other jobs is ignored. */
  readonly jobs: ReadonlyArray<JobKey>
}

/** Writes the state of the jobs for a monitor. */
export class Metrics extends Context.Tag("zipper/Metrics")<
  Metrics,
  {
    /**
     * After a run: replaces the file. `standing` is the state of the job after it, saved or not. With `alone`, only the lines about
     * the job's last run are replaced. Never fails: an error is a warning in the log.
     */
    readonly refresh: (standing: JobState, alone: boolean) => Effect.Effect<void>
    /** The same when no run ended, but something else is known of archives. */
    readonly rewrite: Effect.Effect<void>
  }
>() {
  /** A file for node_exporter's textfile collector, replaced atomically and readable by everybody. */
  static readonly layer = (settings: MetricsSettings): Layer.Layer<Metrics, never, Disk | JobStates> =>
    Layer.effect(Metrics, makeFile(settings))

  /** Says what it would write. */
  static readonly layerDryRun = (path: string): Layer.Layer<Metrics> =>
    Layer.succeed(Metrics, {
      refresh: () => Effect.logInfo(`would write the metrics to ${path}`),
      rewrite: Effect.logInfo(`would write the metrics to ${path}`)
    })

  /** No metrics_file is configured. */
  static readonly layerNone: Layer.Layer<Metrics> = Layer.succeed(Metrics, {
    refresh: () => Effect.void,
    rewrite: Effect.void
  })
}

/** The whole of what the monitor reads, or `before` with the run of the job `after` alone. */
export const metricsText = (
  standing: typeof JobStates.Service,
  jobs: ReadonlyArray<JobKey>,
  after: JobState | undefined,
  alone: boolean,
  before: string | undefined
): Effect.Effect<string, JobStateError> =>
  alone && before !== undefined && after !== undefined
    ? Effect.succeed(withJobAlone(before, after))
    : Effect.all([
        Effect.forEach(jobs, (job) =>
          after !== undefined && jobFileName(job) === jobFileName(keyOf(after))
            ? Effect.succeed(after)
            : standing.load(job)
        ),
        standing.verified
      ]).pipe(
        Effect.map(([standings, verified]) =>
          render(
            standings.filter((each) => each !== undefined),
            verified
          )
        )
      )

/** Jobs that end at the same instant write one after the other; more often than this they do not. */
const rewrites = 3

const makeFile = Effect.fnUntraced(function* ({ dir, jobs, path }: MetricsSettings) {
  const disk = yield* Disk
  const standing = yield* JobStates

  const write = Effect.fnUntraced(function* (content: string, draft: string) {
    // The collector is another user.
    const write = (to: string) => Effect.zipRight(disk.write(to, content), disk.setMode(to, 0o644))
    yield* Effect.provideService(replaceByRename(path, write, draft), Disk, disk)
    yield* disk.sync(`${dirname(path)}/.`)
  })

  const refresh = Effect.fn("Metrics.refresh")(
    function* (after: JobState | undefined, alone: boolean) {
      // Each job has its own draft; the collector reads every name that ends in .prom.
      const draft = `${path}.${after === undefined ? "verify" : jobFileName(keyOf(after))}.new`
      const owner = otherOwner(yield* disk.read(path), dir)
      if (owner !== undefined) {
        yield* Effect.logWarning(
          `${path} had the metrics of another configuration, whose state is in ${quoted(owner)}, and they are replaced: give each configuration a metrics_file of its own`
        )
      }
      const text = Effect.flatMap(disk.read(path), (before) =>
        // What another configuration said does not stay.
        metricsText(standing, jobs, after, alone && otherOwner(before, dir) === undefined, before)
      ).pipe(Effect.map((whole) => withOwner(whole, dir)))
      for (let n = 0; n < rewrites; n += 1) {
        const content = yield* text
        yield* write(content, draft)
        // Another job may have ended since, and its figures may have been overwritten with older ones.
        if ((yield* text) === content) return
      }
    },
    Effect.catchAll((error) =>
      Effect.logWarning(
        error._tag === "DiskError"
          ? described("no metrics were written", error)
          : `no metrics were written: ${error.message}`
      )
    )
  )
  return { refresh, rewrite: refresh(undefined, false) }
})
