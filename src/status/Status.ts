import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { decide } from "../archive/Changes.ts"
import { archiveKey, type JobKey } from "../config/JobKey.ts"
import type { Undelivered } from "../runs/Alerts.ts"
import type { DueReason } from "../runs/ArchiveResult.ts"
import {
  type Activity,
  type ArchiveStanding,
  activityOf,
  type DatasetStanding,
  type FolderStanding,
  type JobStanding,
  type LastRun,
  type LockedOut,
  type ReplicationStanding,
  Standing
} from "../runs/JobState.ts"
import { withRecord } from "../runs/JobStateOf.ts"
import { Lock } from "../runs/Lock.ts"
import { undelivered } from "../runs/Messages.ts"
import { type Flaw, findFlaws, lostArchives } from "../runs/PublishedFolders.ts"
import * as FolderName from "../source/FolderName.ts"
import type { FolderRecord } from "../store/FolderState.ts"
import { names } from "../store/Layout.ts"
import { parseChecksums, utcSeconds } from "../store/Metadata.ts"
import { Archives, targetFolders } from "../store/PublishedArchive.ts"
import { Store } from "../store/Store.ts"
import {
  type FolderVerification,
  identityOf,
  isBad,
  ofCurrent,
  ofPrevious,
  type Verified
} from "../store/Verification.ts"
import { Disk, DiskError } from "../system/Disk.ts"
import { count } from "../text/Text.ts"
import { isAhead } from "../text/Time.ts"
import { isWithin } from "../zfs/DatasetName.ts"

/** How everything of a configuration stands at one instant: what `status` shows. Times are UTC, to the second. */

interface Item {
  readonly lastSuccess: string | undefined
  readonly lastAttempt: string | undefined
  /** Why the last attempt failed. */
  readonly error: string | undefined
  /** It was tried, and its last success is longer ago than it may be, or there is none, or it cannot be true. */
  readonly overdue: boolean
}

/** The archive before the current one. */
export interface PreviousStatus {
  readonly zipBytes: number
  /** When it was made. */
  readonly archivedAt: string
  /** What its checksum file says; undefined when there is none. */
  readonly sha256?: string | undefined
  readonly verified?: Verified | undefined
}

export interface FolderStatus extends Item {
  readonly folder: FolderName.FolderName
  readonly result: FolderStanding["result"] | undefined
  readonly files: number | undefined
  /** Uncompressed. */
  readonly bytes: number | undefined
  readonly zipBytes: number | undefined
  readonly previous: PreviousStatus | undefined
  /** It is archived, and not in the source any more. */
  readonly gone: boolean
  /** Why the next run archives it whether it changed or not, as far as the target shows. */
  readonly due: DueReason | undefined
  /** One was published, and its zip is not there. */
  readonly lost: boolean
  readonly flaws: ReadonlyArray<Flaw>
  /** What verify found of the archive that is current now; undefined when it was not read back since it was published. */
  readonly verified: Verified | undefined
}

export interface DatasetStatus extends Item {
  readonly dataset: string
  readonly target: string | undefined
  readonly result: DatasetStanding["result"] | undefined
  /** Sent, the last time that something was. */
  readonly bytes: number | undefined
}

interface JobStatus {
  /** Messages about it that could not be delivered. */
  readonly undelivered: ReadonlyArray<Undelivered>
  readonly lastRun: LastRun | undefined
  readonly activity: Activity
  /** Runs that found the lock held since the last one in which all went well. */
  readonly lockedOut?: LockedOut | undefined
  /** Nothing is known of what it looks after, and there is no run that may pass for a recent one. */
  readonly overdue: boolean
}

export interface ArchiveStatus extends JobStatus {
  readonly source: string
  readonly target: string
  /** Why the source could not be listed, or that nothing in it is a folder to archive. */
  readonly sourceProblem: string | undefined
  readonly folders: ReadonlyArray<FolderStatus>
}

export interface ReplicationStatus extends JobStatus {
  readonly job: string
  readonly direction: "pull" | "push"
  readonly host: string
  readonly datasets: ReadonlyArray<DatasetStatus>
}

export interface Status {
  /** When this was so, in milliseconds since 1970. */
  readonly now: number
  /** How old a last success may be, in milliseconds. */
  readonly maxAge: number | undefined
  readonly archive: ArchiveStatus | undefined
  readonly replications: ReadonlyArray<ReplicationStatus>
}

/** The folders whose archive is lost. */
export const lostFolders = ({ archive }: Status): ReadonlyArray<FolderStatus> =>
  archive?.folders.filter(({ lost }) => lost) ?? []

