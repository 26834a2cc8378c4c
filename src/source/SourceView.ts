import * as Schema from "effect/Schema"
import * as RawPath from "../text/RawPath.ts"
import type { FolderName } from "./FolderName.ts"

/** A snapshot of one or more datasets, taken together under one name, each with a guid of its own. */
export const SnapshotRef = Schema.Struct({
  /** The part after the `@`. */
  name: Schema.String,
  /** guid (decimal text, as zfs prints it) by dataset. */
  guids: Schema.Record({ key: Schema.String, value: Schema.String.pipe(Schema.pattern(/^[0-9]+$/)) })
})
export type SnapshotRef = typeof SnapshotRef.Type

/** A child dataset mounted inside the source: in its parent's snapshot there is an empty folder in its place. */
export interface Graft {
  /** Where it is mounted, relative to the source folder. */
  readonly at: RawPath.RawPath
  /** Absolute path of what belongs there. */
  readonly root: RawPath.RawPath
}

/** A place in the source that cannot be read, such as a locked or unmounted child dataset. */
export interface Blocked {
  /** Relative to the source folder. */
  readonly at: RawPath.RawPath
  /** What is wrong and what to do, for a person. */
  readonly reason: string
}

/** Where the files of one run are read from. */
export interface SourceView {
  /** For people: `tank/data@auto-zip-20250101120000`, or `live`. */
  readonly label: string
  /** The snapshot behind it; undefined when the live folder is read. */
  readonly snapshot: SnapshotRef | undefined
  /** Absolute path of the source folder in that view. */
  readonly root: RawPath.RawPath
  readonly grafts: ReadonlyArray<Graft>
  readonly blocked: ReadonlyArray<Blocked>
  /**
   * Absolute path of the live source folder behind a snapshot: shows what is mounted in it that the snapshot
   * cannot show. Left out, that is not checked.
   */
  readonly livePath?: RawPath.RawPath | undefined
  /** True in a snapshot. Otherwise a file may change while it is read, and readers must notice. */
  readonly frozen: boolean
}

/** What metadata says that an archive was made from: the bare name of the snapshot, or `live`. */
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

/** The absolute path of a manifest entry of `folder`. */
export const resolveEntry = (view: SourceView, folder: FolderName, path: RawPath.RawPath): RawPath.RawPath =>
  resolve(view, RawPath.join(RawPath.fromText(folder), path))

/** The first segment of a path relative to the source: the folder it belongs to. */
export const topSegment = (path: RawPath.RawPath): string => {
  const slash = path.indexOf("/")
  return slash === -1 ? path : path.slice(0, slash)
}

/**
 * A file system that is not mounted leaves an empty folder behind, which looks like a folder whose files were deleted. So each
 * archive's state keeps the places in its folder that were mounts of their own (`""` is the folder itself), as RawPath.display
 * writes them. A place that was one and is not any more fails the folder, unless the user accepts it.
 */

/** Places in order, each once, as a state keeps them. */
export const places = (found: Iterable<RawPath.RawPath>): ReadonlyArray<string> =>
  [...new Set([...found].map(RawPath.display))].sort()

/** Where the child datasets of a snapshot are mounted in the folder. */
export const graftsIn = (view: Pick<SourceView, "grafts">, folder: FolderName): ReadonlyArray<RawPath.RawPath> =>
  view.grafts.flatMap(({ at }) => RawPath.relativeTo(RawPath.fromText(folder), at) ?? [])
