import * as Data from "effect/Data"

/** The history could not be read; the message says what to do about it. */
export class HistoryError extends Data.TaggedError("HistoryError")<{
  readonly message: string
  readonly cause?: unknown
}> {}
