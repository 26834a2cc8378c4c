import * as Schema from "effect/Schema"
import * as RawPath from "../text/RawPath.ts"
import type { FolderName } from "./FolderName.ts"

/** A snapshot of one or more datasets, taken together under one name. */
export const SnapshotRef = Schema.Struct({
  name: Schema.String,
  guids: Schema.Record({ key: Schema.String, value: Schema.String.pipe(Schema.pattern(/^[0-9]+$/)) })
})
export type SnapshotRef = typeof SnapshotRef.Type

/** A child dataset mounted in the source, where its parent's snapshot has an empty folder. */
export interface Graft {
  /** Relative to the source folder. */
  readonly at: RawPath.RawPath
  readonly root: RawPath.RawPath
}

/** A place in the source that cannot be read, such as a locked or unmounted child dataset. */
export interface Blocked {
  readonly at: RawPath.RawPath
  readonly reason: string
}

export interface SourceView {
  /** `tank/data@auto-zip-20250101120000`, or `live`. */
  readonly label: string
  readonly snapshot: SnapshotRef | undefined
  readonly root: RawPath.RawPath
  readonly grafts: ReadonlyArray<Graft>
  readonly blocked: ReadonlyArray<Blocked>
  /** Absolute path of the live folder behind a snapshot, where mounts are looked for that a snapshot does not show. */
  readonly livePath?: RawPath.RawPath | undefined
  /** In a snapshot. Otherwise a file may change while it is read, and readers must notice. */
  readonly frozen: boolean
}

/** For the metadata of an archive: the bare name of the snapshot, or `live`. */
export const snapshotName = (view: Pick<SourceView, "snapshot">): string => view.snapshot?.name ?? "live"

/** The absolute path in `view` of `path`, which is relative to the source folder. The deepest graft wins. */
export const resolve = (view: SourceView, path: RawPath.RawPath): RawPath.RawPath => {
  let best: Graft | undefined
  for (const graft of view.grafts) {
    if (RawPath.relativeTo(graft.at, path) === undefined) continue
    if (best === undefined || graft.at.length > best.at.length) best = graft
  }
  const below = best === undefined ? undefined : RawPath.relativeTo(best.at, path)
  return best === undefined || below === undefined ? RawPath.join(view.root, path) : RawPath.join(best.root, below)
}

/** The same for a path that is relative to one of the folders. */
export const resolveEntry = (view: SourceView, folder: FolderName, path: RawPath.RawPath): RawPath.RawPath =>
  resolve(view, RawPath.join(RawPath.fromText(folder), path))

/** Mounts as the state of an archive keeps them, sorted: one that is missing later looks like a folder without files. */
export const places = (found: Iterable<RawPath.RawPath>): ReadonlyArray<string> =>
  [...new Set([...found].map(RawPath.display))].sort()

/** Where the child datasets of a snapshot are mounted in the folder. */
export const graftsIn = (view: Pick<SourceView, "grafts">, folder: FolderName): ReadonlyArray<RawPath.RawPath> =>
  view.grafts.flatMap(({ at }) => RawPath.relativeTo(RawPath.fromText(folder), at) ?? [])
