import { createHash, randomBytes } from "node:crypto"
import { hostname } from "node:os"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ArchiveConfig, Config } from "../domain/Config.ts"
import { local } from "../domain/replication/Endpoint.ts"
import { Archiver } from "../services/Archiver.ts"
import { Disk } from "../services/Disk.ts"
import { Hasher } from "../services/Hasher.ts"
import { Lock } from "../services/Lock.ts"
import * as Log from "../services/Log.ts"
import { Notifier } from "../services/Notifier.ts"
import { Process } from "../services/Process.ts"
import { Sender } from "../services/Sender.ts"
import { Store } from "../services/Store.ts"
import { Tree } from "../services/Tree.ts"
import { Workers } from "../services/Workers.ts"
import { Zfs } from "../services/Zfs.ts"
import { stallLayer } from "./stall.ts"
import * as stateServices from "./stateServices.ts"

/** Who is at work: one run of one job on one machine. */
interface Identity {
  /** Short and random, in every log line. */
  readonly run: string
  /** The same for every run from this source to this target: tells our snapshots from another job's. */
  readonly job: string
  readonly host: string
  readonly pid: number
}

export const makeIdentity = (config: Pick<ArchiveConfig, "source_path" | "target_path">): Identity => ({
  run: randomBytes(3).toString("hex"),
  job: createHash("sha256").update(`${config.source_path}\0${config.target_path}`).digest("hex").slice(0, 8),
  host: hostname(),
  pid: process.pid
})

/** What the services below stand on. */
const machine = Layer.mergeAll(Process.layer, Disk.layer)

const zfsSettings = (config: Config, id: Identity) => ({
  prefix: config.snapshot_prefix,
  runId: id.run,
  jobId: id.job,
  hostname: id.host,
  ...(config.target_path === undefined ? {} : { target: config.target_path })
})

const storeSettings = (config: ArchiveConfig, id: Identity) => ({
  targetPath: config.target_path,
  sourcePath: config.source_path,
  tmpDir: config.tmp_dir,
  jobId: id.job,
  // The log's folder outlives a restart, that of the lock often does not.
  placesPaths: [config.log_file, config.lockfile_path].map(
    (path) => `${path.replace(/\.(log|lock)$/, "")}.${id.job}.mounts`
  )
})

/** Gotify as configured, or nobody. */
export const notifier = (config: Pick<Config, "gotify" | "retries">) =>
  Layer.provide(
    config.gotify === undefined
      ? Notifier.layerNone
      : Notifier.layer({ ...config.gotify, retries: config.retries }),
    FetchHttpClient.layer
  )

/** The services of a run that does its work. */
export const live = (config: ArchiveConfig, id: Identity) =>
  Layer.mergeAll(
    config.snapshots === "live" ? Zfs.layerLive : Zfs.layer(zfsSettings(config, id)),
    Store.layer(storeSettings(config, id)),
    Archiver.layer(config.compression),
    Lock.layer,
    Tree.layer,
    notifier(config),
    stallLayer(config.task_timeout_seconds),
    stateServices.live(config, config.ping_url)
  ).pipe(
    Layer.provideMerge(Hasher.layer),
    Layer.provide(Workers.layer(config.compression.threads)),
    Layer.provideMerge(machine)
  )

/** The services of a dry run: real discovery, real change detection, and nothing that writes. */
export const dryRun = (config: ArchiveConfig, id: Identity) =>
  Layer.mergeAll(
    config.snapshots === "live" ? Zfs.layerLive : Zfs.layerDryRun(zfsSettings(config, id)),
    Store.layerDryRun(storeSettings(config, id)),
    Archiver.layerDryRun,
    Lock.layerDryRun,
    Tree.layer,
    config.gotify === undefined ? Notifier.layerNone : Notifier.layerDryRun,
    stateServices.dryRun(config, config.ping_url)
  ).pipe(
    Layer.provideMerge(Hasher.layerDryRun),
    Layer.provide(Workers.layer(config.compression.threads)),
    Layer.provideMerge(machine)
  )

/** The services of a check: those of a dry run, but it does ask whether Gotify answers, and whether the target can be written to. */
export const checking = (config: ArchiveConfig, id: Identity) =>
  Layer.mergeAll(
    notifier(config),
    Layer.provide(Sender.layer(local), Process.layer),
    Layer.provide(Store.layerCheck(storeSettings(config, id)), Disk.layer)
  ).pipe(Layer.provideMerge(dryRun(config, id)))

/**
 * Log file and syslog, as configured; both on top of the terminal. One inside the other: layers that are merged
 * close side by side, and the loggers that each took out would come back.
 */
export const logs = (config: Config, id: Pick<Identity, "run">) => {
  const file = Log.layerFile({
    path: config.log_file,
    maxBytes: config.log_max_bytes,
    keep: config.log_keep,
    runId: id.run
  })
  const syslog = Log.layerSyslog({ tag: "zipper", runId: id.run }).pipe(Layer.provide(Process.layer))
  return <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provide(config.syslog ? Effect.provide(effect, syslog) : effect, file)
}
