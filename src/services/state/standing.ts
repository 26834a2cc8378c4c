import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Alerts, type AlertsOf, alertsNameOf } from "../../domain/Alerts.ts"
import { type FolderName, parse } from "../../domain/FolderName.ts"
import type { Outcome } from "../../domain/History.ts"
import { fileNameOf, type JobKey } from "../../domain/JobKey.ts"
import { LockedOut, lockedOutAgain } from "../../domain/LockedOut.ts"
import { JobStanding, keyOf, RunMarker } from "../../domain/Standing.ts"
import { withAside } from "../../domain/StandingAside.ts"
import { FolderVerification, type Verified, withResult } from "../../domain/Verification.ts"
import { Disk, type DiskError } from "../Disk.ts"
import { isFolder } from "../store/folders.ts"
import { type Corrupt, load as loadFile, replace } from "../store/jobState.ts"
import type { StoreError } from "../store/model.ts"
import { described, makeStateFolder, type NoPlace, type StateSettings } from "./folder.ts"
import { StandingError } from "./StandingError.ts"

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
  const lockedOf = (job: JobKey) => join(folder, `${fileNameOf(job)}.locked`)
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
    Effect.map(disk.read(join(verifiedFolder, `${folder}.json`)), (content) =>
      content === undefined
        ? undefined
        : Option.getOrUndefined(
            Option.filter(decodeVerification(content), (found) => found.folder === folder)
          )
    )

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

  const lockedOutIn = (job: JobKey) =>
    Effect.gen(function* () {
      const content = (yield* isThere) ? yield* disk.read(lockedOf(job)) : undefined
      return lockedOutOf(content) ?? lockedOutOf(yield* disk.read(settings.asidePath(job, "locked")))
    })

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
        const path = settings.asidePath(job, "locked")
        yield* write(lockedOf(job), content, undefined).pipe(
          Effect.zipRight(disk.remove(path)),
          Effect.catchAll(() => replace(path, `${content}\n`))
        )
      }).pipe(operation("cannot write down that the lock was held")),
    clearLockedOut: (job: JobKey) =>
      Effect.gen(function* () {
        yield* disk.remove(settings.asidePath(job, "locked"))
        if (yield* isThere) yield* disk.remove(lockedOf(job))
      }).pipe(operation("cannot write down that the lock was free")),
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
