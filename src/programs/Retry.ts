import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"

/**
 * Tries again after 1 s, 2 s, 4 s, … and never more than a minute (jittered), at most `retries` times, and only while the error says that
 * this can help. Each failure but the last is a warning in the log; the last one is the caller's.
 */
export const retryTransient =
  (retries: number) =>
  <A, E extends { readonly transient: boolean; readonly message: string }, R>(
    effect: Effect.Effect<A, E, R>
  ) =>
    Effect.flatMap(Ref.make(0), (attempts) =>
      effect.pipe(
        Effect.tapError((error) =>
          Effect.flatMap(
            Ref.updateAndGet(attempts, (n) => n + 1),
            (attempt) =>
              error.transient && attempt <= retries
                ? Effect.logWarning(
                    `attempt ${attempt} of ${retries + 1} failed, trying again: ${error.message}`
                  )
                : Effect.void
          )
        ),
        Effect.retry({
          schedule: Schedule.exponential("1 second").pipe(
            Schedule.union(Schedule.spaced("1 minute")),
            Schedule.jittered,
            Schedule.intersect(Schedule.recurs(retries))
          ),
          while: (error) => error.transient
        })
      )
    )
