import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { described, flag, judged, optional, PingUrl, text, whole, withDefault } from "../ConfigFields.ts"
import { type ConfigIssue, issuesOf } from "../ConfigIssues.ts"
import { hostProblem, sshOptionProblem, userProblem } from "./Address.ts"
import * as DatasetName from "./DatasetName.ts"

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
export const Retention = Schema.Struct({
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
  retention: optional(Retention),
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
): Either.Either<typeof Retention.Type, ReadonlyArray<ConfigIssue>> =>
  Either.mapLeft(decodeRetentionValue(input), issuesOf)

const decodeRetentionValue = Schema.decodeUnknownEither(Retention, { errors: "all" })

const powers = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 } as const

/** "10M" in bytes a second; the letters are powers of 1024. */
export const bytesPerSecond = (text: string): number => {
  const unit = text.slice(-1).toLowerCase()
  return Number.parseInt(text, 10) * (unit === "k" || unit === "m" || unit === "g" ? powers[unit] : 1)
}
