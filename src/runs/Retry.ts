import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import type { LockError } from "./Lock.ts"

/**
 * Tries again after 1 s, 2 s, 4 s, … at most a minute (jittered), at most `retries` times, and only while the error is transient.
 * Each failure but the last is a warning in the log.
 */
export const retryTransient =
  (retries: number) =>
  <A, E extends { readonly transient: boolean; readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.flatMap(Ref.make(0), (attempts) =>
      effect.pipe(
        Effect.tapError((error) =>
          Effect.flatMap(
            Ref.updateAndGet(attempts, (n) => n + 1),
            (attempt) =>
              error.transient && attempt <= retries
                ? Effect.logWarning(`attempt ${attempt} of ${retries + 1} failed, trying again: ${error.message}`)
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

/** For what may hang, such as a disk or a server: gives `otherwise` after 5 seconds; `effect` goes on in the background. */
export const withDeadline = <A, B, E, R>(effect: Effect.Effect<A, E, R>, otherwise: B): Effect.Effect<A | B, E, R> =>
  // Interruptible as a whole: inside a region that is not, the timeout itself would wait.
  Effect.timeoutTo(Effect.interruptible(Effect.disconnect(effect)), {
    duration: "5 seconds",
    onSuccess: (value): A | B => value,
    onTimeout: (): A | B => otherwise
  })

/** Tries for `seconds`, each second, to get a lock that another process holds; 0 or undefined: once. */
export const waitForLock =
  (seconds: number | undefined) =>
  <A, R>(acquire: Effect.Effect<A, LockError, R>): Effect.Effect<A, LockError, R> => {
    if (seconds === undefined || seconds === 0) return acquire
    const isHeld = ({ reason }: LockError): boolean => reason === "Held"
    const again = Effect.zipRight(Effect.sleep("1 second"), acquire).pipe(
      Effect.retry({
        // One pause comes before each attempt.
        schedule: Schedule.forever.pipe(Schedule.upTo(Duration.seconds(seconds - 1))),
        while: isHeld
      })
    )
    return Effect.catchIf(acquire, isHeld, ({ message }) =>
      Effect.zipRight(Effect.logInfo(`${message}; waiting for it, at most ${seconds} s`), again)
    )
  }
