import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { count, firstNames } from "../text/Text.ts"
import type { LockError } from "./Lock.ts"

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

export const stoppedBySignal = "stopped by a signal before it was done"

/** A message of at most 2000 characters, without its middle: the reason is at the end, behind a path that may be very long. */
export const shortened = (message: string): string =>
  message.length <= 2000 ? message : `${message.slice(0, 1500)} […] ${message.slice(-500)}`

/** The words of the line about a signal; `kept`: what stays as it was, of one item and of several. */
interface StoppedWords {
  readonly noun: "folder" | "dataset" | "archive"
  readonly done: "archived" | "replicated" | "read"
  readonly kept: readonly [string, string]
}

/** What a run works on and has done, for the line about a signal: `ABCD was not archived; its archive is as it was; …`. */
export const makeWorkList = ({ done, kept, noun }: StoppedWords) => {
  let names: ReadonlyArray<string> | undefined
  const ended = new Set<string>()
  return {
    begin: (all: ReadonlyArray<string>): void => {
      names = all
    },
    end: (name: string): void => {
      ended.add(name)
    },
    /** Results that came in any order, in that of the work. */
    inOrder: <A>(results: ReadonlyArray<A>, nameOf: (result: A) => string): ReadonlyArray<A> => {
      const places = new Map(names?.map((name, place) => [name, place]))
      const placeOf = (result: A) => places.get(nameOf(result)) ?? 0
      return results.toSorted((a, b) => placeOf(a) - placeOf(b))
    },
    stopped: (): string => {
      if (names === undefined) return `stopped by a signal before any ${noun} was ${done}`
      const left = names.filter((name) => !ended.has(name))
      if (left.length === 0) return "stopped by a signal when all was done"
      const was = (n: number) => (n === 1 ? "was" : "were")
      const whole = names.length - left.length
      const finished = whole === 0 ? `no ${noun} was` : `${count(whole, noun)} ${was(whole)}`
      return `stopped by a signal: ${firstNames(left)} ${was(left.length)} not ${done}; ${kept[left.length === 1 ? 0 : 1]}; ${finished} done`
    }
  }
}
export type WorkList = ReturnType<typeof makeWorkList>

/** The job cannot start; nothing was done. */
export class PreflightError extends Data.TaggedError("PreflightError")<{
  readonly message: string
  readonly cause?: unknown
}> {}

/** Any step before the first folder that fails ends the run with its own message. */
export const asPreflight = <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.mapError(effect, (error) => new PreflightError({ message: error.message, cause: error }))

/**
 * Tries again after 1 s, 2 s, 4 s, … at most a minute, each up to 20 % shorter or longer, while the error is transient and at most
 * `retries` times. Each failure but the last is a warning in the log.
 */
export const retryTransient =
  (retries: number) =>
  <A, E extends { readonly transient: boolean; readonly message: string }, R>(effect: Effect.Effect<A, E, R>) => {
    const attempt = (n: number): Effect.Effect<A, E, R> =>
      Effect.catchIf(
        effect,
        ({ transient }) => transient && n <= retries,
        Effect.fnUntraced(function* ({ message }) {
          yield* Effect.logWarning(`attempt ${n} of ${retries + 1} failed, trying again: ${message}`)
          const jitter = yield* Random.nextRange(0.8, 1.2)
          yield* Effect.sleep(Duration.seconds(Math.min(2 ** (n - 1), 60) * jitter))
          return yield* attempt(n + 1)
        })
      )
    return attempt(1)
  }

/** For what may hang, such as a disk or a server: gives `otherwise` after 5 seconds; `effect` goes on in the background. */
export const withDeadline = <A, B, E, R>(effect: Effect.Effect<A, E, R>, otherwise: B): Effect.Effect<A | B, E, R> =>
  // Interruptible as a whole: inside a region that is not, the timeout itself would wait.
  Effect.timeoutTo(Effect.interruptible(Effect.disconnect(effect)), {
    duration: "5 seconds",
    onSuccess: (value): A | B => value,
    onTimeout: (): A | B => otherwise
  })

/** An interruption waits 5 seconds for `effect` to end, such as on another host, and stops it then. */
export const finishBriefly = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(Effect.interruptible(effect)), (fiber) =>
      restore(Fiber.join(fiber)).pipe(
        Effect.onInterrupt(() => Effect.zipRight(withDeadline(Fiber.await(fiber), undefined), Fiber.interrupt(fiber)))
      )
    )
  )

/** Tries for `seconds`, each second, to get a lock that another process holds; 0 or undefined: once. */
export const waitForLock =
  (seconds: number | undefined) =>
  <A, R>(acquire: Effect.Effect<A, LockError, R>): Effect.Effect<A, LockError, R> => {
    if (seconds === undefined || seconds === 0) return acquire
    const isHeld = ({ reason }: LockError): boolean => reason === "Held"
    // A pause comes before each attempt.
    const again = Effect.zipRight(Effect.sleep("1 second"), acquire).pipe(
      Effect.retry({ schedule: Schedule.forever.pipe(Schedule.upTo(Duration.seconds(seconds - 1))), while: isHeld })
    )
    return Effect.catchIf(acquire, isHeld, ({ message }) =>
      Effect.zipRight(Effect.logInfo(`${message}; waiting for it, at most ${seconds} s`), again)
    )
  }
