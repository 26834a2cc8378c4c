import * as Effect from "effect/Effect"
import type { FolderName } from "../domain/FolderName.ts"
import { Archives } from "../services/Archives.ts"
import { published } from "./Published.ts"

/**
 * The folders that lost their archive, sorted: something says that one was published, and there is no zip, by a look at the target.
 * One that is being published for the first time is not lost.
 */
export const lostArchives = Effect.gen(function* () {
  const archives = yield* Archives
  const known = new Set<FolderName>([...(yield* archives.folders), ...(yield* published)])
  return yield* Effect.filter(
    [...known].sort(),
    (folder) =>
      Effect.gen(function* () {
        if ((yield* archives.size(folder, "current")) > 0) return false
        const set = yield* archives.open(folder, "current")
        return set === undefined || (set.file === undefined && !set.interrupted)
      }).pipe(
        // One folder that cannot be looked at does not hide the others; it is said, and is not called lost.
        Effect.catchAll((error) => Effect.as(Effect.logWarning(error.message), false))
      ),
    { concurrency: 16 }
  )
})
