import * as Data from "effect/Data"

/** How things stand could not be read or written; the message says what to do about it. */
export class StandingError extends Data.TaggedError("StandingError")<{
  /** There is no place to write to, and why is known: the target is empty. */
  readonly noPlace?: boolean
  /** The state folder is not there. */
  readonly away?: boolean
  readonly message: string
  readonly cause?: unknown
}> {}
