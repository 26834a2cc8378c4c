import { createHash } from "node:crypto"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import { archiveOf, type Config, stateDirOf } from "../domain/Config.ts"
import { archiveKey, fileNameOf, type JobKey } from "../domain/JobKey.ts"
import { Disk } from "../services/Disk.ts"
import { History } from "../services/History.ts"
import { Metrics } from "../services/Metrics.ts"
import { Ping } from "../services/Ping.ts"
import { Standing } from "../services/Standing.ts"
import type { StandingSettings } from "../services/state/standing.ts"

/** Where the jobs of a configuration keep their state. */
export const stateOf = (config: Pick<Config, "target_path" | "state_dir" | "lockfile_path">) => {
  const dir = stateDirOf(config)
  // Several configurations may have one lock file.
  const id = createHash("sha256").update(dir).digest("hex").slice(0, 8)
  return {
    dir,
    inTarget: config.target_path !== undefined,
    asidePath: (job: JobKey, what: Parameters<StandingSettings["asidePath"]>[1]) =>
      `${config.lockfile_path.replace(/\.lock$/, "")}.${id}.${fileNameOf(job)}.${what}`
  }
}

/** The jobs of a configuration. */
export const jobsOf = (config: Config): ReadonlyArray<JobKey> => [
  ...(archiveOf(config) === undefined ? [] : [archiveKey]),
  ...config.replication.map(({ name }): JobKey => ({ kind: "replication", name }))
]

const ping = (url: Redacted.Redacted | undefined) =>
  url === undefined ? Ping.layerNone : Layer.provide(Ping.layer({ url }), FetchHttpClient.layer)

/** What a run leaves and says of itself. `pingUrl` is the job's own. */
export const live = (config: Config, pingUrl: Redacted.Redacted | undefined) => {
  const { metrics_file: path } = config
  const metrics =
    path === undefined
      ? Metrics.layerNone
      : Metrics.layer({ path, dir: stateDirOf(config), jobs: jobsOf(config) })
  return Layer.mergeAll(
    History.layer(stateOf(config)),
    Layer.provideMerge(metrics, Standing.layer(stateOf(config))),
    ping(pingUrl)
  ).pipe(Layer.provide(Disk.layer))
}

/** What a dry run would. */
export const dryRun = (config: Config, pingUrl: Redacted.Redacted | undefined) =>
  Layer.mergeAll(
    History.layerDryRun(stateOf(config)),
    Standing.layerDryRun(stateOf(config)),
    config.metrics_file === undefined ? Metrics.layerNone : Metrics.layerDryRun(config.metrics_file),
    pingUrl === undefined ? Ping.layerNone : Ping.layerDryRun
  ).pipe(Layer.provide(Disk.layer))

/** For a run without a configuration: nobody would know where to look. */
export const none = Layer.mergeAll(History.layerNone, Standing.layerNone, Metrics.layerNone, Ping.layerNone)
