import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import { tokenVariable } from "../system/Environment.ts"
import * as DatasetName from "../zfs/DatasetName.ts"
import { addressOf, hostProblem } from "../zfs/DatasetName.ts"
import type { ConfigIssue } from "./ConfigIssues.ts"
import { collisions, decodeJob, fromConfig, targetOf } from "./ReplicationJob.ts"

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

/** What a person reads of a path that is wrong or missing. */
export const pathDescription = "an absolute path without .. in it"

/** What the token in config.json.example stands for. */
export const placeholder = "REPLACE_WITH_TOKEN"

/** Said of a token that is the one of the example. */
export const placeholderIssue = `is still ${placeholder}; put the token of your Gotify application there`

/**
 * Values that are fine each on its own and impossible together. Looks at the undecoded file, so that these are
 * reported together with every other mistake.
 */
export const contradictions = (
  input: unknown,
  options: {
    /** The token comes from the environment, so the file need not have it. */
    readonly tokenGiven: boolean
  }
): ReadonlyArray<ConfigIssue> => {
  if (!Predicate.isRecord(input)) return []
  const source = pathOf(input["source_path"])
  const target = pathOf(input["target_path"])
  const tmp = pathOf(input["tmp_dir"])
  const issues: Array<ConfigIssue> = []
  const says = (path: ReadonlyArray<string | number>, message: string) =>
    issues.push({ _tag: "Contradiction", path, message })

  if (source !== undefined && target !== undefined && isInside(target, source)) {
    says(
      ["target_path"],
      source === target
        ? "is the same folder as source_path"
        : `${JSON.stringify(target)} lies inside source_path: archives would be archived again`
    )
  }
  if (source !== undefined && tmp !== undefined && isInside(tmp, source)) {
    says(
      ["tmp_dir"],
      `${JSON.stringify(tmp)} lies inside source_path: half-written archives would be archived`
    )
  }
  const log = pathOf(input["log_file"])
  if (log !== undefined && log === pathOf(input["lockfile_path"])) {
    says(["lockfile_path"], "is the same file as log_file")
  }
  if (input["state_dir"] !== undefined && input["target_path"] !== undefined) {
    says(
      ["state_dir"],
      "is for a configuration without target_path; with one, state is kept in its folder .zipper"
    )
  }
  const metrics = pathOf(input["metrics_file"])
  for (const key of ["log_file", "lockfile_path"]) {
    if (metrics !== undefined && metrics === pathOf(input[key])) {
      says(["metrics_file"], `is the same file as ${key}`)
    }
  }
  const gotify = input["gotify"]
  if (Predicate.isRecord(gotify) && gotify["token_file"] === undefined && !options.tokenGiven) {
    if (gotify["token"] === undefined) {
      says(["gotify", "token"], `is missing; expected it here, in gotify.token_file or in ${tokenVariable}`)
    }
    if (gotify["token"] === placeholder) says(["gotify", "token"], placeholderIssue)
  }
  return [...missingPaths(input), ...issues, ...replicationContradictions(input["replication"])]
}

/** The archive job needs both paths; a file that is there for replication or suspend alone has neither. */
const missingPaths = (input: Readonly<Record<string, unknown>>): ReadonlyArray<ConfigIssue> => {
  const absent = ["source_path", "target_path"].filter((key) => input[key] === undefined)
  const jobs = input["replication"]
  const otherwiseOfUse = (Array.isArray(jobs) && jobs.length > 0) || input["mqtt"] !== undefined
  if (absent.length === 2 && otherwiseOfUse) return []
  return absent.map((key) => ({ _tag: "Missing", path: [key], expected: pathDescription }))
}

const pathOf = (value: unknown): string | undefined =>
  typeof value === "string" && value.startsWith("/") ? tidyPath(value) : undefined

/** `//`, `/./` and a slash at the end are taken out, so that paths can be compared. */
export const tidyPath = (path: string): string =>
  `/${path
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/")}`

const isInside = (path: string, folder: string): boolean =>
  path === folder || folder === "/" || path.startsWith(`${folder}/`)
