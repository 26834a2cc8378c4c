import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { decide } from "../archive/Changes.ts"
import { type ArchiveConfig, wholeName } from "../config/Config.ts"
import { archiveJobKey } from "../config/ReplicationJob.ts"
import type { DueReason } from "../runs/ArchiveResult.ts"
import { type JobOverview, readJob } from "../runs/JobOverview.ts"
import {
  type ArchiveJobState,
  type JobState,
  JobStates,
  type ReplicationJobState,
  type TrackedFolder
} from "../runs/JobState.ts"
import type { Lock } from "../runs/Lock.ts"
import { withRecord } from "../runs/nextState.ts"
import { type Flaw, findFlaws, lostArchives } from "../runs/PublishedFolders.ts"
import { failuresOf, type VerifyReplicasDocument } from "../runs/VerifyReplicasResult.ts"
import { type ExcludeRules, noRules } from "../source/Exclude.ts"
import * as FolderName from "../source/FolderName.ts"
import {
  type FolderRecord,
  type FolderVerification,
  identityOfState,
  ofCurrent,
  ofPrevious,
  type Verified,
  withDamage
} from "../store/FolderState.ts"
import { publishedFileNames } from "../store/Layout.ts"
import { parseChecksums } from "../store/Metadata.ts"
import { ownFolders, PublishedArchives } from "../store/PublishedArchive.ts"
import { Store } from "../store/Store.ts"
import { Disk, DiskError } from "../system/Disk.ts"
import { isDenied } from "../system/Errno.ts"
import { count } from "../text/Text.ts"
import { isAhead, utcSeconds } from "../text/Time.ts"
import { isWithin } from "../zfs/DatasetName.ts"
import type {
  ArchiveStatus,
  DatasetStatus,
  FolderStatus,
  JobStatus,
  ReplicationStatus,
  Status
} from "./StatusDocument.ts"

/** The state of a job or of the target could not be read; the message says what to do about it. */
class StatusError extends Data.TaggedError("StatusError")<{ readonly message: string; readonly cause?: unknown }> {}

interface ReplicationRequest {
  readonly name: string
  readonly direction: "pull" | "push"
  readonly host: string
  readonly datasets: ReadonlyArray<string>
}

/** What the runs of a job left, as far as status shows it. */
type FoundJob<State extends JobState> = Pick<JobOverview<State>, "state" | "activity" | "undelivered"> &
  Partial<JobOverview<State>>

/**
 * The state of everything, from what runs left: changes nothing, takes no lock, asks no zfs, and of the source lists
 * only the top. `maxAge` in milliseconds; without it nothing is overdue. Fails when a state or the target cannot be read.
 */
export const status = Effect.fn("Status")(function* (
  request: {
    readonly maxAge: number | undefined
    /** `lockfile`: where the job's runs keep their lock, unless their marker names another file. */
    readonly replications: ReadonlyArray<ReplicationRequest & { readonly lockfile: string | undefined }>
  },
  archive: Effect.Effect<Status["archive"], StatusError, Disk | JobStates | Lock>
) {
  const asked = { now: yield* Clock.currentTimeMillis, maxAge: request.maxAge }
  const replications = yield* Effect.forEach(request.replications, (job) =>
    Effect.gen(function* () {
      const key = { kind: "replication", name: job.name } as const
      const { state, ...found } = yield* asStatus(readJob(key, job.lockfile))
      const verified = yield* asStatus((yield* JobStates).verifiedReplicas(key))
      return replicationStatus(asked, job, {
        ...found,
        state: state?.kind === "replication" ? state : undefined,
        verified
      })
    })
  )
  return { ...asked, archive: yield* archive, replications } satisfies Status
})

