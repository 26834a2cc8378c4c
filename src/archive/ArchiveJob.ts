import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { nameRule, stateDirOf, wholeName } from "../config/Config.ts"
import { archiveJobKey } from "../config/ReplicationJob.ts"
import { allWell, errorOf, type FolderResult, type RunSummary, summarize, totals } from "../runs/ArchiveResult.ts"
import { withHooks } from "../runs/Hooks.ts"
import { JobStates } from "../runs/JobState.ts"
import { Lock, LockError } from "../runs/Lock.ts"
import { archiveMessages, type MessageOptions } from "../runs/MessageTexts.ts"
import { archiveHistory, archiveSummary, nextArchiveState } from "../runs/nextState.ts"
import { publishedByState } from "../runs/PublishedFolders.ts"
import { asPreflight, makeWorkList, PreflightError, type WorkList } from "../runs/Run.ts"
import { superviseRun } from "../runs/superviseRun.ts"
import { type ExcludeRules, withoutExcluded } from "../source/Exclude.ts"
import { type FolderName, parseFolderName, topFolder } from "../source/FolderName.ts"
import type { Compare } from "../source/Manifest.ts"
import type { SnapshotRef, SourceView } from "../source/SourceView.ts"
import { replacedText, Tree, unsafeText } from "../source/Tree.ts"
import { type FolderRecord, type FolderVerification, withDamage } from "../store/FolderState.ts"
import type { Cursor } from "../store/Records.ts"
import { type BrokenFolder, claimTarget, Store } from "../store/Store.ts"
import { orWarn } from "../system/Log.ts"
import { bytes, count, firstNames } from "../text/Text.ts"
import { utcSeconds } from "../text/Time.ts"
import type { SourceInfo } from "../zfs/SourceLayout.ts"
import { TargetSnapshots } from "../zfs/TargetSnapshots.ts"
import { Zfs } from "../zfs/Zfs.ts"
import { verdictFor } from "../zfs/ZfsDiff.ts"
import { archiveFolder, type Candidate, type FolderContext, type FolderSettings, failFolder } from "./ArchiveFolder.ts"
import { showRun } from "./ArchiveProgress.ts"
import { decide, isGraftedAsBefore, missingWhole } from "./Changes.ts"

/** The keys of the configuration that the job itself goes by; the rest is in the services' layers. */
export interface RunArchiveConfig
  extends FolderSettings,
    ExcludeRules,
    Pick<MessageOptions, "notify_on" | "reminder_hours"> {
  readonly source_path: string
  readonly target_path: string
  readonly folders: string
  readonly tmp_dir?: string | undefined
  readonly max_workers: number
  readonly snapshot_keep: number
  readonly compare: Compare
  readonly lockfile_path: string
  readonly lock_wait_seconds?: number
}

interface RunOptions {
  readonly run: string
  /** Only these folders; all when empty. */
  readonly folders: ReadonlyArray<FolderName>
  /** Archive them whether they changed or not, and read and compress every file. */
  readonly force: boolean
  readonly host: string
  readonly pid: number
  /** `--config FILE` of `zipper run`, in commands to be pasted; the whole path, so that a reason stays the same. */
  readonly configWords: ReadonlyArray<string>
  /** Gets what was done by a run that a signal or an error ended. */
  readonly onUnfinished?: (summary: RunSummary) => Effect.Effect<void>
}

