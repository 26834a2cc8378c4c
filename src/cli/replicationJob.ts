import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { closest, distance } from "fastest-levenshtein"
import type { Config } from "../domain/Config.ts"
import { fromConfig, type Job } from "../domain/replication/Job.ts"
import { bandwidthProblem, bytesPerSecond, type ReplicationJob } from "../domain/replication/JobConfig.ts"
import { fromFlags, type JobFlags, strayOption } from "../domain/replication/JobFlags.ts"
import { readConfig } from "./command.ts"
import { UsageError } from "./UsageError.ts"

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
