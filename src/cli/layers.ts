import { randomBytes } from "node:crypto"
import { hostname } from "node:os"
import { join } from "node:path"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import { type ArchiveConfig, archiveOf, type Config, stateDirOf, wholeName } from "../config/Config.ts"
import {
  archiveJobKey,
  type Job,
  type JobKey,
  jobFileName,
  jobLockName,
  shortDigest
} from "../config/ReplicationJob.ts"
import { Notifier } from "../notify/Notifier.ts"
import { Ping } from "../notify/Ping.ts"
import { Receiver } from "../replication/Receiver.ts"
import { RecoveredEnd, ReplicaEnd } from "../replication/RecoverEnd.ts"
import { Sender } from "../replication/Sender.ts"
import { Transfer } from "../replication/Transfer.ts"
import { History } from "../runs/History.ts"
import { Hooks } from "../runs/Hooks.ts"
import { type JobStateSettings, JobStates } from "../runs/JobState.ts"
import { Lock, withLockOption } from "../runs/Lock.ts"
import { Metrics } from "../runs/Metrics.ts"
import { Stall, stallSeconds } from "../runs/Stall.ts"
import { Tree } from "../source/Tree.ts"
import { Store } from "../store/Store.ts"
import { Disk } from "../system/Disk.ts"
import { Hasher } from "../system/Hasher.ts"
import * as Log from "../system/Log.ts"
import { Process } from "../system/Process.ts"
import { Progress } from "../system/Progress.ts"
import { Workers } from "../system/Workers.ts"
import { type Endpoint, local, sharedConnection } from "../zfs/Endpoint.ts"
import { TargetSnapshots } from "../zfs/TargetSnapshots.ts"
import { Zfs } from "../zfs/Zfs.ts"
import { Archiver } from "../zip/Archiver.ts"
import { Output } from "./output.ts"
import * as progressBar from "./progressBar.ts"

/** Notices what hangs (`task_timeout_seconds` as in stallSeconds). */
const stallLayer = (taskTimeout: number): Layer.Layer<never, never, Output> =>
  Layer.provide(stallWithDocument, Stall.layer(stallSeconds(taskTimeout)))

/** Prints the document of `--json` before the given Stall ends the process. */
export const stallWithDocument = Layer.effect(
  Stall,
  Effect.gen(function* () {
    const { found, leave } = yield* Stall
    const { gaveUp } = yield* Output
    return { found, leave: (why: string) => Effect.zipRight(gaveUp(why), leave(why)) }
  })
)

/** Where the jobs of a configuration keep their state. */
export const stateOf = (config: Pick<Config, "target_path" | "state_dir" | "lockfile_path">) => {
  const dir = stateDirOf(config)
  // Several configurations may have one lock file.
  const id = shortDigest(dir)
  return {
    dir,
    inTarget: config.target_path !== undefined,
    asidePath: (job: JobKey, what: Parameters<JobStateSettings["asidePath"]>[1]) =>
      `${config.lockfile_path.replace(/\.lock$/, "")}.${id}.${jobFileName(job)}.${what}`
  }
}

export const jobsOf = (config: Config): ReadonlyArray<JobKey> => [
  ...(archiveOf(config) === undefined ? [] : [archiveJobKey]),
  ...config.replication.map(({ name }): JobKey => ({ kind: "replication", name }))
]

/** State, history, metrics and pings of a run. `pingUrl` is the job's own. */
export const stateLayers = (config: Config, pingUrl: Redacted.Redacted | undefined, dryRun = false) => {
  const { metrics_file: path } = config
  const states = (dryRun ? JobStates.layerDryRun : JobStates.layer)(stateOf(config))
  const metrics =
    path === undefined
      ? Metrics.layerNone
      : dryRun
        ? Metrics.layerDryRun(path)
        : Layer.provide(Metrics.layer({ path, dir: stateDirOf(config), jobs: jobsOf(config) }), states)
  const ping =
    pingUrl === undefined
      ? Ping.layerNone
      : dryRun
        ? Ping.layerDryRun
        : Layer.provide(Ping.layer({ url: pingUrl }), FetchHttpClient.layer)
  return Layer.mergeAll((dryRun ? History.layerDryRun : History.layer)(stateOf(config)), states, metrics, ping).pipe(
    Layer.provide(Disk.layer)
  )
}

