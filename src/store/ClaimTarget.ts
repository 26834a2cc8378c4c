import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { describeSource, isSameSource } from "../zfs/JobIdentity.ts"
import type { SourceInfo } from "../zfs/SourceLayout.ts"
import { Zfs } from "../zfs/Zfs.ts"
import { Store } from "./Store.ts"

class TargetTaken extends Data.TaggedError("TargetTaken")<{ readonly message: string }> {}

/** Fails when the target belongs to another source that is still there: the two would take each other's archives for their own. */
export const checkOwner = Effect.fnUntraced(function* (config: { readonly target_path: string }, source: SourceInfo) {
  const owner = yield* (yield* Store).owner
  const asked = { ...source, source_path: source.path }
  if (owner === undefined || isSameSource(owner, asked)) return
  const before = `${describeSource(owner)}, since ${owner.since_utc}`
  if (!(yield* (yield* Zfs).isGone(owner))) {
    return yield* new TargetTaken({
      message: `target_path ${config.target_path} belongs to the job with the source ${before}: give this job a target of its own; if that other job is no more, remove job.json and cursor.json in ${config.target_path}/.zipper`
    })
  }
  yield* Effect.logWarning(
    `target_path ${config.target_path} belonged to the job with the source ${before}, which is not there any more: from now on it belongs to the source ${source.path}`
  )
})

/** The source as one of this job, once the target is known to be this job's or to be free. */
export const claimTarget = Effect.fnUntraced(function* (config: { readonly target_path: string }, source: SourceInfo) {
  yield* checkOwner(config, source)
  const { dataset, path, within } = source
  const job = yield* (yield* Store).claim({ source_path: path, dataset, within })
  return { ...source, job } satisfies SourceInfo
})
