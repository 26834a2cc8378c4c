import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Record from "effect/Record"
import { linesOf } from "../config/ConfigIssues.ts"
import { jobContradictions } from "../config/Contradictions.ts"
import { bandwidthProblem, decodeJob, decodeRetention, type Job, jobFromConfig } from "../config/ReplicationJob.ts"
import { didYouMean, optionWords, parseBytes, shellWords } from "../text/Text.ts"
import { addressOf } from "../zfs/DatasetName.ts"
import { type Endpoint, local } from "../zfs/Endpoint.ts"
import type { Retention } from "../zfs/Retention.ts"
import { readConfig } from "./command.ts"
import { findConfig } from "./configPath.ts"
import { UsageError } from "./exit.ts"

/** The options that say where the other host is, and the datasets, as they were typed. */
interface PlaceFlags {
  readonly host: string | undefined
  readonly user: string | undefined
  readonly port: string | undefined
  readonly sshOptions: ReadonlyArray<string>
  readonly datasets: ReadonlyArray<string>
}

/** None of them, where only --job selects a job. */
export const noPlace: PlaceFlags = { host: undefined, user: undefined, port: undefined, sshOptions: [], datasets: [] }

/** A job as the command line says it; undefined is what was not given, or the command has no option for. */
export interface JobFlags extends PlaceFlags {
  readonly direction: Job["direction"]
  readonly exclude?: ReadonlyArray<string>
  readonly destination?: string | undefined
  readonly stripPrefix?: string | undefined
  readonly raw?: boolean | undefined
  readonly bandwidth?: string | undefined
  readonly concurrency?: string | undefined
  readonly compress?: string | undefined
  readonly bookmark?: boolean | undefined
  readonly snapshot?: boolean | undefined
}

/** What selects a job: its name in a configuration, or all of it. */
export interface JobSelection extends Omit<JobFlags, "direction"> {
  readonly job: string | undefined
  readonly config: string | undefined
  readonly direction?: Job["direction"] | undefined
}

/** A job, the configuration that was given with it, and its own entry there: undefined when the command line said it all. */
export type ResolvedJob = Effect.Effect.Success<ReturnType<typeof resolveJob>>

/** The job that the command line selects. Fails with all mistakes that show without asking a host: UsageError or ConfigError. */
export const resolveJob = Effect.fnUntraced(function* (
  command: string,
  given: JobSelection,
  problems: ReadonlyArray<string> = []
) {
  const fail = (...more: ReadonlyArray<string>) => new UsageError({ command, problems: [...problems, ...more] })
  const { bandwidth, direction, job: name } = given
  if (name === undefined) {
    if (direction === undefined) return yield* fail("give --job NAME, or --direction pull or --direction push")
    const made = fromFlags({ ...given, direction })
    if (Either.isLeft(made)) return yield* fail(...made.left)
    if (problems.length > 0) return yield* fail()
    // Only a configuration that was given: that of the default place must not change what the options say.
    const read = given.config === undefined ? { config: undefined, warnings: [] } : yield* readConfig(given.config)
    return { ...read, job: made.right, written: undefined }
  }
  const wrong = jobConflicts(given)
  if (problems.length > 0 || wrong.length > 0) return yield* fail(...wrong)
  const { named, path } = findConfig(given.config)
  const { config, warnings } = yield* readConfig(path)
  const written = config.replication.find((each) => each.name === name)
  if (written === undefined) {
    const known = config.replication.map((each) => each.name)
    return yield* fail(unknownJob(name, path, known))
  }
  if (direction !== undefined && written.direction !== direction) {
    const right = ["zipper", written.direction, ...optionWords("--job", name), ...optionWords("--config", named)]
    return yield* fail(`the job ${name} is a ${written.direction}: ${shellWords(right)}`)
  }
  const job = jobFromConfig(written)
  return {
    job: bandwidth === undefined ? job : { ...job, bandwidth: parseBytes(bandwidth) },
    config,
    written,
    warnings
  }
})

/** What cannot go with a job of the configuration, since that says it. */
const jobConflicts = ({ bandwidth, ...given }: JobSelection): ReadonlyArray<string> => {
  const twice = Object.entries(keysOf(given)).flatMap(([key, value]) =>
    Array.isArray(value) && value.length === 0 ? [] : [value === false ? `--no-${key}` : optionOf(key)]
  )
  const wrong = bandwidth === undefined ? undefined : bandwidthProblem(bandwidth)
  return [
    ...(twice.length > 0 ? [`${twice.join(", ")}: --job ${given.job} says that already; give one or the other`] : []),
    ...(wrong === undefined ? [] : [`--bandwidth: ${JSON.stringify(bandwidth)} ${wrong}`])
  ]
}

