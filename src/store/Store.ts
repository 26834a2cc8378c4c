import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { FolderName } from "../source/FolderName.ts"
import { Disk, type DiskError } from "../system/Disk.ts"
import { Hasher } from "../system/Hasher.ts"
import type { JobIds, Owner, SourceName } from "../zfs/JobIdentity.ts"
import type { PreviousArchive } from "../zip/ArchiveIndex.ts"
import type { FolderFailure, FolderRecord } from "./FolderState.ts"
import { claim, owner, wouldClaim } from "./Identity.ts"
import * as archiveIndex from "./Index.ts"
import * as Layout from "./Layout.ts"
import { rememberFolders, unmounted } from "./Mounts.ts"
import { publish } from "./Publish.ts"
import * as jobState from "./Records.ts"
import { type Cursor, decodeState, records } from "./Records.ts"
import { type Finding, leftover, recover, recoverFolders } from "./Recover.ts"
import { isFolder } from "./SafeFolder.ts"
import { type Probe, preflight, type Stages, stage } from "./Stage.ts"
import {
  asStoreError,
  type BrokenFolder,
  type Publication,
  type Published,
  type RecoveryReport,
  type Staging,
  type StoreError,
  type StoreReport,
  type StoreSettings
} from "./StoreError.ts"

/** The target folder: published archives, their state, the job's cursor. */
export class Store extends Context.Tag("zipper/Store")<
  Store,
  {
    /** Target, its `.zipper` and tmp_dir are folders that we can write to, proved by writing, renaming, linking and syncing files. */
    readonly preflight: Effect.Effect<StoreReport, StoreError>
    /** Makes the folder of job-wide state, unless it is there. Its path. */
    readonly stateFolder: Effect.Effect<string, StoreError>
    /** The source that the target belongs to; undefined when no run has recorded one. */
    readonly owner: Effect.Effect<Owner | undefined, StoreError>
    /**
     * Makes the target that of the job with this source. Gives the ids that mark the job's snapshots: the same ones when target
     * or source got another path. A copy of a target that is still there gets ids of its own.
     */
    readonly claim: (source: SourceName) => Effect.Effect<JobIds, StoreError>
    /**
     * Finishes or undoes every publication that a crashed run left, and removes its staging. Where the record of one is damaged,
     * its files are set aside, with a warning, and the folder has no state any more. A folder where that fails is reported as broken.
     */
    readonly recover: Effect.Effect<RecoveryReport, StoreError>
    /**
     * Folders of the target that were mounts of their own at the last run and are not now: nothing is to be written there. Those
     * in `accepted` are taken as they are from now on.
     */
    readonly unmounted: (accepted: ReadonlyArray<FolderName>) => Effect.Effect<ReadonlyArray<BrokenFolder>, StoreError>
    /** What is known of every folder in the target. A state file that cannot be understood is set aside, with a warning. */
    readonly records: Effect.Effect<ReadonlyMap<FolderName, FolderRecord>, StoreError>
    /** The job's cursor; undefined when there is none or it cannot be understood (then it is set aside, with a warning). */
    readonly cursor: Effect.Effect<Cursor | undefined, StoreError>
    /**
     * The current archive of a folder, to copy unchanged entries from: only if it is intact and its index is known. Never fails:
     * the reason why there is none is logged.
     */
    readonly previous: (folder: FolderName) => Effect.Effect<PreviousArchive | undefined>
    /**
     * An empty staging place for one publication, which is removed when the scope closes, published or not. What an earlier
     * attempt could not clean up in that folder is put right first.
     */
    readonly stage: (folder: FolderName) => Effect.Effect<Staging, StoreError, Scope.Scope>
    /** Brings the staged zip to the disk ahead of its publication, which then need not wait for it. */
    readonly sync: (staging: Staging) => Effect.Effect<void, StoreError>
    /**
     * Makes the staged zip the current archive of its folder and the current one the previous. All or nothing (see Publish.ts).
     * Also clears the folder's failure record and replaces its index; a failure of these two is a warning.
     */
    readonly publish: (staging: Staging, publication: Publication) => Effect.Effect<Published, StoreError>
    /** Records that the folder's last attempt failed: it stays due. */
    readonly recordFailure: (failure: FailedAttempt) => Effect.Effect<void, StoreError>
    /** Replaces the cursor, atomically. */
    readonly advance: (cursor: Cursor) => Effect.Effect<void, StoreError>
  }
