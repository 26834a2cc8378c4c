import { join } from "node:path"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { archiveKey, fileNameOf, type JobKey } from "../config/JobKey.ts"
import { FolderName, parse } from "../source/FolderName.ts"
import { type Corrupt, load as loadFile, replace } from "../store/Records.ts"
import { isFolder } from "../store/SafeFolder.ts"
import type { StoreError } from "../store/StoreError.ts"
import { FolderVerification, type Verified, withResult } from "../store/Verification.ts"
import { Disk, type DiskError } from "../system/Disk.ts"
import { count } from "../text/Text.ts"
import { Instant } from "../text/Time.ts"
import { Alerts, type AlertsOf, alertsNameOf, type Recovered } from "./Alerts.ts"
import { Seconds } from "./History.ts"
import { described, makeStateFolder, type NoPlace, Outcome, type StateSettings } from "./StateFolder.ts"

/** What a job does now: a run is at work, or one never came to its end; or somebody else has the lock that it needs. */
export type Activity =
  | { readonly _tag: "Idle" }
  | { readonly _tag: "Locked"; readonly pid: number; readonly since: string }
  | { readonly _tag: "Running"; readonly pid: number; readonly since: string }
  | { readonly _tag: "Died"; readonly run: string; readonly pid: number; readonly since: string }

/** The lock is taken so soon after a run began, in milliseconds. */
const soon = 30_000

/**
 * What the mark of a run and the lock come to. The mark is written with the lock held, and taken away before it is
 * free: a mark without its process at the lock is one of a run that was killed. Another process there is one that
 * got the same pid later, or a run of another job with the same lock, or of none (a command's own).
 */
export const activityOf = (
  marker: RunMarker | undefined,
  holder: { readonly pid: number; readonly since: string } | undefined
): Activity => {
  if (marker === undefined) return holder === undefined ? { _tag: "Idle" } : { _tag: "Locked", ...holder }
  const { pid, run, started_at_utc: since } = marker
  return holder?.pid === pid && Math.abs(Date.parse(holder.since) - Date.parse(since)) <= soon
    ? { _tag: "Running", pid, since: holder.since }
    : { _tag: "Died", run, pid, since }
}

interface Item {
  readonly name: string
  readonly state: "well" | "failing" | "neither"
  readonly since: string | undefined
}

/** What failed before a run and does not any more after it; undefined when there is nothing of the kind. */
export const recoveredBetween = (
  before: JobStanding | undefined,
  after: JobStanding
): Recovered | undefined => {
  if (before === undefined) return undefined
  const failing = new Map(
    itemsOf(before)
      .filter(({ state }) => state === "failing")
      .map((item) => [item.name, item])
  )
  const items = itemsOf(after).flatMap(({ name, state }) => {
    const failed = failing.get(name)
    return failed !== undefined && state === "well" ? [{ name, since: failed.since }] : []
  })
  const since = before.not_started_since_utc
  const job = since !== undefined && after.not_started_since_utc === undefined ? { since } : undefined
  return job === undefined && items.length === 0 ? undefined : { job, items }
}

const itemsOf = (standing: JobStanding): ReadonlyArray<Item> =>
  standing.kind === "archive"
    ? standing.folders.map(({ folder, last_success_utc, result }) => ({
        name: folder,
        state: result === "failed" ? "failing" : "well",
        since: last_success_utc
      }))
    : standing.datasets.map(({ dataset, last_success_utc, result }) => ({
        name: dataset,
        state:
          result === "failed" || result === "refused"
            ? "failing"
            : result === "nothing_to_send"
              ? "neither"
              : "well",
        since: last_success_utc
      }))

/**
 * How things stand, job by job: `<state folder>/standing/JOB.json`, replaced at the end of each run. The last success and
 * the last attempt are kept apart. Times are UTC, `2025-01-01T12:00:00Z`.
 */

const Count = Schema.Number.pipe(Schema.int(), Schema.nonNegative())
const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