const unknownJob = (name: string, path: string, known: ReadonlyArray<string>): string =>
  known.length === 0
    ? `--job: ${path} has no replication jobs`
    : `--job: ${path} has no job ${JSON.stringify(name)}${didYouMean(known, name)}; it has ${known.join(", ")}`

/** The job of the command line, judged as one of the configuration would be. Left: all that is wrong with it, a line each. */
export const fromFlags = (flags: JobFlags): Either.Either<Job, ReadonlyArray<string>> => {
  const { direction, host = "" } = flags
  const name = `${direction}-${addressOf(host).host.replace(/[^A-Za-z0-9_.-]/g, "_")}`.slice(0, 64)
  const input = { name, direction, ...keysOf(flags) }
  const decoded = decodeJob(input)
  const problems = linesOf(
    [...Either.match(decoded, { onLeft: (issues) => issues, onRight: () => [] }), ...jobContradictions(input)],
    ([key]) => optionOf(String(key))
  )
  return Either.isRight(decoded) && problems.length === 0
    ? Either.right(jobFromConfig(decoded.right))
    : Either.left(problems)
}

/** What was given, under the keys of a job in a configuration. */
const keysOf = (flags: Omit<JobFlags, "direction">): Readonly<{ [key: string]: unknown }> =>
  withoutUndefined({
    datasets: flags.datasets,
    host: flags.host,
    user: flags.user,
    port: numberIn(flags.port),
    ssh_options: flags.sshOptions,
    destination: flags.destination,
    strip_prefix: flags.stripPrefix,
    exclude: flags.exclude ?? [],
    raw: flags.raw,
    compress: flags.compress,
    bandwidth: flags.bandwidth,
    concurrency: numberIn(flags.concurrency),
    bookmark: flags.bookmark,
    snapshot: flags.snapshot
  })

const optionOf = (key: string): string => {
  if (key === "datasets") return "DATASET"
  return key === "ssh_options" ? "--ssh-option" : `--${key.replaceAll("_", "-")}`
}

/** The number that a text is; other text as it is, for the schema to refuse. */
const numberIn = (text: string | undefined): number | string | undefined =>
  text !== undefined && /^-?[0-9]{1,15}$/.test(text) ? Number(text) : text

const withoutUndefined = (fields: Readonly<Record<string, unknown>>): Readonly<{ [key: string]: unknown }> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

/** The counts of the command line as a retention; undefined when none was given. Left: what is wrong with them. */
export const retentionOf = ({
  daily,
  hourly,
  monthly,
  weekly
}: Readonly<Record<keyof Retention, string | undefined>>): Either.Either<
  Retention | undefined,
  ReadonlyArray<string>
> => {
  const input = withoutUndefined(Record.map({ hourly, daily, weekly, monthly }, numberIn))
  if (Object.keys(input).length === 0) return Either.right(undefined)
  return decodeRetention(input).pipe(
    Either.mapLeft((issues) => linesOf(issues, ([period]) => `--${String(period)}`)),
    Either.filterOrLeft(
      (counts) => Object.values(counts).some((count) => count > 0),
      () => ["--hourly, --daily, --weekly and --monthly would keep nothing: give one a number above 0"]
    )
  )
}

/** The machine where there is no job: that of --host, else this one. Left: what is wrong with it and the datasets, a line each. */
export const endpointFromFlags = (flags: PlaceFlags): Either.Either<Endpoint, ReadonlyArray<string>> => {
  const { datasets, host, port, sshOptions, user } = flags
  // Any job does: of this one only the other host and the datasets can be wrong.
  const made = fromFlags({ direction: "push", host: host ?? "localhost", user, port, sshOptions, datasets })
  const withoutHost =
    host === undefined && (user !== undefined || port !== undefined || sshOptions.length > 0)
      ? ["--user, --port and --ssh-option are for ssh, and go with --host"]
      : []
  const problems = [...withoutHost, ...Option.getOrElse(Either.getLeft(made), () => [])]
  return problems.length > 0 || Either.isLeft(made)
    ? Either.left(problems)
    : Either.right(host === undefined ? local : made.right.remote)
}
