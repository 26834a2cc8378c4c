import { dirname, join } from "node:path"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import { archiveJobKey, type JobKey, jobFileName } from "../config/ReplicationJob.ts"
import { FolderName, parseFolderName } from "../source/FolderName.ts"
import { FolderVerification, type Verified, withResult } from "../store/FolderState.ts"
import { type Corrupt, jsonFile, load as loadFile, replace } from "../store/Records.ts"
import { isFolder } from "../store/SafeFolder.ts"
import type { StoreError } from "../store/StoreError.ts"
import { Disk, type DiskError } from "../system/Disk.ts"
import { optional } from "../text/Document.ts"
import { commandOf, count } from "../text/Text.ts"
import { Instant } from "../text/Time.ts"
import { TargetHistory } from "../zfs/TargetSnapshots.ts"
import { Alerts, type AlertsOf, alertsNameOf, type Recovered } from "./Alerts.ts"
import { described, endOfRun, makeStateFolder, type NoPlace, Seconds, type StateSettings } from "./History.ts"
import { ReplicationDocument } from "./ReplicationResult.ts"
import type { Outcome } from "./Run.ts"
import { VerifyReplicasDocument } from "./VerifyReplicasResult.ts"

/**
 * The state of each job, in `<state folder>/standing`; times are UTC, `2025-01-01T12:00:00Z`:
 * - `JOB.json`: its last run and its items, replaced at the end of each run;
 * - `JOB.running`: the marker of a run that is at work or was killed;
 * - `JOB.locked`: the runs that found the lock held, beside the lock file alone;
 * - `TASK.alerts`: the failures that were reported (see Alerts);
 * - `JOB.verified`: what `verify --job` found of the job's replicas the last time.
 * A run that cannot write to the state folder keeps the same files beside the lock file: the fallback.
 */

const job = {
  version: Schema.Literal(1),
  last_run: Schema.Struct({
    ...endOfRun,
    /** Uncompressed bytes archived, or bytes sent. */
    bytes: Schema.NonNegativeInt,
    failures: Schema.NonNegativeInt
  }),
  last_success_utc: optional(Instant),
  /** Since when no run of it could begin, if the last ones could not. */
  not_started_since_utc: optional(Instant)
}

const item = {
  last_success_utc: optional(Instant),
  last_attempt_utc: Instant,
  error: optional(Schema.String)
}

/** A folder at the end of the last run that covered it. */
export const TrackedFolder = Schema.Struct({
  folder: FolderName,
  ...item,
  result: Schema.Literal("archived", "unchanged", "failed"),
  /** As in the folder's own state: an archive with another time is newer than this, even if the clock was set back. */
  archived_at_utc: optional(Schema.String),
  files: optional(Schema.NonNegativeInt),
  bytes: optional(Schema.NonNegativeInt),
  zip_bytes: optional(Schema.NonNegativeInt),
  seconds: optional(Seconds)
})
export type TrackedFolder = typeof TrackedFolder.Type

export const TrackedDataset = Schema.Struct({
  dataset: Schema.String,
  target: optional(Schema.String),
  ...item,
  result: Schema.Literal("sent", "up_to_date", "nothing_to_send", "refused", "failed"),
  bytes: optional(Schema.NonNegativeInt),
  seconds: optional(Seconds)
})
export type TrackedDataset = typeof TrackedDataset.Type

export const ArchiveJobState = Schema.Struct({
  ...job,
  kind: Schema.Literal("archive"),
  target_snapshots: optional(TargetHistory),
  folders: Schema.Array(TrackedFolder),
  /** Folders that succeeded once, and that whole runs find in the source no more; the latest last. */
  gone: optional(Schema.Array(Schema.Struct({ folder: FolderName, since_utc: Instant })))
})
export type ArchiveJobState = typeof ArchiveJobState.Type

export const ReplicationJobState = Schema.Struct({
  ...job,
  kind: Schema.Literal("replication"),
  ...Struct.pick(ReplicationDocument.fields, "job", "direction", "host"),
  datasets: Schema.Array(TrackedDataset)
})
export type ReplicationJobState = typeof ReplicationJobState.Type

export const JobState = Schema.Union(ArchiveJobState, ReplicationJobState)
export type JobState = typeof JobState.Type

