import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { FolderName } from "../source/FolderName.ts"
import { Disk, type DiskError } from "../system/Disk.ts"
import { Hasher } from "../system/Hasher.ts"
import type { JobIds, Owner, SourceName } from "../zfs/JobIdentity.ts"
import type { ArchiveIndex, PreviousArchive } from "../zip/ArchiveIndex.ts"
import type { FolderFailure, FolderRecord, FolderState } from "./FolderState.ts"
import * as Identity from "./Identity.ts"
import * as Layout from "./Layout.ts"
import type { Metadata } from "./Metadata.ts"
import { unmounted } from "./Mounts.ts"
import { publish, wouldPublish } from "./Publish.ts"
import * as Records from "./Records.ts"
import { leftover, recover, wouldRecover } from "./Recover.ts"
import { type Probe, preflight, type Stages, stage } from "./Stage.ts"
import { asStoreError, type StoreError } from "./StoreError.ts"

export { StoreError } from "./StoreError.ts"

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
    readonly unmounted: (accepted: ReadonlyArray<FolderName>) => Effect.Effect<ReadonlyArray<BrokenFolder>, StoreError>
    /** What is known of every folder in the target. A state file that cannot be understood is set aside, with a warning. */
    readonly records: Effect.Effect<ReadonlyMap<FolderName, FolderRecord>, StoreError>
    /** The job's cursor; undefined when there is none or it cannot be understood (then it is set aside, with a warning). */
    readonly cursor: Effect.Effect<Records.Cursor | undefined, StoreError>
    /** The current archive of a folder, to copy unchanged entries from, if it is intact and indexed; logs why there is none. */
    readonly previous: (folder: FolderName) => Effect.Effect<PreviousArchive | undefined>
    /** An empty staging place, removed when the scope closes. First puts right what an earlier attempt left in that folder. */
    readonly stage: (folder: FolderName) => Effect.Effect<Staging, StoreError, Scope.Scope>
    /** Brings the staged zip to the disk ahead of its publication, which then need not wait for it. */
    readonly sync: (staging: Staging) => Effect.Effect<void, StoreError>
    /** Makes the staged zip the current archive, all or nothing (see Publish.ts); clears the failure record and replaces the index. */
    readonly publish: (staging: Staging, publication: Publication) => Effect.Effect<Published, StoreError>
    /** Records that the folder's last attempt failed: it stays due. */
    readonly recordFailure: (failure: FailedAttempt) => Effect.Effect<void, StoreError>
    readonly advance: (cursor: Records.Cursor) => Effect.Effect<void, StoreError>
  }
>() {
  static readonly layer = (settings: StoreSettings) => Layer.effect(Store, make(settings))

  /** Reads what is there and writes nothing; what it would have done goes to the log. */
  static readonly layerDryRun = (settings: StoreSettings) => Layer.effect(Store, makeDryRun(settings, "dry run", "ask"))

  /** For check: a dry run that proves by writing, syncing, renaming and removing files of its own that a run could. */
  static readonly layerCheck = (settings: StoreSettings) =>
    Layer.effect(Store, makeDryRun(settings, "dry run", "check"))

  /** For reports of the state: writes nothing, and `records` fails where a folder or its state may not be read. */
  static readonly layerReport = (settings: StoreSettings) => Layer.effect(Store, makeDryRun(settings, "report", "ask"))
}

export interface StoreSettings {
  readonly targetPath: string
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
  readonly metadata: Metadata
  readonly state: FolderState
  readonly index?: ArchiveIndex | undefined
  /** The result of {@link Store.previous}, so that the previous archive is not read a second time. */
  readonly previous?: PreviousArchive | undefined
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
    owner: Identity.owner(layout, corrupt).pipe(operation("owner", cannotReadOwner)),
    unmounted: (accepted: ReadonlyArray<FolderName>) =>
      unmounted(layout, accepted, corrupt).pipe(
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
      Identity.claim(layout, source).pipe(operation("claim", "cannot write down which job the target belongs to")),
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
      const note = Effect.zipRight(Records.clearFailure(paths), Records.replaceIndex(layout, paths, publication.index))
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
    claim: (source: SourceName) => Identity.wouldClaim(layout, source).pipe(operation("claim", cannotReadOwner)),
    recover: wouldRecover(layout).pipe(operation("recover", cannotRecover)),
    // To read an archive as a whole is too much work for a dry run.
    previous: (_folder: FolderName) => Effect.succeed(undefined),
    stage: (folder: FolderName) => {
      const paths = Layout.folder(layout, folder)
      return Effect.succeed<Staging>({ folder, zip: join(paths.next, paths.names.zip) })
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
