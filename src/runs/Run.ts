import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** How a run ended: all well; something failed or was refused; it could not begin; stopped by a signal. */
export const Outcome = Schema.Literal("ok", "failed", "not_started", "interrupted")
export type Outcome = typeof Outcome.Type

/** How a run ended. History, job state, messages and pings are made from this. */
export interface RunEnd<A> {
  readonly run: string
  readonly started_at_utc: string
  readonly seconds: number
  readonly outcome: Outcome
  /** Why it could not begin, or broke off as a whole. */
  readonly error: string | undefined
  readonly summary: A | undefined
}

/** A message of at most 2000 characters, without its middle: the reason is at the end, behind a path that may be very long. */
export const shortened = (message: string): string =>
  message.length <= 2000 ? message : `${message.slice(0, 1500)} […] ${message.slice(-500)}`

/** The job cannot start; nothing was done. */
export class PreflightError extends Data.TaggedError("PreflightError")<{
  readonly message: string
  readonly cause?: unknown
}> {}

/** Any step before the first folder that fails ends the run with its own message. */
export const asPreflight = <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.mapError(effect, (error) => new PreflightError({ message: error.message, cause: error }))

/** A failure that only costs something later is a warning, which begins with `what`; `otherwise` is the result then. */
export const orWarn =
  <B>(what: string, otherwise: B) =>
  <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A | B, never, R> =>
    Effect.catchAll(effect, ({ message }) => Effect.as(Effect.logWarning(`${what}: ${message}`), otherwise))