export const keyOf = (state: JobState): JobKey =>
  state.kind === "archive" ? archiveJobKey : { kind: "replication", name: state.job }

/** A folder or a dataset: what metrics, status and messages say of both alike. */
export interface TrackedItem extends Omit<TrackedFolder, "folder" | "result">, Pick<TrackedDataset, "target"> {
  readonly noun: "folder" | "dataset"
  readonly name: string
  readonly result: (TrackedFolder | TrackedDataset)["result"]
  /** `idle`: a dataset that has nothing to send, which is neither a success nor a failure. */
  readonly condition: "well" | "failing" | "idle"
}

export const trackedItems = (state: JobState): ReadonlyArray<TrackedItem> =>
  state.kind === "archive"
    ? state.folders.map(({ folder, ...rest }) => ({ ...rest, ...conditionOf(rest), noun: "folder", name: folder }))
    : state.datasets.map(({ dataset, ...rest }) => ({ ...rest, ...conditionOf(rest), noun: "dataset", name: dataset }))

const conditionOf = ({ result }: Pick<TrackedFolder | TrackedDataset, "result">): Pick<TrackedItem, "condition"> => {
  if (result === "failed" || result === "refused") return { condition: "failing" }
  return { condition: result === "nothing_to_send" ? "idle" : "well" }
}

export const recoveredBetween = (before: JobState | undefined, after: JobState): Recovered | undefined => {
  if (before === undefined) return undefined
  const failed = new Map(
    trackedItems(before).flatMap((item) => (item.condition === "failing" ? [[item.name, item]] : []))
  )
  const items = trackedItems(after).flatMap(({ condition, name }) => {
    const earlier = failed.get(name)
    if (earlier === undefined || condition !== "well") return []
    const since = earlier.last_success_utc
    return [{ name, before: since === undefined ? "it never worked before" : `the last time before was ${since}` }]
  })
  const since = before.not_started_since_utc
  const job = since !== undefined && after.not_started_since_utc === undefined ? { since } : undefined
  return job === undefined && items.length === 0 ? undefined : { job, items }
}

// The items of the fallback are ignored: its run did not know which had failed before, so no recovery has been reported yet.
export const withFallback = (state: JobState | undefined, fallback: JobState | undefined): JobState | undefined => {
  if (state === undefined || fallback === undefined) return state ?? fallback
  const { last_run, not_started_since_utc } = fallback
  const { not_started_since_utc: _, ...rest } = state
  return { ...rest, last_run, ...(not_started_since_utc === undefined ? {} : { not_started_since_utc }) }
}

export const RunMarker = Schema.Struct({
  version: Schema.Literal(1),
  run: Schema.String,
  pid: Schema.NonNegativeInt,
  started_at_utc: Instant,
  lockfile: Schema.String
})
export type RunMarker = typeof RunMarker.Type

export const LockedOut = Schema.Struct({
  version: Schema.Literal(1),
  count: Schema.Number.pipe(Schema.int(), Schema.positive()),
  since_utc: Instant,
  last_utc: Instant,
  holder: Schema.String,
  lockfile: Schema.String
})
export type LockedOut = typeof LockedOut.Type

type LockFound = Pick<LockedOut, "holder" | "last_utc" | "lockfile">

export const lockedOutAgain = (before: LockedOut | undefined, found: LockFound): LockedOut => ({
  version: 1,
  count: (before?.count ?? 0) + 1,
  since_utc: before?.since_utc ?? found.last_utc,
  ...found
})

export const describeLockedOut = ({ count: runs, holder, lockfile }: LockedOut): string =>
  `${count(runs, "run")} since its last success found the lock ${lockfile} held and did nothing${runs === 1 ? ": by" : ", the last time by"} ${holder}`

export class JobStateError extends Data.TaggedError("JobStateError")<{
  /** Nothing may be written in the target: see makeStateFolder. */
  readonly noPlace?: boolean
  /** The state folder, or the target that it lies in, is not there. */
  readonly away?: boolean
  readonly message: string
  readonly cause?: unknown
}> {}

export interface JobStateSettings extends StateSettings {
  /** The file beside the lock file that stands in for one of the state folder; no two state folders have the same. */
  readonly asidePath: (job: JobKey, what: "last" | "running" | "locked" | "alerts" | `${string}.alerts`) => string
}

