import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { stateDirOf } from "../domain/Config.ts"
import { JobIdentity, type JobIds } from "../domain/JobIdentity.ts"
import { shellWords } from "../domain/ShellWord.ts"
import { decode, type SnapshotMark } from "../domain/SnapshotMark.ts"
import type { Snapshot } from "../domain/SnapshotPrune.ts"
import { datasetOf, shortName } from "../domain/ZfsList.ts"
import { Disk } from "../services/Disk.ts"
import { Store } from "../services/Store.ts"
import { type SourceInfo, Zfs } from "../services/Zfs.ts"
import { type Finding, warning } from "./Finding.ts"

/**
 * Snapshots of the source that carry our mark and belong to no job that can be found from here: not to this one, and not to the
 * one whose target their mark names. No run destroys them.
 */
export const checkSnapshots = Effect.fnUntraced(function* (
  config: { readonly source_path: string; readonly target_path: string },
  source: SourceInfo
) {
  if (source.dataset === undefined) return []
  const asked = { source_path: config.source_path, dataset: source.dataset, within: source.within }
  // What is wrong with the target is found where that is looked at.
  const ids = Either.getOrUndefined(
    yield* Effect.either(Effect.flatMap(Store, (store) => store.claim(asked)))
  )
  if (ids === undefined) return []
  const snapshots = yield* (yield* Zfs).marked(source)
  const stray = yield* Effect.filter(snapshots, (snapshot) =>
    Effect.negate(hasJob(snapshot, ids, config.target_path))
  )
  const datasets = [...new Set(stray.map(({ name }) => datasetOf(name)))]
  return datasets.map((dataset) =>
    strayFinding(
      dataset,
      stray.filter(({ name }) => datasetOf(name) === dataset)
    )
  )
})

const strayFinding = (dataset: string, found: ReadonlyArray<Snapshot>): Finding => {
  const names = `${dataset}@${found.map(({ name }) => shortName(name)).join(",")}`
  return warning(
    "snapshots",
    `${found.length} of ${dataset} were taken by zipper for a job that is not found here, and no run destroys them. If no other configuration or host archives ${dataset}: ${shellWords(["zfs", "destroy", names])}`
  )
}

const hasJob = ({ mark }: Snapshot, { former, id }: JobIds, ownTarget: string) =>
  Effect.gen(function* () {
    const known = mark === undefined ? undefined : decode(mark)
    if (known === undefined || known.job === id || former.includes(known.job)) return true
    return yield* isElsewhere(known, ownTarget)
  })

const decodeIdentity = Schema.decodeUnknownEither(Schema.parseJson(JobIdentity))

/**
 * Whether the target that the mark names is that of the job in the mark. A target that cannot be looked at may be, and so may our
 * own where it has no state: it may not be mounted.
 */
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
    Effect.catchAll(({ message }) =>
      Effect.as(Effect.logDebug(`the job of a snapshot is not known: ${message}`), true)
    )
  )