/** A job's last run, as a whole. */
export const LastRun = Schema.Struct({
  run: Schema.String,
  started_at_utc: Instant,
  seconds: Seconds,
  outcome: Outcome,
  error: optional(Schema.String),
  /** Uncompressed bytes archived, or bytes sent. */
  bytes: Count,
  /** Folders or datasets that failed or were refused. */
  failures: Count
})
export type LastRun = typeof LastRun.Type

const job = {
  version: Schema.Literal(1),
  last_run: LastRun,
  /** When the last run began in which all went well. */
  last_success_utc: optional(Instant),
  /** Since when no run of it could begin, if the last ones could not. */
  not_started_since_utc: optional(Instant)
}

const item = {
  /** A folder: archived, or found unchanged. A dataset: sent, or up to date. */
  last_success_utc: optional(Instant),
  last_attempt_utc: Instant,
  /** Of the last attempt. */
  error: optional(Schema.String)
}

/** A folder at the end of the last run that looked at it. */
export const FolderStanding = Schema.Struct({
  folder: FolderName,
  ...item,
  result: Schema.Literal("archived", "unchanged", "failed"),
  /**
   * Of the archive that there was then, as the folder's own state has it: an archive with another one is newer than
   * this, whatever the clock said.
   */
  archived_at_utc: optional(Schema.String),
  /** Of the last time that it was archived. */
  files: optional(Count),
  bytes: optional(Count),
  zip_bytes: optional(Count),
  seconds: optional(Seconds)
})
export type FolderStanding = typeof FolderStanding.Type

/** A dataset at the end of the last run that looked at it. */
export const DatasetStanding = Schema.Struct({
  dataset: Schema.String,
  target: optional(Schema.String),
  ...item,
  result: Schema.Literal("sent", "up_to_date", "nothing_to_send", "refused", "failed"),
  /** Of the last time that something was sent. */
  bytes: optional(Count),
  seconds: optional(Seconds)
})
export type DatasetStanding = typeof DatasetStanding.Type

export const ArchiveStanding = Schema.Struct({
  ...job,
  kind: Schema.Literal("archive"),
  folders: Schema.Array(FolderStanding)
})
export type ArchiveStanding = typeof ArchiveStanding.Type

export const ReplicationStanding = Schema.Struct({
  ...job,
  kind: Schema.Literal("replication"),
  /** Its name in the configuration. */
  job: Schema.String,
  direction: Schema.Literal("pull", "push"),
  host: Schema.String,
  datasets: Schema.Array(DatasetStanding)
})
export type ReplicationStanding = typeof ReplicationStanding.Type

/** One job's file. */
export const JobStanding = Schema.Union(ArchiveStanding, ReplicationStanding)
export type JobStanding = typeof JobStanding.Type

/** `<state folder>/standing/JOB.running`: a run is at work, or was killed. */
export const RunMarker = Schema.Struct({
  version: Schema.Literal(1),
  run: Schema.String,
  pid: Count,
  started_at_utc: Instant,
  lockfile: Schema.String
})
export type RunMarker = typeof RunMarker.Type

/** The job that a standing is of. */
export const keyOf = (standing: JobStanding): JobKey =>
  standing.kind === "archive" ? archiveKey : { kind: "replication", name: standing.job }

/**
 * A standing with what was kept beside the lock file of a later run, whose standing could not be written (its target was away, or
 * full). What that run knew of single folders and datasets counts only where there is nothing else: it could not read what
 * failed before it, so that nobody has been told yet of what works again.
 */
export const withAside = (
  standing: JobStanding | undefined,
  aside: JobStanding | undefined
): JobStanding | undefined => {
  if (standing === undefined || aside === undefined) return standing ?? aside
  const { last_run, not_started_since_utc } = aside
  const { not_started_since_utc: _, ...rest } = standing
  return {
    ...rest,
    last_run,
    ...(not_started_since_utc === undefined ? {} : { not_started_since_utc })
  }
}

/**
 * `<state folder>/standing/JOB.locked`: runs of the job that found the lock held and did nothing, since its last run in which all
 * went well. A file of its own: the run that holds the lock may write the job's other state at the same moment.
 */
