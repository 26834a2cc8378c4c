import * as Data from "effect/Data"

/** The archives of the target cannot be looked at; the message says what failed on which path, and why. */
export class ArchivesError extends Data.TaggedError("ArchivesError")<{
  readonly path: string
  readonly message: string
  readonly cause?: unknown
}> {}
