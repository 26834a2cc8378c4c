import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { type Activity, activityOf } from "../domain/Activity.ts"
import { parse } from "../domain/ChecksumFile.ts"
import * as FolderName from "../domain/FolderName.ts"
import type { FolderRecord } from "../domain/FolderState.ts"
import { archiveKey, type JobKey } from "../domain/JobKey.ts"
import { utcSeconds } from "../domain/Metadata.ts"
import { names } from "../domain/PublishPlan.ts"
import type { PreviousStatus, Status } from "../domain/Status.ts"
import { archiveStatus, replicationStatus } from "../domain/StatusOf.ts"
import { count } from "../domain/Units.ts"
import { Archives } from "../services/Archives.ts"
import { Disk, DiskError } from "../services/Disk.ts"
import { Lock } from "../services/Lock.ts"
import { Standing } from "../services/Standing.ts"
import { Store } from "../services/Store.ts"
import { flawedArchives, lostArchives } from "./LostArchives.ts"
import { targetFolders } from "./TargetFolders.ts"

/** How things stand cannot be told; the message says what to do about it. */
class StatusError extends Data.TaggedError("StatusError")<{
  readonly message: string
  readonly cause?: unknown
}> {}

/** What to tell of. */
interface StatusRequest {
  /** Milliseconds; undefined: nothing is overdue. */
  readonly maxAge: number | undefined
  readonly replications: ReadonlyArray<{
    readonly name: string
    readonly direction: "pull" | "push"
    readonly host: string
    readonly datasets: ReadonlyArray<string>
    /** Where its runs keep their lock, unless they say otherwise. */
    readonly lockfile: string | undefined
  }>
}

/** The archive job's part of the configuration. */
interface ArchiveRequest {
  readonly source_path: string
  readonly target_path: string
  readonly lockfile_path: string
}

/**
 * How everything stands, from what runs left: changes nothing, takes no lock, asks no zfs, and of the source lists no
 * more than the top. Fails with StatusError when the target or the state cannot be read.
 */
export const status = Effect.fn("Status")(function* (
  request: StatusRequest,
  archive: Effect.Effect<Status["archive"], StatusError, Disk | Standing | Lock>
) {
  const now = yield* Clock.currentTimeMillis
  const asked = { now, maxAge: request.maxAge }
  const replications = yield* Effect.forEach(
    request.replications,
    Effect.fnUntraced(function* (job) {
      const key: JobKey = { kind: "replication", name: job.name }
      const standing = yield* (yield* Standing).load(key).pipe(asStatus)
      return replicationStatus(asked, job, {
        standing: standing?.kind === "replication" ? standing : undefined,
        activity: yield* activity(key, job.lockfile),
        lockedOut: yield* lockedOut(key),
        undelivered: yield* undelivered(key).pipe(asStatus)
      })
    })
  )
  return { ...asked, archive: yield* archive, replications } satisfies Status
})

/** The archive job's part of it. */
export const statusOfArchive = Effect.fnUntraced(function* (
  config: ArchiveRequest,
  maxAge: number | undefined
) {
  const now = yield* Clock.currentTimeMillis
  const previous = yield* readTarget(config.target_path)
  const records = yield* (yield* Store).records.pipe(
    Effect.mapError((error) =>
      // The store's advice is for who writes.
      error.cause instanceof DiskError
        ? unreadable(error.cause)
        : new StatusError({ message: error.message, cause: error })
    )
  )
  const standing = yield* (yield* Standing).load(archiveKey).pipe(asStatus)
  const archived = [...records.values()].filter(({ zipSize }) => zipSize !== undefined).length
  return archiveStatus(
    { now, maxAge },
    {
      source: config.source_path,
      target: config.target_path,
      inSource: yield* sourceFolders(config.source_path, archived),
      records,
      previous,
      standing: standing?.kind === "archive" ? standing : undefined,
      activity: yield* activity(archiveKey, config.lockfile_path),
      lockedOut: yield* lockedOut(archiveKey),
      flaws: yield* flawedArchives((folder) => isResized(records.get(folder))).pipe(
        Effect.provide(Archives.layer(config.target_path)),
        asStatus
      ),
      lost: yield* lostArchives.pipe(Effect.provide(Archives.layer(config.target_path)), asStatus),
      verified: yield* (yield* Standing).verified.pipe(asStatus),
      undelivered: yield* undelivered(archiveKey).pipe(asStatus)
    }
  )
})

