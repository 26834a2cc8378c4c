import { createHash } from "node:crypto"
import { getRights } from "effect/Array"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { parseBytes } from "../text/Text.ts"
import type { SendMode } from "../zfs/Dataset.ts"
import * as DatasetName from "../zfs/DatasetName.ts"
import { addressOf, hostProblem, sshOptionProblem, userProblem } from "../zfs/DatasetName.ts"
import { label, type Remote } from "../zfs/Endpoint.ts"
import type { Retention } from "../zfs/Retention.ts"
import { issuesOf } from "./ConfigIssues.ts"
import { flag, judged, oneOf, optional, PingUrl, required, text, whole, withDefault } from "./SchemaFields.ts"

const Dataset = judged('the name of a dataset such as "tank/data"', DatasetName.datasetProblem)

const patternProblem = (pattern: string): string | undefined => {
  if (pattern === "") return "is empty"
  if (pattern.startsWith("-")) return "begins with a dash, as options do; write ? for the dash"
  const name = pattern.replace(/\\([\s\S])|[*?]/gu, (_, literal: string | undefined) => literal ?? "x")
  return /[^A-Za-z0-9_.: /-]/.test(name) || name.split("/").includes("")
    ? "can match no dataset; expected a name or a pattern such as tmp, scratch* or tank/*/cache"
    : undefined
}

/** What is wrong with it as a bandwidth, to go after it. */
export const bandwidthProblem = (value: string): string | undefined =>
  parseBytes(value) === undefined ? 'is not bytes a second such as "10M"' : undefined

const snapshotCount = (note: string) => withDefault(note, whole(0, 10_000), () => 0)

/** How many snapshots of each period `prune` keeps. */
export const RetentionConfig = Schema.Struct({
  hourly: snapshotCount("The newest snapshot of each of so many hours is kept"),
  daily: snapshotCount("The same for days"),
  weekly: snapshotCount("The same for weeks, which begin on Monday"),
  monthly: snapshotCount("The same for months")
})

/** A replication job as the configuration has it. */
export const ReplicationJob = Schema.Struct({
  name: required("Name for --job", text(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, "a name of letters, digits and _ . -")),
  direction: required("pull fetches from the other host, push sends to it", oneOf("pull", "push")),
  host: required(
    "The other host, an alias of ssh's configuration, or user@host",
    judged("a host name, an address or an ssh alias", hostProblem)
  ),
  user: optional("The user to log in as there; ssh chooses when it is left out", judged("a user name", userProblem)),
  port: optional("Port of its ssh server; ssh chooses when it is left out", whole(1, 65535)),
  datasets: required("Datasets to replicate, each with everything below it", Schema.NonEmptyArray(Dataset)),
  exclude: withDefault(
    "Patterns of datasets to leave out: * is anything but a slash, ** anything, ? one character",
    Schema.Array(judged("a pattern", patternProblem)),
    () => []
  ),
  destination: optional("pull writes <destination>/<host>/<dataset>, push below it", Dataset),
  strip_prefix: optional("push only: taken off the front of every dataset's name", Dataset),
  raw: optional("Send blocks as they are on disk, encrypted ones too; left out: no for a pull, yes for a push", flag),
  ssh_options: withDefault(
    "Options for ssh, each as after its -o",
    Schema.Array(judged('an ssh option such as "Compression=yes"', sshOptionProblem)),
    () => []
  ),
  bandwidth: optional(
    "Most bytes a second; needs pv or mbuffer on this host",
    judged('bytes a second such as "10M"', bandwidthProblem)
  ),
  concurrency: withDefault(
    "So many datasets are sent at the same time, a parent before its children; each gets an equal part of bandwidth",
    whole(1, 16),
    () => 1
  ),
  compress: optional("Compression of the stream; the program zstd has to be on both hosts", oneOf("none", "zstd")),
  retention: optional("Snapshots of the replicas that zipper prune keeps", RetentionConfig),
  bookmark: withDefault(
    "Keep a bookmark of the latest common snapshot at the source, so that the snapshot may be destroyed there",
    flag,
    () => true
  ),
  snapshot: withDefault("Take a snapshot of the datasets at the source before each run sends them", flag, () => false),
  source_retention: optional("How many of the snapshots that snapshot takes stay at the source", RetentionConfig),
  ping_url: optional("Address that is called when a run of this job starts, succeeds and fails; a secret", PingUrl)
})
export type ReplicationJob = typeof ReplicationJob.Type