/** What commands read that show how things stand: states, history and locks. They change nothing. */
export const readLayers = (config: Config) =>
  Layer.mergeAll(
    History.layerDryRun(stateOf(config)),
    JobStates.layerDryRun(stateOf(config)),
    Layer.provide(Lock.layerDryRun, Process.layer)
  ).pipe(Layer.provideMerge(Disk.layer))

/** State, history, metrics and pings for what leaves none. */
export const stateNone = Layer.mergeAll(History.layerNone, JobStates.layerNone, Metrics.layerNone, Ping.layerNone)

/** One run on one machine. `run` is short and random, and in every log line. */
export const replicationIdentity = () => ({
  run: randomBytes(3).toString("hex"),
  host: hostname(),
  pid: process.pid
})

/** `job` is the same for every run from this source to this target; it tells the job's snapshots from those of others. */
export const archiveIdentity = (config: JobPaths) => ({ ...replicationIdentity(), job: jobIdOf(config) })

type JobPaths = Pick<ArchiveConfig, "source_path" | "target_path">

const jobIdOf = ({ source_path, target_path }: JobPaths) => shortDigest(`${source_path}\0${target_path}`)

type Identity = ReturnType<typeof archiveIdentity>

const storeSettings = (config: ArchiveConfig, id: Identity) => ({
  targetPath: config.target_path,
  folders: wholeName(config.folders),
  sourcePath: config.source_path,
  tmpDir: config.tmp_dir,
  jobId: id.job,
  placesPaths: placesOf(config)
})

/** Where runs record what source and target lie on. The log's folder outlives a restart, that of the lock often does not. */
export const placesOf = (config: ArchiveConfig): ReadonlyArray<string> =>
  [config.log_file, config.lockfile_path].map(
    (path) => `${path.replace(/\.(log|lock)$/, "")}.${jobIdOf(config)}.mounts`
  )

type MessageConfig = Pick<Config, "gotify" | "retries" | "hooks" | "hook_timeout_seconds">

/** The ways to the operator: Gotify, the hook `failure`, both or none. */
export const notifier = (config: MessageConfig, dryRun = false) => {
  const gotify = gotifyOf(config, dryRun)
  return config.hooks?.failure === undefined
    ? gotify
    : Layer.provide(Hooks.layerNotifier, Layer.merge(gotify, hooksOf(config, dryRun)))
}

const gotifyOf = ({ gotify, retries }: MessageConfig, dryRun: boolean) => {
  if (gotify === undefined) return Notifier.layerNone
  return dryRun ? Notifier.layerDryRun : Layer.provide(Notifier.layer({ ...gotify, retries }), FetchHttpClient.layer)
}

export const hooksOf = (config: Pick<Config, "hooks" | "hook_timeout_seconds">, dryRun: boolean) =>
  (dryRun ? Hooks.layerDryRun : Hooks.layer)({ ...config, host: hostname() }).pipe(
    Layer.provide(Layer.merge(Process.layer, Disk.layer))
  )