/** The archive job as a supervised run. Fails with LockError when another run is at work, else as PreflightError. */
export const runArchive = Effect.fn("runArchive")(function* (config: RunArchiveConfig, options: RunOptions) {
  const { host, pid, run } = options
  const whole = options.folders.length === 0
  const kept = ["its archive is as it was", "their archives are as they were"] as const
  const list = makeWorkList({ noun: "folder", done: "archived", kept })
  return yield* superviseRun(
    {
      stopped: list.stopped,
      run,
      whole,
      pid,
      lockfile: config.lockfile_path,
      stateFolder: stateDirOf(config),
      lockWait: config.lock_wait_seconds,
      job: archiveJobKey,
      historyOf: archiveHistory,
      nextState: (before, end, done) => nextArchiveState(before, end, { whole, done }),
      succeeded: allWell,
      onUnfinished: (end, done) => options.onUnfinished?.(archiveSummary(end, done)) ?? Effect.void,
      errorOf,
      messages: {
        of: { job: archiveJobKey, task: "run" },
        reminder_hours: config.reminder_hours,
        ...archiveMessages({ host, run, notify_on: config.notify_on }, whole)
      }
    },
    (onResult) => withHooks(run)(archiveJob(config, options, list, onResult))
  )
})

/** The job, with its lock held. A folder that fails stops nothing else. `onResult` gets the result of each at once. */
const archiveJob = Effect.fn("ArchiveJob")(function* (
  config: RunArchiveConfig,
  options: RunOptions,
  list: WorkList,
  onResult: (result: FolderResult) => Effect.Effect<void>
) {
  const started = yield* Clock.currentTimeMillis
  const source = yield* preflight(config)
  const surveyed = yield* survey(config, options, source)
  const { candidates, not_archived, records, settled, snapshot, view } = surveyed
  const worked = yield* workOn(config, candidates, list, onResult, {
    run: options.run,
    started,
    reuse: !options.force,
    compare: config.compare,
    rules: config,
    acceptsLoss: acceptedFolders(options).length > 0,
    configWords: options.configWords,
    view,
    hold: snapshot.hold,
    records
  })
  const results = [...settled, ...worked]
  yield* advance(config, options, source, surveyed, results)
  const target_snapshots = yield* updateTargetSnapshots(source, records, results)
  const now = yield* Clock.currentTimeMillis
  const summary = summarize({
    run: options.run,
    source: view.label,
    started_at_utc: utcSeconds(started),
    seconds: (now - started) / 1000,
    folders: results,
    ...(not_archived.length === 0 ? {} : { not_archived }),
    ...(target_snapshots === undefined ? {} : { target_snapshots })
  })
  yield* Effect.logInfo(totals(summary))
  return summary
}, Effect.scoped)

/** A lock that another process holds stays a LockError: it has an exit status of its own. */
const unlessHeld = <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E | LockError, R>) =>
  Effect.mapError(effect, (error) =>
    error instanceof LockError && error.reason === "Held"
      ? error
      : new PreflightError({ message: error.message, cause: error })
  )