>() {
  static readonly layer = (settings: StoreSettings) => Layer.effect(Store, make(settings))

  /** Reads what is there and writes nothing; what it would have done goes to the log. */
  static readonly layerDryRun = (settings: StoreSettings) => Layer.effect(Store, makeDryRun(settings, "dry run"))

  /** For check: a dry run that proves by writing, syncing, renaming and removing files of its own that a run could. */
  static readonly layerCheck = (settings: StoreSettings) =>
    Layer.effect(Store, makeDryRun(settings, "dry run", "check"))

  /** For reports of the state: writes nothing, and `records` fails where a folder or its state may not be read. */
  static readonly layerReport = (settings: StoreSettings) => Layer.effect(Store, makeDryRun(settings, "report"))
}

type FailedAttempt = Omit<FolderFailure, "version" | "failures">

/** Makes operations of the store out of steps: named in traces, with `context`, and with errors that say what was being done. */
const operationsOn =
  <C>(context: Context.Context<C>) =>
  (name: string, doing: string) =>
  <A, R>(step: Effect.Effect<A, DiskError | StoreError, R>) =>
    step.pipe(asStoreError(doing), Effect.provide(context), Effect.withSpan(`Store.${name}`))

/** For the messages of operations that both stores have. */
const reading = {
  preflight: "cannot use the target",
  recover: "cannot look for what an interrupted run left",
  unmounted: "cannot see which folders of the target are mounted",
  records: "cannot read what is known of the folders",
  cursor: "cannot read the cursor",
  owner: "cannot read which job the target belongs to"
} as const

const make = Effect.fnUntraced(function* (settings: StoreSettings) {
  const layout = Layout.make(settings)
  // Not all of the context: its Scope would come along, and stagings would close with that one.
  const context = Context.make(Disk, yield* Disk).pipe(Context.add(Hasher, yield* Hasher))
  const stages: Stages = { open: new Set<FolderName>(), tmp: yield* Effect.makeSemaphore(1) }
  const operation = operationsOn(context)
  return {
    preflight: preflight(layout, "write").pipe(operation("preflight", reading.preflight)),
    stateFolder: jobState
      .makeJobFolder(layout.job)
      .pipe(Effect.as(layout.job), operation("stateFolder", "cannot use the target")),
    owner: owner(layout, "set aside").pipe(operation("owner", reading.owner)),
    claim: (source: SourceName) =>
      claim(layout, source).pipe(operation("claim", "cannot write down which job the target belongs to")),
    recover: isFolder(layout.job).pipe(
      Effect.zipRight(recover(layout, stages.open)),
      operation("recover", reading.recover)
    ),
    unmounted: (accepted: ReadonlyArray<FolderName>) =>
      unmounted(layout, accepted, "set aside").pipe(
        Effect.tap(({ changed, folders }) => (changed ? rememberFolders(layout, folders) : Effect.void)),
        Effect.map(({ broken }) => broken),
        operation("unmounted", reading.unmounted)
      ),
    records: records(layout, "set aside").pipe(operation("records", reading.records)),
    cursor: jobState.cursor(layout, "set aside").pipe(operation("cursor", reading.cursor)),
    previous: (folder: FolderName) =>
      archiveIndex
        .previous(layout, Layout.folder(layout, folder))
        .pipe(Effect.provide(context), Effect.withSpan("Store.previous")),
    stage: (folder: FolderName) => stage(layout, stages, folder).pipe(operation("stage", `cannot stage ${folder}`)),
    sync: (staging: Staging) =>
      Effect.flatMap(Disk, (disk) => disk.sync(staging.zip)).pipe(
        operation("sync", `cannot bring the archive of ${staging.folder} to the disk`)
      ),
    publish: (staging: Staging, publication: Publication) => {
      const paths = Layout.folder(layout, staging.folder)
      const note = Effect.zipRight(jobState.clearFailure(paths), archiveIndex.replace(layout, paths, publication.index))
      return publish(paths, staging, publication, note).pipe(operation("publish", `cannot publish ${staging.folder}`))
    },
    recordFailure: (failed: FailedAttempt) =>
      jobState
        .recordFailure(layout, failed)
        .pipe(operation("recordFailure", `cannot write down that ${failed.folder} failed`)),
    advance: (cursor: Cursor) =>
      jobState.advance(layout, cursor).pipe(operation("advance", "cannot advance the cursor"))
  }
})