/** What the archive job runs on. A dry run has real discovery and change detection, and nothing that writes. */
export const archiveLayers = (config: ArchiveConfig, id: Identity, dryRun: boolean) => {
  const { compression, snapshot_prefix: prefix, target_path: target } = config
  const { target_snapshots: retention } = config
  const folders = wholeName(config.folders)
  const zfs = { prefix, runId: id.run, jobId: id.job, hostname: id.host, target, folders }
  return Layer.mergeAll(
    retention === undefined
      ? TargetSnapshots.layerNone
      : (dryRun ? TargetSnapshots.layerDryRun : TargetSnapshots.layer)({ ...zfs, target, retention }),
    config.snapshots === "live" ? Zfs.layerLive : (dryRun ? Zfs.layerDryRun : Zfs.layer)(zfs),
    (dryRun ? Store.layerDryRun : Store.layer)(storeSettings(config, id)),
    dryRun ? Archiver.layerDryRun : Archiver.layer(compression),
    dryRun ? Lock.layerDryRun : Lock.layer,
    Tree.layer,
    notifier(config, dryRun),
    hooksOf(config, dryRun),
    dryRun ? Layer.empty : stallLayer(config.task_timeout_seconds),
    stateLayers(config, config.ping_url, dryRun)
  ).pipe(
    Layer.provideMerge(dryRun ? Hasher.layerDryRun : Hasher.layer),
    Layer.provide(Workers.layer(compression.threads)),
    Layer.provideMerge(Layer.merge(Process.layer, Disk.layer))
  )
}

/** A check runs on the dry run's layers, but asks Gotify and tries to write to the target. */
export const checkLayers = (config: ArchiveConfig, id: Identity) =>
  Layer.mergeAll(
    notifier(config),
    Layer.provide(Sender.layer(local), Process.layer),
    Layer.provide(Store.layerCheck(storeSettings(config, id)), Disk.layer)
  ).pipe(Layer.provideMerge(archiveLayers(config, id, true)))

/**
 * Log file and syslog, besides the terminal. One inside the other: merged layers close side by side, and the loggers that each
 * removed would come back.
 */
export const logs = (config: Config, { run: runId }: Pick<Identity, "run">) => {
  const { log_file: path, log_keep: keep, log_max_bytes: maxBytes } = config
  const file = Log.layerFile({ path, maxBytes, keep, runId })
  const syslog = Log.layerSyslog({ tag: "zipper", runId }).pipe(Layer.provide(Process.layer))
  return <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provide(config.syslog ? Effect.provide(effect, syslog) : effect, file)
}

export const settingsOf = (config: Config | undefined): MessageConfig & Pick<Config, "notify_on" | "reminder_hours"> =>
  config ?? { retries: 3, notify_on: ["failure"], reminder_hours: 24, hook_timeout_seconds: 600 }

export const endsOf = ({ direction, remote }: Pick<Job, "direction" | "remote">) =>
  direction === "pull" ? { source: remote, target: local } : { source: local, target: remote }

/** The lock of a command that has --lock: its errors advise that option. */
const lockWithOption = <E, R>(layer: Layer.Layer<Lock, E, R>) =>
  Layer.effect(
    Lock,
    Effect.map(Lock, (inner) => ({
      ...inner,
      acquire: (path: string) => Effect.mapError(inner.acquire(path), withLockOption),
      probe: (path: string) => Effect.mapError(inner.probe(path), withLockOption)
    }))
  ).pipe(Layer.provide(layer))

/** What a job about replicas runs on. A dry run asks both hosts, and changes nothing on either. */
export const replicationLayers = (
  job: Job,
  config: Config | undefined,
  { dryRun, pingUrl }: { readonly dryRun: boolean; readonly pingUrl?: Redacted.Redacted | undefined }
) =>
  Layer.mergeAll(
    connected(job, dryRun),
    lockWithOption(dryRun ? Lock.layerDryRun : Lock.layer),
    notifier(settingsOf(config), dryRun),
    config === undefined ? stateNone : stateLayers(config, pingUrl, dryRun),
    dryRun ? Layer.empty : stallLayer(config?.task_timeout_seconds ?? Number.POSITIVE_INFINITY),
    dryRun ? Progress.layerNone : progressBar.layer
  ).pipe(Layer.provideMerge(Process.layer))