const decoder = <A, I>(schema: Schema.Schema<A, I>) => {
  const decode = Schema.decodeUnknownEither(schema, { errors: "all", onExcessProperty: "error" })
  return (input: unknown) => Either.mapLeft(decode(input), issuesOf)
}

/** One job on its own. Left: its mistakes, but for those that only show beside others. */
export const decodeJob = decoder(ReplicationJob)

/** A retention on its own. Left: its mistakes. */
export const decodeRetention = decoder(RetentionConfig)

/** A replication job of the configuration or the command line, where its name is `pull-HOST` or `push-HOST`. */
export interface Job
  extends Pick<
    ReplicationJob,
    "name" | "direction" | "datasets" | "exclude" | "concurrency" | "bookmark" | "snapshot"
  > {
  readonly remote: Remote
  /** pull: replicas are written to `<destination>/<host>/<dataset>`. push: below it, if there is one. */
  readonly destination: string | undefined
  /** push: taken off the front of every dataset's name. */
  readonly stripPrefix: string | undefined
  readonly mode: SendMode
  readonly compress: "none" | "zstd"
  /** Bytes a second, of all streams together. */
  readonly bandwidth: number | undefined
  readonly retention: Retention | undefined
  /** Of the snapshots that the job takes at the source; undefined: all of them stay. */
  readonly sourceRetention: Retention | undefined
}

type LockedJob = Pick<Job, "direction" | "remote" | "destination">

const longestName = 160

/**
 * Part of the name of the lock file: the same for every job, named or not, of one direction, host and destination. The direction
 * comes first, so that it differs from every lock of a crontab line.
 */
export const jobLockName = ({ destination, direction, remote }: LockedJob): string => {
  // Another port is another machine to push to; the place of a pull does not depend on it.
  const port = direction === "push" && remote.port !== undefined && remote.port !== 22 ? [remote.port] : []
  const parts = [direction, remote.host, ...port, ...(destination === undefined ? [] : [destination])]
  const name = parts.map((part) => String(part).replace(/[^A-Za-z0-9_.-]/g, "_")).join("-")
  return name.length <= longestName ? name : `${name.slice(0, longestName)}-${shortDigest(name)}`
}

export const shortDigest = (text: string, length = 8): string =>
  createHash("sha256").update(text).digest("hex").slice(0, length)

/**
 * The key of a job's messages. A job of the command line is identified by datasets, direction and places. No name in a
 * configuration begins with a tilde.
 */
export const alertsKeyOf = (job: LockedJob & Pick<Job, "name" | "datasets">, named: boolean): JobKey => {
  const unnamed = () => `~${jobLockName(job).slice(0, longestName)}-${shortDigest(job.datasets.join("\0"))}`
  return { kind: "replication", name: named ? job.name : unnamed() }
}

/** A job of the configuration. A push is raw unless `raw` says otherwise: the other machine may not be the user's own. */
export const jobFromConfig = (job: ReplicationJob): Job => {
  const { host, user } = addressOf(job.host)
  const { bookmark, concurrency, datasets, destination, direction, exclude, name, snapshot } = job
  return {
    name,
    direction,
    remote: { _tag: "Remote", host, user: user ?? job.user, port: job.port, options: job.ssh_options },
    datasets,
    exclude,
    concurrency,
    destination,
    stripPrefix: job.strip_prefix,
    mode: (job.raw ?? direction === "push") ? "raw" : "plain",
    compress: job.compress ?? "none",
    bandwidth: job.bandwidth === undefined ? undefined : parseBytes(job.bandwidth),
    retention: job.retention,
    bookmark,
    snapshot,
    sourceRetention: job.source_retention
  }
}

type TargetRule = Pick<Job, "direction" | "remote" | "destination" | "stripPrefix">

/** The replica of a dataset. Left: why there can be none, to go after the dataset's name. */
export const targetOf = (job: TargetRule, dataset: string): Either.Either<string, string> => {
  const target = job.direction === "pull" ? pullTarget(job, dataset) : pushTarget(job, dataset)
  return Either.flatMap(target, (name) => {
    const problem = DatasetName.datasetProblem(name)
    return problem === undefined
      ? Either.right(name)
      : Either.left(`would be written to ${JSON.stringify(name)}, which ${problem}`)
  })
}