const writesNothing = {
  save: () => Effect.void,
  saveFallback: () => Effect.void,
  mark: () => Effect.void,
  unmark: () => Effect.void,
  noteLockedOut: () => Effect.void,
  clearLockedOut: () => Effect.void,
  saveAlerts: () => Effect.void,
  saveVerified: () => Effect.void,
  saveVerifiedReplicas: () => Effect.void
}

/** The state of each job after its last run, and which run is at work. */
export class JobStates extends Context.Tag("zipper/JobStates")<
  JobStates,
  {
    /** With the fallback. Undefined without a state folder or file; a file that is not understood is set aside with a warning. */
    readonly load: (job: JobKey) => Effect.Effect<JobState | undefined, JobStateError>
    /** Replaces the state and removes the fallback. After a failure the caller keeps it with `saveFallback`. */
    readonly save: (state: JobState) => Effect.Effect<void, JobStateError>
    /** Where {@link save} fails: keeps the state beside the lock file. */
    readonly saveFallback: (state: JobState) => Effect.Effect<void, JobStateError>
    /** The marker of a run that is at work or was killed. A damaged one counts as none. */
    readonly marker: (job: JobKey) => Effect.Effect<RunMarker | undefined, JobStateError>
    /** Writes the marker; the caller holds the job's lock. Where the state folder cannot be written, beside the lock file. */
    readonly mark: (job: JobKey, marker: RunMarker) => Effect.Effect<void, JobStateError>
    /** Removes the marker if it belongs to `run`. */
    readonly unmark: (job: JobKey, run: string) => Effect.Effect<void, JobStateError>
    /** A damaged file counts as none. */
    readonly lockedOut: (job: JobKey) => Effect.Effect<LockedOut | undefined, JobStateError>
    /** Counts one more. Uses only the folder of the lock file: the holder may hang on the target. */
    readonly noteLockedOut: (job: JobKey, found: LockFound) => Effect.Effect<void, JobStateError>
    readonly clearLockedOut: (job: JobKey) => Effect.Effect<void, JobStateError>
    /** A file that is not understood is set aside with a warning. */
    readonly alerts: (of: AlertsOf) => Effect.Effect<Alerts | undefined, JobStateError>
    /** After a run with this `outcome`. Where the state folder cannot be written, beside the lock file. */
    readonly saveAlerts: (of: AlertsOf, all: Alerts, outcome: Outcome) => Effect.Effect<void, JobStateError>
    /** What verify found of archives. A file that cannot be understood counts as none, with a warning. */
    readonly verified: Effect.Effect<ReadonlyMap<FolderName, FolderVerification>, JobStateError>
    /** Replaces the last result for the archive. Takes no lock: of two verifications of one folder at once, one result may be lost. */
    readonly saveVerified: (
      folder: FolderName,
      which: "current" | "previous",
      found: Verified
    ) => Effect.Effect<void, JobStateError>
    /** What verify found of a job's replicas. A file that is not understood is set aside with a warning. */
    readonly verifiedReplicas: (job: JobKey) => Effect.Effect<VerifyReplicasDocument | undefined, JobStateError>
    /** Replaces it. Takes no lock, as {@link saveVerified}. */
    readonly saveVerifiedReplicas: (job: JobKey, found: VerifyReplicasDocument) => Effect.Effect<void, JobStateError>
  }
>() {
  static readonly layer = (settings: JobStateSettings): Layer.Layer<JobStates, never, Disk> =>
    Layer.effect(JobStates, makeStates(settings, "set aside"))

  static readonly layerDryRun = (settings: JobStateSettings): Layer.Layer<JobStates, never, Disk> =>
    Layer.effect(
      JobStates,
      Effect.map(makeStates(settings, "report"), (files) => ({ ...files, ...writesNothing }))
    )

  static readonly layerNone: Layer.Layer<JobStates> = Layer.succeed(JobStates, {
    load: () => Effect.succeed(undefined),
    marker: () => Effect.succeed(undefined),
    lockedOut: () => Effect.succeed(undefined),
    alerts: () => Effect.succeed(undefined),
    verified: Effect.succeed(new Map()),
    verifiedReplicas: () => Effect.succeed(undefined),
    ...writesNothing
  })
}

