import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { Lock, LockError } from "../runs/Lock.ts"
import { PreflightError } from "../runs/Run.ts"
import { claimTarget } from "../store/ClaimTarget.ts"
import { Store } from "../store/Store.ts"
import { bytes, count } from "../text/Text.ts"
import { Zfs } from "../zfs/Zfs.ts"

/** The source shows nothing to archive, but it did before. */
export class SourceEmpty extends Data.TaggedError("SourceEmpty")<{ readonly archived: number }> {
  override get message() {
    return `the source holds no folder to archive, but ${count(this.archived, "folder")} of it ${this.archived === 1 ? "is" : "are"} archived in the target: is the source mounted, and is source_path right?`
  }
}

/** A lock that another process holds stays what it is: the run has its own exit status for that. */
const unlessHeld = <A, E extends { readonly message: string }, R>(
  effect: Effect.Effect<A, E | LockError, R>
) =>
  Effect.mapError(effect, (error) =>
    error instanceof LockError && error.reason === "Held"
      ? error
      : new PreflightError({ message: error.message, cause: error })
  )

/**
 * Source and target are what they should be: a folder on ZFS (or any folder, when read live), and folders that
 * can be written to; and the target is this job's, or free, and locked until the scope closes. Says once where archives are put together when tmp_dir cannot serve for it.
 */
export const preflight = Effect.fn("Preflight")(function* (config: {
  readonly source_path: string
  readonly target_path: string
  readonly tmp_dir?: string | undefined
}) {
  const zfs = yield* Zfs
  const store = yield* Store
  const source = yield* zfs.locate(config.source_path)
  // First of all: nothing is to be written where the target only seems to be.
  yield* zfs.checkTarget(config.target_path)
  const report = yield* store.preflight
  // A target that had no such folder when the run began; now it has.
  yield* (yield* Lock).acquireIn(yield* store.stateFolder)
  const owned = yield* claimTarget(config, source)
  yield* Effect.logDebug(
    report.free === undefined
      ? "the file system of the target does not tell how much is free: a full one shows only when it is written to"
      : `${bytes(report.free)} free in the target`
  )
  if (config.tmp_dir !== undefined && !report.stagesInTmp) {
    yield* Effect.logInfo(
      `tmp_dir ${config.tmp_dir} is on another file system or mount than the target: archives are put together inside the target instead`
    )
  }
  return owned
}, unlessHeld)
