import * as Effect from "effect/Effect"
import { poolOf } from "../domain/replication/DatasetName.ts"
import { Datasets } from "../services/Datasets.ts"
import { Disk } from "../services/Disk.ts"

/** What was found where a path points. */
export interface Place {
  /** Without symlinks. */
  readonly path: string
  /** The dataset that holds it; undefined when none does. */
  readonly dataset: string | undefined
}

/** A folder that is there, and its dataset. Fails with what is wrong, in words. */
export const lookAt = Effect.fnUntraced(function* (path: string) {
  const datasets = yield* Datasets
  const resolved = yield* datasets.resolve(path).pipe(Effect.mapError(({ message }) => plainly(message)))
  const dataset = yield* datasets.holding(path).pipe(
    Effect.catchIf(
      ({ reason }) => reason === "NotZfs" || reason === "NotInstalled",
      () => Effect.succeed(undefined)
    ),
    Effect.mapError(({ message }) => plainly(message))
  )
  return { path: resolved, dataset } satisfies Place
})

// The advice is for somebody who has a configuration already.
const plainly = (message: string): string =>
  message.replace(/; check source_path$/, "").replace("the source folder ", "")

/** Why this cannot be the source; undefined when it can. `live`: it is read as it is. */
export const sourceProblem = ({ dataset, path }: Place, live: boolean): string | undefined =>
  dataset === undefined && !live
    ? `${path} is not on ZFS: give a folder that is, or --live to have it read as it is, without snapshots`
    : undefined

/** Why archives cannot go there; undefined when they can. */
export const targetProblem = Effect.fnUntraced(function* (target: Place, source: Place | undefined) {
  if (source !== undefined && (target.path === source.path || target.path.startsWith(`${source.path}/`))) {
    return `${target.path} lies inside the source ${source.path}: archives would be archived again`
  }
  return yield* Effect.match((yield* Disk).writable(target.path), {
    onSuccess: () => undefined,
    onFailure: ({ message }) => message
  })
})

/** What should be known of the two together, though it is no mistake. */
export const remarks = (source: Place, target: Place): ReadonlyArray<string> => {
  if (source.dataset === undefined || target.dataset === undefined) return []
  if (source.dataset === target.dataset) {
    return [
      `source and target are on one dataset, ${source.dataset}: its snapshots hold old archives too; a dataset of its own for the target is better`
    ]
  }
  return poolOf(source.dataset) === poolOf(target.dataset)
    ? [
        `source and target are on one pool, ${poolOf(source.dataset)}: whoever loses that pool loses both; zipper push can send the archives elsewhere`
      ]
    : []
}