/** The archives of which verify found that they are damaged, and that are there: the names of the zips, with what is wrong. */
export const damagedArchives = ({ archive }: Status) =>
  (archive?.folders ?? []).flatMap(({ folder, lost, previous, verified }) => [
    ...(!lost && verified !== undefined && isBad(verified) ? [{ zip: `${folder}.zip`, verified }] : []),
    ...(previous?.verified !== undefined && isBad(previous.verified)
      ? [{ zip: `${folder}.prev.zip`, verified: previous.verified }]
      : [])
  ])

/** Archives that are not what was published, apart from those of which verify found that they are damaged. */
export const flawedArchives = ({ archive }: Status): ReadonlyArray<Flaw> =>
  (archive?.folders ?? []).flatMap(({ flaws, verified }) =>
    flaws.filter(({ which }) => which === "previous" || verified === undefined || !isBad(verified))
  )

/** Everything that is overdue, by name and with what is known of it: a line each. */
export const overdueLines = (status: Status, ageOf: (utc: string) => string): ReadonlyArray<string> => {
  const line = (name: string, item: Item) => {
    const success =
      item.lastSuccess === undefined ? "never succeeded" : `last success ${ageOf(item.lastSuccess)}`
    return `${name}: ${success}${item.error === undefined ? "" : `; the last attempt failed: ${item.error}`}`
  }
  const nothing = (name: string, job: JobStatus) => (job.overdue ? [`${name}: no run did anything yet`] : [])
  const { archive, replications } = status
  return [
    ...(archive === undefined
      ? []
      : [
          ...nothing("archive", archive),
          ...archive.folders.filter(({ overdue }) => overdue).map((item) => line(item.folder, item))
        ]),
    ...replications.flatMap((job) => [
      ...nothing(job.job, job),
      ...job.datasets
        .filter(({ overdue }) => overdue)
        .map((item) => line(`${job.job}: ${item.dataset}`, item))
    ])
  ]
}

/**
 * What a job looks after by its configuration now. `kept`: of the datasets known from its runs, those that it still is to replicate;
 * `unknown`: those that it names and no run has seen, neither themselves nor anything below them.
 */
export const lookedAfter = <A extends { readonly dataset: string }>(
  known: ReadonlyArray<A>,
  configured: ReadonlyArray<string>
): { readonly kept: ReadonlyArray<A>; readonly unknown: ReadonlyArray<string> } => {
  const kept = known.filter(({ dataset }) => configured.some((root) => isWithin(dataset, root)))
  return {
    kept,
    unknown: [...new Set(configured)].filter((root) => !kept.some(({ dataset }) => isWithin(dataset, root)))
  }
}

type Asked = Pick<Status, "now" | "maxAge">

const tooOld = ({ maxAge, now }: Asked, success: string | undefined): boolean => {
  if (maxAge === undefined) return false
  const at = success === undefined ? Number.NaN : Date.parse(success)
  // A success in the future is one of a clock that was wrong: when it was is not known.
  return Number.isNaN(at) || isAhead(now, at) || now - at > maxAge
}

const jobOverdue = (asked: Asked, standing: JobStanding | undefined, items: number): boolean =>
  asked.maxAge !== undefined && items === 0 && tooOld(asked, standing?.last_success_utc)

