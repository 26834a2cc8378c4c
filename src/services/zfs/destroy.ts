import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Role } from "../../domain/replication/Roles.ts"
import { table } from "../../domain/ZfsList.ts"
import { at, type Commands, understood } from "./command.ts"
import { ZfsError } from "./contract.ts"

interface Options {
  /** Look first whether the snapshot is held or cloned, and refuse at once. */
  readonly spareNeeded?: boolean
  /** Whose permissions it takes. */
  readonly role?: Role
}

/**
 * Destroys `name`, if it is still the snapshot with that guid; one that is gone is no failure. Busy is tried a
 * few times: a file of it may be open for a moment longer.
 */
export const destroy = Effect.fnUntraced(
  function* (commands: Commands, name: string, guid: string, options: Options = {}) {
    const purpose = `destroy the snapshot ${name}`
    const dataset = name.split("@", 1)[0] ?? name
    const columns = options.spareNeeded === true ? "guid,userrefs,clones" : "guid"
    const found = yield* commands.attempt(["list", "-H", "-p", "-t", "snapshot", "-o", columns, name])
    if (found.exitCode !== 0) {
      const error = commands.failure(purpose, dataset, found)
      return error.reason === "NotFound" ? undefined : yield* error
    }
    const row = yield* understood(commands, purpose, table(found.stdout, columns.split(",").length))
    const why = obstacle(row[0] ?? [], guid)
    if (why !== undefined) {
      return yield* new ZfsError({
        reason: "Other",
        message: `${at(commands.endpoint)}cannot ${purpose}: ${why}`,
        transient: false
      })
    }
    yield* commands.run(purpose, dataset, ["destroy", name], options.role)
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

const obstacle = ([found, holds = "0", clones = "-"]: ReadonlyArray<string>, guid: string) => {
  if (found?.trim() !== guid) return "another snapshot has taken its name"
  if (holds !== "0") return "it is held (zfs holds says by whom)"
  return clones === "-" || clones === "" ? undefined : `it has clones: ${clones.replaceAll(",", ", ")}`
}
