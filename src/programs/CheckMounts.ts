import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { FolderName } from "../domain/FolderName.ts"
import type { FolderRecord } from "../domain/FolderState.ts"
import type { Manifest } from "../domain/Manifest.ts"
import { missing } from "../domain/MissingMounts.ts"

/** What belongs in the folder is not there. */
class PlaceMissing extends Data.TaggedError("PlaceMissing")<{
  readonly message: string
  readonly transient: false
}> {}

/** Fails where a place in the folder was a mount of its own at its last success and is not now, unless the user accepts that. */
export const checkMounts = Effect.fnUntraced(function* (
  context: { readonly records: ReadonlyMap<FolderName, FolderRecord>; readonly acceptsLoss: boolean },
  manifest: Manifest
) {
  if (context.acceptsLoss) return
  const { folder } = manifest
  const message = missing(folder, context.records.get(folder)?.state, manifest)
  if (message !== undefined) return yield* new PlaceMissing({ message, transient: false })
})
