import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FolderName from "../domain/FolderName.ts"
import { Disk } from "../services/Disk.ts"

/** Nothing is there: what could be said of the target would be said of an empty place. */
class TargetMissing extends Data.TaggedError("TargetMissing")<{ readonly path: string }> {
  override get message() {
    return `the target ${this.path} does not exist: is its dataset mounted, and is target_path right?`
  }
}

/** Names at the top of the target that an archived folder could have, sorted. */
export const targetFolders = Effect.fnUntraced(function* (target: string) {
  const disk = yield* Disk
  if ((yield* disk.stat(target)) === undefined) return yield* new TargetMissing({ path: target })
  return (yield* disk.list(target)).flatMap((name) => FolderName.parse(name) ?? [])
})
