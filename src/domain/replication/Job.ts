import { createHash } from "node:crypto"
import type { JobKey } from "../JobKey.ts"
import { addressOf } from "./Address.ts"
import type { Remote } from "./Endpoint.ts"
import { bytesPerSecond, type ReplicationJob } from "./JobConfig.ts"
import type { SendMode } from "./State.ts"

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
