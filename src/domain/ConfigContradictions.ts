import * as Predicate from "effect/Predicate"
import type { ConfigIssue } from "./ConfigIssues.ts"
import { replicationContradictions } from "./replication/JobContradictions.ts"

/** What a person reads of a path that is wrong or missing. */
export const pathDescription = "an absolute path without .. in it"

/** What the token in config.json.example stands for. */
export const placeholder = "REPLACE_WITH_TOKEN"

/** The environment variable that may hold the Gotify token. */
export const tokenVariable = "ZIPPER_GOTIFY_TOKEN"

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
