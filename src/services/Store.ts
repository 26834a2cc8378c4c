import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Cursor } from "../domain/Cursor.ts"
import type { FolderName } from "../domain/FolderName.ts"
import type { FolderFailure, FolderRecord, FolderState } from "../domain/FolderState.ts"
import type { Metadata } from "../domain/Metadata.ts"

/** The target could not be used; the message says what failed on which path, and why. */
export class StoreError extends Data.TaggedError("StoreError")<{
  readonly reason: "NotWritable" | "NoSpace" | "NotAFolder" | "Unsafe" | "Other"
  readonly path: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** What preflight found. */
export interface StoreReport {
  /** Bytes free for us on the target. */
  readonly free: number
  /** Archives are put together in tmp_dir; false: inside the target, because tmp_dir is on another file system or not set. */
  readonly stagesInTmp: boolean
}

/** What recovery did, one line a finding ("ABCD: finished the publication that was interrupted"). */
export interface RecoveryReport {
  readonly healed: ReadonlyArray<string>
}

/** A place for one archive in the making, on the file system where it will be published. */
export interface Staging {
  readonly folder: FolderName
  /** Absolute path for the new zip; nothing is there yet. */
  readonly zip: string
}

/** What goes with an archive when it is published. */
export interface Publication {
  readonly metadata: Metadata
  readonly state: FolderState
}

/** What a publication did. */
export interface Published {
  readonly folder: FolderName
  /** Absolute path of the archive. */
  readonly zip: string
  /** The archive that was current became `ABCD.prev.zip`. */
  readonly rotated: boolean
}

/** The target folder: published archives, their state, the job's cursor. */
export class Store extends Context.Tag("zipper/Store")<
  Store,
  {
    /** Target and tmp_dir are folders we can write to (proved by writing, syncing and removing a file). */
    readonly preflight: Effect.Effect<StoreReport, StoreError>
    /** Finishes or undoes every publication that a crashed run left, and removes its staging. */
    readonly recover: Effect.Effect<RecoveryReport, StoreError>
    /** What is known of every folder in the target. A state file that cannot be understood is set aside, with a warning. */
    readonly records: Effect.Effect<ReadonlyMap<FolderName, FolderRecord>, StoreError>
    /** The job's cursor; undefined when there is none or it cannot be understood (then it is set aside, with a warning). */
    readonly cursor: Effect.Effect<Cursor | undefined, StoreError>
    /** An empty staging place; it is gone when the scope closes, published or not. */
    readonly stage: (folder: FolderName) => Effect.Effect<Staging, StoreError, Scope.Scope>
    /**
     * Makes the staged zip the current archive of its folder and the current one the previous. All or nothing
     * (DESIGN, Publishing); also clears the folder's failure record.
     */
    readonly publish: (staging: Staging, publication: Publication) => Effect.Effect<Published, StoreError>
    /** Remembers that the folder's last attempt failed: it stays due. */
    readonly recordFailure: (
      failure: Omit<FolderFailure, "version" | "failures">
    ) => Effect.Effect<void, StoreError>
    /** Replaces the cursor, atomically. */
    readonly advance: (cursor: Cursor) => Effect.Effect<void, StoreError>
  }
>() {}
