import { createHash, randomBytes } from "node:crypto"
import { hostname } from "node:os"
import { join } from "node:path"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import { type ArchiveConfig, archiveOf, type Config, stateDirOf } from "../config/Config.ts"
import { archiveKey, fileNameOf, type JobKey } from "../config/JobKey.ts"
import { type Job, lockNameOf } from "../config/ReplicationJob.ts"
import { Notifier } from "../notify/Notifier.ts"
import { Ping } from "../notify/Ping.ts"
import { Receiver } from "../replication/Receiver.ts"
import { Sender } from "../replication/Sender.ts"
import { Transfer } from "../replication/Transfer.ts"
import { History } from "../runs/History.ts"
import { Standing, type StandingSettings } from "../runs/JobState.ts"
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
import * as Endpoint from "../zfs/Endpoint.ts"
import { local, sharedConnection } from "../zfs/Endpoint.ts"
import { Zfs } from "../zfs/Zfs.ts"
import { Archiver } from "../zip/Archiver.ts"
import { Output } from "./output.ts"
import * as progressBar from "./progressBar.ts"

/** Notices what hangs (`task_timeout_seconds` as in stallSeconds); whoever asked for a document gets one before the process leaves. */
export const stallLayer = (taskTimeout: number): Layer.Layer<never, never, Output> =>
  answering.pipe(Layer.provide(Stall.layer(stallSeconds(taskTimeout))))

