import { getLefts, getRights } from "effect/Array"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import { tokenVariable } from "../system/Process.ts"
import * as DatasetName from "../zfs/DatasetName.ts"
import { addressOf, hostProblem } from "../zfs/DatasetName.ts"
import type { ConfigIssue } from "./ConfigIssues.ts"
import { collisions, decodeJob, jobFromConfig, targetOf } from "./ReplicationJob.ts"

/** What a path has to be. */
export const pathDescription = "an absolute path without .. in it"

/** The token in config.json.example. */
export const placeholder = "REPLACE_WITH_TOKEN"

export const placeholderIssue = `is still ${placeholder}; put the token of your Gotify application there`

type Undecoded = Readonly<Record<string, unknown>>

const says = (path: ReadonlyArray<string | number>, message: string): ConfigIssue => ({
  _tag: "Contradiction",
  path,
  message
})

/**
 * Values that are fine each on its own and impossible together. Looks at the undecoded file, so that these are reported together
 * with every other mistake. `tokenGiven`: the token comes from the environment, so the file need not have it.
 */
export const contradictions = (
  input: unknown,
  { tokenGiven }: { readonly tokenGiven: boolean }
): ReadonlyArray<ConfigIssue> => {
  if (!Predicate.isRecord(input)) return []
  const [source, target, tmp, log, lock, metrics] = [
    "source_path",
    "target_path",
    "tmp_dir",
    "log_file",
    "lockfile_path",
    "metrics_file"
  ].map((key) => pathOf(input[key]))
  const issues: Array<ConfigIssue> = []
  const add = (path: ReadonlyArray<string>, message: string) => issues.push(says(path, message))

  if (source !== undefined && target !== undefined && isInside(target, source)) {
    add(
      ["target_path"],
      source === target
        ? "is the same folder as source_path"
        : `${JSON.stringify(target)} lies inside source_path: archives would be archived again`
    )
  }
  if (source !== undefined && tmp !== undefined && isInside(tmp, source)) {
    add(["tmp_dir"], `${JSON.stringify(tmp)} lies inside source_path: half-written archives would be archived`)
  }
  for (const [key, path] of Object.entries({ log_file: log, lockfile_path: lock, metrics_file: metrics })) {
    const folder = path?.slice(0, path.lastIndexOf("/"))
    // A file at the top of the source is in no archive.
    if (source === undefined || folder === undefined || folder === source || !isInside(folder, source)) continue
    add([key], `${JSON.stringify(path)} lies in a folder of source_path: each run would archive what it wrote there`)
  }
  const patterns: ReadonlyArray<unknown> = Array.isArray(input["exclude"]) ? input["exclude"] : []
  for (const [index, pattern] of patterns.entries()) {
    if (source === undefined || typeof pattern !== "string" || !pattern.startsWith(`${source}/`)) continue
    const message = `${JSON.stringify(pattern)} is a path of this machine; write what comes after the name of the folder, such as cache`
    issues.push(says(["exclude", index], message))
  }
  if (log !== undefined && log === lock) add(["lockfile_path"], "is the same file as log_file")
  if (lock !== undefined && target !== undefined && isInside(lock, `${target}/.zipper`)) {
    add(["lockfile_path"], "lies in the target's folder .zipper, which has a lock of its own that a run takes as well")
  }
  if (input["state_dir"] !== undefined && input["target_path"] !== undefined) {
    add(["state_dir"], "is for a configuration without target_path; with one, state is kept in its folder .zipper")
  }
  if (metrics !== undefined && metrics === log) add(["metrics_file"], "is the same file as log_file")
  if (metrics !== undefined && metrics === lock) add(["metrics_file"], "is the same file as lockfile_path")
  if (Predicate.isReadonlyRecord(input["target_snapshots"]) && keepsNothing(input["target_snapshots"])) {
    add(["target_snapshots"], keepsNothingText)
  }
  const gotify = input["gotify"]
  if (Predicate.isRecord(gotify) && gotify["token_file"] === undefined && !tokenGiven) {
    if (gotify["token"] === undefined) {
      add(["gotify", "token"], `is missing; expected it here, in gotify.token_file or in ${tokenVariable}`)
    }
    if (gotify["token"] === placeholder) add(["gotify", "token"], placeholderIssue)
  }
  return [...missingPaths(input), ...issues, ...replicationContradictions(input["replication"])]
}

