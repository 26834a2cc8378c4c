import { createHash } from "node:crypto"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type { SendMode } from "../zfs/Dataset.ts"
import * as DatasetName from "../zfs/DatasetName.ts"
import { addressOf, hostProblem, sshOptionProblem, userProblem } from "../zfs/DatasetName.ts"
import { label, type Remote } from "../zfs/Endpoint.ts"
import { type ConfigIssue, issuesOf } from "./ConfigIssues.ts"
import { described, flag, judged, optional, PingUrl, text, whole, withDefault } from "./fields.ts"
import type { JobKey } from "./JobKey.ts"

/** A replication job as it is written down in the configuration. */

const Dataset = judged('the name of a dataset such as "tank/data"', DatasetName.problem)

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
  /^[1-9][0-9]{0,11}[KMGkmg]?$/.test(value) && Number.isSafeInteger(bytesPerSecond(value))
    ? undefined
    : 'is not bytes a second such as "10M"'

const most = 10_000

/** How many snapshots of each period `prune` keeps. */
export const RetentionConfig = Schema.Struct({
  hourly: withDefault(whole(0, most), () => 0),
  daily: withDefault(whole(0, most), () => 0),
  weekly: withDefault(whole(0, most), () => 0),
  monthly: withDefault(whole(0, most), () => 0)
})

/** One named replication job. */
export const ReplicationJob = Schema.Struct({
  name: text(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, "a name of letters, digits and _ . -"),
  direction: described(Schema.Literal("pull", "push"), '"pull" or "push"'),
  host: judged("a host name, an address or an ssh alias", hostProblem),
  user: optional(judged("a user name", userProblem)),
  port: optional(whole(1, 65535)),
  datasets: Schema.NonEmptyArray(Dataset),
  exclude: withDefault(Schema.Array(judged("a pattern", patternProblem)), () => []),
  destination: optional(Dataset),
  strip_prefix: optional(Dataset),
  raw: optional(flag),
  ssh_options: withDefault(
    Schema.Array(judged('an ssh option such as "Compression=yes"', sshOptionProblem)),
    () => []
  ),
  bandwidth: optional(judged('bytes a second such as "10M"', bandwidthProblem)),
  compress: optional(described(Schema.Literal("none", "zstd"), '"none" or "zstd"')),
  retention: optional(RetentionConfig),
  ping_url: optional(PingUrl)
})
export type ReplicationJob = typeof ReplicationJob.Type

const decode = Schema.decodeUnknownEither(ReplicationJob, { errors: "all", onExcessProperty: "error" })

/** One job on its own. Left: its mistakes, but for those that only show beside others. */
export const decodeJob = (input: unknown): Either.Either<ReplicationJob, ReadonlyArray<ConfigIssue>> =>
  Either.mapLeft(decode(input), issuesOf)

/** A retention on its own. Left: its mistakes. */
export const decodeRetention = (
  input: unknown
): Either.Either<typeof RetentionConfig.Type, ReadonlyArray<ConfigIssue>> =>
  Either.mapLeft(decodeRetentionValue(input), issuesOf)

const decodeRetentionValue = Schema.decodeUnknownEither(RetentionConfig, { errors: "all" })

const powers = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 } as const

/** "10M" in bytes a second; the letters are powers of 1024. */
export const bytesPerSecond = (text: string): number => {
  const unit = text.slice(-1).toLowerCase()
  return Number.parseInt(text, 10) * (unit === "k" || unit === "m" || unit === "g" ? powers[unit] : 1)
}

/** How many snapshots of each period a replica keeps; 0 is none. */
export interface Retention {
  readonly hourly: number
  readonly daily: number
  readonly weekly: number
  readonly monthly: number
}

/** One replication job, wherever it was written down: a named one of the configuration, or the command line. */
export interface Job {
  /** Name in the configuration; for the command line `pull-HOST` or `push-HOST`. */
  readonly name: string
  /** pull: from the remote host to this one; push: from this one to the remote host. */
  readonly direction: "pull" | "push"
  readonly remote: Remote
  /** Each with everything below it. */
  readonly datasets: readonly [string, ...ReadonlyArray<string>]
  /** Patterns of datasets to leave out, with everything below them. */
  readonly exclude: ReadonlyArray<string>
  /** pull: replicas are written to `<destination>/<host>/<dataset>`. push: below it, if there is one. */
  readonly destination: string | undefined
  /** push: taken off the front of every dataset's name. */
  readonly stripPrefix: string | undefined
  readonly mode: SendMode
  readonly compress: "none" | "zstd"
  /** Bytes a second. */
  readonly bandwidth: number | undefined
  readonly retention: Retention | undefined
}

const longestName = 160

/**
 * What a run of the job keeps others out of, in characters that a file's name may have: the same for every job, named or
 * not, of one direction, host and destination. The direction comes first, so that no guard in a crontab is called that.
 */
export const lockNameOf = ({
  destination,
  direction,
  remote
}: Pick<Job, "direction" | "remote" | "destination">): string => {
  // Another port is another machine to push to; what is pulled goes to the same place whatever the port.
  const port = direction === "push" && remote.port !== undefined && remote.port !== 22 ? [remote.port] : []
  const parts = [direction, remote.host, ...port, ...(destination === undefined ? [] : [destination])]
  const name = parts.map((part) => String(part).replace(/[^A-Za-z0-9_.-]/g, "_")).join("-")
  if (name.length <= longestName) return name
  return `${name.slice(0, longestName)}-${createHash("sha256").update(name).digest("hex").slice(0, 8)}`
}