/** The archive job's part of it. */
export const statusOfArchive = Effect.fnUntraced(function* (
  config: Pick<ArchiveConfig, "source_path" | "target_path" | "lockfile_path" | "folders"> & ExcludeRules,
  maxAge: number | undefined,
  places: ReadonlyArray<string>
) {
  const now = yield* Clock.currentTimeMillis
  const wanted = wholeName(config.folders)
  const previous = yield* readTarget(config.target_path, wanted, places)
  const records = yield* (yield* Store).records.pipe(
    Effect.mapError((error) =>
      // The store's advice is for programs that write.
      error.cause instanceof DiskError
        ? unreadable(error.cause)
        : new StatusError({ message: error.message, cause: error })
    )
  )
  const archived = [...records.values()].filter(({ zipSize }) => zipSize !== undefined).length
  const { state, ...overview } = yield* asStatus(readJob(archiveJobKey, config.lockfile_path))
  const inTarget = Effect.provide(PublishedArchives.layer(config.target_path, wanted))
  const { lost, unread } = yield* lostArchives.pipe(inTarget, asStatus)
  const found = yield* findFlaws((folder) => isResized(records.get(folder))).pipe(inTarget, asStatus)
  return archiveStatus(
    { now, maxAge },
    {
      ...overview,
      rules: config,
      source: config.source_path,
      target: config.target_path,
      ...(yield* sourceFolders(config.source_path, wanted, archived)),
      records,
      previous,
      state: state?.kind === "archive" ? state : undefined,
      flaws: found.flaws,
      lost,
      unread: [...new Set([...unread, ...found.unread])],
      verified: yield* (yield* JobStates).verified.pipe(asStatus)
    }
  )
})

const isResized = (record: FolderRecord | undefined): boolean =>
  record?.state !== undefined && record.zipSize !== undefined && record.zipSize !== record.state.zip_size

const asStatus = <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.mapError(effect, (cause) => new StatusError({ message: cause.message, cause }))

/** Every folder of the target can be read; gives what there is of archives before the current ones. */
const readTarget = Effect.fnUntraced(
  function* (target: string, wanted: RegExp, places: ReadonlyArray<string>) {
    const readFolder = (folder: FolderName.FolderName) => previousIn(folder, `${target}/${folder}`)
    const found = yield* Effect.forEach(yield* ownFolders(target, wanted, places), readFolder, { concurrency: 16 })
    return new Map(found.flat())
  },
  Effect.mapError((error) =>
    error._tag === "DiskError" ? unreadable(error) : new StatusError({ message: error.message, cause: error })
  )
)

const previousIn = Effect.fnUntraced(function* (folder: FolderName.FolderName, path: string) {
  const disk = yield* Disk
  if ((yield* disk.stat(path))?.kind !== "directory") return []
  const { prevSha256, prevZip } = publishedFileNames(folder)
  if (!(yield* disk.list(path)).includes(prevZip)) return []
  const stat = yield* disk.stat(`${path}/${prevZip}`)
  if (stat?.kind !== "file") return []
  const sums = yield* disk.stat(`${path}/${prevSha256}`)
  const text = sums?.kind === "file" && sums.size < 4096 ? yield* disk.read(`${path}/${prevSha256}`) : ""
  const previous: PreviousArchive = {
    zip_bytes: stat.size,
    // An archive is written once, and only renamed from then on.
    archived_at_utc: utcSeconds(stat.mtimeMs),
    sha256: parseChecksums(text ?? "")?.digest
  }
  return [[folder, previous] as const]
})

const unreadable = (error: DiskError): StatusError => {
  const advice = isDenied(error.code) ? "; ask as the user that runs the job (sudo zipper status …)" : ""
  return new StatusError({ message: `cannot tell how things stand: ${error.message}${advice}`, cause: error })
}

/** The folders at the top of the source. One without any while there are archives of some is one that is not mounted. */
const sourceFolders = Effect.fnUntraced(
  function* (source: string, wanted: RegExp, archived: number) {
    const disk = yield* Disk
    const names = (yield* disk.list(source)).filter((name) => wanted.test(name))
    const present = names.flatMap((name) => FolderName.parseFolderName(name) ?? [])
    const found = yield* Effect.filter(
      present,
      (name) => Effect.map(disk.stat(`${source}/${name}`), (stat) => stat?.kind === "directory"),
      { concurrency: 16 }
    )
    if (found.length > 0 || archived === 0) return { inSource: new Set(found), present: new Set(present) }
    const problem = `the source ${source} holds no folder to archive, but ${count(archived, "folder")} of it ${archived === 1 ? "is" : "are"} archived: is it mounted?`
    return { inSource: { problem } }
  },
  Effect.catchAll((error) =>
    Effect.succeed({ inSource: { problem: `which folders are in the source is not known: ${error.message}` } })
  )
)

interface PreviousArchive {
  readonly zip_bytes: number
  readonly archived_at_utc: string
  /** By its checksum file; undefined when there is none. */
  readonly sha256?: string | undefined
}

