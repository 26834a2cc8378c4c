import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { FolderName } from "../domain/FolderName.ts"
import * as Metadata from "../domain/Metadata.ts"
import { shortened } from "../domain/RunEnd.ts"
import type { FolderResult } from "../domain/RunResult.ts"
import { Store } from "../services/Store.ts"

/** Says that a folder failed, and notes it, so that the folder is due again in the next run. A path in `reason` may be of any length. */
export const failFolder = Effect.fnUntraced(
  function* (run: string, folder: FolderName, reason: string) {
    const error = shortened(reason)
    yield* Effect.logError(error)
    const store = yield* Store
    const now = yield* Clock.currentTimeMillis
    const recorded = yield* store
      .recordFailure({ folder, run, failed_at_utc: Metadata.utcSeconds(now), error })
      .pipe(
        Effect.as(true),
        Effect.catchAll((cause) =>
          Effect.as(Effect.logWarning(`cannot note the failure: ${cause.message}`), false)
        )
      )
    return { _tag: "Failed", folder, error, recorded } satisfies FolderResult
  },
  (effect, _run, folder) => Effect.annotateLogs(effect, "folder", folder)
)
