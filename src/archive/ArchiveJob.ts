import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { type FolderResult, summarize, totals } from "../runs/ArchiveResult.ts"
import { JobStates } from "../runs/JobState.ts"
import { Lock, LockError } from "../runs/Lock.ts"
import { publishedByState } from "../runs/PublishedFolders.ts"
import { asPreflight, PreflightError } from "../runs/Run.ts"
import { type FolderName, parseFolderName } from "../source/FolderName.ts"
import type { Compare } from "../source/Manifest.ts"
import { type SnapshotRef, type SourceView, topSegment } from "../source/SourceView.ts"
import { Tree } from "../source/Tree.ts"
import { claimTarget } from "../store/ClaimTarget.ts"
import type { FolderRecord } from "../store/FolderState.ts"
import { utcSeconds } from "../store/Metadata.ts"
import type { Cursor } from "../store/Records.ts"
import { Store } from "../store/Store.ts"
import type { RecoveryReport } from "../store/StoreError.ts"
import { type FolderVerification, identityOfState, isBad, ofCurrent } from "../store/Verification.ts"
import { bytes, count } from "../text/Text.ts"
import type { SourceInfo } from "../zfs/SourceLayout.ts"
import { type SnapshotHandle, Zfs } from "../zfs/Zfs.ts"
import { type Evidence, verdictFor } from "../zfs/ZfsDiff.ts"
import { archiveFolder, type Candidate, type FolderContext, type FolderSettings, failFolder } from "./ArchiveFolder.ts"
import { showRun } from "./ArchiveProgress.ts"
import { decide, isGraftedAsBefore, missingWhole } from "./Changes.ts"

/** The keys of the configuration that the job itself goes by; the rest is in the services' layers. */
export interface JobConfig extends FolderSettings {
  readonly source_path: string
  readonly target_path: string
  readonly tmp_dir?: string | undefined
  readonly max_workers: number
  readonly snapshot_keep: number
  readonly compare: Compare
}

/** What the command line adds. */
export interface JobOptions {
  /** Short id of this run, in every log line. */
  readonly run: string
  /** Only these folders; all when empty. */
  readonly folders: ReadonlyArray<FolderName>
  /** Archive them whether they changed or not, and read and compress every file. */
  readonly force: boolean
  /** Called with each result, so that the results of a run which is stopped are known. */
  readonly noted?: (result: FolderResult) => Effect.Effect<void>
}

/**
 * The archive job, to be run with its lock held. Fails with PreflightError when it cannot start; a folder that fails is in
 * the summary and stops nothing else.
 */
export const archiveJob = Effect.fn("ArchiveJob")(function* (config: JobConfig, options: JobOptions) {
  const started = yield* Clock.currentTimeMillis
  const source = yield* preflight(config)
  const { cursor, broken } = yield* recover(config, source)
  const away = yield* unmountedFolders(options)
  const snapshot = yield* takeSnapshot(source)
  const evidence = yield* snapshot.changesSince(cursor?.base)
  const records = yield* knownFolders(cursor)
  const { folders, unreadable } = yield* listFolders(snapshot.view, records, options)
  const { candidates, unchanged, unworkable } = yield* detectChanges(
    {
      view: snapshot.view,
      records,
      evidence,
      archives: cursor?.archives ?? {},
      broken: [...broken, ...away, ...unreadable]
    },
    folders,
    options
  )
  yield* tellOfLost(candidates, records)
  const context = {
    run: options.run,
    started,
    reuse: !options.force,
    compare: config.compare,
    acceptsLoss: acceptedFolders(options).length > 0,
    view: snapshot.view,
    hold: snapshot.hold,
    records
  }
  const noted = options.noted ?? (() => Effect.void)
  const worked = yield* workOn(config, context, candidates, records, noted)
  const results = [...unchanged, ...unworkable, ...worked]
  yield* advance(config, options, source, snapshot, cursor, results)
  return yield* finish(options, snapshot.view, started, results)
}, Effect.scoped)

/** A lock that another process holds stays a LockError: it has an exit status of its own. */
const unlessHeld = <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E | LockError, R>) =>
  Effect.mapError(effect, (error) =>
    error instanceof LockError && error.reason === "Held"
      ? error
      : new PreflightError({ message: error.message, cause: error })
  )

/**
 * Checks that the source is a folder on ZFS (or any folder, when read live) and the target writable, and this job's or free;
 * locks the target until the scope closes.
 */
