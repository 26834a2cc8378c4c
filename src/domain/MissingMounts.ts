import type { FolderName } from "./FolderName.ts"
import type { FolderState } from "./FolderState.ts"
import type { Manifest } from "./Manifest.ts"
import * as RawPath from "./RawPath.ts"
import type { SourceView } from "./Source.ts"

/**
 * A file system that is not mounted leaves an empty folder behind, which looks like a folder whose files were deleted. So each
 * archive's state keeps the places in its folder that were mounts of their own (`""` is the folder itself), as RawPath.display
 * writes them. A place that was one and is not any more fails the folder, unless the user accepts it.
 */

/** Places in order, each once, as a state keeps them. */
export const places = (found: Iterable<RawPath.RawPath>): ReadonlyArray<string> =>
  [...new Set([...found].map(RawPath.display))].sort()

/** Where the child datasets of a snapshot are mounted in the folder. */
export const graftsIn = (
  view: Pick<SourceView, "grafts">,
  folder: FolderName
): ReadonlyArray<RawPath.RawPath> =>
  view.grafts.flatMap(({ at }) => RawPath.relativeTo(RawPath.fromText(folder), at) ?? [])

/** Whether a state has to be written anew, or its folder fails, by what is mounted in the folder now. */
export const isMountedAsBefore = (
  state: Pick<FolderState, "mounts" | "hollow">,
  now: Pick<Manifest, "mounts" | "hollow">
): boolean => isSame(state.mounts, now.mounts) && isSame(state.hollow, now.hollow)

/** The same by the snapshot alone, for a folder that is not listed because `zfs diff` shows no change in it. */
export const isGraftedAsBefore = (
  state: Pick<FolderState, "mounts">,
  view: Pick<SourceView, "grafts">,
  folder: FolderName
): boolean => isSame(state.mounts, places(graftsIn(view, folder)))

const isSame = (before: ReadonlyArray<string> = [], now: ReadonlyArray<string> = []): boolean =>
  before.length === now.length && without(before, now).length === 0

const without = (some: ReadonlyArray<string> = [], others: ReadonlyArray<string> = []) => {
  const known = new Set(others)
  return some.filter((place) => !known.has(place))
}

/**
 * Why the folder must not be archived as it is now, and what to do; undefined when nothing is missing. `state` is that of
 * its last archive.
 */
export const missing = (
  folder: FolderName,
  state: Pick<FolderState, "mounts" | "hollow"> | undefined,
  now: Pick<Manifest, "mounts" | "hollow">
): string | undefined => {
  const gone = without(state?.mounts, now.mounts)
  if (gone.length > 0) {
    return `${named(folder, gone)} a mount of its own when the folder was last archived, and nothing is mounted there now: mount it, or ${acceptance(folder)}`
  }
  const hollow = without(now.hollow, state?.hollow)
  if (hollow.length > 0) {
    return `${named(folder, hollow)} a btrfs subvolume of its own in the volume that the snapshot was taken of, and only an empty folder in the snapshot: its files are not there. Read it where it is whole, or ${acceptance(folder)}`
  }
  return undefined
}

/** The same for a folder that is not in the source at all. */
export const missingWhole = (state: Pick<FolderState, "mounts"> | undefined): string | undefined =>
  state?.mounts?.includes("") === true
    ? "it was a mount of its own when it was last archived, and is not in the source now: mount it; or, if it is gone for good, move its folder out of the target"
    : undefined

const named = (folder: FolderName, [first = "", ...more]: ReadonlyArray<string>): string =>
  `${first === "" ? "it" : `${folder}/${first}`}${more.length === 0 ? "" : ` (and ${more.length} more)`} was`

const acceptance = (folder: FolderName): string => `accept it as it is: zipper run --force --folder ${folder}`