type Asked = Pick<Status, "now" | "maxAge">

/** The status of the archive job. `inSource`: the folders in the source, or why they are not known. */
export const archiveStatus = (
  asked: Asked,
  found: FoundJob<ArchiveJobState> & {
    readonly source: string
    readonly target: string
    readonly inSource: ReadonlySet<FolderName.FolderName> | { readonly problem: string }
    /** Names in the source that a folder can have, also those of files and symlinks. */
    readonly present?: ReadonlySet<FolderName.FolderName>
    readonly records: ReadonlyMap<FolderName.FolderName, FolderRecord>
    readonly previous: ReadonlyMap<FolderName.FolderName, PreviousArchive>
    readonly lost: ReadonlyArray<FolderName.FolderName>
    readonly unread?: ReadonlyArray<string>
    readonly flaws?: ReadonlyArray<Flaw>
    readonly rules?: ExcludeRules
    readonly verified: ReadonlyMap<FolderName.FolderName, FolderVerification>
  }
): ArchiveStatus => {
  const { flaws = [], inSource: source, records, rules = noRules, state, unread = [] } = found
  const lost = new Set(found.lost)
  const inSource = "problem" in source ? undefined : source
  const known = new Map(state?.folders.map((folder) => [folder.folder, folder]))
  // A failure record alone is no folder: its folder may have been removed years ago.
  const archived = [...records].filter(([, { state, zipSize }]) => state !== undefined || zipSize !== undefined)
  const names = new Set([
    ...archived.map(([folder]) => folder),
    ...lost,
    ...(inSource ?? [...known.keys(), ...records.keys()])
  ])
  const folders = [...names].sort().map((folder): FolderStatus => {
    const record = records.get(folder)
    // One with an archive, whose name a file or a symlink has now, fails with each run.
    const isReplaced = found.present?.has(folder) === true && record?.zipSize !== undefined
    const gone = inSource !== undefined && !inSource.has(folder) && !isReplaced
    const item = withRecord(folder, known.get(folder), record)
    // A failure of what is not there at all any more is past.
    const isPast = gone && item?.result === "failed"
    // A folder that no run has seen yet is late only when the runs are.
    const success = item === undefined && record === undefined ? state : item
    const archivedOnce = item?.last_success_utc !== undefined
    const previous = found.previous.get(folder)
    const verified = found.verified.get(folder)
    return {
      folder,
      ...itemFields(item, !gone && isTooOld(asked, success?.last_success_utc)),
      ...(isPast ? { error: null } : {}),
      result: isPast ? null : (item?.result ?? null),
      files: record?.state?.files ?? item?.files ?? null,
      bytes: record?.state?.bytes ?? item?.bytes ?? null,
      zip_bytes: record?.zipSize ?? null,
      previous: previous ? { ...previous, verified: verifiedFields(ofPrevious(verified, previous.sha256)) } : null,
      gone,
      due: gone ? null : dueOf(record && withDamage(record, verified), item, rules),
      lost: lost.has(folder) || (!gone && archivedOnce && record?.zipSize === undefined && record?.unknown !== true),
      verified: verifiedFields(ofCurrent(verified, identityOfState(record?.state)))
    }
  })
  return {
    source: found.source,
    target: found.target,
    source_problem: "problem" in source ? source.problem : null,
    ...jobFields(asked, found, folders.length),
    target_snapshots: state?.target_snapshots ?? null,
    folders,
    unread,
    flaws: folders.flatMap(({ folder }) => flaws.filter((flaw) => flaw.folder === folder))
  }
}

const dueOf = (
  record: FolderRecord | undefined,
  item: TrackedFolder | undefined,
  rules: ExcludeRules
): DueReason | null => {
  if (item?.result === "failed") return "its last attempt failed"
  const decision = decide({ record, verdict: "unchanged", known: record?.state?.zip_sha256, force: false, rules })
  return decision._tag === "Due" ? decision.reason : null
}

const verifiedFields = (found: Verified | undefined): FolderStatus["verified"] =>
  found === undefined ? null : { at_utc: found.verified_at_utc, result: found.result, problem: found.problem ?? null }