const preflight = Effect.fn("Preflight")(function* (config: JobConfig) {
  const zfs = yield* Zfs
  const store = yield* Store
  const source = yield* zfs.locate(config.source_path)
  // Before the first write: the target may not be mounted.
  yield* zfs.checkTarget(config.target_path)
  const report = yield* store.preflight
  // Only now the target has such a folder in any case.
  yield* (yield* Lock).acquireIn(yield* store.stateFolder)
  const owned = yield* claimTarget(config, source)
  yield* Effect.logDebug(
    report.free === undefined
      ? "the file system of the target does not tell how much is free: a full one shows only when it is written to"
      : `${bytes(report.free)} free in the target`
  )
  if (config.tmp_dir !== undefined && !report.stagesInTmp) {
    yield* Effect.logInfo(
      `tmp_dir ${config.tmp_dir} is on another file system or mount than the target: archives are put together inside the target instead`
    )
  }
  return owned
}, unlessHeld)

/** The source shows nothing to archive, but it did before. */
class SourceEmpty extends Data.TaggedError("SourceEmpty")<{ readonly archived: number }> {
  override get message() {
    return `the source holds no folder to archive, but ${count(this.archived, "folder")} of it ${this.archived === 1 ? "is" : "are"} archived in the target: is the source mounted, and is source_path right?`
  }
}

/** Heals what a crashed run left: publications, staging, snapshots. Gives the cursor, if it is one of this source. */
const recover = Effect.fnUntraced(function* (config: JobConfig, source: SourceInfo) {
  const store = yield* Store
  const zfs = yield* Zfs
  const { healed, broken } = yield* store.recover
  for (const line of healed) yield* Effect.logInfo(line)
  const found = yield* store.cursor
  const cursor = found?.source_path === config.source_path ? found : undefined
  const { destroyed } = yield* pruneSnapshots(zfs, source, cursor === undefined ? [] : [cursor.base, ...cursor.kept])
  for (const name of destroyed) yield* Effect.logInfo(`recovered: destroyed leftover snapshot ${name}`)
  return { cursor, broken }
}, asPreflight)

/** Folders of which the user accepts that something is not mounted any more. */
const acceptedFolders = ({ folders, force }: JobOptions): ReadonlyArray<FolderName> => (force ? folders : [])

/** Those of the chosen folders that must not be worked on, since their place in the target is not mounted. */
const unmountedFolders = Effect.fnUntraced(function* (options: JobOptions) {
  const found = yield* (yield* Store).unmounted(acceptedFolders(options))
  return found.filter(({ folder }) => options.folders.length === 0 || options.folders.includes(folder))
}, asPreflight)

/** What is known of each folder: by the store, by `verify` of damaged archives, by cursor and state of lost ones. */
const knownFolders = Effect.fnUntraced(function* (cursor: Cursor | undefined) {
  const records = new Map(yield* (yield* Store).records)
  const published = yield* publishedByState.pipe(
    Effect.catchAll((error) =>
      Effect.as(Effect.logWarning(`an archive that is gone may not be noticed: ${error.message}`), [])
    )
  )
  for (const folder of [
    ...published,
    ...Object.keys(cursor?.archives ?? {}).flatMap((name) => parseFolderName(name) ?? [])
  ]) {
    const record = records.get(folder) ?? { state: undefined, zipSize: undefined, failure: undefined }
    if (record.zipSize === undefined) records.set(folder, { ...record, lost: true })
  }
  const verified = yield* (yield* JobStates).verified.pipe(
    Effect.catchAll((error) =>
      Effect.as(
        Effect.logWarning(`an archive that verify found damaged may not be replaced: ${error.message}`),
        new Map<FolderName, FolderVerification>()
      )
    )
  )
  return new Map(
    [...records].map(([folder, record]) => {
      const found = ofCurrent(verified.get(folder), identityOfState(record.state))
      return [folder, found !== undefined && isBad(found) ? { ...record, damaged: true as const } : record]
    })
  )
}, asPreflight)

/** How many lost archives are named. */
const namedLost = 10

/** Says which archives were published and are not in the target any more: as errors, since --quiet hides warnings. */
const tellOfLost = (
  candidates: ReadonlyArray<Candidate>,
  records: ReadonlyMap<FolderName, FolderRecord>
): Effect.Effect<void> => {
  const lost = candidates.flatMap(({ folder }) => {
    const record = records.get(folder)
    return record?.zipSize === undefined && (record?.lost === true || record?.state !== undefined) ? [folder] : []
  })
  if (lost.length === 0) return Effect.void
  const more = lost.length > namedLost ? ` and ${lost.length - namedLost} more` : ""
  const names = `${lost.slice(0, namedLost).join(", ")}${more}`
  return Effect.logError(
    lost.length === 1
      ? `the archive of ${names} that was published is gone from the target; a new one is made`
      : `the archives of ${names} that were published are gone from the target; new ones are made`
  )
}

