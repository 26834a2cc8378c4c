import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Evidence } from "../../domain/Changes.ts"
import type { FolderName } from "../../domain/FolderName.ts"
import type { JobIds, SourceName } from "../../domain/JobIdentity.ts"
import type { Snapshot } from "../../domain/SnapshotPrune.ts"
import type { SnapshotRef, SourceView } from "../../domain/Source.ts"

/** A zfs command failed, or the source is not what it should be. */
export class ZfsError extends Data.TaggedError("ZfsError")<{
  readonly reason:
    | "NotFound"
    | "NotZfs"
    | "PermissionDenied"
    | "Busy"
    | "NotInstalled"
    | "Unmounted"
    /** The other end did not answer, or ssh could not log in. */
    | "Unreachable"
    /** A snapshot or bookmark that was there when it was listed is gone. */
    | "Vanished"
    /** The pool or a quota is full. */
    | "NoSpace"
    /** The target is not as it was when the stream was planned. */
    | "Modified"
    | "Other"
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** The dataset behind the configured source folder. */
export interface SourceInfo {
  /** The folder that was asked for, as given. */
  readonly path: string
  /** Dataset that holds it; undefined when the source is read live. */
  readonly dataset: string | undefined
  /** Path of the source folder inside its dataset, for people; left out when it is the dataset itself. */
  readonly within?: string
  /** What this job marks its snapshots with; left out: the layer's `jobId`. */
  readonly job?: JobIds
  /** That dataset and its children that are mounted inside the source folder: what one snapshot has to cover. */
  readonly datasets: ReadonlyArray<string>
  /** The command that grants what a run needs, when we are not root. */
  readonly grant?: string
}

/** A snapshot that this run holds; its dataset's own folder stays mounted until the scope of `snapshot` closes. */
export interface SnapshotHandle {
  readonly view: SourceView
  /**
   * Which folders changed between `base` and this snapshot, by one `zfs diff` a dataset. Never fails: what
   * cannot be told is `unknown` (no base, no permission) or `changed` (zfs diff failed).
   */
  readonly changesSince: (base: SnapshotRef | undefined) => Effect.Effect<Evidence>
  /**
   * Keeps the snapshots of the child datasets in this folder mounted until the scope closes. Fails where one is not: what would be
   * read there is an empty folder.
   */
  readonly hold: (folder: FolderName) => Effect.Effect<void, ZfsError, Scope.Scope>
  /** From now on the snapshot outlives its scope: it is the base of the next diff. */
  readonly keep: Effect.Effect<void>
}

/** What became of snapshots that nobody needs any more. */
export interface PruneReport {
  /** Full names, `dataset@snapshot`. */
  readonly destroyed: ReadonlyArray<string>
  /** Those that could not be destroyed (held, busy, cloned), with the reason. */
  readonly spared: ReadonlyArray<{ readonly snapshot: string; readonly reason: string }>
}

/** What the layer marks snapshots with. */
export interface ZfsSettings {
  /** `snapshot_prefix`. */
  readonly prefix: string
  readonly runId: string
  /** Marks the snapshots of a source that has no {@link SourceInfo.job}. */
  readonly jobId: string
  /** Where the job's archives go: its mark says it, so that another job can see whether this one is still there. */
  readonly target?: string
  /** Ours when left out. */
  readonly hostname?: string
}

/** See the tag. */
export interface ZfsService {
  /** Finds the dataset that holds `sourcePath`. Fails when it is no folder, not on ZFS, or not mounted. */
  readonly locate: (sourcePath: string) => Effect.Effect<SourceInfo, ZfsError>
  /**
   * Fails when a dataset should be mounted at the target, or above it, and is not: archives would go below its mount point. Read
   * live, nothing is asked of zfs, and all is well.
   */
  readonly checkTarget: (targetPath: string) => Effect.Effect<void, ZfsError>
  /**
   * Whether there is no such source any more: its dataset is not in its pool, or it is mounted and the folder is not in it; for a
   * live source, nothing is at its path. What cannot be told is not gone: a pool that is not imported, a dataset where zfs is not asked.
   */
  readonly isGone: (source: SourceName) => Effect.Effect<boolean, ZfsError>
  /** The snapshots of the source's datasets that carry our mark, whichever job took them, but for those of a run that is alive. */
  readonly marked: (source: SourceInfo) => Effect.Effect<ReadonlyArray<Snapshot>, ZfsError>
  /**
   * Takes one atomic snapshot of all the source's datasets, marked as ours. Released (destroyed, unless
   * kept) when the scope closes, however it closes; a release that fails is logged, and the next run's
   * prune destroys the snapshot.
   */
  readonly snapshot: (source: SourceInfo) => Effect.Effect<SnapshotHandle, ZfsError, Scope.Scope>
  /**
   * Destroys the snapshots of the source's datasets that are ours (user property set locally, exact name,
   * this job), belong to no run that is alive, and whose guid is not among `keep`.
   */
  readonly prune: (source: SourceInfo, keep: ReadonlySet<string>) => Effect.Effect<PruneReport, ZfsError>
}