/** A replication from this machine to itself, without a configuration: a demonstration. */
export const localReplicationLayers = Layer.mergeAll(
  Sender.layer(local),
  Receiver.layer(local),
  Transfer.layer({ source: local, target: local, compress: "none", bandwidth: undefined }),
  Lock.layer,
  Notifier.layerNone,
  stateNone,
  Progress.layerNone
).pipe(Layer.provideMerge(Process.layer))

/** Both ends of a job and the way between them, on one connection to the other host. */
export const connected = (job: Job, dryRun: boolean) =>
  Layer.unwrapScoped(
    Effect.map(sharedConnection(job.remote), (remote) => endsLayers(endsOf({ ...job, remote }), eachOf(job), dryRun))
  )

// No limiter is for several streams: each has its part of the job's limit, also when fewer are at work.
const eachOf = ({ bandwidth, compress, concurrency }: Job) => ({
  bandwidth: bandwidth && Math.ceil(bandwidth / concurrency),
  compress
})

/** The same from the replicas of a job to where datasets are made of them, with what `recover` runs on. */
export const recoverLayers = (job: Job, target: Endpoint, config: Config | undefined, dryRun: boolean) =>
  Layer.mergeAll(
    Layer.unwrapScoped(
      Effect.map(Effect.all([shared(endsOf(job).target), shared(target)]), ([source, target]) =>
        Layer.mergeAll(
          endsLayers({ source, target }, job, dryRun),
          ReplicaEnd.layer(source, dryRun),
          RecoveredEnd.layer(target, dryRun)
        )
      )
    ),
    dryRun ? Lock.layerDryRun : Lock.layer,
    dryRun ? Layer.empty : stallLayer(config?.task_timeout_seconds ?? Number.POSITIVE_INFINITY),
    dryRun ? Progress.layerNone : progressBar.layer
  ).pipe(Layer.provideMerge(Process.layer))

const shared = (endpoint: Endpoint) =>
  endpoint._tag === "Local" ? Effect.succeed(endpoint) : sharedConnection(endpoint)

const endsLayers = (
  { source, target }: { readonly source: Endpoint; readonly target: Endpoint },
  { bandwidth, compress }: Pick<Job, "bandwidth" | "compress">,
  dryRun: boolean
) => {
  const sender = Sender.layer(source)
  const receiver = Receiver.layer(target)
  const transfer = Transfer.layer({ source, target, compress, bandwidth })
  return dryRun
    ? Transfer.layerDryRun(transfer).pipe(
        Layer.provideMerge(Receiver.layerDryRun(receiver)),
        Layer.provideMerge(Sender.layerDryRun(sender))
      )
    : Layer.mergeAll(sender, receiver, transfer)
}

export const ends = (source: Endpoint, target: Endpoint) =>
  Layer.merge(Sender.layer(source), Receiver.layer(target)).pipe(Layer.provide(Process.layer))

/** The lock file of a job, apart from those of the archive job and of replications to other places. Undefined without a place for it. */
export const lockfileOf = (
  job: Parameters<typeof jobLockName>[0],
  config: Pick<Config, "lockfile_path"> | undefined,
  { env, root } = { root: process.getuid?.() === 0, env: process.env }
): string | undefined => {
  if (config !== undefined) return lockfileBeside(config, job)
  const name = jobLockName(job)
  if (root) return `/var/run/zipper.${name}.lock`
  const { HOME: home, XDG_RUNTIME_DIR: runtime } = env
  if (runtime?.startsWith("/")) return join(runtime, `zipper.${name}.lock`)
  return home?.startsWith("/") ? join(home, `.zipper.${name}.lock`) : undefined
}

export const lockfileBeside = (
  { lockfile_path: path }: Pick<Config, "lockfile_path">,
  job: Parameters<typeof jobLockName>[0]
): string => `${path.replace(/\.lock$/, "")}.${jobLockName(job)}.lock`
