import type { BigIntStats } from "node:fs"
import { codeOf } from "../../domain/Errno.ts"
import * as RawPath from "../../domain/RawPath.ts"
import type { Graft, SourceView } from "../../domain/Source.ts"
import type { DirectoryCalls } from "../../workers/DirectoryCalls.ts"
import { failed } from "./Reading.ts"
import { TreeError } from "./TreeError.ts"

/** `.zfs` of a live dataset that shows it (snapdir=visible): all its snapshots are below. Its inode is fixed, on Linux and FreeBSD. */
export const isControlDirectory = (name: RawPath.RawPath, stats: BigIntStats): boolean =>
  name === ".zfs" && stats.isDirectory() && (stats.ino === 0xffff_ffff_ffffn || stats.ino === 1n)

/** Of the root of a subvolume in a snapshot that does not hold the subvolume; what is mounted has another one. */
const emptySubvolume = 2n
const btrfs = 0x9123683en
const inside = RawPath.fromText(".")

/** Whether an empty directory stands where the volume that a btrfs snapshot was taken of has a nested subvolume. */
export const isHollow = async (
  real: RawPath.RawPath,
  path: RawPath.RawPath,
  calls: DirectoryCalls
): Promise<boolean> => {
  // The path of a directory that is open is a symlink in /proc, which has an inode number of its own.
  const at = RawPath.toBuffer(RawPath.join(real, inside))
  try {
    return (await calls.lstat(at)).ino === emptySubvolume && (await calls.fileSystemType(at)) === btrfs
  } catch (cause) {
    throw failed({ frozen: false }, "see what file system is at", path, real, cause)
  }
}

/** The child datasets of one folder. */
export interface Grafts {
  /** Where each one really is, by its path relative to the source. */
  readonly at: ReadonlyMap<RawPath.RawPath, RawPath.RawPath>
  /** Those mounted right in a directory: name, and where it really is. */
  readonly inside: (
    parent: RawPath.RawPath
  ) => ReadonlyArray<readonly [name: RawPath.RawPath, root: RawPath.RawPath]>
}

/** The child datasets in the folder `top`, by place and by the directory that they are mounted in. */
export const graftsWithin = (grafts: ReadonlyArray<Graft>, top: RawPath.RawPath): Grafts => {
  const at = new Map<RawPath.RawPath, RawPath.RawPath>()
  const byParent = new Map<string, Array<readonly [RawPath.RawPath, RawPath.RawPath]>>()
  for (const graft of grafts) {
    if (RawPath.relativeTo(top, graft.at) === undefined || at.has(graft.at)) continue
    at.set(graft.at, graft.root)
    const slash = graft.at.lastIndexOf("/")
    const parent = graft.at.slice(0, Math.max(slash, 0))
    const name = RawPath.fromLatin1(graft.at.slice(slash + 1))
    byParent.set(parent, [...(byParent.get(parent) ?? []), [name, graft.root]])
  }
  return { at, inside: (parent) => byParent.get(parent) ?? [] }
}

/**
 * An empty directory of a snapshot may be where another file system is mounted: then its files are not in the
 * snapshot, and an archive without them would be no backup. The live directory tells. `path` is relative to the source.
 */
export const mustBeEmpty = async (
  view: Pick<SourceView, "frozen" | "livePath">,
  path: RawPath.RawPath,
  calls: DirectoryCalls
): Promise<void> => {
  if (!view.frozen || view.livePath === undefined) return
  const live = RawPath.join(view.livePath, path)
  const parent = RawPath.fromLatin1(live.slice(0, Math.max(live.lastIndexOf("/"), 1)))
  const device = (at: RawPath.RawPath) =>
    calls.lstat(RawPath.toBuffer(at)).then(
      (stats) => stats.dev,
      (cause: unknown) => {
        // Renamed or removed since: then nothing is mounted on it either.
        if (codeOf(cause) === "ENOENT" || codeOf(cause) === "ENOTDIR") return undefined
        throw failed(view, "see whether a file system is mounted on", path, at, cause)
      }
    )
  const own = await device(live)
  if (own === undefined || own === (await device(parent))) return
  throw new TreeError({
    path: RawPath.display(live),
    message: `${RawPath.display(path)} is a mount point of another file system, which the snapshot does not cover; unmount it or mount it outside the source`,
    transient: false
  })
}
