import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import type { ConfigIssue } from "../ConfigIssues.ts"
import { addressOf, hostProblem } from "./Address.ts"
import * as DatasetName from "./DatasetName.ts"
import { fromConfig } from "./Job.ts"
import { decodeJob } from "./JobConfig.ts"
import { collisions, targetOf } from "./Mapping.ts"

type Says = (path: ReadonlyArray<string | number>, message: string) => ConfigIssue

const says: Says = (path, message) => ({ _tag: "Contradiction", path, message })

/**
 * Values of one job that are fine each on its own and impossible together. Looks at the undecoded job, so that these
 * are reported together with every other mistake; paths begin inside the job.
 */
export const jobContradictions = (job: Readonly<Record<string, unknown>>): ReadonlyArray<ConfigIssue> => {
  const { destination, direction, retention, strip_prefix: prefix } = job
  const issues: Array<ConfigIssue> = []
  if (direction === "pull" && destination === undefined) {
    issues.push(says(["destination"], "is missing; a pull needs the dataset that it writes below"))
  }
  if (direction === "pull" && prefix !== undefined) {
    issues.push(says(["strip_prefix"], "belongs to a push; a pull writes below <destination>/<host>"))
  }
  if (typeof job["host"] === "string" && typeof job["user"] === "string") {
    const { user } = addressOf(job["host"])
    if (user !== undefined && user !== job["user"]) {
      issues.push(
        says(["user"], `${JSON.stringify(job["user"])} is not the user of the host (${job["host"]})`)
      )
    }
  }
  if (Predicate.isReadonlyRecord(retention) && keepsNothing(retention)) {
    issues.push(
      says(["retention"], "would keep nothing; give hourly, daily, weekly or monthly a number above 0")
    )
  }
  return [...issues, ...unmapped(job)]
}

const keepsNothing = (retention: Readonly<Record<string, unknown>>): boolean =>
  ["hourly", "daily", "weekly", "monthly"].every((key) => (retention[key] ?? 0) === 0)

/** Datasets that have no place at the target. What is wrong with a name itself is told elsewhere. */
const unmapped = (job: Readonly<Record<string, unknown>>): ReadonlyArray<ConfigIssue> => {
  const { datasets, direction, host } = job
  const destination = datasetOf(job["destination"])
  const stripPrefix = datasetOf(job["strip_prefix"])
  if (direction !== "pull" && direction !== "push") return []
  if (typeof host !== "string" || hostProblem(host) !== undefined || !Array.isArray(datasets)) return []
  if (destination === "wrong" || stripPrefix === "wrong") return []
  if (direction === "pull" && destination === undefined) return []
  const addressing = {
    direction,
    remote: { _tag: "Remote", host: addressOf(host).host, options: [] },
    destination: destination?.name,
    stripPrefix: stripPrefix?.name
  } as const
  return datasets.flatMap((dataset: unknown, index) =>
    typeof dataset === "string" && DatasetName.problem(dataset) === undefined
      ? Either.match(targetOf(addressing, dataset), {
          onLeft: (reason) => [says(["datasets", index], `${JSON.stringify(dataset)} ${reason}`)],
          onRight: () => []
        })
      : []
  )
}

const datasetOf = (value: unknown): { readonly name: string } | undefined | "wrong" => {
  if (value === undefined) return undefined
  return typeof value === "string" && DatasetName.problem(value) === undefined ? { name: value } : "wrong"
}

/** The contradictions of all jobs of a configuration, undecoded: within each, and between them. */
export const replicationContradictions = (value: unknown): ReadonlyArray<ConfigIssue> => {
  if (!Array.isArray(value)) return []
  const jobs = value.map(
    (job: unknown): Readonly<Record<string, unknown>> => (Predicate.isReadonlyRecord(job) ? { ...job } : {})
  )
  const within = jobs.flatMap((job, index) => {
    const twin = job["name"] !== undefined && jobs.findIndex(({ name }) => name === job["name"]) < index
    return [
      ...jobContradictions(job).map((issue) => ({ ...issue, path: [index, ...issue.path] })),
      ...(twin
        ? [says([index, "name"], `${JSON.stringify(job["name"])} is the name of an earlier job too`)]
        : [])
    ]
  })
  const sound = jobs.flatMap((job) => {
    const decoded = decodeJob(job)
    return Either.isRight(decoded) ? [fromConfig(decoded.right)] : []
  })
  return [...within, ...collisions(sound).map((sentence) => says([], sentence))].map((issue) => ({
    ...issue,
    path: ["replication", ...issue.path]
  }))
}
