import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { harmless } from "../domain/Text.ts"
import { duration } from "../domain/Units.ts"
import { type Found, Stall } from "../services/Stall.ts"

/** The run waits for something that does not come, and that nobody can end. */
class Stalled extends Data.TaggedError("Stalled")<Found> {
  override get message() {
    return `given up: ${harmless(this.program)} has hung in the kernel for ${duration(this.seconds * 1000)}, as on a pool that is suspended (see zpool status; zpool clear, once its disks are back) or a disk or network share that does not answer; this process keeps its lock until the kernel lets it end`
  }
}

/** Waits until the run hangs, tells of that, and leaves. What it hangs in is left as a kill would, to the next run. */
export const whenStalled = Effect.fnUntraced(function* <R>(
  tellOf: (error: Stalled) => Effect.Effect<void, never, R>
) {
  const stall = yield* Stall
  const error = new Stalled(yield* stall.found)
  yield* Effect.logError(error.message)
  yield* tellOf(error).pipe(Effect.catchAllCause((cause) => Effect.logError(cause)))
  return yield* stall.leave(error.message)
})
