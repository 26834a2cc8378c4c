import type { BigIntStats } from "node:fs"
import { codeOf } from "../../domain/Errno.ts"
import type { FolderName } from "../../domain/FolderName.ts"
import type { ManifestEntry } from "../../domain/Manifest.ts"
import * as RawPath from "../../domain/RawPath.ts"
import * as Source from "../../domain/Source.ts"
import { runPool } from "./Pool.ts"
import { failed, lstat, names, namesLogged, typeOf } from "./Reading.ts"
import { TreeError } from "./TreeError.ts"

/** Something that is no file and no directory. */
export interface Skipped {
  readonly path: RawPath.RawPath
  readonly type: string
}

/** What lies in a folder, in no order. */
export interface Walked {
  readonly entries: ReadonlyArray<Omit<ManifestEntry, "name">>
  readonly hardLinks: boolean
  readonly skipped: number
  /** The first of the skipped. */
  readonly skippedNames: ReadonlyArray<Skipped>
}

/** Enough to keep the kernel busy; node has four threads for it anyway. */
const atOnce = 16

const namesAtOnce = 64

type Job =
  /** A directory to list: paths are relative to the source. */
  | { readonly _tag: "List"; readonly path: RawPath.RawPath; readonly real: RawPath.RawPath }
  /** Names of a listed directory to look at. */
  | {
      readonly _tag: "Look"
      readonly parent: RawPath.RawPath
      readonly real: RawPath.RawPath
      readonly names: ReadonlyArray<RawPath.RawPath>
    }

/** Walks one folder of the view, child datasets from where they really are. */
export const walk = async (
  view: Source.SourceView,
  folder: FolderName,
  signal: AbortSignal
): Promise<Walked> => {
  const top = RawPath.fromText(folder)
  const grafts = graftsWithin(view, top)
  const entries: Array<Omit<ManifestEntry, "name">> = []
  const skippedNames: Array<Skipped> = []
  let skipped = 0
  let hardLinks = false

  const list = async (path: RawPath.RawPath, real: RawPath.RawPath, push: (job: Job) => void) => {
    const found = await names(real).catch((cause: unknown) => {
      throw failed(view, "list", path, real, cause)
    })
    const here = new Set(grafts.inside(path))
    for (const name of here.size === 0 ? [] : found) here.delete(name)
    const all = here.size === 0 ? found : [...found, ...here]
    if (all.length === 0 && !grafts.at.has(path)) await mustBeEmpty(view, path)
    for (let from = 0; from < all.length; from += namesAtOnce) {
      push({ _tag: "Look", parent: path, real, names: all.slice(from, from + namesAtOnce) })
    }
  }

  const take = (
    path: RawPath.RawPath,
    real: RawPath.RawPath,
    stats: BigIntStats,
    push: (job: Job) => void
  ) => {
    const kind = stats.isFile() ? "file" : stats.isDirectory() ? "directory" : undefined
    const within = RawPath.fromLatin1(path.slice(top.length + 1))
    if (kind === undefined || isZfsControl(path, stats)) {
      skipped += 1
      if (skippedNames.length < namesLogged) skippedNames.push({ path: within, type: typeOf(stats) })
      return
    }
    if (kind === "directory") push({ _tag: "List", path, real })
    else if (stats.nlink > 1n) hardLinks = true
    entries.push({
      path: within,
      kind,
      size: kind === "file" ? Number(stats.size) : 0,
      mtimeNs: stats.mtimeNs,
      mode: Number(stats.mode) & 0xffff
    })
  }

  await runPool<Job>(
    { _tag: "List", path: top, real: Source.resolve(view, top) },
    atOnce,
    async (job, push) => {
      signal.throwIfAborted()
      if (job._tag === "List") return list(job.path, job.real, push)
      for (const name of job.names) {
        const path = RawPath.join(job.parent, name)
        const graft = grafts.at.get(path)
        const real = graft ?? RawPath.join(job.real, name)
        const stats = await lstat(real).catch((cause: unknown) => {
          throw failed(view, "read", path, real, cause)
        })
        if (graft !== undefined) {
          grafts.seen.add(path)
          if (!stats.isDirectory()) throw failed(view, "list", path, real, new Error("it is no directory"))
        }
        take(path, real, stats, push)
      }
    }
  )
  for (const [at, root] of grafts.at) {
    if (at !== top && !grafts.seen.has(at)) {
      throw failed(
        view,
        "read",
        at,
        root,
        new Error(`a dataset is mounted there, but ${view.label} has no such place`)
      )
    }
  }
  return { entries, hardLinks, skipped, skippedNames }
}

/** `.zfs` of a live dataset that shows it (snapdir=visible): all its snapshots are below. Its inode is fixed, on Linux and FreeBSD. */
const isZfsControl = (path: RawPath.RawPath, stats: BigIntStats): boolean =>
  path.endsWith("/.zfs") && stats.isDirectory() && (stats.ino === 0xffff_ffff_ffffn || stats.ino === 1n)

/** The child datasets in a folder: by place, and by the directory that they are mounted in. */
const graftsWithin = (view: Source.SourceView, top: RawPath.RawPath) => {
  const at = new Map<RawPath.RawPath, RawPath.RawPath>()
  const byParent = new Map<string, Array<RawPath.RawPath>>()
  for (const graft of view.grafts) {
    if (RawPath.relativeTo(top, graft.at) === undefined || at.has(graft.at)) continue
    at.set(graft.at, graft.root)
    const slash = graft.at.lastIndexOf("/")
    const parent = graft.at.slice(0, Math.max(slash, 0))
    byParent.set(parent, [...(byParent.get(parent) ?? []), RawPath.fromLatin1(graft.at.slice(slash + 1))])
  }
  return {
    at,
    seen: new Set<RawPath.RawPath>(),
    inside: (parent: RawPath.RawPath): ReadonlyArray<RawPath.RawPath> => byParent.get(parent) ?? []
  }
}

/**
 * An empty directory of a snapshot may be where another file system is mounted: then its files are not in the
 * snapshot, and an archive without them would be no backup. The live directory tells.
 */
const mustBeEmpty = async (view: Source.SourceView, path: RawPath.RawPath): Promise<void> => {
  if (!view.frozen || view.livePath === undefined) return
  const live = RawPath.join(view.livePath, path)
  const parent = RawPath.fromLatin1(live.slice(0, Math.max(live.lastIndexOf("/"), 1)))
  const device = (at: RawPath.RawPath) =>
    lstat(at).then(
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
