import * as Effect from "effect/Effect"
import { type Job, shortDigest } from "../config/ReplicationJob.ts"
import { permissionsOf } from "../zfs/Allow.ts"
import type { Bookmark, Own, Snapshot, SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import { isWithin, poolOf } from "../zfs/DatasetName.ts"
import type { ZfsError } from "../zfs/ZfsCommand.ts"
import type { Plan } from "./Plan.ts"
import { commonWith } from "./Prune.ts"
import { minimalRoots } from "./Selection.ts"
import { Sender } from "./Sender.ts"
import { type DatasetPair, missingOn, type Survey } from "./Survey.ts"

/**
 * Bookmarks of ours at the source: `DATASET#zipper-PLACE-GUID`, where PLACE tells the replica's place from those of other
 * jobs, and GUID is that of the snapshot. A stream can start from one after its snapshot is gone. Before a stream, all
 * that it may leave as the newest at the target gets one, since a stream that is cut may end at any of its snapshots: of
 * very many only the last, where thousands of commands would take longer than the stream. What no stream can start from
 * any more goes. Other bookmarks are never touched.
 */
export const bookmarkName = (place: string, guid: string): string => `zipper-${place}-${guid}`

/** The PLACE in the name of a bookmark of ours; undefined where it is none. */
export const placeIn = (name: string, guid: string): string | undefined => {
  const [, place] = /^zipper-([0-9a-f]{12})-[0-9]+$/.exec(name) ?? []
  return place !== undefined && name === bookmarkName(place, guid) ? place : undefined
}

/** Its pool's guid and its path in that pool: hosts have several names, and one name several hosts. */
export const placeId = (targets: Survey["targets"], dataset: string): string | undefined => {
  const pool = poolOf(dataset)
  const guid = targets.get(pool)?.guid
  return guid === undefined ? undefined : shortDigest(`${guid}${dataset.slice(pool.length)}`, 12)
}

/** What to change at the source. `sends`: streams of all that is newer than the base are to follow. */
export const planBookmarks = (
  source: Own,
  target: Pick<TargetDataset, "snapshots"> | undefined,
  place: string,
  sends: boolean
): { readonly make: ReadonlyArray<Snapshot>; readonly drop: ReadonlyArray<Bookmark> } => {
  const base = target && commonWith(source, target).at(-1)
  if (base === undefined && !sends) return { make: [], drop: [] }
  const start = [...source.snapshots, ...source.bookmarks].find(({ guid }) => guid === base?.guid)
  const newer = source.snapshots.filter(
    ({ createtxg }) => sends && (start === undefined || createtxg > start.createtxg)
  )
  const coming = newer.length > mostBefore ? newer.slice(-1) : newer
  const needed = new Set([...coming, ...(start === undefined ? [] : [start])].map(({ guid }) => guid))
  const own = source.bookmarks.filter(({ guid, name }) => name === bookmarkName(place, guid))
  const marked = new Set(own.map(({ guid }) => guid))
  return {
    make: source.snapshots.filter(({ guid }) => needed.has(guid) && !marked.has(guid)),
    drop: own.filter(({ guid }) => !needed.has(guid))
  }
}

const mostBefore = 100

// Each waits for the pool to write; some at once wait together.
const mostAtOnce = 4

export type BookmarkPlace = ReturnType<Effect.Effect.Success<ReturnType<typeof bookmarkPlaces>>>

/** Changes the bookmarks by the plan of the dataset. Never fails: without them a run goes as well, the next may not. */
export const keepBookmarks = Effect.fnUntraced(function* (
  place: BookmarkPlace,
  { source, target }: { readonly source: SourceDataset; readonly target: TargetDataset | undefined },
  next: Plan["_tag"]
) {
  if (place === undefined || next === "Blocked" || next === "NothingToSend") return
  const { id, report, turns } = place
  const { drop, make } = planBookmarks(source, target, id, next !== "UpToDate" && next !== "Diverged")
  const sender = yield* Sender
  const each = <A>(all: ReadonlyArray<A>, change: (one: A) => Effect.Effect<void, ZfsError>) =>
    Effect.partition(all, (one) => turns.withPermits(1)(change(one)), { concurrency: mostAtOnce })
  const [failed] = yield* each(make, ({ guid, name }) => sender.bookmark(source.name, name, bookmarkName(id, guid)))
  // An old base stays as long as the new one has no bookmark.
  const undone =
    failed.length > 0 ? failed : (yield* each(drop, ({ name }) => sender.destroyBookmark(source.name, name)))[0]
  if (undone[0] !== undefined) yield* report(undone[0])
})

/** A line for each dataset of the job below which the permissions for bookmarks are missing. */
export const bookmarkGaps = Effect.fnUntraced(function* (job: Job, { sender: account }: Survey) {
  const sender = yield* Sender
  const wanted = permissionsOf("bookmark")
  const gaps = yield* Effect.forEach(job.bookmark ? minimalRoots(job.datasets) : [], (dataset) =>
    Effect.map(missingOn(sender, account, wanted, [{ dataset, where: "both" }]), ([line]) => ({ dataset, line }))
  )
  return gaps.flatMap(({ dataset, line }) => (line === undefined ? [] : [{ dataset, line }]))
})

/** The place in the names of a replica's bookmarks; undefined where the job keeps none. Says once where it may not. */
export const bookmarkPlaces = Effect.fnUntraced(function* (job: Job, found: Survey) {
  const gaps = yield* bookmarkGaps(job, found)
  for (const { line } of gaps) yield* Effect.logInfo(`no bookmark is kept at the source: ${line}`)
  const turns = yield* Effect.makeSemaphore(mostAtOnce)
  let isSaid = false
  const report = ({ message, reason, transient }: ZfsError) =>
    Effect.suspend(() => {
      // What is gone meanwhile needs no bookmark.
      if (isSaid || transient || reason === "NotFound") return Effect.logDebug(message)
      isSaid = true
      return Effect.logWarning(`${message}; keep the snapshots of the source until a run can (said once in a run)`)
    })
  return ({ source, target }: DatasetPair) => {
    const id = placeId(found.targets, target)
    const isKept = job.bookmark && !gaps.some(({ dataset }) => isWithin(source.name, dataset))
    return isKept && id !== undefined ? { id, turns, report } : undefined
  }
})