/** Reads what the real store reads and writes nothing. `report`: records that may not be read are an error. */
const makeDryRun = Effect.fnUntraced(function* (
  settings: StoreSettings,
  purpose: "dry run" | "report",
  probe: Probe = "ask"
) {
  const layout = Layout.make(settings)
  const operation = operationsOn(Context.make(Disk, yield* Disk))
  return {
    preflight: preflight(layout, probe).pipe(operation("preflight", reading.preflight)),
    stateFolder: Effect.succeed(layout.job),
    owner: owner(layout, purpose).pipe(operation("owner", reading.owner)),
    claim: (source: SourceName) => wouldClaim(layout, source).pipe(operation("claim", reading.owner)),
    recover: recoverFolders(layout, new Set<FolderName>(), wouldHeal).pipe(operation("recover", reading.recover)),
    unmounted: (accepted: ReadonlyArray<FolderName>) =>
      unmounted(layout, accepted, purpose).pipe(
        Effect.map(({ broken }) => broken),
        operation("unmounted", reading.unmounted)
      ),
    records: recordsAfterRecovery(layout, purpose).pipe(operation("records", reading.records)),
    cursor: jobState.cursor(layout, purpose).pipe(operation("cursor", reading.cursor)),
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
    advance: (cursor: Cursor) => Effect.logInfo(`would compare the next run with ${cursor.base.name}`)
  }
})

/** Recovery would have set aside the state of a folder whose journal is damaged, and a run would archive it. */
const recordsAfterRecovery = Effect.fnUntraced(function* (layout: Layout.Layout, purpose: "dry run" | "report") {
  const found = yield* records(layout, purpose)
  const after = yield* Effect.forEach(
    found,
    Effect.fnUntraced(function* ([folder, record]) {
      const left = yield* leftover(Layout.folder(layout, folder)).pipe(
        // Recovery reports that folder as broken.
        Effect.orElseSucceed(() => undefined)
      )
      return [folder, left?._tag === "Unreadable" ? { ...record, state: undefined } : record] as const
    }),
    { concurrency: 16 }
  )
  return new Map<FolderName, FolderRecord>(after)
})

const wouldHeal = (paths: Layout.FolderLayout) =>
  Effect.map(leftover(paths), (found): Finding => {
    switch (found._tag) {
      case "Nothing":
        return {}
      case "Staging":
        return { healed: "would remove what an interrupted run had prepared but not published" }
      case "Forward":
        return { healed: "would finish the publication that was interrupted" }
      case "Back":
        return { healed: "would undo the publication that had failed and was interrupted" }
      case "Unreadable":
        return {
          warning: `the record of an interrupted publication (${found.path}) cannot be understood; what belongs to it would be set aside, and the folder archived anew`
        }
    }
  }).pipe(asStoreError(`cannot look at what an interrupted run left of ${paths.folder}`))

const wouldPublish = Effect.fnUntraced(function* (paths: Layout.FolderLayout) {
  const disk = yield* Disk
  const zip = join(paths.home, paths.names.zip)
  const stat = yield* disk.stat(zip)
  const state =
    stat === undefined ? undefined : decodeState(paths, yield* disk.read(join(paths.home, paths.names.state)))
  // An archive without a state is hashed when it is published for real; that is too much work for a dry run.
  const damaged = stat !== undefined && state !== undefined && state.zip_size !== stat.size
  const rotated = stat !== undefined && !damaged
  const rotation = rotated
    ? `; the current archive would become ${paths.names.prevZip}`
    : damaged
      ? `; the current archive has another size than when it was published, and would be replaced without becoming ${paths.names.prevZip}`
      : ""
  yield* Effect.logDebug(`would publish ${zip}${rotation}`)
  return { folder: paths.folder, zip, rotated, dryRun: true } satisfies Published
})
