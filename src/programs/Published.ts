import * as Effect from "effect/Effect"
import type { FolderName } from "../domain/FolderName.ts"
import { archiveKey } from "../domain/JobKey.ts"
import { Archives } from "../services/Archives.ts"
import { Standing } from "../services/Standing.ts"

const none: ReadonlyArray<FolderName> = []

/**
 * Folders of which runs have published archives, by what they left elsewhere than beside those; in no order, some perhaps twice.
 * Where that cannot be read it warns, and knows of none.
 */
export const published = Effect.gen(function* () {
  const standing = yield* (yield* Standing).load(archiveKey)
  const folders = standing?.kind === "archive" ? standing.folders : []
  const archived = folders.filter((folder) => (folder.archived_at_utc ?? folder.files) !== undefined)
  return [...(yield* (yield* Archives).recorded), ...archived.map(({ folder }) => folder)]
}).pipe(
  Effect.catchAll((error) =>
    Effect.as(
      Effect.logWarning(`folders of which nothing is left may not be noticed: ${error.message}`),
      none
    )
  )
)