const takeSnapshot = Effect.fnUntraced(function* (source: SourceInfo) {
  const snapshot = yield* (yield* Zfs).snapshot(source)
  yield* Effect.logDebug(`reading ${snapshot.view.label}`)
  return snapshot
}, asPreflight)

/** The chosen folders of the source. Warns of archived ones that are gone; a source where all are gone is taken for unmounted. */
const listFolders = Effect.fnUntraced(function* (
  view: SourceView,
  records: ReadonlyMap<FolderName, FolderRecord>,
  asked: JobOptions
) {
  const { folders, replaced, skipped, unreadable } = yield* (yield* Tree).folders(view)
  yield* Effect.logDebug(`${folders.length} folders, ${skipped} other entries passed over`)
  const archived = [...records].filter(([, { zipSize }]) => zipSize !== undefined).map(([folder]) => folder)
  const present = new Set(folders)
  const others = new Map(replaced.map(({ folder, type }) => [folder, type]))
  const missing = archived.filter((folder) => !present.has(folder))
  const gone = missing.filter((folder) => !others.has(folder))
  if (folders.length === 0) {
    if (missing.length > 0) return yield* new SourceEmpty({ archived: missing.length })
    yield* Effect.logWarning("the source holds no folder whose name is four upper-case letters or digits")
  }
  const away = gone.flatMap((folder) => {
    const reason = missingWhole(records.get(folder)?.state)
    return reason === undefined ? [] : [{ folder, reason }]
  })
  const removed = gone.filter((folder) => away.every((one) => one.folder !== folder))
  for (const folder of removed) {
    yield* Effect.logWarning("is no longer in the source; its archives are kept").pipe(
      Effect.annotateLogs("folder", folder)
    )
  }
  const isChosen = (folder: FolderName) => asked.folders.length === 0 || asked.folders.includes(folder)
  return {
    folders: folders.filter(isChosen),
    unreadable: [
      ...unreadable,
      ...away,
      ...missing.flatMap((folder) => {
        const type = others.get(folder)
        return type === undefined ? [] : [{ folder, reason: replacedText(type) }]
      })
    ].filter(({ folder }) => isChosen(folder))
  }
}, asPreflight)

const replacedText = (type: string): string =>
  `it is a ${type} in the source now, no folder, and is not read: put the folder back, or move its archives out of the target if it is gone for good`

/**
 * Sorts folders into those that may be due, those that did not change, and those that cannot be worked on: asked
 * for and not there, not to be looked at, or with a publication that recovery could neither finish nor undo.
 */
const detectChanges = Effect.fnUntraced(function* (
  known: {
    readonly view: SourceView
    readonly records: ReadonlyMap<FolderName, FolderRecord>
    readonly evidence: Evidence
    /** SHA-256 of the archives that the evidence speaks of, by folder (Cursor.archives). */
    readonly archives: Readonly<Record<string, string>>
    readonly broken: RecoveryReport["broken"]
  },
  folders: ReadonlyArray<FolderName>,
  asked: JobOptions
) {
  const { broken, evidence, records, view } = known
  yield* Effect.logDebug(`changes: ${evidence.reason}`)
  const blocked = new Set(view.blocked.map(({ at }) => topSegment(at)))
  const brokenFolders = new Map(broken.map((one) => [one.folder, one]))
  const candidates: Array<Candidate> = []
  const unchanged: Array<FolderResult> = []
  for (const folder of folders) {
    if (brokenFolders.has(folder)) continue
    // A blocked folder is always tried, so that it fails by name instead of passing as unchanged.
    const record = records.get(folder)
    const shown = verdictFor(evidence, folder)
    // A dataset that is not mounted any more shows in no diff.
    const mounted = isGraftedAsBefore(record?.state ?? {}, view, folder)
    const verdict = blocked.has(folder) ? "changed" : shown === "unchanged" && !mounted ? "unknown" : shown
    const decision = decide({ record, verdict, known: known.archives[folder], force: asked.force })
    if (decision._tag === "Unchanged") unchanged.push({ folder, result: "unchanged", state: decision.state })
    else candidates.push({ folder, decision, hadFiles: hadFiles(record) })
  }
  const missing = asked.folders.filter((folder) => !folders.includes(folder) && !brokenFolders.has(folder))
  const unworkable = [
    ...(yield* Effect.forEach(missing, noSuchFolder)),
    ...(yield* Effect.forEach(brokenFolders.values(), ({ folder, reason }) => failFolder(asked.run, folder, reason)))
  ]
  return { candidates, unchanged, unworkable }
}, asPreflight)

