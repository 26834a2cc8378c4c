import { dirname } from "node:path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { isFolder } from "../store/SafeFolder.ts"
import { fromDisk, type StoreError } from "../store/StoreError.ts"
import { Disk, type DiskError } from "../system/Disk.ts"

export interface StateSettings {
  readonly dir: string
  /** It lies in the target, and nothing is written where there is no target. */
  readonly inTarget: boolean
}

/** There is no state folder, and no place for one. */
export class NoPlace extends Data.TaggedError("NoPlace")<{ readonly message: string }> {}

/**
 * Makes the state folder, or a folder in it; a symlink is refused. Makes nothing in an empty target, where a dataset may be about
 * to be mounted, nor for a run that did not reach its work (`outcome`; undefined: not yet), as its target may be refused.
 */
export const makeStateFolder = Effect.fnUntraced(function* (
  settings: StateSettings,
  path: string,
  outcome: Outcome | undefined
) {
  if (yield* isFolder(path)) return
  if (path === settings.dir && settings.inTarget) {
    const target = dirname(path)
    if (outcome !== "ok" && outcome !== "failed") {
      return yield* new NoPlace({ message: `no folder is made in ${target} by a run that did not begin` })
    }
    if ((yield* (yield* Disk).list(target)).length === 0) {
      return yield* new NoPlace({ message: `${target} is empty, so nothing is written down there` })
    }
  }
  if (path === settings.dir && !settings.inTarget) yield* makeParents(dirname(path))
  yield* makeOne(path)
})

const makeParents = (path: string): Effect.Effect<void, DiskError, Disk> =>
  Effect.gen(function* () {
    const disk = yield* Disk
    if (path === dirname(path) || (yield* disk.stat(path)) !== undefined) return
    yield* makeParents(dirname(path))
    yield* makeOne(path)
  })

const makeOne = Effect.fnUntraced(function* (path: string) {
  const disk = yield* Disk
  // Two runs may begin at the same instant.
  yield* disk.makeFolder(path).pipe(
    Effect.catchIf(
      (error) => error.code === "EEXIST",
      () => Effect.void
    )
  )
  yield* disk.sync(`${dirname(path)}/.`)
})

/** What went wrong in a line, with what to do about it. */
export const described = (doing: string, error: DiskError | StoreError | NoPlace): string =>
  error._tag === "DiskError" ? fromDisk(doing)(error).message : `${doing}: ${error.message}`

/** How a run ended: all well; something failed or was refused; it could not begin; stopped by a signal. */
export const Outcome = Schema.Literal("ok", "failed", "not_started", "interrupted")

export type Outcome = typeof Outcome.Type
