import { randomBytes } from "node:crypto"
import { basename, join } from "node:path"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { FolderName } from "../source/FolderName.ts"
import { Disk, type DiskError } from "../system/Disk.ts"
import { Hasher } from "../system/Hasher.ts"
import { utcSeconds } from "../text/Time.ts"
import {
  describeSource,
  isSameSource,
  JobIdentity,
  type JobIds,
  type Owner,
  type SourceName
} from "../zfs/JobIdentity.ts"
import type { SourceInfo } from "../zfs/SourceLayout.ts"
import { Zfs } from "../zfs/Zfs.ts"
import type { ArchiveIndex, PreviousArchive } from "../zip/ArchiveIndex.ts"
import type { FolderFailure, FolderRecord, FolderState } from "./FolderState.ts"
import * as Layout from "./Layout.ts"
import type { NewMetadata } from "./Metadata.ts"
import { unmounted } from "./Mounts.ts"
import { publish, publishedFiles, wouldPublish } from "./Publish.ts"
import * as Records from "./Records.ts"
import { type Corrupt, cursor, jsonFile, load, makeJobFolder, replace } from "./Records.ts"
import { leftover, recover, wouldRecover } from "./Recover.ts"
import { isFolder, isSameInode } from "./SafeFolder.ts"
import { type Probe, preflight, requireDistinct, type Stages, stage } from "./Stage.ts"
import { asStoreError, type StoreError } from "./StoreError.ts"