export const LockedOut = Schema.Struct({
  version: Schema.Literal(1),
  count: Schema.Number.pipe(Schema.int(), Schema.positive()),
  /** When the first and the last of them tried. */
  since_utc: Instant,
  last_utc: Instant,
  /** What the last one found in the lock: `pid 1234, since 2025-01-01T12:00:00Z`. */
  holder: Schema.String,
  lockfile: Schema.String
})
export type LockedOut = typeof LockedOut.Type

/** One more run that found the lock held. */
export const lockedOutAgain = (
  before: LockedOut | undefined,
  found: Pick<LockedOut, "holder" | "last_utc" | "lockfile">
): LockedOut => ({
  version: 1,
  count: (before?.count ?? 0) + 1,
  since_utc: before?.since_utc ?? found.last_utc,
  ...found
})

/** In words: `3 runs since its last success found the lock /run/zipper.lock held, the last by pid 7, since …`. */
export const describeLockedOut = ({ count: runs, holder, lockfile }: LockedOut): string =>
  `${count(runs, "run")} since its last success found the lock ${lockfile} held and did nothing${runs === 1 ? ": by" : ", the last time by"} ${holder}`

/** How things stand could not be read or written; the message says what to do about it. */
export class StandingError extends Data.TaggedError("StandingError")<{
  /** There is no place to write to, and why is known: the target is empty. */
  readonly noPlace?: boolean
  /** The state folder is not there. */
  readonly away?: boolean
  readonly message: string
  readonly cause?: unknown
}> {}

const StandingFile = Schema.parseJson(JobStanding, { space: 2 })
const MarkerFile = Schema.parseJson(RunMarker, { space: 2 })
const AlertsFile = Schema.parseJson(Alerts, { space: 2 })
const decodeAlerts = Schema.decodeUnknownOption(AlertsFile)
const VerificationFile = Schema.parseJson(FolderVerification, { space: 2 })
const decodeVerification = Schema.decodeUnknownOption(VerificationFile)
const decodeStanding = Schema.decodeUnknownOption(StandingFile)
const LockedFile = Schema.parseJson(LockedOut, { space: 2 })
const decodeLocked = Schema.decodeUnknownOption(LockedFile)
const decodeMarker = Schema.decodeUnknownOption(MarkerFile)

/** Where standings are. */
export interface StandingSettings extends StateSettings {
  /**
   * Files for what cannot be written to the state folder, in a folder that is there: how a job's `last` run ended, the mark
   * of one that is `running`, and the runs that were `locked` out; and what was told of its failures. No two state folders have
   * the same.
   */
  readonly asidePath: (
    job: JobKey,
    what: "last" | "running" | "locked" | "alerts" | `${string}.alerts`
  ) => string
}