const isResized = (record: FolderRecord | undefined): boolean =>
  record?.state !== undefined && record.zipSize !== undefined && record.zipSize !== record.state.zip_size

const asStatus = <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.mapError(effect, (cause) => new StatusError({ message: cause.message, cause }))

const lockedOut = (job: JobKey) =>
  Effect.flatMap(Standing, (standing) => standing.lockedOut(job)).pipe(asStatus)
/** Messages about a job that could not be delivered, whichever of its commands had them to send. */
export const undelivered = Effect.fnUntraced(function* (job: JobKey) {
  const standing = yield* Standing
  const all = yield* Effect.forEach(["run", "prune", "verify"] as const, (task) =>
    standing.alerts({ job, task })
  )
  return all.flatMap((alerts) => alerts?.undelivered ?? [])
})

const activity = (
  job: JobKey,
  lockfile: string | undefined
): Effect.Effect<Activity, StatusError, Standing | Lock> =>
  Effect.gen(function* () {
    const marker = yield* (yield* Standing).marker(job).pipe(asStatus)
    const path = marker?.lockfile ?? lockfile
    const last = marker === undefined ? undefined : { pid: marker.pid, since: marker.started_at_utc }
    const holder = path === undefined ? undefined : yield* (yield* Lock).holder(path, last)
    return activityOf(marker, holder)
  })

/** Every folder of the target can be read; gives what there is of archives before the current ones. */
const readTarget = Effect.fnUntraced(
  function* (target: string) {
    const disk = yield* Disk
    const folders = yield* targetFolders(target)
    const found = yield* Effect.forEach(
      folders,
      Effect.fnUntraced(function* (folder) {
        const path = `${target}/${folder}`
        if ((yield* disk.stat(path))?.kind !== "directory") return []
        const { prevSha256, prevZip } = names(folder)
        if (!(yield* disk.list(path)).includes(prevZip)) return []
        const stat = yield* disk.stat(`${path}/${prevZip}`)
        if (stat?.kind !== "file") return []
        const sums = yield* disk.stat(`${path}/${prevSha256}`)
        const text =
          sums?.kind === "file" && sums.size < 4096 ? yield* disk.read(`${path}/${prevSha256}`) : ""
        const previous: PreviousStatus = {
          zipBytes: stat.size,
          // Archives are made once, and renamed from then on.
          archivedAt: utcSeconds(stat.mtimeMs),
          sha256: parse(text ?? "")?.digest
        }
        return [[folder, previous] as const]
      }),
      { concurrency: 16 }
    )
    return new Map(found.flat())
  },
  (effect) =>
    Effect.mapError(effect, (error) =>
      error._tag === "TargetMissing"
        ? new StatusError({ message: error.message, cause: error })
        : unreadable(error)
    )
)

const unreadable = (error: DiskError): StatusError => {
  const advice =
    error.code === "EACCES" || error.code === "EPERM"
      ? "; ask as the user that runs the job (sudo zipper status …)"
      : ""
  return new StatusError({ message: `cannot tell how things stand: ${error.message}${advice}`, cause: error })
}

/** The folders at the top of the source. One without any while there are archives of some is one that is not mounted. */
const sourceFolders = Effect.fnUntraced(
  function* (source: string, archived: number) {
    const disk = yield* Disk
    const names = (yield* disk.list(source)).flatMap((name) => FolderName.parse(name) ?? [])
    const found = yield* Effect.filter(
      names,
      (name) => Effect.map(disk.stat(`${source}/${name}`), (stat) => stat?.kind === "directory"),
      { concurrency: 16 }
    )
    if (found.length > 0 || archived === 0) return new Set(found)
    return {
      problem: `the source ${source} holds no folder to archive, but ${count(archived, "folder")} of it ${archived === 1 ? "is" : "are"} archived: is it mounted?`
    }
  },
  (effect) =>
    Effect.catchAll(effect, (error) =>
      Effect.succeed({ problem: `which folders are in the source is not known: ${error.message}` })
    )
)