/** The target folder: published archives, their state, the job's cursor. */
export class Store extends Context.Tag("zipper/Store")<
  Store,
  {
    /** Proves by writing, renaming, linking and syncing files that target, its `.zipper` and tmp_dir can be used. */
    readonly preflight: Effect.Effect<StoreReport, StoreError>
    /** Makes the folder of job-wide state, unless it is there. Its path. */
    readonly stateFolder: Effect.Effect<string, StoreError>
    /** The source that the target belongs to; undefined when no run has recorded one. */
    readonly owner: Effect.Effect<Owner | undefined, StoreError>
    /** Makes the target that of the job with this source, whose snapshots the ids mark. A copy of another target gets new ids. */
    readonly claim: (source: SourceName) => Effect.Effect<JobIds, StoreError>
    /** Finishes or undoes what a crashed run left; where a journal is damaged, files and state of the folder are set aside. */
    readonly recover: Effect.Effect<RecoveryReport, StoreError>
    /** Folders that were mounts of their own at the last run and are not now: nothing may be written there, except in `accepted`. */
    readonly unmounted: (
      accepted: ReadonlyArray<FolderName>,
      configWords: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyArray<BrokenFolder>, StoreError>
    /** Fails where the target takes two of these names for one; a dry run sees that of archives that are there. */
    readonly requireDistinct: (folders: ReadonlyArray<FolderName>) => Effect.Effect<void, StoreError>
    /** What is known of every folder in the target. A state file that cannot be understood is set aside, with a warning. */
    readonly records: Effect.Effect<ReadonlyMap<FolderName, FolderRecord>, StoreError>
    /** The job's cursor; undefined when there is none or it cannot be understood (then it is set aside, with a warning). */
    readonly cursor: Effect.Effect<Records.Cursor | undefined, StoreError>
    /** The current archive of a folder, to copy unchanged entries from, if it is intact and indexed; logs why there is none. */
    readonly previous: (folder: FolderName) => Effect.Effect<PreviousArchive | undefined>
    /** An empty staging place, removed when the scope closes. First puts right what an earlier attempt left in that folder. A dry run looks for what is in the way of a publication. */
    readonly stage: (folder: FolderName) => Effect.Effect<Staging, StoreError, Scope.Scope>
    /** Brings the staged zip to the disk ahead of its publication, which then need not wait for it. */
    readonly sync: (staging: Staging) => Effect.Effect<void, StoreError>
    /** Makes the staged zip the current archive, all or nothing (see Publish.ts); clears the failure record and replaces the index. */
    readonly publish: (staging: Staging, publication: Publication) => Effect.Effect<Published, StoreError>
    /** Records that the folder's last attempt failed: it stays due. */
    readonly recordFailure: (failure: FailedAttempt) => Effect.Effect<void, StoreError>
    /** Replaces the cursor. The caller sees to it that the snapshots that it names stay. */
    readonly advance: (cursor: Records.Cursor) => Effect.Effect<void, StoreError>
  }
>() {
  static readonly layer = (settings: StoreSettings) => Layer.effect(Store, make(settings))

  /** Reads what is there and writes nothing; what it would have done goes to the log. */
  static readonly layerDryRun = (settings: StoreSettings) => Layer.effect(Store, makeDryRun(settings, "dry run", "ask"))

  /** For check: a dry run that proves by writing, syncing, renaming and removing files of its own that a run could. */
  static readonly layerCheck = (settings: StoreSettings) =>
    Layer.effect(Store, makeDryRun(settings, "dry run", "write"))

  /** For reports of the state: writes nothing, and `records` fails where a folder or its state may not be read. */
  static readonly layerReport = (settings: StoreSettings) => Layer.effect(Store, makeDryRun(settings, "report", "ask"))
}

export interface StoreSettings {
  readonly targetPath: string
  /** The names of the folders to archive: such folders of the target are ours, and those that hold a state of ours. */
  readonly folders: RegExp
  /** What is archived: nothing is written in there. Left out where nothing is archived. */
  readonly sourcePath?: string
  /** Where archives are put together, if it is on the file system of the target. */
  readonly tmpDir: string | undefined
  /** The same for every run of one job, another one for every other job: staging folders carry it. */
  readonly jobId: string
  /** Files for the record of what source and target lie on (see Mounts.ts): the first that is not on the target is used. */
  readonly placesPaths?: ReadonlyArray<string>
}

export interface StoreReport {
  /** Bytes free for us on the target; undefined where its file system does not report them. */
  readonly free: number | undefined
  /** Archives are put together in tmp_dir; false: inside the target. */
  readonly stagesInTmp: boolean
}

export interface BrokenFolder {
  readonly folder: FolderName
  readonly reason: string
}

/** What recovery did, one line a finding ("ABCD: finished the publication that was interrupted"). */
export interface RecoveryReport {
  readonly healed: ReadonlyArray<string>
  readonly broken: ReadonlyArray<BrokenFolder>
}

export interface Staging {
  readonly folder: FolderName
  readonly zip: string
}

export interface Publication {
  readonly metadata: NewMetadata
  readonly state: FolderState
  readonly index?: ArchiveIndex | undefined
  /** The result of {@link Store.previous}, so that the previous archive is not read a second time. */
  readonly previous?: PreviousArchive | undefined
  /** Runs as soon as it is published, also when a signal has stopped the caller. */
  readonly onPublished?: Effect.Effect<void>
}

export interface Published {
  readonly folder: FolderName
  readonly zip: string
  /** The archive that was current became `ABCD.prev.zip`. */
  readonly rotated: boolean
  /** The new archive has the bytes of the one before: only the files beside it and the state are new. */
  readonly same?: true
  /** Nothing was written: this is what a run would do. */
  readonly dryRun?: true
}

type FailedAttempt = Omit<FolderFailure, "version" | "failures">

/** Makes operations of the store out of steps: named in traces, with `context`, and with errors that say what was being done. */
const operationsOn =
  <C>(context: Context.Context<C>) =>
  (name: string, doing: string) =>
  <A, R>(step: Effect.Effect<A, DiskError | StoreError, R>) =>
    step.pipe(asStoreError(doing), Effect.provide(context), Effect.withSpan(`Store.${name}`))

const cannotReadOwner = "cannot read which job the target belongs to"

const readers = (layout: Layout.Layout, context: Context.Context<Disk>, corrupt: Records.Corrupt, probe: Probe) => {
  const operation = operationsOn(context)
  const records = corrupt === "set aside" ? Records.records(layout, corrupt) : recordsAfterRecovery(layout, corrupt)
  return {
    preflight: preflight(layout, probe).pipe(operation("preflight", "cannot use the target")),
    owner: owner(layout, corrupt).pipe(operation("owner", cannotReadOwner)),
    requireDistinct: (folders: ReadonlyArray<FolderName>) =>
      requireDistinct(layout, folders, probe).pipe(operation("requireDistinct", "cannot use the target")),
    unmounted: (accepted: ReadonlyArray<FolderName>, configWords: ReadonlyArray<string>) =>
      unmounted(layout, accepted, configWords, corrupt).pipe(
        operation("unmounted", "cannot see which folders of the target are mounted")
      ),
    records: records.pipe(operation("records", "cannot read what is known of the folders")),
    cursor: Records.cursor(layout, corrupt).pipe(operation("cursor", "cannot read the cursor"))
  }
}

const cannotRecover = "cannot look for what an interrupted run left"

const make = Effect.fnUntraced(function* (settings: StoreSettings) {
  const layout = Layout.make(settings)
  // Not all of the context: its Scope would come along, and stagings would close with that one.
  const context = Context.make(Disk, yield* Disk).pipe(Context.add(Hasher, yield* Hasher))
  const stages: Stages = { open: new Set<FolderName>(), tmp: yield* Effect.makeSemaphore(1) }
  const operation = operationsOn(context)
  return {
    ...readers(layout, context, "set aside", "write"),
    stateFolder: Records.makeJobFolder(layout.job).pipe(
      Effect.as(layout.job),
      operation("stateFolder", "cannot use the target")
    ),
    claim: (source: SourceName) =>
      claim(layout, source).pipe(operation("claim", "cannot write down which job the target belongs to")),
    recover: recover(layout, stages.open).pipe(operation("recover", cannotRecover)),
    previous: (folder: FolderName) =>
      Records.previous(layout, Layout.folder(layout, folder)).pipe(
        Effect.provide(context),
        Effect.withSpan("Store.previous")
      ),
    stage: (folder: FolderName) => stage(layout, stages, folder).pipe(operation("stage", `cannot stage ${folder}`)),
    sync: (staging: Staging) =>
      Effect.flatMap(Disk, (disk) => disk.sync(staging.zip)).pipe(
        operation("sync", `cannot bring the archive of ${staging.folder} to the disk`)
      ),
    publish: (staging: Staging, publication: Publication) => {
      const paths = Layout.folder(layout, staging.folder)
      const note = Effect.zipRight(
        publication.onPublished ?? Effect.void,
        Effect.zipRight(Records.clearFailure(paths), Records.replaceIndex(layout, paths, publication.index))
      )
      return publish(paths, staging, publication, note).pipe(operation("publish", `cannot publish ${staging.folder}`))
    },
    recordFailure: (failed: FailedAttempt) =>
      Records.recordFailure(layout, failed).pipe(
        operation("recordFailure", `cannot write down that ${failed.folder} failed`)
      ),
    advance: (cursor: Records.Cursor) =>
      Records.advance(layout, cursor).pipe(operation("advance", "cannot advance the cursor"))
  }
})

const makeDryRun = Effect.fnUntraced(function* (settings: StoreSettings, corrupt: "dry run" | "report", probe: Probe) {
  const layout = Layout.make(settings)
  const context = Context.make(Disk, yield* Disk)
  const operation = operationsOn(context)
  return {
    ...readers(layout, context, corrupt, probe),
    stateFolder: Effect.succeed(layout.job),
    claim: (source: SourceName) => wouldClaim(layout, source).pipe(operation("claim", cannotReadOwner)),
    recover: wouldRecover(layout).pipe(operation("recover", cannotRecover)),
    // To read an archive as a whole is too much work for a dry run.
    previous: (_folder: FolderName) => Effect.succeed(undefined),
    stage: (folder: FolderName) => {
      const paths = Layout.folder(layout, folder)
      return isFolder(paths.home).pipe(
        Effect.flatMap((isThere) => (isThere ? publishedFiles(paths) : Effect.void)),
        Effect.as<Staging>({ folder, zip: join(paths.next, paths.names.zip) }),
        operation("stage", `cannot look at ${folder}`)
      )
    },
    sync: () => Effect.void,
    publish: (staging: Staging, _: Publication) =>
      wouldPublish(Layout.folder(layout, staging.folder)).pipe(
        operation("publish", `cannot look at ${staging.folder}`)
      ),
    recordFailure: (failed: FailedAttempt) => Effect.logInfo(`would write down that ${failed.folder} failed`),
    advance: (cursor: Records.Cursor) => Effect.logInfo(`would compare the next run with ${cursor.base.name}`)
  }
})

/** Recovery would have set aside the state of a folder whose journal is damaged, and a run would archive it. */
const recordsAfterRecovery = Effect.fnUntraced(function* (layout: Layout.Layout, corrupt: Records.Corrupt) {
  const found = yield* Records.records(layout, corrupt)
  const after = yield* Effect.forEach(
    found,
    Effect.fnUntraced(function* ([folder, record]) {
      const left = yield* Effect.option(leftover(Layout.folder(layout, folder)))
      const unreadable = left._tag === "Some" && left.value._tag === "Unreadable"
      return [folder, unreadable ? { ...record, state: undefined } : record] as const
    }),
    { concurrency: 16 }
  )
  return new Map<FolderName, FolderRecord>(after)
})

class TargetTaken extends Data.TaggedError("TargetTaken")<{ readonly message: string }> {}

/** Fails when the target belongs to another source that is still there: the two would take each other's archives for their own. */
export const checkOwner = Effect.fnUntraced(function* (config: { readonly target_path: string }, source: SourceInfo) {
  const owner = yield* (yield* Store).owner
  const asked = { ...source, source_path: source.path }
  if (owner === undefined || isSameSource(owner, asked)) return
  const before = `${describeSource(owner)}, since ${owner.since_utc}`
  if (!(yield* (yield* Zfs).isGone(owner))) {
    return yield* new TargetTaken({
      message: `target_path ${config.target_path} belongs to the job with the source ${before}: give this job a target of its own; if that other job is no more, remove job.json and cursor.json in ${config.target_path}/.zipper`
    })
  }
  yield* Effect.logWarning(
    `target_path ${config.target_path} belonged to the job with the source ${before}, which is not there any more: from now on it belongs to the source ${source.path}`
  )
})

/** The source as one of this job, once the target is known to be this job's or to be free. */
export const claimTarget = Effect.fnUntraced(function* (config: { readonly target_path: string }, source: SourceInfo) {
  yield* checkOwner(config, source)
  const { dataset, path, within } = source
  const job = yield* (yield* Store).claim({ source_path: path, dataset, within })
  return { ...source, job } satisfies SourceInfo
})

const { decode, encode } = jsonFile(JobIdentity)

const identity = Effect.fnUntraced(function* (layout: Layout.Layout, corrupt: Corrupt) {
  if (!(yield* isFolder(layout.job))) return undefined
  return yield* load(
    layout.identity,
    decode,
    corrupt,
    "snapshots that this job took earlier are not recognised any more; zipper check names them"
  )
})

/** The source that the target belongs to: a target of a version without `job.json` belongs to the source of its cursor. */
const owner = Effect.fnUntraced(function* (layout: Layout.Layout, corrupt: Corrupt) {
  const known = yield* identity(layout, corrupt)
  if (known !== undefined) return known satisfies Owner
  const found = yield* cursor(layout, corrupt)
  return found && ({ source_path: found.source_path, since_utc: found.advanced_at_utc } satisfies Owner)
})

/** The identity that `source` has here: the one in the target, with what has changed; a new one where there is none. */
const identityOf = Effect.fnUntraced(function* (layout: Layout.Layout, source: SourceName, corrupt: Corrupt) {
  const now = utcSeconds(yield* Clock.currentTimeMillis)
  const found = yield* identity(layout, corrupt)
  const { dataset, source_path, within } = source
  const place = {
    source_path,
    ...(dataset === undefined ? {} : { dataset }),
    ...(within === undefined ? {} : { within }),
    target_path: layout.target
  }
  const known = found === undefined || (yield* isCopy(layout, found)) ? undefined : found
  const next: JobIdentity = {
    version: 1,
    id: known?.id ?? randomBytes(8).toString("hex"),
    former_ids: known?.former_ids ?? [layout.pathId],
    ...place,
    since_utc: known !== undefined && isSameSource(known, source) ? known.since_utc : now
  }
  return { found, next }
})

/** Whether the target is a copy of one that is still there: with one id, the two would destroy each other's snapshots. */
const isCopy = Effect.fnUntraced(
  function* (layout: Layout.Layout, found: JobIdentity) {
    if (found.target_path === layout.target) return false
    const disk = yield* Disk
    const path = join(found.target_path, basename(layout.job), basename(layout.identity))
    if (isSameInode(yield* disk.stat(path), yield* disk.stat(layout.identity))) return false
    const content = yield* disk.read(path)
    return content !== undefined && Option.getOrUndefined(decode(content))?.id === found.id
  },
  Effect.catchAll((error) =>
    // Not known is not ours: at the worst, snapshots stay that check names.
    Effect.as(Effect.logWarning(`this target is taken for a copy, and gets a new job id: ${error.message}`), true)
  )
)

const idsOf = ({ former_ids, id }: JobIdentity): JobIds => ({ id, former: former_ids })

const claim = Effect.fnUntraced(function* (layout: Layout.Layout, source: SourceName) {
  const { found, next } = yield* identityOf(layout, source, "set aside")
  const content = encode(next)
  if (found === undefined || encode(found) !== content) {
    yield* makeJobFolder(layout.job)
    yield* replace(layout.identity, content)
  }
  return idsOf(next)
})

const wouldClaim = (layout: Layout.Layout, source: SourceName) =>
  Effect.map(identityOf(layout, source, "dry run"), ({ next }) => idsOf(next))
