import { dirname } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { archiveJobKey, type JobKey, jobFileName, jobLabel } from "../config/ReplicationJob.ts"
import type { FolderName } from "../source/FolderName.ts"
import type { FolderVerification } from "../store/FolderState.ts"
import { replaceByRename } from "../store/Records.ts"
import { Disk } from "../system/Disk.ts"
import { quoted } from "../text/Text.ts"
import { described } from "./History.ts"
import { type JobState, type JobStateError, JobStates, keyOf, type TrackedItem, trackedItems } from "./JobState.ts"
import { Outcome } from "./Run.ts"
import type { VerifyReplicasDocument } from "./VerifyReplicasResult.ts"

/** What `metrics_file` holds: the text format of Prometheus, version 0.0.4, for node_exporter's textfile collector. */

export interface MetricsSettings {
  readonly path: string
  /** The state folder of the configuration, which the file names as its owner. */
  readonly dir: string
  readonly jobs: ReadonlyArray<JobKey>
}

export class Metrics extends Context.Tag("zipper/Metrics")<
  Metrics,
  {
    /** Replaces the file, or with `alone` only the lines about the last run of the job. Never fails: an error is a warning. */
    readonly refresh: (state: JobState, alone: boolean) => Effect.Effect<void>
    /** The same after a verification, from what is on disk. */
    readonly rewrite: Effect.Effect<void>
  }
>() {
  /** A file for node_exporter's textfile collector, replaced atomically and readable by all users. */
  static readonly layer = (settings: MetricsSettings): Layer.Layer<Metrics, never, Disk | JobStates> =>
    Layer.effect(Metrics, makeFile(settings))

  static readonly layerDryRun = (path: string): Layer.Layer<Metrics> =>
    Layer.succeed(Metrics, {
      refresh: () => Effect.logInfo(`would write the metrics to ${path}`),
      rewrite: Effect.logInfo(`would write the metrics to ${path}`)
    })

  static readonly layerNone: Layer.Layer<Metrics> = Layer.succeed(Metrics, {
    refresh: () => Effect.void,
    rewrite: Effect.void
  })
}

/** Jobs that end at the same instant write one after the other, at most so many times each. */
const rewrites = 3