/** Standings on disk. */
export const makeStanding = (disk: typeof Disk.Service, settings: StandingSettings, corrupt: Corrupt) => {
  const folder = join(settings.dir, "standing")
  const fileOf = (job: JobKey) => join(folder, `${fileNameOf(job)}.json`)
  const markerOf = (job: JobKey) => join(folder, `${fileNameOf(job)}.running`)

  const operation =
    (doing: string) =>
    <A>(effect: Effect.Effect<A, DiskError | StoreError | NoPlace, Disk>): Effect.Effect<A, StandingError> =>
      effect.pipe(
        Effect.mapError(
          (cause) =>
            new StandingError({
              message: described(doing, cause),
              cause,
              noPlace: cause._tag === "NoPlace",
              away: cause._tag === "NoPlace" || (cause._tag === "DiskError" && cause.code === "ENOENT")
            })
        ),
        Effect.provideService(Disk, disk)
      )

  const alertsAside = ({ job, task }: AlertsOf) =>
    settings.asidePath(job, task === "run" ? "alerts" : `${task}.alerts`)

  const verifiedFolder = join(settings.dir, "verified")
  const verificationOf = (folder: FolderName) =>
    Effect.gen(function* () {
      const content = yield* disk.read(join(verifiedFolder, `${folder}.json`))
      if (content === undefined) return undefined
      const found = Option.filter(decodeVerification(content), (each) => each.folder === folder)
      if (Option.isSome(found)) return found.value
      yield* Effect.logWarning(
        `${join(verifiedFolder, folder)}.json cannot be understood (damaged, or of another version): what verify found of ${folder}, perhaps that it is damaged, is not known; zipper verify ${folder} looks again`
      )
      return undefined
    })

  const write = (path: string, content: string, outcome: Outcome | undefined) =>
    Effect.gen(function* () {
      yield* makeStateFolder(settings, settings.dir, outcome)
      yield* makeStateFolder(settings, folder, outcome)
      yield* replace(path, `${content}\n`)
    })

  const isThere = Effect.gen(function* () {
    return (yield* isFolder(settings.dir)) && (yield* isFolder(folder))
  })

  /** That file's content as the standing of this job, if it is one. */
  const standingIn = (job: JobKey) => (content: string) =>
    Option.filter(decodeStanding(content), (found) => fileNameOf(keyOf(found)) === fileNameOf(job))

  const markerIn = (job: JobKey) =>
    Effect.gen(function* () {
      const content = (yield* isThere) ? yield* disk.read(markerOf(job)) : undefined
      return markerOfText(content) ?? markerOfText(yield* disk.read(settings.asidePath(job, "running")))
    })

  // Beside the lock file alone: the state folder may lie on the very pool that the holder of the lock hangs on.
  const lockedOutIn = (job: JobKey) => Effect.map(disk.read(settings.asidePath(job, "locked")), lockedOutOf)

  /** That run came to its end, and only its mark could not be removed. */
  const hasEnded = (job: JobKey, { run }: RunMarker) =>
    Effect.gen(function* () {
      const texts = [
        (yield* isThere) ? yield* disk.read(fileOf(job)) : undefined,
        yield* disk.read(settings.asidePath(job, "last"))
      ]
      return texts.some(
        (text) => text !== undefined && Option.getOrUndefined(standingIn(job)(text))?.last_run.run === run
      )
    })

  return {
    load: (job: JobKey) =>
      Effect.gen(function* () {
        const found = (yield* isThere)
          ? yield* loadFile(
              fileOf(job),
              standingIn(job),
              corrupt,
              "what was known of earlier runs starts again"
            )
          : undefined
        const aside = yield* disk.read(settings.asidePath(job, "last"))
        return withAside(
          found,
          aside === undefined ? undefined : Option.getOrUndefined(standingIn(job)(aside))
        )
      }).pipe(operation("cannot read how things stand"), Effect.withSpan("Standing.load")),
    save: (standing: JobStanding) =>
      write(
        fileOf(keyOf(standing)),
        Schema.encodeSync(StandingFile)(standing),
        standing.last_run.outcome
      ).pipe(
        Effect.zipRight(disk.remove(settings.asidePath(keyOf(standing), "last"))),
        operation("cannot write down how things stand"),
        Effect.withSpan("Standing.save")
      ),
    setAside: (standing: JobStanding) =>
      replace(
        settings.asidePath(keyOf(standing), "last"),
        `${Schema.encodeSync(StandingFile)(standing)}\n`
      ).pipe(operation("cannot write down elsewhere how the run ended")),
    marker: (job: JobKey) =>
      Effect.gen(function* () {
        const marker = yield* markerIn(job)
        return marker === undefined || (yield* hasEnded(job, marker)) ? undefined : marker
      }).pipe(operation("cannot read which run is at work")),
    lockedOut: (job: JobKey) =>
      lockedOutIn(job).pipe(operation("cannot read which runs found the lock held")),
    noteLockedOut: (job: JobKey, found: Pick<LockedOut, "holder" | "last_utc" | "lockfile">) =>
      Effect.gen(function* () {
        const content = Schema.encodeSync(LockedFile)(lockedOutAgain(yield* lockedOutIn(job), found))
        yield* replace(settings.asidePath(job, "locked"), `${content}\n`)
      }).pipe(operation("cannot write down that the lock was held")),
    clearLockedOut: (job: JobKey) =>
      disk
        .remove(settings.asidePath(job, "locked"))
        .pipe(operation("cannot write down that the lock was free")),
    mark: (job: JobKey, marker: RunMarker) => {
      const path = settings.asidePath(job, "running")
      const content = Schema.encodeSync(MarkerFile)(marker)
      return write(markerOf(job), content, undefined).pipe(
        Effect.zipRight(disk.remove(path)),
        // The first run into an empty target is one too.
        Effect.catchAll((error) => Effect.mapError(replace(path, `${content}\n`), () => error)),
        operation("cannot write down that a run is at work")
      )
    },
    alerts: (of: AlertsOf) =>
      Effect.gen(function* () {
        const path = join(folder, `${alertsNameOf(of)}.alerts`)
        // Aside is what could not be written here later than this.
        const aside = alertsOfText(yield* disk.read(alertsAside(of)))
        return aside ?? alertsOfText((yield* isThere) ? yield* disk.read(path) : undefined)
      }).pipe(operation("cannot read what was told of earlier failures")),
    saveAlerts: (of: AlertsOf, alerts: Alerts, outcome: Outcome) => {
      const content = Schema.encodeSync(AlertsFile)(alerts)
      return write(join(folder, `${alertsNameOf(of)}.alerts`), content, outcome).pipe(
        Effect.zipRight(disk.remove(alertsAside(of))),
        Effect.catchAll((error) => Effect.mapError(replace(alertsAside(of), `${content}\n`), () => error)),
        operation("cannot write down what was told: the next run may tell the same once more")
      )
    },
    verified: Effect.gen(function* () {
      if (!((yield* isFolder(settings.dir)) && (yield* isFolder(verifiedFolder)))) return new Map()
      const folders = (yield* disk.list(verifiedFolder)).flatMap((name) =>
        name.endsWith(".json") ? (parse(name.slice(0, -".json".length)) ?? []) : []
      )
      const all = yield* Effect.forEach(folders, verificationOf, { concurrency: 16 })
      return new Map(all.flatMap((each) => (each === undefined ? [] : [[each.folder, each] as const])))
    }).pipe(operation("cannot read what verify found")),
    saveVerified: (folder: FolderName, which: "current" | "previous", found: Verified) =>
      Effect.gen(function* () {
        yield* makeStateFolder(settings, settings.dir, "ok")
        yield* makeStateFolder(settings, verifiedFolder, "ok")
        const known = yield* verificationOf(folder)
        const content = Schema.encodeSync(VerificationFile)(withResult(known, folder, which, found))
        yield* replace(join(verifiedFolder, `${folder}.json`), `${content}\n`)
      }).pipe(operation("cannot write down what verify found")),
    unmark: (job: JobKey, run: string) =>
      Effect.gen(function* () {
        const aside = settings.asidePath(job, "running")
        if (markerOfText(yield* disk.read(aside))?.run === run) yield* disk.remove(aside)
        if (!(yield* isThere)) return
        const marker = markerOfText(yield* disk.read(markerOf(job)))
        if (marker === undefined || marker.run === run) yield* disk.remove(markerOf(job))
      }).pipe(operation("cannot write down that the run ended"))
  }
}

