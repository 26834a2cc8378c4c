import * as Data from "effect/Data"

/** A folder could not be archived, or its archive is not what it should be; the message names file or entry. */
export class ArchiveError extends Data.TaggedError("ArchiveError")<{
  readonly reason: "Unreadable" | "Changed" | "Write" | "Corrupt" | "Mismatch"
  readonly path: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** What was written. */
export interface ArchiveReport {
  /** Size of the zip in bytes. */
  readonly zipSize: number
  readonly entries: number
  /** Uncompressed bytes. */
  readonly bytes: number
}

/** Whether a failure is one of ours; anything else is a defect. */
export const isArchiveError = (cause: unknown): cause is ArchiveError => cause instanceof ArchiveError
