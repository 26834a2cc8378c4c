import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { closest, distance } from "fastest-levenshtein"
import type { Config } from "../config/Config.ts"
import { linesOf } from "../config/ConfigIssues.ts"
import { jobContradictions } from "../config/Contradictions.ts"
import {
  bandwidthProblem,
  bytesPerSecond,
  decodeJob,
  decodeRetention,
  fromConfig,
  type Job,
  type ReplicationJob,
  type Retention
} from "../config/ReplicationJob.ts"
import { addressOf } from "../zfs/DatasetName.ts"
import { type Endpoint, local } from "../zfs/Endpoint.ts"
import { readConfig } from "./command.ts"
import { UsageError } from "./exit.ts"

/** A job as the command line says it; undefined is what was not given. */
export interface JobFlags {
  readonly direction: Job["direction"]
  readonly host: string | undefined
  readonly user: string | undefined
  /** As it was typed: whether it is a number is judged with the rest. */
  readonly port: string | undefined
  readonly sshOptions: ReadonlyArray<string>
  readonly datasets: ReadonlyArray<string>
  readonly exclude: ReadonlyArray<string>
  readonly destination: string | undefined
  readonly stripPrefix: string | undefined
  readonly raw: boolean | undefined
  readonly bandwidth: string | undefined
  readonly compress: string | undefined
  readonly retention: Retention | undefined
}

/** The job, judged as one of the configuration would be. Left: all that is wrong with it, a line each. */
export const fromFlags = (flags: JobFlags): Either.Either<Job, ReadonlyArray<string>> => {
  const stray = strayOption(flags.datasets)
  if (stray !== undefined) return Either.left([stray])
  const input = withoutUndefined({
    name: nameFor(flags),
    direction: flags.direction,
    host: flags.host,
    user: flags.user,
    port: numberIn(flags.port),
    datasets: flags.datasets,
    exclude: flags.exclude,
    destination: flags.destination,
    strip_prefix: flags.stripPrefix,
    raw: flags.raw,
    ssh_options: flags.sshOptions,
    bandwidth: flags.bandwidth,
    compress: flags.compress,
    retention: flags.retention
  })
  const decoded = decodeJob(input)
  const problems = linesOf(
    [...(Either.isLeft(decoded) ? decoded.left : []), ...jobContradictions(input)],
    ([field]) => flagOf(String(field))
  )
  return Either.isRight(decoded) && problems.length === 0
    ? Either.right(fromConfig(decoded.right))
    : Either.left(problems)
}

/**
 * What looks like an option among the datasets is one that nobody knows. The parser takes all that follows it for
 * datasets too, so that it alone can be told.
 */
export const strayOption = (datasets: ReadonlyArray<string>): string | undefined => {
  const word = datasets.find((dataset) => dataset.startsWith("-"))
  return word === undefined ? undefined : `unknown option: ${word}`
}

/** `pull-HOST`, in characters that a file's name may have. */
const nameFor = ({ direction, host = "" }: JobFlags): string =>
  `${direction}-${addressOf(host).host.replace(/[^A-Za-z0-9_.-]/g, "_")}`.slice(0, 64)

/** The number that a text is; other text as it is, to be told of. */
const numberIn = (text: string | undefined): number | string | undefined =>
  text !== undefined && /^-?[0-9]{1,15}$/.test(text) ? Number(text) : text

const flagOf = (field: string): string => named.get(field) ?? `--${field.replaceAll("_", "-")}`

const named: ReadonlyMap<string, string> = new Map([
  ["datasets", "DATASET"],
  ["ssh_options", "--ssh-option"],
  ["retention", "--hourly, --daily, --weekly and --monthly"]
])