const lockedOutOf = (content: string | undefined): LockedOut | undefined =>
  content === undefined ? undefined : Option.getOrUndefined(decodeLocked(content))

const markerOfText = (content: string | undefined): RunMarker | undefined =>
  content === undefined ? undefined : Option.getOrUndefined(decodeMarker(content))

const alertsOfText = (content: string | undefined): Alerts | undefined =>
  content === undefined ? undefined : Option.getOrUndefined(decodeAlerts(content))

const writesNothing = {
  noteLockedOut: () => Effect.void,
  clearLockedOut: () => Effect.void,
  save: () => Effect.void,
  setAside: () => Effect.void,
  mark: () => Effect.void,
  unmark: () => Effect.void,
  saveAlerts: () => Effect.void,
  saveVerified: () => Effect.void
}

/** How things stood at the end of the last run, job by job, and who is at work now. */
export class Standing extends Context.Tag("zipper/Standing")<
  Standing,
  {
    /**
     * With what was {@link setAside}. Undefined when the job never ran or its file is away with its folder, or when it cannot
     * be understood (then it is set aside, with a warning).
     */
    readonly load: (job: JobKey) => Effect.Effect<JobStanding | undefined, StandingError>
    /** Replaces what {@link load} gives, atomically. */
    readonly save: (standing: JobStanding) => Effect.Effect<void, StandingError>
    /** When that was not possible: remembers elsewhere how the last run ended, until a later standing is saved. */
    readonly setAside: (standing: JobStanding) => Effect.Effect<void, StandingError>
    /** The mark of a run: one that is at work, or one that was killed. A damaged one is none. */
    readonly marker: (job: JobKey) => Effect.Effect<RunMarker | undefined, StandingError>
    /** Runs that found the lock held since the last success; undefined when there are none. A damaged record is none. */
    readonly lockedOut: (job: JobKey) => Effect.Effect<LockedOut | undefined, StandingError>
    /** A run found the lock held. Touches nothing but the folder of the lock file: the holder may hang on the target. */
    readonly noteLockedOut: (
      job: JobKey,
      found: Pick<LockedOut, "holder" | "last_utc" | "lockfile">
    ) => Effect.Effect<void, StandingError>
    /** All went well in a run. */
    readonly clearLockedOut: (job: JobKey) => Effect.Effect<void, StandingError>
    /** A run begins. To be called with the job's lock held. Where there is no place for its mark yet, it is made elsewhere. */
    readonly mark: (job: JobKey, marker: RunMarker) => Effect.Effect<void, StandingError>
    /** What there was to write down of a run has been: takes its mark away, and nobody else's. */
    readonly unmark: (job: JobKey, run: string) => Effect.Effect<void, StandingError>
    /** What the operator was told of failures; undefined when there is nothing, or it cannot be understood. */
    readonly alerts: (of: AlertsOf) => Effect.Effect<Alerts | undefined, StandingError>
    /** Replaces what {@link alerts} gives. After a run with this `outcome`; where its place is away, it is kept elsewhere. */
    readonly saveAlerts: (
      of: AlertsOf,
      alerts: Alerts,
      outcome: Outcome
    ) => Effect.Effect<void, StandingError>
    /** What verify found of archives, by folder. A file that cannot be understood counts as none, with a warning. */
    readonly verified: Effect.Effect<ReadonlyMap<FolderName, FolderVerification>, StandingError>
    /** Remembers what verify found of one archive. */
    readonly saveVerified: (
      folder: FolderName,
      which: "current" | "previous",
      found: Verified
    ) => Effect.Effect<void, StandingError>
  }
>() {
  /** Files in the folder `standing` of the state folder. */
  static readonly layer = (settings: StandingSettings): Layer.Layer<Standing, never, Disk> =>
    Layer.effect(
      Standing,
      Effect.map(Disk, (disk) => makeStanding(disk, settings, "set aside"))
    )

  /** Reads what is there and writes nothing. */
  static readonly layerDryRun = (settings: StandingSettings): Layer.Layer<Standing, never, Disk> =>
    Layer.effect(
      Standing,
      Effect.map(Disk, (disk) => ({ ...makeStanding(disk, settings, "report"), ...writesNothing }))
    )

  /** For a run without a configuration: nothing is remembered. */
  static readonly layerNone: Layer.Layer<Standing> = Layer.succeed(Standing, {
    load: () => Effect.succeed(undefined),
    marker: () => Effect.succeed(undefined),
    lockedOut: () => Effect.succeed(undefined),
    alerts: () => Effect.succeed(undefined),
    verified: Effect.succeed(new Map()),
    ...writesNothing
  })
}