/** What is known of the archive job. `source`: the folders in it, or why that is not known. */
export const archiveStatus = (
  asked: Asked,
  found: {
    readonly source: string
    readonly target: string
    readonly inSource: ReadonlySet<FolderName.FolderName> | { readonly problem: string }
    readonly records: ReadonlyMap<FolderName.FolderName, FolderRecord>
    readonly previous: ReadonlyMap<FolderName.FolderName, PreviousStatus>
    readonly standing: ArchiveStanding | undefined
    readonly activity: Activity
    readonly lockedOut?: LockedOut | undefined
    /** By a look at the target. */
    readonly lost: ReadonlyArray<FolderName.FolderName>
    readonly flaws?: ReadonlyArray<Flaw>
    readonly verified: ReadonlyMap<FolderName.FolderName, FolderVerification>
    readonly undelivered: ReadonlyArray<Undelivered>
  }
): ArchiveStatus => {
  const { previous, records, standing } = found
  const lost = new Set(found.lost)
  const inSource = "problem" in found.inSource ? undefined : found.inSource
  const known = new Map(standing?.folders.map((folder) => [folder.folder, folder]))
  // A failure record alone is no folder: what it was about may be gone for years.
  const archived = [...records].filter(
    ([, { state, zipSize }]) => state !== undefined || zipSize !== undefined
  )
  const names = new Set([
    ...archived.map(([folder]) => folder),
    ...lost,
    ...(inSource ?? [...known.keys(), ...records.keys()])
  ])
  const folders = [...names].sort().map((folder): FolderStatus => {
    const record = records.get(folder)
    const item = withRecord(folder, known.get(folder), record)
    const gone = inSource !== undefined && !inSource.has(folder)
    // A folder that no run has seen yet is late only when the runs are.
    const success = item === undefined && record === undefined ? standing : item
    const archivedOnce = item?.last_success_utc !== undefined
    return {
      folder,
      lastSuccess: item?.last_success_utc,
      lastAttempt: item?.last_attempt_utc,
      result: item?.result,
      error: item?.error,
      files: record?.state?.files ?? item?.files,
      bytes: record?.state?.bytes ?? item?.bytes,
      zipBytes: record?.zipSize,
      previous: previousOf(previous.get(folder), found.verified.get(folder)),
      gone,
      due: gone ? undefined : dueOf(record, item),
      lost: lost.has(folder) || (!gone && archivedOnce && record?.zipSize === undefined),
      flaws: (found.flaws ?? []).filter((flaw) => flaw.folder === folder),
      verified: ofCurrent(found.verified.get(folder), identityOf(record?.state)),
      overdue: !gone && tooOld(asked, success?.last_success_utc)
    }
  })
  return {
    source: found.source,
    target: found.target,
    sourceProblem: "problem" in found.inSource ? found.inSource.problem : undefined,
    lastRun: standing?.last_run,
    activity: found.activity,
    ...(found.lockedOut === undefined ? {} : { lockedOut: found.lockedOut }),
    undelivered: found.undelivered,
    folders,
    overdue: jobOverdue(asked, standing, folders.length)
  }
}

const previousOf = (
  previous: PreviousStatus | undefined,
  known: FolderVerification | undefined
): PreviousStatus | undefined =>
  previous === undefined ? undefined : { ...previous, verified: ofPrevious(known, previous.sha256) }

const dueOf = (record: FolderRecord | undefined, item: FolderStanding | undefined): DueReason | undefined => {
  if (item?.result === "failed") return "its last attempt failed"
  const decision = decide({ record, verdict: "unchanged", known: record?.state?.zip_sha256, force: false })
  return decision._tag === "Due" ? decision.reason : undefined
}

/** What is known of a replication job. A dataset that it is asked to replicate and that no run has seen yet is there
 * too, and is late only when the runs are. */
export const replicationStatus = (
  asked: Asked,
  job: {
    readonly name: string
    readonly direction: "pull" | "push"
    readonly host: string
    readonly datasets: ReadonlyArray<string>
  },
  found: {
    readonly standing: ReplicationStanding | undefined
    readonly activity: Activity
    readonly lockedOut?: LockedOut | undefined
    readonly undelivered: ReadonlyArray<Undelivered>
  }
): ReplicationStatus => {
  const { activity, lockedOut, standing, undelivered } = found
  const { kept, unknown } = lookedAfter(standing?.datasets ?? [], job.datasets)
  const datasets = [
    ...kept.map(
      (item): DatasetStatus => ({
        dataset: item.dataset,
        target: item.target,
        result: item.result,
        lastSuccess: item.last_success_utc,
        lastAttempt: item.last_attempt_utc,
        error: item.error,
        bytes: item.bytes,
        // A dataset without snapshots that never had any only holds others.
        overdue:
          !(item.result === "nothing_to_send" && item.last_success_utc === undefined) &&
          tooOld(asked, item.last_success_utc)
      })
    ),
    ...unknown.map(
      (dataset): DatasetStatus => ({
        dataset,
        target: undefined,
        result: undefined,
        lastSuccess: undefined,
        lastAttempt: undefined,
        error: undefined,
        bytes: undefined,
        overdue: tooOld(asked, standing?.last_success_utc)
      })
    )
  ]
  return {
    job: job.name,
    direction: job.direction,
    host: job.host,
    lastRun: standing?.last_run,
    activity,
    ...(lockedOut === undefined ? {} : { lockedOut }),
    undelivered,
    datasets: datasets.sort((a, b) => (a.dataset < b.dataset ? -1 : a.dataset > b.dataset ? 1 : 0)),
    overdue: jobOverdue(asked, standing, datasets.length)
  }
}

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
      flaws: yield* findFlaws((folder) => isResized(records.get(folder))).pipe(
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
          sha256: parseChecksums(text ?? "")?.digest
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