const preflight = Effect.fn("Preflight")(function* (config: RunArchiveConfig) {
  const zfs = yield* Zfs
  const store = yield* Store
  const source = yield* zfs.locate(config.source_path)
  // Before the first write: the target may not be mounted.
  yield* zfs.checkTarget(config.target_path)
  yield* (yield* TargetSnapshots).probe
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

/** Folders of which the user accepts that something is not mounted any more. */
const acceptedFolders = ({ folders, force }: RunOptions): ReadonlyArray<FolderName> => (force ? folders : [])

/**
 * Takes the snapshot and sorts its folders: `candidates` may be due; `settled` did not change, or cannot be worked on
 * (named by the user and not there, unreadable, or with a publication that recovery could neither finish nor undo).
 */
const survey = Effect.fnUntraced(function* (config: RunArchiveConfig, options: RunOptions, source: SourceInfo) {
  const isChosen = (folder: FolderName) => options.folders.length === 0 || options.folders.includes(folder)
  const { broken, cursor, spared } = yield* recover(config, source)
  const unmounted = yield* (yield* Store).unmounted(acceptedFolders(options), options.configWords)
  const snapshot = yield* (yield* Zfs).snapshot(source)
  const view = withoutExcluded(snapshot.view, config)
  yield* Effect.logDebug(`reading ${view.label}`)
  const evidence = yield* snapshot.changesSince(cursor?.base)
  const published = yield* publishedByState.pipe(orWarn("an archive that is gone may not be noticed", []))
  const records = yield* knownFolders(cursor, published)
  // The next state is without those that a run of all folders does not find, so that each is news once.
  const news = new Set(options.folders.length === 0 ? published : [])
  const listed = yield* listFolders(view, records, news, config.folders)
  yield* (yield* Store).requireDistinct(listed.folders)
  const folders = listed.folders.filter(isChosen)
  const away = [...unmounted, ...listed.unreadable].filter(({ folder }) => isChosen(folder))
  const unworkable = new Map([...broken, ...away].map(({ folder, reason }) => [folder, reason]))
  yield* Effect.logDebug(`changes: ${evidence.reason}`)
  const blocked = new Set(view.blocked.map(({ at }) => topFolder(at)))
  const candidates: Array<Candidate> = []
  const settled: Array<FolderResult> = []
  for (const folder of folders) {
    if (unworkable.has(folder)) continue
    const record = records.get(folder)
    const shown = verdictFor(evidence, folder)
    // A dataset that is not mounted any more shows in no diff.
    const mounted = isGraftedAsBefore(record?.state ?? {}, view, folder)
    // A blocked folder is always tried, so that it fails by name instead of passing as unchanged.
    const verdict = blocked.has(folder) ? "changed" : shown === "unchanged" && !mounted ? "unknown" : shown
    const decision = decide({ record, verdict, known: cursor?.archives[folder], force: options.force, rules: config })
    if (decision._tag === "Unchanged") settled.push({ folder, result: "unchanged", state: decision.state })
    else candidates.push({ folder, decision })
  }
  for (const folder of options.folders) {
    if (!folders.includes(folder) && !unworkable.has(folder)) settled.push(yield* noSuchFolder(folder))
  }
  for (const [folder, reason] of unworkable) settled.push(yield* failFolder(options.run, folder, reason))
  yield* logLost(candidates, records)
  // A run of chosen folders is asked for these alone.
  const not_archived = options.folders.length === 0 ? listed.unsafe : []
  yield* Effect.forEach(not_archived, (line) => Effect.logError(line), { discard: true })
  return { candidates, cursor, not_archived, records, settled, snapshot, spared, view }
}, asPreflight)

/** Heals what a crashed run left: publications, staging, snapshots. Gives the cursor, if it is one of this source. */
const recover = Effect.fnUntraced(function* (config: RunArchiveConfig, source: SourceInfo) {
  const store = yield* Store
  const { broken, healed } = yield* store.recover
  for (const line of healed) yield* Effect.logInfo(line)
  const found = yield* store.cursor
  const cursor = found?.source_path === config.source_path ? found : undefined
  const { destroyed, spared } = yield* pruneSnapshots(source, keptBy(cursor))
  for (const name of destroyed) yield* Effect.logInfo(`recovered: destroyed leftover snapshot ${name}`)
  return { cursor, broken, spared: new Set(spared.map(({ snapshot }) => snapshot)) }
})

const keptBy = (cursor: Cursor | undefined): ReadonlyArray<SnapshotRef> =>
  cursor === undefined ? [] : [cursor.base, ...cursor.kept]

/** `known`: those of which the run has said before that they stay. */
const pruneSnapshots = Effect.fnUntraced(function* (
  source: SourceInfo,
  keep: ReadonlyArray<SnapshotRef>,
  known: ReadonlySet<string> = new Set()
) {
  const guids = new Set(keep.flatMap((snapshot) => Object.values(snapshot.guids)))
  const report = yield* (yield* Zfs).prune(source, guids)
  for (const { reason, snapshot } of report.spared) {
    const line = `snapshot ${snapshot} was not destroyed: ${reason}`
    yield* known.has(snapshot) ? Effect.logDebug(line) : Effect.logWarning(line)
  }
  return report
})

/** What is known of each folder: by the store, by `verify` of damaged archives, by cursor and state of lost ones. */
const knownFolders = Effect.fnUntraced(function* (cursor: Cursor | undefined, published: ReadonlyArray<FolderName>) {
  const records = new Map(yield* (yield* Store).records)
  const archived = Object.keys(cursor?.archives ?? {}).flatMap((name) => parseFolderName(name) ?? [])
  for (const folder of [...published, ...archived]) {
    const record = records.get(folder) ?? { state: undefined, zipSize: undefined, failure: undefined }
    if (record.zipSize === undefined && record.unknown !== true) records.set(folder, { ...record, lost: true })
  }
  const verified = yield* (yield* JobStates).verified.pipe(
    orWarn("an archive that verify found damaged may not be replaced", new Map<FolderName, FolderVerification>())
  )
  for (const [folder, record] of records) {
    records.set(folder, withDamage(record, verified.get(folder)))
  }
  return records
})

/**
 * Tells of archived folders that are gone: of those in `news` as an error, since --quiet hides warnings. Fails where all
 * are gone (not mounted?), or where no name is asked for.
 */
const listFolders = Effect.fnUntraced(function* (
  view: SourceView,
  records: ReadonlyMap<FolderName, FolderRecord>,
  news: ReadonlySet<FolderName>,
  pattern: string
) {
  const found = yield* (yield* Tree).folders(view, wholeName(pattern))
  const { folders, replaced, skipped, unmatched, unreadable, unsafe } = found
  yield* Effect.logDebug(`${folders.length} folders, ${skipped} other entries passed over`)
  const present = new Set(folders)
  const types = new Map(replaced.map(({ folder, type }) => [folder, type]))
  const missing = [...records].filter(([folder, { zipSize }]) => zipSize !== undefined && !present.has(folder))
  if (folders.length === 0) {
    if (missing.length > 0) return yield* new PreflightError({ message: sourceEmpty(missing.length, unmatched.size) })
    const nothing = `the source holds no folder whose name ${nameRule(pattern)}`
    // An error, since --quiet hides warnings.
    if (unmatched.size > 0)
      return yield* new PreflightError({ message: `${nothing}: zipper check lists those that are there` })
    yield* Effect.logWarning(nothing)
  }
  const away: Array<BrokenFolder> = []
  for (const [folder, { state }] of missing) {
    const type = types.get(folder)
    const isUnmatched = unmatched.has(folder)
    const reason = type !== undefined ? replacedText(type) : isUnmatched ? undefined : missingWhole(state)
    if (reason !== undefined) away.push({ folder, reason })
    else {
      const why = isUnmatched
        ? `is not archived any more: its name ${nameRule(pattern, false)}`
        : "is no longer in the source"
      const log = news.has(folder) ? Effect.logError : Effect.logWarning
      yield* Effect.annotateLogs(log(`${why}; its archives are kept`), "folder", folder)
    }
  }
  return { folders, unreadable: [...unreadable, ...away], unsafe: unsafe.map(unsafeText) }
})

const sourceEmpty = (archived: number, unmatched: number): string =>
  `the source holds no folder to archive, but ${count(archived, "folder")} of it ${archived === 1 ? "is" : "are"} archived in the target: is the source mounted, and is source_path right?${unmatched === 0 ? "" : ` "folders" asks for none of the ${count(unmatched, "name")} that ${unmatched === 1 ? "is" : "are"} there`}`

// No failure is recorded: the name may be mistyped.
const noSuchFolder = Effect.fnUntraced(
  function* (folder: FolderName) {
    const error = "there is no such folder in the source"
    yield* Effect.logError(error)
    return { folder, result: "failed", error, recorded: true, absent: true } satisfies FolderResult
  },
  (effect, folder) => Effect.annotateLogs(effect, "folder", folder)
)

/** Which published archives are not in the target any more: as errors, since --quiet hides warnings. */
const logLost = (candidates: ReadonlyArray<Candidate>, records: ReadonlyMap<FolderName, FolderRecord>) => {
  const lost = candidates.flatMap(({ folder }) => {
    const record = records.get(folder)
    // Where something else has its name, none can be made: publication says so.
    if (record === undefined || record.zipSize !== undefined || record.taken === true) return []
    return record.lost === true || record.state !== undefined ? [folder] : []
  })
  if (lost.length === 0) return Effect.void
  const names = firstNames(lost)
  return Effect.logError(
    lost.length === 1
      ? `the archive of ${names} that was published is gone from the target; a new one is made`
      : `the archives of ${names} that were published are gone from the target; new ones are made`
  )
}

/** Archives the candidates, at most `max_workers` at once, and shows how far that is. */
const workOn = Effect.fnUntraced(function* (
  config: RunArchiveConfig,
  candidates: ReadonlyArray<Candidate>,
  list: WorkList,
  onResult: (result: FolderResult) => Effect.Effect<void>,
  context: Omit<FolderContext, "progress" | "onPublished">
) {
  const folders = candidates.map(({ folder }) => folder)
  list.begin(folders)
  if (candidates.length === 0) return []
  const onPublished = (folder: FolderName) => Effect.sync(() => list.end(folder))
  const progress = yield* showRun(folders, context.records)
  const work = archiveFolder({ ...context, progress, onPublished }, config)
  const each = (candidate: Candidate) =>
    work(candidate).pipe(Effect.tap(onResult), Effect.zipLeft(onPublished(candidate.folder)))
  return yield* Effect.forEach(candidates, each, { concurrency: config.max_workers })
}, Effect.scoped)

/**
 * Makes this snapshot the base of the next diff, unless some folder's changes would be forgotten by it: a run of chosen
 * folders only, or a failure that could not be recorded. Then destroys the snapshots that are not needed any more.
 */
const advance = Effect.fnUntraced(function* (
  config: RunArchiveConfig,
  options: RunOptions,
  source: SourceInfo,
  {
    cursor,
    snapshot,
    spared
  }: Pick<Effect.Effect.Success<ReturnType<typeof survey>>, "cursor" | "snapshot" | "spared">,
  results: ReadonlyArray<FolderResult>
) {
  const base = snapshot.view.snapshot
  if (base === undefined || options.folders.length > 0) return
  if (results.some((result) => result.result === "failed" && !result.recorded)) return
  const store = yield* Store
  const kept = keptBy(cursor).slice(0, config.snapshot_keep)
  const archives = results.flatMap((result) => {
    if (result.result === "failed") return []
    return [[result.folder, result.result === "unchanged" ? result.state.zip_sha256 : result.sha256] as const]
  })
  const next: Cursor = {
    version: 1,
    source_path: config.source_path,
    base,
    kept,
    archives: Object.fromEntries(archives),
    run: options.run,
    advanced_at_utc: utcSeconds(yield* Clock.currentTimeMillis)
  }
  const advanced = yield* store.advance(next).pipe(
    // Together, so that no cursor points at a snapshot that an interruption then releases.
    Effect.zipRight(snapshot.keep),
    Effect.uninterruptible,
    Effect.as(true),
    orWarn("the next run will look at more than it needs to", false)
  )
  if (advanced)
    yield* pruneSnapshots(source, [base, ...kept], spared).pipe(orWarn("old snapshots were not destroyed", undefined))
})

/** What was published is safe without it; that the promised history has a gap is a failure of the run all the same. */
const updateTargetSnapshots = Effect.fnUntraced(function* (
  { job }: SourceInfo,
  records: ReadonlyMap<FolderName, FolderRecord>,
  results: ReadonlyArray<FolderResult>
) {
  const archives = new Map([...records].flatMap(([folder, { state }]) => (state ? [[folder, state.zip_sha256]] : [])))
  for (const result of results) if (result.result === "archived") archives.set(result.folder, result.sha256)
  const update = yield* (yield* TargetSnapshots).update(job, archives)
  if (update?.error !== undefined) yield* Effect.logError(`snapshots of the target: ${update.error}`)
  return update
})