export const replicationStatus = (
  asked: Asked,
  job: ReplicationRequest,
  found: FoundJob<ReplicationJobState> & { readonly verified?: VerifyReplicasDocument | undefined }
): ReplicationStatus => {
  const { verified } = found
  const { kept, unknown } = splitDatasets(found.state?.datasets ?? [], job.datasets)
  const known = kept.map((item): DatasetStatus => {
    const { bytes, dataset, last_success_utc: success, result, target } = item
    // A dataset without snapshots that never had any only holds others.
    const isHolder = result === "nothing_to_send" && success === undefined
    const overdue = !isHolder && isTooOld(asked, success)
    return {
      dataset,
      target: target ?? null,
      ...itemFields(item, overdue),
      result,
      bytes: bytes ?? null,
      verified: verifiedReplica(verified, target)
    }
  })
  // A dataset that no run has seen yet is late only when the runs are.
  const unseen = itemFields(undefined, isTooOld(asked, found.state?.last_success_utc))
  const added = unknown.map((dataset) => ({
    dataset,
    target: null,
    ...unseen,
    result: null,
    bytes: null,
    verified: null
  }))
  const datasets = [...known, ...added].sort((a, b) => (a.dataset < b.dataset ? -1 : a.dataset > b.dataset ? 1 : 0))
  return {
    job: job.name,
    direction: job.direction,
    host: job.host,
    ...jobFields(asked, found, datasets.length),
    verify_failures:
      verified === undefined ? [] : failuresOf(verified).map(({ name, reason }) => ({ name, problem: reason })),
    datasets
  }
}

const verifiedReplica = (
  found: VerifyReplicasDocument | undefined,
  target: string | undefined
): DatasetStatus["verified"] => {
  const replica = target === undefined ? undefined : found?.replicas.find((each) => each.target === target)
  if (found === undefined || replica === undefined) return null
  const problem = replica.findings.length > 0 ? replica.findings.join("; ") : null
  return { at_utc: found.started_at_utc, read_utc: replica.last_read?.at_utc ?? null, problem }
}

/**
 * The datasets of a job by its configuration now. `kept`: those known from its runs that it still has to replicate;
 * `unknown`: those that it names and no run has seen, neither themselves nor anything below them.
 */
export const splitDatasets = <A extends { readonly dataset: string }>(
  known: ReadonlyArray<A>,
  configured: ReadonlyArray<string>
): { readonly kept: ReadonlyArray<A>; readonly unknown: ReadonlyArray<string> } => {
  const kept = known.filter(({ dataset }) => configured.some((root) => isWithin(dataset, root)))
  return {
    kept,
    unknown: [...new Set(configured)].filter((root) => !kept.some(({ dataset }) => isWithin(dataset, root)))
  }
}

const isTooOld = ({ maxAge, now }: Asked, success: string | undefined): boolean => {
  if (maxAge === undefined) return false
  const at = success === undefined ? Number.NaN : Date.parse(success)
  // A success in the future is from a wrong clock: its time is not known.
  return Number.isNaN(at) || isAhead(now, at) || now - at > maxAge
}

const itemFields = (
  item: Partial<Pick<TrackedFolder, "last_success_utc" | "last_attempt_utc" | "error">> | undefined,
  overdue: boolean
) => ({
  last_success_utc: item?.last_success_utc ?? null,
  last_attempt_utc: item?.last_attempt_utc ?? null,
  error: item?.error ?? null,
  overdue
})

/** What both kinds of job have in common. `items`: how many folders or datasets it has. */
const jobFields = (
  asked: Asked,
  { activity, lockedOut, state, undelivered }: FoundJob<JobState>,
  items: number
): JobStatus => {
  const last = state?.last_run
  const holder = (tag: "Running" | "Locked") =>
    activity._tag !== "Idle" && activity._tag === tag ? { pid: activity.pid, since_utc: activity.since } : null
  return {
    undelivered: undelivered.map(({ at_utc, error, title }) => ({ at_utc, title, error })),
    last_run: last === undefined ? null : { ...last, error: last.error ?? null },
    running: holder("Running"),
    locked: holder("Locked"),
    locked_out: lockedOut ?? null,
    died: activity._tag === "Died" ? { run: activity.run, pid: activity.pid, since_utc: activity.since } : null,
    overdue: asked.maxAge !== undefined && items === 0 && isTooOld(asked, state?.last_success_utc)
  }
}