/** The Stall that is there, with the document of `--json` before it leaves. */
export const answering = Layer.effect(
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
export const stateLive = (config: Config, pingUrl: Redacted.Redacted | undefined) => {
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
export const stateDryRun = (config: Config, pingUrl: Redacted.Redacted | undefined) =>
  Layer.mergeAll(
    History.layerDryRun(stateOf(config)),
    Standing.layerDryRun(stateOf(config)),
    config.metrics_file === undefined ? Metrics.layerNone : Metrics.layerDryRun(config.metrics_file),
    pingUrl === undefined ? Ping.layerNone : Ping.layerDryRun
  ).pipe(Layer.provide(Disk.layer))

/** For a run without a configuration: nobody would know where to look. */
export const none = Layer.mergeAll(History.layerNone, Standing.layerNone, Metrics.layerNone, Ping.layerNone)

/** Who is at work: one run of one job on one machine. */
interface Identity {
  /** Short and random, in every log line. */
  readonly run: string
  /** The same for every run from this source to this target: tells our snapshots from another job's. */
  readonly job: string
  readonly host: string
  readonly pid: number
}

export const archiveIdentity = (config: Pick<ArchiveConfig, "source_path" | "target_path">): Identity => ({
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
export const archiveLive = (config: ArchiveConfig, id: Identity) =>
  Layer.mergeAll(
    config.snapshots === "live" ? Zfs.layerLive : Zfs.layer(zfsSettings(config, id)),
    Store.layer(storeSettings(config, id)),
    Archiver.layer(config.compression),
    Lock.layer,
    Tree.layer,
    notifier(config),
    stallLayer(config.task_timeout_seconds),
    stateLive(config, config.ping_url)
  ).pipe(
    Layer.provideMerge(Hasher.layer),
    Layer.provide(Workers.layer(config.compression.threads)),
    Layer.provideMerge(machine)
  )

/** The services of a dry run: real discovery, real change detection, and nothing that writes. */
export const archiveDryRun = (config: ArchiveConfig, id: Identity) =>
  Layer.mergeAll(
    config.snapshots === "live" ? Zfs.layerLive : Zfs.layerDryRun(zfsSettings(config, id)),
    Store.layerDryRun(storeSettings(config, id)),
    Archiver.layerDryRun,
    Lock.layerDryRun,
    Tree.layer,
    config.gotify === undefined ? Notifier.layerNone : Notifier.layerDryRun,
    stateDryRun(config, config.ping_url)
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
  ).pipe(Layer.provideMerge(archiveDryRun(config, id)))

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

/** The run's id, short and random, in every log line; and the name of this host. */
export const replicationIdentity = () => ({
  run: randomBytes(3).toString("hex"),
  host: hostname(),
  pid: process.pid
})

/** What a run without a configuration goes by. */
export const settingsOf = (
  config: Config | undefined
): Pick<Config, "retries" | "notify_on" | "reminder_hours" | "gotify"> =>
  config ?? { retries: 3, notify_on: ["failure"], reminder_hours: 24 }

/** Which machine is which end. */
export const endsOf = ({ direction, remote }: Pick<Job, "direction" | "remote">) =>
  direction === "pull"
    ? { source: remote, target: Endpoint.local }
    : { source: Endpoint.local, target: remote }

/** Services that talk to the other host, by one connection for all they have to say. */
const connected = <A, E, R>({ remote, ...job }: Job, services: (job: Job) => Layer.Layer<A, E, R>) =>
  Layer.unwrapScoped(Effect.map(sharedConnection(remote), (shared) => services({ ...job, remote: shared })))

const transfer = (job: Job) =>
  Transfer.layer({ ...endsOf(job), compress: job.compress, bandwidth: job.bandwidth })

/** The lock of a command that has --lock, which is what to give when the file cannot be used. */
const lock = <E, R>(layer: Layer.Layer<Lock, E, R>) =>
  Layer.effect(
    Lock,
    Effect.map(Lock, (inner) => ({
      ...inner,
      acquire: (path: string) => Effect.mapError(inner.acquire(path), withLockOption),
      probe: (path: string) => Effect.mapError(inner.probe(path), withLockOption)
    }))
  ).pipe(Layer.provide(layer))

/** The services of a replication that does its work. */
export const replicationLive = (job: Job, config: Config | undefined, pingUrl?: Redacted.Redacted) =>
  Layer.mergeAll(
    connected(job, (shared) => {
      const { source, target } = endsOf(shared)
      return Layer.mergeAll(Sender.layer(source), Receiver.layer(target), transfer(shared))
    }),
    lock(Lock.layer),
    notifier(settingsOf(config)),
    stallLayer(config?.task_timeout_seconds ?? Number.POSITIVE_INFINITY),
    config === undefined ? none : stateLive(config, pingUrl),
    progressBar.layer
  ).pipe(Layer.provideMerge(Process.layer))

/** The services of a dry run: both hosts are asked, and nothing is changed on either. */
export const replicationDryRun = (job: Job, config: Config | undefined, pingUrl?: Redacted.Redacted) =>
  Layer.mergeAll(
    connected(job, (shared) => {
      const { source, target } = endsOf(shared)
      return Transfer.layerDryRun(transfer(shared)).pipe(
        Layer.provideMerge(Receiver.layerDryRun(Receiver.layer(target))),
        Layer.provideMerge(Sender.layer(source))
      )
    }),
    lock(Lock.layerDryRun),
    config?.gotify === undefined ? Notifier.layerNone : Notifier.layerDryRun,
    config === undefined ? none : stateDryRun(config, pingUrl),
    Progress.layerNone
  ).pipe(Layer.provideMerge(Process.layer))

/** Both ends alone. */
export const ends = (source: Endpoint.Endpoint, target: Endpoint.Endpoint) =>
  Layer.merge(Sender.layer(source), Receiver.layer(target)).pipe(Layer.provide(Process.layer))

/**
 * The lock file of a job: beside the configured one, so that a long replication keeps neither the archive job nor
 * a replication to another place out. Undefined when there is no place for it.
 */
export const lockfileOf = (
  job: Pick<Job, "direction" | "remote" | "destination">,
  config: Pick<Config, "lockfile_path"> | undefined,
  place: { readonly root: boolean; readonly env: Readonly<Record<string, string | undefined>> }
): string | undefined => {
  if (config !== undefined) return lockfileBeside(config, job)
  const name = lockNameOf(job)
  if (place.root) return `/var/run/zipper.${name}.lock`
  const { HOME: home, XDG_RUNTIME_DIR: runtime } = place.env
  if (runtime?.startsWith("/")) return join(runtime, `zipper.${name}.lock`)
  return home?.startsWith("/") ? join(home, `.zipper.${name}.lock`) : undefined
}

/** The same where there is a configuration. */
export const lockfileBeside = (
  { lockfile_path: path }: Pick<Config, "lockfile_path">,
  job: Pick<Job, "direction" | "remote" | "destination">
): string => `${path.replace(/\.lock$/, "")}.${lockNameOf(job)}.lock`
