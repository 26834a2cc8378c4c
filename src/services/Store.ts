import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { PreviousArchive } from "../domain/ArchiveIndex.ts"
import type { Cursor } from "../domain/Cursor.ts"
import type { FolderName } from "../domain/FolderName.ts"
import type { FolderFailure, FolderRecord } from "../domain/FolderState.ts"
import type { JobIds, Owner, SourceName } from "../domain/JobIdentity.ts"
import { makeDryRun } from "./store/dryRun.ts"
import { make } from "./store/make.ts"
import type {
  BrokenFolder,
  Publication,
  Published,
  RecoveryReport,
  Staging,
  StoreError,
  StoreReport,
  StoreSettings
} from "./store/model.ts"

export { type Publication, type RecoveryReport, StoreError, type StoreSettings } from "./store/model.ts"

/** The target folder: published archives, their state, the job's cursor. */
export class Store extends Context.Tag("zipper/Store")<
  Store,
  {
    /** Target, its `.zipper` and tmp_dir are folders that we can write to, proved by writing, renaming, linking and syncing files. */
    readonly preflight: Effect.Effect<StoreReport, StoreError>
    /** Makes the folder of job-wide state, unless it is there. Its path. */
    readonly stateFolder: Effect.Effect<string, StoreError>
    /** The source that the target belongs to; undefined when no run has worked on it yet, or none that left word of it. */
    readonly owner: Effect.Effect<Owner | undefined, StoreError>
    /**
     * Makes the target that of the job with this source, and gives what the job's snapshots are marked with: the same ids when
     * target or source got another path. A copy of a target that is still there gets ids of its own.
     */
    readonly claim: (source: SourceName) => Effect.Effect<JobIds, StoreError>
    /**
     * Finishes or undoes every publication that a crashed run left, and removes its staging. Where the record
     * of one is damaged, all that belongs to it is set aside, with a warning, and the folder has no state any
     * more. A folder where even that is impossible is reported as broken; the others are not held up.
     */
    readonly recover: Effect.Effect<RecoveryReport, StoreError>
    /**
     * Folders of the target that were mounts of their own at the last run and are not now: nothing is to be written there. Those in
     * `accepted` are taken as they are from now on.
     */
    readonly unmounted: (
      accepted: ReadonlyArray<FolderName>
    ) => Effect.Effect<ReadonlyArray<BrokenFolder>, StoreError>
    /** What is known of every folder in the target. A state file that cannot be understood is set aside, with a warning. */
    readonly records: Effect.Effect<ReadonlyMap<FolderName, FolderRecord>, StoreError>
    /** The job's cursor; undefined when there is none or it cannot be understood (then it is set aside, with a warning). */
    readonly cursor: Effect.Effect<Cursor | undefined, StoreError>
    /**
     * The current archive of a folder, to copy unchanged entries from: only when it is, all of it, what was
     * published, and it is known what it was made of. Never fails: why there is none goes to the log at debug.
     */
    readonly previous: (folder: FolderName) => Effect.Effect<PreviousArchive | undefined>
    /**
     * An empty staging place, for one publication; it is gone when the scope closes, published or not. What an
     * earlier attempt could not clean up in that folder is put right first.
     */
    readonly stage: (folder: FolderName) => Effect.Effect<Staging, StoreError, Scope.Scope>
    /** Brings the staged zip to the disk. Publication makes sure of it anyway; this way it need not wait for it. */
    readonly sync: (staging: Staging) => Effect.Effect<void, StoreError>
    /**
     * Makes the staged zip the current archive of its folder and the current one the previous. All or nothing
     * (DESIGN, Publishing); also clears the folder's failure record and replaces its index, which may fail with
     * no more than a warning.
     */
    readonly publish: (staging: Staging, publication: Publication) => Effect.Effect<Published, StoreError>
    /** Remembers that the folder's last attempt failed: it stays due. */
    readonly recordFailure: (
      failure: Omit<FolderFailure, "version" | "failures">
    ) => Effect.Effect<void, StoreError>
    /** Replaces the cursor, atomically. */
    readonly advance: (cursor: Cursor) => Effect.Effect<void, StoreError>
  }
>() {
  /** On disk, with the promises of DESIGN, Publishing. */
  static readonly layer = (settings: StoreSettings) => Layer.effect(Store, make(settings))

  /** Reads what is there and writes nothing; what it would have done goes to the log. */
  static readonly layerDryRun = (settings: StoreSettings) =>
    Layer.effect(Store, makeDryRun(settings, "rehearse"))

  /** For check: a dry run that proves by writing, syncing, renaming and removing files of its own that a run could. */
  static readonly layerCheck = (settings: StoreSettings) =>
    Layer.effect(Store, makeDryRun(settings, "rehearse", "check"))

  /**
   * For whoever asks how things stand: writes nothing, and `records` fails where a folder or its state may not be read, for that
   * says nothing about the archive.
   */
  static readonly layerReport = (settings: StoreSettings) =>
    Layer.effect(Store, makeDryRun(settings, "report"))
}