/** Whether the published archive holds files. Where there is an archive and its state is lost, it is taken to hold some. */
const hadFiles = (record: FolderRecord | undefined): boolean =>
  record?.state === undefined ? record?.zipSize !== undefined : record.state.files > 0

// No failure is recorded: the name may be mistyped.
const noSuchFolder = Effect.fnUntraced(
  function* (folder: FolderName) {
    const error = "there is no such folder in the source"
    yield* Effect.logError(error)
    return { folder, result: "failed", error, recorded: true, absent: true } satisfies FolderResult
  },
  (effect, folder) => Effect.annotateLogs(effect, "folder", folder)
)

/** Archives the candidates, at most `max_workers` at once, and shows how far that is. */
const workOn = Effect.fnUntraced(function* (
  config: JobConfig,
  context: Omit<FolderContext, "progress">,
  candidates: ReadonlyArray<Candidate>,
  records: ReadonlyMap<FolderName, FolderRecord>,
  noted: NonNullable<JobOptions["noted"]>
) {
  const folders = candidates.map(({ folder }) => folder)
  const progress = yield* showRun(folders, records)
  const work = archiveFolder({ ...context, progress }, config)
  return yield* Effect.forEach(candidates, (candidate) => Effect.tap(work(candidate), noted), {
    concurrency: config.max_workers
  })
}, Effect.scoped)

/**
 * Makes this snapshot the base of the next diff, unless some folder's changes would be forgotten by it: a run
 * of chosen folders only, or a failure that could not be noted. Then destroys the snapshots that are not needed any more.
 */
const advance = Effect.fnUntraced(function* (
  config: JobConfig,
  options: JobOptions,
  source: SourceInfo,
  snapshot: SnapshotHandle,
  cursor: Cursor | undefined,
  results: ReadonlyArray<FolderResult>
) {
  const base = snapshot.view.snapshot
  if (base === undefined || options.folders.length > 0) return
  if (results.some((result) => result.result === "failed" && !result.recorded)) return
  const store = yield* Store
  const zfs = yield* Zfs
  const kept = (cursor === undefined ? [] : [cursor.base, ...cursor.kept]).slice(0, config.snapshot_keep)
  const next: Cursor = {
    version: 1,
    source_path: config.source_path,
    base,
    kept,
    archives: Object.fromEntries(
      results.flatMap((result) =>
        result.result === "failed"
          ? []
          : [[result.folder, result.result === "unchanged" ? result.state.zip_sha256 : result.sha256]]
      )
    ),
    run: options.run,
    advanced_at_utc: utcSeconds(yield* Clock.currentTimeMillis)
  }
  const advanced = yield* store.advance(next).pipe(
    // Together, so that no cursor points at a snapshot that an interruption then releases.
    Effect.zipRight(snapshot.keep),
    Effect.uninterruptible,
    Effect.as(true),
    Effect.catchAll((error) =>
      Effect.as(Effect.logWarning(`the next run will look at more than it needs to: ${error.message}`), false)
    )
  )
  if (!advanced) return
  yield* pruneSnapshots(zfs, source, [base, ...kept]).pipe(
    Effect.catchAll((error) => Effect.logWarning(`old snapshots were not destroyed: ${error.message}`))
  )
})

const pruneSnapshots = Effect.fnUntraced(function* (
  zfs: typeof Zfs.Service,
  source: SourceInfo,
  keep: ReadonlyArray<SnapshotRef>
) {
  const report = yield* zfs.prune(source, new Set(keep.flatMap((snapshot) => Object.values(snapshot.guids))))
  for (const { reason, snapshot } of report.spared) {
    yield* Effect.logWarning(`snapshot ${snapshot} was not destroyed: ${reason}`)
  }
  return report
})

const finish = Effect.fnUntraced(function* (
  options: JobOptions,
  view: SourceView,
  started: number,
  results: ReadonlyArray<FolderResult>
) {
  const now = yield* Clock.currentTimeMillis
  const summary = summarize({
    run: options.run,
    source: view.label,
    started_at_utc: utcSeconds(started),
    seconds: (now - started) / 1000,
    folders: results
  })
  yield* Effect.logInfo(totals(summary))
  return summary
})
