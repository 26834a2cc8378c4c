import * as Data from "effect/Data"

/** A folder or file of the source could not be read; the message names it. */
export class TreeError extends Data.TaggedError("TreeError")<{
  readonly path: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** Whether a failure is one of ours; anything else is a defect. */
export const isTreeError = (cause: unknown): cause is TreeError => cause instanceof TreeError
