import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"

/** A message could not be delivered. Its text never holds the token. */
export class NotifyError extends Data.TaggedError("NotifyError")<{
  readonly reason: "Unreachable" | "Timeout" | "Rejected" | "NotConfigured"
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** A message to a person. */
export interface Notification {
  readonly title: string
  /** Markdown. */
  readonly message: string
  /** Gotify priority; the configured one when left out. */
  readonly priority?: number
}

/** Tells somebody. */
export class Notifier extends Context.Tag("zipper/Notifier")<
  Notifier,
  {
    /** Delivers it, trying again on transient failures. */
    readonly send: (notification: Notification) => Effect.Effect<void, NotifyError>
    /** Whether the server answers, without sending a message. */
    readonly probe: Effect.Effect<void, NotifyError>
  }
>() {}
