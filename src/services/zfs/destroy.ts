import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { type Commands, failure } from "./command.ts"
import { ZfsError } from "./contract.ts"

/**
 * Destroys `name`, if it is still the snapshot with that guid; one that is gone is no failure. Busy is tried a
 * few times: a file of it may be open for a moment longer.
 */
export const destroy = Effect.fnUntraced(
  function* (commands: Commands, name: string, guid: string) {
    const purpose = `destroy the snapshot ${name}`
    const dataset = name.split("@", 1)[0] ?? name
    const found = yield* commands.attempt(["list", "-H", "-p", "-t", "snapshot", "-o", "guid", name])
    if (found.exitCode !== 0) {
      const error = failure(purpose, dataset, found)
      return error.reason === "NotFound" ? undefined : yield* error
    }
    if (found.stdout.trim() !== guid) {
      return yield* new ZfsError({
        reason: "Other",
        message: `cannot ${purpose}: another snapshot has taken its name`,
        transient: false
      })
    }
    yield* commands.run(purpose, dataset, ["destroy", name])
  },
  Effect.retry({
    schedule: Schedule.spaced("250 millis"),
    times: 8,
    while: (error) => error.reason === "Busy"
  }),
  Effect.catchIf(
    (error) => error.reason === "NotFound",
    () => Effect.void
  )
)
