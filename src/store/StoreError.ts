import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { FolderName } from "../source/FolderName.ts"
import type { DiskError } from "../system/Disk.ts"
import { adviceOnWriting } from "../system/Errno.ts"
import type { ArchiveIndex, PreviousArchive } from "../zip/ArchiveIndex.ts"
import type { FolderState } from "./FolderState.ts"
import type { Metadata } from "./Metadata.ts"

/** The target could not be used; the message says what failed on which path, and why. */
export class StoreError extends Data.TaggedError("StoreError")<{
  readonly reason: "NotWritable" | "NoSpace" | "NotAFolder" | "NotMounted" | "Unsafe" | "Other"
  readonly path: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** An error that a new attempt does not mend. */
export const storeError = (reason: StoreError["reason"], path: string, message: string): StoreError =>
  new StoreError({ reason, path, message, transient: false })

/** Where the store is. */
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

/** What preflight found. */
export interface StoreReport {
  /** Bytes free for us on the target; undefined where its file system does not tell. */
  readonly free: number | undefined
  /** Archives are put together in tmp_dir; false: inside the target, because nothing can be renamed from tmp_dir to it, or tmp_dir is not set. */
  readonly stagesInTmp: boolean
}

/** A folder that cannot be worked on; the reason is a sentence for a person. */
export interface BrokenFolder {
  readonly folder: FolderName
  readonly reason: string
}

/** What recovery did, one line a finding ("ABCD: finished the publication that was interrupted"). */
export interface RecoveryReport {
  readonly healed: ReadonlyArray<string>
  /** Each counts as failed; the others are not held up by them. */
  readonly broken: ReadonlyArray<BrokenFolder>
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
  /** For the archive after it. */
  readonly index?: ArchiveIndex | undefined
  /** What {@link Store.previous} gave, so that the previous archive is not read a second time. */
  readonly previous?: PreviousArchive | undefined
}

/** What a publication did. */
export interface Published {
  readonly folder: FolderName
  /** Absolute path of the archive. */
  readonly zip: string
  /** The archive that was current became `ABCD.prev.zip`. */
  readonly rotated: boolean
  /** The new archive has the bytes of the one before: only the files beside it and the state are new. */
  readonly same?: true
  /** Nothing was really done: this is what a run would do. */
  readonly dryRun?: true
}

/** What a failed disk operation means for the store. `doing` says what for: "cannot publish ABCD". */
export const fromDisk =
  (doing: string) =>
  (error: DiskError): StoreError =>
    new StoreError({
      reason: reasonOf(error.code),
      path: error.path,
      message: `${doing}: ${error.message}${adviceOnWriting(error.code)}`,
      transient: error.transient,
      cause: error
    })

const reasonOf = (code: string | undefined): StoreError["reason"] => {
  switch (code) {
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return "NotWritable"
    case "ENOSPC":
    case "EDQUOT":
      return "NoSpace"
    case "ENOTDIR":
      return "NotAFolder"
    case "ELOOP":
      return "Unsafe"
    default:
      return "Other"
  }
}

/** Makes every failure a StoreError that says what was being done. */
export const asStoreError = (doing: string) =>
  Effect.mapError(
    (error: DiskError | StoreError): StoreError => (error._tag === "DiskError" ? fromDisk(doing)(error) : error)
  )