const pullTarget = ({ destination, remote }: TargetRule, dataset: string): Either.Either<string, string> =>
  destination === undefined
    ? Either.left("cannot be pulled without a destination to write it below")
    : Either.right(`${destination}/${remote.host.replace(/[^A-Za-z0-9_.:-]/g, "_")}/${dataset}`)

const pushTarget = ({ destination, stripPrefix }: TargetRule, dataset: string): Either.Either<string, string> => {
  if (stripPrefix !== undefined && !DatasetName.isWithin(dataset, stripPrefix)) {
    return Either.left(`does not lie in ${stripPrefix}, the prefix to strip`)
  }
  const rest = stripPrefix === undefined ? dataset : dataset.slice(stripPrefix.length + 1)
  if (destination !== undefined) return Either.right(rest === "" ? destination : `${destination}/${rest}`)
  return rest === ""
    ? Either.left("has no name left once the prefix is stripped: give a destination, or a shorter prefix")
    : Either.right(rest)
}

/** A root of a job and where it goes. */
interface Route {
  readonly job: string
  readonly source: string
  readonly target: string
  /** Tells one machine and login from another. */
  readonly from: string
  readonly to: string
  /** For messages. */
  readonly shownFrom: string
  readonly shownTo: string
}

/** A sentence for each two jobs that would write different datasets to one place, as far as their definitions show. */
export const collisions = (jobs: ReadonlyArray<Job>): ReadonlyArray<string> => {
  const routes = jobs.map(routesOf)
  const found = routes.flatMap((own, index) =>
    routes.slice(index + 1).flatMap((others) => own.flatMap((one) => others.flatMap((other) => collision(one, other))))
  )
  // Jobs of the same name, a mistake of its own, would give the same sentence twice.
  return [...new Set(found)]
}

const routesOf = (job: Job): ReadonlyArray<Route> => {
  const { host, port, user } = job.remote
  const shown = port === undefined ? label(job.remote) : `${label(job.remote)}, port ${port}`
  const ends =
    job.direction === "pull"
      ? { from: JSON.stringify([host, port ?? 22, user]), to: "", shownFrom: ` of ${shown}`, shownTo: "" }
      : { from: "", to: JSON.stringify([host, port ?? 22]), shownFrom: "", shownTo: ` on ${host}` }
  return getRights(
    [...new Set(job.datasets)].map((source) =>
      Either.map(targetOf(job, source), (target) => ({ job: job.name, source, target, ...ends }))
    )
  )
}

const collision = (one: Route, other: Route): ReadonlyArray<string> => {
  if (one.to !== other.to) return []
  const [upper, lower] = DatasetName.isWithin(other.target, one.target) ? [one, other] : [other, one]
  if (!DatasetName.isWithin(lower.target, upper.target)) return []
  // What the upper job would write to the place of the lower one, if it has it.
  const rival = upper.source + lower.target.slice(upper.target.length)
  const sameDataset = rival === lower.source
  // Another dataset below a replica is fine unless the upper job has one of that name, which only a run can tell.
  if (sameDataset ? upper.from === lower.from : upper.target !== lower.target) return []
  return [
    `jobs ${JSON.stringify(upper.job)} and ${JSON.stringify(lower.job)} would both write to ${lower.target}${lower.shownTo}: ${rival}${upper.shownFrom} and ${lower.source}${lower.shownFrom}`
  ]
}

/** A job among those of one configuration. */
export type JobKey = { readonly kind: "archive" } | { readonly kind: "replication"; readonly name: string }

export const archiveJobKey: JobKey = { kind: "archive" }

/** The name of a job's files: `archive`, or `replication-NAME`. The schema keeps names of jobs safe for files. */
export const jobFileName = (key: JobKey): string => (key.kind === "archive" ? "archive" : `replication-${key.name}`)

/** The name of a job in messages; a replication named like the archive job gets a prefix. */
export const jobLabel = (key: JobKey): string =>
  key.kind === "archive" ? "archive" : key.name === "archive" ? "replication-archive" : key.name
