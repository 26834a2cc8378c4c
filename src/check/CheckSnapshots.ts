import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { type ArchiveConfig, stateDirOf } from "../config/Config.ts"
import { Store } from "../store/Store.ts"
import { Disk } from "../system/Disk.ts"
import { JobIdentity } from "../zfs/JobIdentity.ts"
import { decodeMark, type MarkedSnapshot, parseName, type SnapshotMark } from "../zfs/SnapshotPrune.ts"
import type { SourceInfo } from "../zfs/SourceLayout.ts"
import { Zfs } from "../zfs/Zfs.ts"
import { commandText } from "../zfs/ZfsCommand.ts"
import { datasetOf, shortName } from "../zfs/ZfsList.ts"
import { type Finding, warning } from "./Finding.ts"

/**
 * Snapshots of the source with our mark that belong neither to this job nor to the one whose target their mark names;
 * and those that this job took under another `snapshot_prefix` and does not keep.
 */
export const checkSnapshots = Effect.fnUntraced(function* (
  config: Pick<ArchiveConfig, "source_path" | "target_path" | "snapshot_prefix">,
  source: SourceInfo
) {
  if (source.dataset === undefined) return []
  const asked = { source_path: config.source_path, dataset: source.dataset, within: source.within }
  // checkTarget reports what is wrong with the target.
  const ids = Either.getOrUndefined(yield* Effect.either(Effect.flatMap(Store, (store) => store.claim(asked))))
  if (ids === undefined) return []
  const stray: Array<MarkedSnapshot> = []
  const renamed: Array<MarkedSnapshot> = []
  for (const snapshot of yield* (yield* Zfs).markedSnapshots(source)) {
    const mark = decodeMark(snapshot.mark ?? "")
    if (mark === undefined) continue
    if (mark.job !== ids.id && !ids.former.includes(mark.job)) {
      if (!(yield* isElsewhere(mark, config.target_path))) stray.push(snapshot)
    } else if (parseName(config.snapshot_prefix, shortName(snapshot.name)) === undefined) renamed.push(snapshot)
  }
  const kept = renamed.length === 0 ? new Set<string>() : yield* keptGuids
  return [
    ...strayFindings(stray, "by zipper for a job that is not found here"),
    ...strayFindings(
      renamed.filter(({ guid }) => !kept.has(guid)),
      `by this job when snapshot_prefix was not ${config.snapshot_prefix}`
    )
  ]
})

const strayFindings = (stray: ReadonlyArray<MarkedSnapshot>, by: string): ReadonlyArray<Finding> =>
  Object.entries(Arr.groupBy(stray, ({ name }) => datasetOf(name))).map(([dataset, found]) => {
    const names = `${dataset}@${found.map(({ name }) => shortName(name)).join(",")}`
    return warning(
      "snapshots",
      `${found.length} of ${dataset} were taken ${by}, and no run destroys them. If no other configuration or host archives ${dataset}: ${commandText(["destroy", names])}`
    )
  })

/** The snapshots that the next run still needs, or retention keeps. */
const keptGuids = Effect.gen(function* () {
  const cursor = yield* (yield* Store).cursor
  const kept = cursor === undefined ? [] : [cursor.base, ...cursor.kept]
  return new Set(kept.flatMap(({ guids }) => Object.values(guids)))
})

const decodeIdentity = Schema.decodeUnknownEither(Schema.parseJson(JobIdentity))

/** Whether the mark names its job's target. True of one that cannot be read, or of our own that is not mounted. */
const isElsewhere = ({ job, target }: SnapshotMark, ownTarget: string) =>
  Effect.gen(function* () {
    if (target === undefined) return false
    const disk = yield* Disk
    const state = stateDirOf({ target_path: target })
    if (target === ownTarget && (yield* disk.stat(state)) === undefined) return true
    const content = yield* disk.read(`${state}/job.json`)
    if (content === undefined) return false
    return Either.match(decodeIdentity(content), {
      onLeft: () => true,
      onRight: ({ former_ids, id }) => id === job || former_ids.includes(job)
    })
  }).pipe(
    Effect.catchAll(({ message }) => Effect.as(Effect.logDebug(`the job of a snapshot is not known: ${message}`), true))
  )
