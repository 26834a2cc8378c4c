import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** How long a place that may hang is waited for: a run that was stopped writes down that, and says so. */
const patience: Duration.DurationInput = "5 seconds"

/** `effect` for as long as it is waited for: what is given up on goes on by itself, and ends with the process at the latest. */
export const patiently = <A, B, E, R>(
  effect: Effect.Effect<A, E, R>,
  otherwise: B
): Effect.Effect<A | B, E, R> =>
  // Interruptible as a whole: inside a region that is not, the timeout itself would wait.
  Effect.timeoutTo(Effect.interruptible(Effect.disconnect(effect)), {
    duration: patience,
    onSuccess: (value): A | B => value,
    onTimeout: (): A | B => otherwise
  })