const makeStates = Effect.fnUntraced(function* (settings: JobStateSettings, corrupt: Corrupt) {
  const disk = yield* Disk
  const { asidePath, dir } = settings
  const folder = join(dir, "standing")
  const verifiedFolder = join(dir, "verified")
  const stateOf = (job: JobKey) => join(folder, `${jobFileName(job)}.json`)
  const markerOf = (job: JobKey) => join(folder, `${jobFileName(job)}.running`)
  const alertsOf = (of: AlertsOf) => join(folder, `${alertsNameOf(of)}.alerts`)
  const alertsAside = ({ job, task }: AlertsOf) => asidePath(job, task === "run" ? "alerts" : `${task}.alerts`)
  const replicasOf = (job: JobKey) => join(folder, `${jobFileName(job)}.verified`)
  const verificationOf = (name: FolderName) => join(verifiedFolder, `${name}.json`)

  const operation =
    (doing: string) =>
    <A>(effect: Effect.Effect<A, DiskError | StoreError | NoPlace, Disk>): Effect.Effect<A, JobStateError> =>
      effect.pipe(
        Effect.mapError((cause) => {
          const noPlace = cause._tag === "NoPlace"
          const away = noPlace || (cause._tag === "DiskError" && cause.code === "ENOENT")
          return new JobStateError({ message: described(doing, cause), cause, noPlace, away })
        }),
        Effect.provideService(Disk, disk)
      )

  const areThere = (inner: string) => Effect.every([dir, inner], (path) => isFolder(path))

  const read = (path: string) =>
    Effect.if(areThere(folder), { onTrue: () => disk.read(path), onFalse: () => Effect.succeed(undefined) })

  const write = Effect.fnUntraced(function* (path: string, content: string, outcome: Outcome | undefined) {
    yield* makeStateFolder(settings, dir, outcome)
    yield* makeStateFolder(settings, dirname(path), outcome)
    yield* replace(path, content)
  })

  /** Writes to the state folder and removes the copy `aside`; where that fails, writes `aside`. */
  const writeOrAside = (path: string, aside: string, content: string, outcome: Outcome | undefined) =>
    write(path, content, outcome).pipe(
      Effect.zipRight(disk.remove(aside)),
      Effect.catchAll((error) => Effect.mapError(replace(aside, content), () => error))
    )

  const decodeState = (job: JobKey) => (content: string) =>
    Option.filter(stateFile.decode(content), (found) => jobFileName(keyOf(found)) === jobFileName(job))

  const stateIn = (job: JobKey, content: string | undefined) =>
    content === undefined ? undefined : Option.getOrUndefined(decodeState(job)(content))

  const lockedOut = (job: JobKey) => Effect.map(disk.read(asidePath(job, "locked")), lockedFile.read)

  const verification = Effect.fnUntraced(function* (name: FolderName) {
    const path = verificationOf(name)
    const content = yield* disk.read(path)
    const found = verificationFile.read(content)
    if (content === undefined || found?.folder === name) return found
    yield* Effect.logWarning(
      `${path} cannot be understood (damaged, or of another version): what verify found of ${name}, perhaps that it is damaged, is not known; ${commandOf(["zipper", "verify"], name)} looks again`
    )
    return undefined
  })

  const service: typeof JobStates.Service = {
    load: (job) =>
      Effect.gen(function* () {
        const found = (yield* areThere(folder))
          ? yield* loadFile(stateOf(job), decodeState(job), corrupt, "what was known of earlier runs starts again")
          : undefined
        return withFallback(found, stateIn(job, yield* disk.read(asidePath(job, "last"))))
      }).pipe(operation("cannot read how things stand"), Effect.withSpan("JobStates.load")),
    save: (state) =>
      write(stateOf(keyOf(state)), stateFile.encode(state), state.last_run.outcome).pipe(
        Effect.zipRight(disk.remove(asidePath(keyOf(state), "last"))),
        operation("cannot write down how things stand"),
        Effect.withSpan("JobStates.save")
      ),
    saveFallback: (state) =>
      replace(asidePath(keyOf(state), "last"), stateFile.encode(state)).pipe(
        operation("cannot write down elsewhere how the run ended")
      ),
    marker: (job) =>
      Effect.gen(function* () {
        const marker =
          markerFile.read(yield* read(markerOf(job))) ?? markerFile.read(yield* disk.read(asidePath(job, "running")))
        if (marker === undefined) return undefined
        const states = [yield* read(stateOf(job)), yield* disk.read(asidePath(job, "last"))]
        // That run ended, and only its marker could not be removed.
        return states.some((content) => stateIn(job, content)?.last_run.run === marker.run) ? undefined : marker
      }).pipe(operation("cannot read which run is at work")),
    // The first run into an empty target has a marker too, beside the lock file.
    mark: (job, marker) =>
      writeOrAside(markerOf(job), asidePath(job, "running"), markerFile.encode(marker), undefined).pipe(
        operation("cannot write down that a run is at work")
      ),
    unmark: (job, run) =>
      Effect.gen(function* () {
        const aside = asidePath(job, "running")
        if (markerFile.read(yield* disk.read(aside))?.run === run) yield* disk.remove(aside)
        if (!(yield* areThere(folder))) return
        const marker = markerFile.read(yield* disk.read(markerOf(job)))
        if (marker === undefined || marker.run === run) yield* disk.remove(markerOf(job))
      }).pipe(operation("cannot write down that the run ended")),
    lockedOut: (job) => lockedOut(job).pipe(operation("cannot read which runs found the lock held")),
    noteLockedOut: (job, found) =>
      lockedOut(job).pipe(
        Effect.flatMap((before) => replace(asidePath(job, "locked"), lockedFile.encode(lockedOutAgain(before, found)))),
        operation("cannot write down that the lock was held")
      ),
    clearLockedOut: (job) =>
      disk.remove(asidePath(job, "locked")).pipe(operation("cannot write down that the lock was free")),
    alerts: (of) =>
      Effect.gen(function* () {
        // A copy aside is the newer one.
        const aside = yield* loadFile(alertsAside(of), alertsFile.decode, corrupt, noAlertsKnown)
        if (aside !== undefined || !(yield* areThere(folder))) return aside
        return yield* loadFile(alertsOf(of), alertsFile.decode, corrupt, noAlertsKnown)
      }).pipe(operation("cannot read what was told of earlier failures")),
    saveAlerts: (of, alerts, outcome) =>
      writeOrAside(alertsOf(of), alertsAside(of), alertsFile.encode(alerts), outcome).pipe(
        operation("cannot write down what was told: the next run may tell the same once more")
      ),
    verified: Effect.gen(function* () {
      if (!(yield* areThere(verifiedFolder))) return new Map()
      const folders = (yield* disk.list(verifiedFolder)).flatMap((name) =>
        name.endsWith(".json") ? (parseFolderName(name.slice(0, -".json".length)) ?? []) : []
      )
      const all = yield* Effect.forEach(folders, verification, { concurrency: 16 })
      return new Map(all.flatMap((each) => (each === undefined ? [] : [[each.folder, each] as const])))
    }).pipe(operation("cannot read what verify found")),
    saveVerified: (name, which, found) =>
      Effect.flatMap(verification(name), (known) =>
        write(verificationOf(name), verificationFile.encode(withResult(known, name, which, found)), "ok")
      ).pipe(operation("cannot write down what verify found")),
    verifiedReplicas: (job) =>
      Effect.gen(function* () {
        if (!(yield* areThere(folder))) return undefined
        return yield* loadFile(
          replicasOf(job),
          replicasFile.decode,
          corrupt,
          "what verify found of replicas is not known"
        )
      }).pipe(operation("cannot read what verify found")),
    saveVerifiedReplicas: (job, found) =>
      write(replicasOf(job), replicasFile.encode(found), "ok").pipe(operation("cannot write down what verify found"))
  }
  return service
})

const noAlertsKnown = "messages that were not delivered are lost, and failures are reported again"

const stateFile = jsonFile(JobState)
const markerFile = jsonFile(RunMarker)
const lockedFile = jsonFile(LockedOut)
const alertsFile = jsonFile(Alerts)
const verificationFile = jsonFile(FolderVerification)
const replicasFile = jsonFile(VerifyReplicasDocument)
