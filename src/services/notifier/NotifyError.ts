import * as Data from "effect/Data"

/** A message could not be delivered. Its text never holds the token. */
export class NotifyError extends Data.TaggedError("NotifyError")<{
  readonly reason: "Unreachable" | "Timeout" | "Rejected" | "NotGotify" | "NotConfigured"
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}