const withoutUndefined = (fields: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

/** The counts of the command line as a retention; undefined when none was given. Left: what is wrong with them. */
export const retentionOf = (
  counts: Readonly<Record<keyof Retention, string | undefined>>
): Either.Either<Retention | undefined, ReadonlyArray<string>> => {
  const { daily, hourly, monthly, weekly } = counts
  const input = withoutUndefined({
    hourly: numberIn(hourly),
    daily: numberIn(daily),
    weekly: numberIn(weekly),
    monthly: numberIn(monthly)
  })
  if (Object.keys(input).length === 0) return Either.right(undefined)
  const decoded = decodeRetention(input)
  if (Either.isLeft(decoded)) return Either.left(linesOf(decoded.left, ([period]) => `--${String(period)}`))
  return Object.values(decoded.right).every((count) => count === 0)
    ? Either.left(["--hourly, --daily, --weekly and --monthly would keep nothing: give one a number above 0"])
    : Either.right(decoded.right)
}

/**
 * The machine that is meant where there is no job: that of --host, else this one. Left: what is wrong with it and with the
 * datasets, a line each.
 */
export const placeFromFlags = (
  flags: Pick<JobFlags, "host" | "user" | "port" | "sshOptions" | "datasets">
): Either.Either<Endpoint, ReadonlyArray<string>> => {
  const { datasets, host, port, sshOptions, user } = flags
  // Any job does: of this one only the other host and the datasets can be wrong.
  const made = fromFlags({
    direction: "push",
    host: host ?? "localhost",
    user,
    port,
    sshOptions,
    datasets,
    exclude: [],
    destination: undefined,
    stripPrefix: undefined,
    raw: undefined,
    bandwidth: undefined,
    compress: undefined,
    retention: undefined
  })
  const astray =
    host === undefined && (user !== undefined || port !== undefined || sshOptions.length > 0)
      ? ["--user, --port and --ssh-option are for ssh, and go with --host"]
      : []
  if (Either.isLeft(made)) return Either.left([...astray, ...made.left])
  if (astray.length > 0) return Either.left(astray)
  return Either.right(host === undefined ? local : made.right.remote)
}

/** What says which job is meant: its name in a configuration, or all of it. */
export interface Addressing extends Omit<JobFlags, "direction" | "retention"> {
  readonly job: string | undefined
  readonly config: string | undefined
  /** Undefined where the command goes by the job's. */
  readonly direction: Job["direction"] | undefined
}

/** A job, and the configuration that was given with it. */
export interface Resolved {
  readonly job: Job
  readonly config: Config | undefined
  /** The job of the configuration that it is; undefined when the command line said it all. */
  readonly written: ReplicationJob | undefined
  /** Of the configuration. */
  readonly warnings: ReadonlyArray<string>
}

/**
 * The job that the command line means. Every mistake that shows without asking a host is told here, with nothing touched:
 * UsageError for the command line, ConfigError for the configuration.
 */
export const resolve = Effect.fnUntraced(function* (
  command: string,
  given: Addressing,
  problems: ReadonlyArray<string> = []
) {
  const fail = (...more: ReadonlyArray<string>) =>
    new UsageError({ command, problems: [...problems, ...more] })
  const { config: path, direction, job: name } = given
  const stray = strayOption(given.datasets)
  if (stray !== undefined) return yield* new UsageError({ command, problems: [stray] })
  if (name === undefined) {
    if (direction === undefined)
      return yield* fail("give --job NAME, or --direction pull or --direction push")
    const made = fromFlags({ ...given, direction, retention: undefined })
    if (Either.isLeft(made)) return yield* fail(...made.left)
    if (problems.length > 0) return yield* fail()
    const { config, warnings } =
      path === undefined ? { config: undefined, warnings: [] } : yield* readConfig(path)
    return { job: made.right, config, written: undefined, warnings } satisfies Resolved
  }
  const wrong = wronglyNamed(given)
  if (path === undefined)
    return yield* fail("--job needs --config FILE, where the job is written down", ...wrong)
  if (problems.length > 0 || wrong.length > 0) return yield* fail(...wrong)
  const { config, warnings } = yield* readConfig(path)
  const found = config.replication.find((each) => each.name === name)
  if (found === undefined) {
    return yield* fail(
      unknownJob(
        name,
        path,
        config.replication.map((each) => each.name)
      )
    )
  }
  if (direction !== undefined && found.direction !== direction) {
    return yield* fail(
      `the job ${name} is a ${found.direction}: zipper ${found.direction} --job ${name} --config ${path}`
    )
  }
  const job = fromConfig(found)
  const { bandwidth } = given
  return {
    job: bandwidth === undefined ? job : { ...job, bandwidth: bytesPerSecond(bandwidth) },
    config,
    written: found,
    warnings
  } satisfies Resolved
})

/** What cannot go with a job of the configuration, since that says it. */
const wronglyNamed = (given: Addressing): ReadonlyArray<string> => {
  const twice = [
    ...(given.datasets.length > 0 ? ["DATASET"] : []),
    ...(given.host === undefined ? [] : ["--host"]),
    ...(given.user === undefined ? [] : ["--user"]),
    ...(given.port === undefined ? [] : ["--port"]),
    ...(given.sshOptions.length > 0 ? ["--ssh-option"] : []),
    ...(given.destination === undefined ? [] : ["--destination"]),
    ...(given.stripPrefix === undefined ? [] : ["--strip-prefix"]),
    ...(given.exclude.length > 0 ? ["--exclude"] : []),
    ...(given.raw === undefined ? [] : [given.raw ? "--raw" : "--no-raw"]),
    ...(given.compress === undefined ? [] : ["--compress"])
  ]
  const wrong = given.bandwidth === undefined ? undefined : bandwidthProblem(given.bandwidth)
  return [
    ...(twice.length > 0
      ? [`${twice.join(", ")}: --job ${given.job} says that already; give one or the other`]
      : []),
    ...(wrong === undefined ? [] : [`--bandwidth: ${JSON.stringify(given.bandwidth)} ${wrong}`])
  ]
}

const unknownJob = (name: string, path: string, known: ReadonlyArray<string>): string => {
  if (known.length === 0) return `--job: ${path} has no replication jobs`
  const nearest = closest(name, [...known])
  const suggestion = distance(name, nearest) <= Math.max(1, Math.floor(nearest.length / 3))
  return `--job: ${path} has no job ${JSON.stringify(name)}${suggestion ? `; did you mean ${nearest}?` : ""}; it has ${known.join(", ")}`
}
