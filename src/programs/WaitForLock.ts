import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { LockError } from "../services/Lock.ts"

/** How often a lock that is held is tried again. */
const pause: Duration.DurationInput = "1 second"

const isHeld = ({ reason }: LockError): boolean => reason === "Held"

/** Waits up to `seconds` for a lock that another process holds; 0 or undefined: not at all. */
export const waitForLock =
  (seconds: number | undefined) =>
  <A, R>(acquire: Effect.Effect<A, LockError, R>): Effect.Effect<A, LockError, R> => {
    if (seconds === undefined || seconds === 0) return acquire
    const again = Effect.zipRight(Effect.sleep(pause), acquire).pipe(
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