/** The archive job needs both paths; a file that is there for replication or suspend alone has neither. */
const missingPaths = (input: Undecoded): ReadonlyArray<ConfigIssue> => {
  const absent = ["source_path", "target_path"].filter((key) => input[key] === undefined)
  const jobs = input["replication"]
  const hasOtherUse = (Array.isArray(jobs) && jobs.length > 0) || input["mqtt"] !== undefined
  if (absent.length === 2 && hasOtherUse) return []
  return absent.map((key) => ({ _tag: "Missing", path: [key], expected: pathDescription }))
}

const pathOf = (value: unknown): string | undefined =>
  typeof value === "string" && value.startsWith("/") ? tidyPath(value) : undefined

/** Without `//`, `/./` and a slash at the end, so that paths can be compared. */
export const tidyPath = (path: string): string =>
  `/${path
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/")}`

const isInside = (path: string, folder: string): boolean =>
  path === folder || folder === "/" || path.startsWith(`${folder}/`)

/** The contradictions of all jobs of a configuration, undecoded: within each, and between them. */
const replicationContradictions = (value: unknown): ReadonlyArray<ConfigIssue> => {
  if (!Array.isArray(value)) return []
  const jobs = value.map((job: unknown): Undecoded => (Predicate.isReadonlyRecord(job) ? { ...job } : {}))
  const within = jobs.flatMap((job, index) => {
    const twin = job["name"] !== undefined && jobs.findIndex(({ name }) => name === job["name"]) < index
    return [
      ...jobContradictions(job).map((issue) => ({ ...issue, path: [index, ...issue.path] })),
      ...(twin ? [says([index, "name"], `${JSON.stringify(job["name"])} is the name of an earlier job too`)] : [])
    ]
  })
  const decoded = getRights(jobs.map(decodeJob)).map(jobFromConfig)
  return [...within, ...collisions(decoded).map((sentence) => says([], sentence))].map((issue) => ({
    ...issue,
    path: ["replication", ...issue.path]
  }))
}

/** The same for one undecoded job; paths begin inside the job. */
export const jobContradictions = (job: Undecoded): ReadonlyArray<ConfigIssue> => {
  const { destination, direction, strip_prefix: prefix } = job
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
      issues.push(says(["user"], `${JSON.stringify(job["user"])} is not the user of the host (${job["host"]})`))
    }
  }
  for (const key of ["retention", "source_retention"]) {
    const kept = job[key]
    if (Predicate.isReadonlyRecord(kept) && keepsNothing(kept)) issues.push(says([key], keepsNothingText))
  }
  if (job["source_retention"] !== undefined && job["snapshot"] !== true) {
    issues.push(says(["source_retention"], `thins out what "snapshot": true takes, which this job does not have`))
  }
  return [...issues, ...unmapped(job)]
}

const keepsNothingText = "would keep nothing; give hourly, daily, weekly or monthly a number above 0"

const keepsNothing = (retention: Undecoded): boolean =>
  ["hourly", "daily", "weekly", "monthly"].every((key) => (retention[key] ?? 0) === 0)

/** Datasets that have no place at the target; mistakes in a name itself are the schema's. */
const unmapped = (job: Undecoded): ReadonlyArray<ConfigIssue> => {
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
  return getLefts(
    datasets.flatMap((dataset: unknown, index) =>
      typeof dataset === "string" && DatasetName.datasetProblem(dataset) === undefined
        ? Either.mapLeft(targetOf(addressing, dataset), (reason) =>
            says(["datasets", index], `${JSON.stringify(dataset)} ${reason}`)
          )
        : []
    )
  )
}

const datasetOf = (value: unknown): { readonly name: string } | undefined | "wrong" => {
  if (value === undefined) return undefined
  return typeof value === "string" && DatasetName.datasetProblem(value) === undefined ? { name: value } : "wrong"
}