/**
 * What its messages are remembered by. A job of the command line has no name of its own: it is the same again with the same
 * datasets, in the same direction, to or from the same place. No name in a configuration begins with a tilde.
 */
export const alertsKeyOf = (
  job: Pick<Job, "name" | "direction" | "remote" | "destination" | "datasets">,
  named: boolean
): JobKey => {
  if (named) return { kind: "replication", name: job.name }
  const datasets = createHash("sha256").update(job.datasets.join("\0")).digest("hex").slice(0, 8)
  return { kind: "replication", name: `~${lockNameOf(job).slice(0, longestName)}-${datasets}` }
}

/** A job of the configuration. What is pushed goes to somebody else's machine: raw unless told otherwise. */
export const fromConfig = (job: ReplicationJob): Job => {
  const { host, user } = addressOf(job.host)
  return {
    name: job.name,
    direction: job.direction,
    remote: { _tag: "Remote", host, user: user ?? job.user, port: job.port, options: job.ssh_options },
    datasets: job.datasets,
    exclude: job.exclude,
    destination: job.destination,
    stripPrefix: job.strip_prefix,
    mode: (job.raw ?? job.direction === "push") ? "raw" : "plain",
    compress: job.compress ?? "none",
    bandwidth: job.bandwidth === undefined ? undefined : bytesPerSecond(job.bandwidth),
    retention: job.retention
  }
}

/** What of a job decides where its replicas go. */
type Addressing = Pick<Job, "direction" | "remote" | "destination" | "stripPrefix">

/** Where the replica of a dataset goes. Left: why it cannot go anywhere, to be put after the dataset's name. */
export const targetOf = (job: Addressing, dataset: string): Either.Either<string, string> => {
  const target = job.direction === "pull" ? pulled(job, dataset) : pushed(job, dataset)
  return Either.flatMap(target, (name) => {
    const problem = DatasetName.problem(name)
    return problem === undefined
      ? Either.right(name)
      : Either.left(`would be written to ${JSON.stringify(name)}, which ${problem}`)
  })
}

const pulled = ({ destination, remote }: Addressing, dataset: string): Either.Either<string, string> =>
  destination === undefined
    ? Either.left("cannot be pulled without a destination to write it below")
    : Either.right(`${destination}/${hostPart(remote.host)}/${dataset}`)

/** The host as a part of a dataset's name: what cannot be in one becomes `_`. */
const hostPart = (host: string): string => host.replace(/[^A-Za-z0-9_.:-]/g, "_")

const pushed = ({ destination, stripPrefix }: Addressing, dataset: string): Either.Either<string, string> => {
  if (stripPrefix !== undefined && !DatasetName.isWithin(dataset, stripPrefix)) {
    return Either.left(`does not lie in ${stripPrefix}, the prefix to strip`)
  }
  const rest = stripPrefix === undefined ? dataset : dataset.slice(stripPrefix.length + 1)
  if (destination !== undefined) return Either.right(rest === "" ? destination : `${destination}/${rest}`)
  return rest === ""
    ? Either.left("has no name left once the prefix is stripped: give a destination, or a shorter prefix")
    : Either.right(rest)
}

/** The target of each dataset; no two have the same, since one prefix is taken off all of them. Left: everything that is wrong, a line each. */
export const targetsOf = (
  job: Addressing,
  datasets: ReadonlyArray<string>
): Either.Either<ReadonlyMap<string, string>, ReadonlyArray<string>> => {
  const targets = new Map<string, string>()
  const problems: Array<string> = []
  for (const dataset of new Set(datasets)) {
    Either.match(targetOf(job, dataset), {
      onLeft: (reason) => problems.push(`${dataset} ${reason}`),
      onRight: (target) => targets.set(dataset, target)
    })
  }
  return problems.length > 0 ? Either.left(problems) : Either.right(targets)
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

/**
 * Jobs that would write different datasets to one place: as far as their definitions tell, so without the children of
 * their datasets. A sentence each. What a job cannot map at all is left to {@link targetOf}.
 */
export const collisions = (jobs: ReadonlyArray<Job>): ReadonlyArray<string> => {
  const routes = jobs.map(routesOf)
  const found = routes.flatMap((own, index) =>
    routes
      .slice(index + 1)
      .flatMap((others) => own.flatMap((one) => others.flatMap((other) => collision(one, other))))
  )
  // Jobs of the same name, which is a mistake of its own, would be told of twice in the same words.
  return [...new Set(found)]
}

const routesOf = (job: Job): ReadonlyArray<Route> =>
  [...new Set(job.datasets)].flatMap((source) =>
    Either.match(targetOf(job, source), {
      onLeft: () => [],
      onRight: (target) => [{ job: job.name, source, target, ...ends(job) }]
    })
  )

const ends = ({ direction, remote }: Job): Pick<Route, "from" | "to" | "shownFrom" | "shownTo"> => {
  const shown = remote.port === undefined ? label(remote) : `${label(remote)}, port ${remote.port}`
  return direction === "pull"
    ? { from: loginKey(remote), to: "", shownFrom: ` of ${shown}`, shownTo: "" }
    : { from: "", to: machineKey(remote), shownFrom: "", shownTo: ` on ${remote.host}` }
}

const machineKey = ({ host, port }: Remote): string => JSON.stringify([host, port ?? 22])

const loginKey = ({ host, port, user }: Remote): string => JSON.stringify([host, port ?? 22, user ?? null])

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