const makeFile = Effect.fnUntraced(function* ({ dir, jobs, path }: MetricsSettings) {
  const disk = yield* Disk
  const states = yield* JobStates

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
      const found = yield* disk.read(path)
      if (!isMetrics(found)) {
        const text = `no metrics were written: ${path} holds no metrics of zipper, and was left as it is: give metrics_file another name`
        return yield* Effect.logWarning(text)
      }
      const owner = otherOwner(found, dir)
      if (owner !== undefined) {
        yield* Effect.logWarning(
          `${path} had the metrics of another configuration, whose state is in ${quoted(owner)}, and they are replaced: give each configuration a metrics_file of its own`
        )
      }
      const text = Effect.flatMap(disk.read(path), (before) =>
        metricsText(states, jobs, after, alone && otherOwner(before, dir) === undefined, before)
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

/** The whole file; with `alone`, `before` with only the last run of the job `after` replaced. */
export const metricsText = (
  states: typeof JobStates.Service,
  jobs: ReadonlyArray<JobKey>,
  after: JobState | undefined,
  alone: boolean,
  before: string | undefined
): Effect.Effect<string, JobStateError> =>
  alone && before !== undefined && after !== undefined
    ? Effect.succeed(withJobAlone(before, after))
    : Effect.gen(function* () {
        const known = yield* Effect.forEach(jobs, (job) =>
          after !== undefined && jobFileName(job) === jobFileName(keyOf(after))
            ? Effect.succeed(after)
            : states.load(job)
        )
        return render(
          known.filter((state) => state !== undefined),
          yield* states.verified,
          yield* Effect.forEach(jobs, states.verifiedReplicas)
        )
      })

const ownerLine = "# zipper state: "

/** A text whose first line, a comment, names the state folder that it was made from. */
export const withOwner = (text: string, stateDir: string): string => `${ownerLine}${escapedHelp(stateDir)}\n${text}`

/** Whether a text may be replaced: metrics of zipper, of any version, or nothing. */
export const isMetrics = (text = ""): boolean => /^(?:# (?:zipper state: |HELP zipper_)|[\0\s]*$)/.test(text)

/** The state folder that a text names, if it is not `stateDir`: two configurations write to one file. */
export const otherOwner = (text: string | undefined, stateDir: string): string | undefined => {
  if (text?.startsWith(ownerLine) !== true) return undefined
  const owner = text.slice(ownerLine.length).split("\n", 1)[0]
  return owner === escapedHelp(stateDir) ? undefined : owner
}

/** A text with the lines about a job's last run replaced, and all others as they are. */
export const withJobAlone = (text: string, state: JobState): string => {
  const job = `{${inBraces(jobLabels(state))}`
  const alone = state.kind === "archive" ? { ...state, folders: [] } : { ...state, datasets: [] }
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

const blocksOf = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  text
    .split(/^(?=# HELP )/m)
    .map((block) => block.split("\n").filter((line) => line !== ""))
    .filter(([help]) => help?.startsWith("# HELP ") === true)

const nameOf = ([help]: ReadonlyArray<string>): string => help?.split(" ")[2] ?? ""

/** A metric of folders and datasets, of jobs, or of archives: name, help, and its value, if it has one. */
type Metric<Of> = readonly [name: string, help: string, value: (of: Of) => number | undefined]

const itemMetrics: ReadonlyArray<Metric<TrackedItem>> = [
  [
    "last_success_timestamp_seconds",
    "When the last run began that archived the folder or found it unchanged, or replicated the dataset or found it up to date.",
    ({ last_success_utc }) => secondsOf(last_success_utc)
  ],
  [
    "last_attempt_timestamp_seconds",
    "When the last run began that tried the folder or dataset.",
    ({ last_attempt_utc }) => secondsOf(last_attempt_utc)
  ],
  [
    "last_attempt_failed",
    "1 if the last attempt at the folder or dataset failed or was refused, else 0.",
    ({ condition }) => (condition === "failing" ? 1 : 0)
  ],
  [
    "last_duration_seconds",
    "How long it took to archive the folder or to send the dataset, the last time that was done.",
    ({ seconds }) => seconds
  ],
  [
    "last_bytes",
    "Uncompressed bytes of the folder, or bytes sent of the dataset, the last time that was done.",
    ({ bytes }) => bytes
  ],
  ["archive_bytes", "Size of the folder's current archive.", ({ zip_bytes }) => zip_bytes],
  ["archive_files", "Files in the folder's current archive.", ({ files }) => files]
]

const jobMetrics: ReadonlyArray<Metric<JobState>> = [
  [
    "last_run_timestamp_seconds",
    "When the job's last run began.",
    ({ last_run }) => secondsOf(last_run.started_at_utc)
  ],
  [
    "last_run_success_timestamp_seconds",
    "When the job's last run began in which nothing failed.",
    ({ last_success_utc }) => secondsOf(last_success_utc)
  ],
  ["last_run_duration_seconds", "How long the job's last run took.", ({ last_run }) => last_run.seconds],
  [
    "last_run_bytes",
    "Uncompressed bytes archived, or bytes sent, by the job's last run.",
    ({ last_run }) => last_run.bytes
  ],
  [
    "last_run_failures",
    "Folders or datasets that failed or were refused in the job's last run.",
    ({ last_run }) => last_run.failures
  ]
]

/** The last verification of a folder's current archive; `isAbout`: no other archive was published since. */
type VerifiedArchive = NonNullable<FolderVerification["current"]> & { readonly isAbout: boolean }

const verifyMetrics: ReadonlyArray<Metric<VerifiedArchive>> = [
  [
    "last_verified_timestamp_seconds",
    "When verify last read back the folder's current archive, or looked at the replica or the pool of replicas.",
    ({ verified_at_utc }) => secondsOf(verified_at_utc)
  ],
  [
    "last_verify_failed",
    "1 if verify found the folder's current archive damaged or lost, the replica or pool not good, or could not tell, else 0; none once another archive is published.",
    ({ isAbout, result }) => (isAbout ? (result === "good" || result === "foreign" ? 0 : 1) : undefined)
  ]
]

type Labels = ReadonlyArray<readonly [name: string, value: string]>
type Labelled<Of> = ReadonlyArray<readonly [labels: Labels, of: Of]>

/** The whole file. Families without a sample are left out. */
export const render = (
  states: ReadonlyArray<JobState>,
  verified: ReadonlyMap<FolderName, FolderVerification> = new Map(),
  replicas: ReadonlyArray<VerifyReplicasDocument | undefined> = []
): string => {
  const jobs = states.map((state) => [jobLabels(state), state] as const)
  const items = jobs.flatMap(([labels, state]) =>
    trackedItems(state).map((item) => [[...labels, [item.noun, item.name]], item] as const)
  )
  const outcomes = jobs.flatMap(([labels, state]) =>
    Outcome.literals.map((outcome) => [[...labels, ["outcome", outcome]], state.last_run.outcome === outcome] as const)
  )
  return [
    ...itemMetrics.map((metric) => family(metric, items)),
    ...jobMetrics.map((metric) => family(metric, jobs)),
    family(
      [
        "last_run_outcome",
        "1 for how the job's last run ended (ok, failed, not_started, interrupted), 0 for the others.",
        Number
      ],
      outcomes
    ),
    ...verifyMetrics.map((metric) =>
      family(metric, [...verifiedArchives(states, verified), ...replicas.flatMap(verifiedReplicas)])
    )
  ].join("")
}

const family = <Of>([name, help, value]: Metric<Of>, all: Labelled<Of>): string => {
  const samples = all.flatMap(([labels, of]) => {
    const figure = value(of)
    return figure === undefined ? [] : [`zipper_${name}{${inBraces(labels)}} ${figure}\n`]
  })
  if (samples.length === 0) return ""
  return `# HELP zipper_${name} ${escapedHelp(help)}\n# TYPE zipper_${name} gauge\n${samples.join("")}`
}

const verifiedArchives = (
  states: ReadonlyArray<JobState>,
  verified: ReadonlyMap<FolderName, FolderVerification>
): Labelled<VerifiedArchive> => {
  const archived = new Map(
    states.flatMap((state) =>
      state.kind === "archive" ? state.folders.map((item) => [item.folder, item.archived_at_utc] as const) : []
    )
  )
  return [...verified].flatMap(([folder, { current }]) => {
    if (current === undefined) return []
    const now = archived.get(folder)
    const isAbout = now === undefined || current.archived_at_utc === now
    const labels: Labels = [
      ["job", jobLabel(archiveJobKey)],
      ["folder", folder]
    ]
    return [[labels, { ...current, isAbout }] as const]
  })
}

const verifiedReplicas = (found: VerifyReplicasDocument | undefined): Labelled<VerifiedArchive> => {
  if (found === undefined) return []
  const { job, pools, replicas, started_at_utc: verified_at_utc } = found
  const sample = (noun: "dataset" | "pool", name: string, isBad: boolean): Labelled<VerifiedArchive>[number] => [
    [
      ["job", jobLabel({ kind: "replication", name: job })],
      [noun, name]
    ],
    { verified_at_utc, result: isBad ? "damaged" : "good", isAbout: true }
  ]
  return [
    ...replicas.map(({ dataset, result }) => sample("dataset", dataset, result === "bad" || result === "unknown")),
    ...pools.map(({ findings, pool }) => sample("pool", pool, findings.length > 0))
  ]
}

const jobLabels = (state: JobState): Labels => [["job", jobLabel(keyOf(state))]]

const secondsOf = (utc: string | undefined): number | undefined => {
  const millis = utc === undefined ? Number.NaN : Date.parse(utc)
  return Number.isNaN(millis) ? undefined : millis / 1000
}

const inBraces = (pairs: Labels): string => pairs.map(([name, value]) => `${name}="${escapedValue(value)}"`).join(",")

const escapedValue = (value: string): string => value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")

const escapedHelp = (text: string): string => text.replace(/\\/g, "\\\\").replace(/\n/g, "\\n")
