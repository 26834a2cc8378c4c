import { randomBytes } from "node:crypto"
import { hostname } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type { Config } from "../domain/Config.ts"
import * as Endpoint from "../domain/replication/Endpoint.ts"
import { type Job, lockNameOf } from "../domain/replication/Job.ts"
import { Lock } from "../services/Lock.ts"
import { withLockOption } from "../services/lock/LockError.ts"
import { Notifier } from "../services/Notifier.ts"
import { Process } from "../services/Process.ts"
import { Progress } from "../services/Progress.ts"
import { Receiver } from "../services/Receiver.ts"
import { sharedConnection } from "../services/replication/sharedConnection.ts"
import { Sender } from "../services/Sender.ts"
import { Transfer } from "../services/Transfer.ts"
import * as progressBar from "./progressBar.ts"
import { notifier } from "./services.ts"
import { stallLayer } from "./stall.ts"
import * as stateServices from "./stateServices.ts"

/** The run's id, short and random, in every log line; and the name of this host. */
export const makeIdentity = () => ({
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
export const live = (job: Job, config: Config | undefined, pingUrl?: Redacted.Redacted) =>
  Layer.mergeAll(
    connected(job, (shared) => {
      const { source, target } = endsOf(shared)
      return Layer.mergeAll(Sender.layer(source), Receiver.layer(target), transfer(shared))
    }),
    lock(Lock.layer),
    notifier(settingsOf(config)),
    stallLayer(config?.task_timeout_seconds ?? Number.POSITIVE_INFINITY),
    config === undefined ? stateServices.none : stateServices.live(config, pingUrl),
    progressBar.layer
  ).pipe(Layer.provideMerge(Process.layer))

/** The services of a dry run: both hosts are asked, and nothing is changed on either. */
export const dryRun = (job: Job, config: Config | undefined, pingUrl?: Redacted.Redacted) =>
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
    config === undefined ? stateServices.none : stateServices.dryRun(config, pingUrl),
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
