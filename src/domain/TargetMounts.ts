import * as Schema from "effect/Schema"
import { FolderName } from "./FolderName.ts"
import * as RawPath from "./RawPath.ts"
import type { Mount } from "./ZfsList.ts"

/** A mounted file system that holds a folder. */
const Holder = Schema.Struct({
  /** As RawPath.display writes it. */
  mountpoint: Schema.String,
  /** `ext4`, `zfs`, `nfs4` …; empty where the system does not say. */
  type: Schema.String
})
export type Holder = typeof Holder.Type

/**
 * What source and target lay on at the last run that could use them. Kept on another file system than the target: when that is
 * not mounted, its own state is not there either.
 */
export const PlaceMounts = Schema.Struct({
  version: Schema.Literal(1),
  source_path: Schema.optionalWith(Schema.String, { exact: true }),
  source: Schema.optionalWith(Holder, { exact: true }),
  target_path: Schema.String,
  target: Holder
})
export type PlaceMounts = typeof PlaceMounts.Type

/** `<target>/.zipper/mounts.json`: folders of the target that were mounts of their own at the last run. */
export const FolderMounts = Schema.Struct({ version: Schema.Literal(1), folders: Schema.Array(FolderName) })

/** The mount that a folder lies in: the longest mount point, and of several there the last one. `path` has no symlinks. */
export const holderOf = (mounts: ReadonlyArray<Mount>, path: RawPath.RawPath): Holder => {
  let best: Mount | undefined
  for (const mount of mounts.filter(({ type }) => type !== "autofs")) {
    if (RawPath.relativeTo(mount.mountpoint, path) === undefined) continue
    if (best === undefined || mount.mountpoint.length >= best.mountpoint.length) best = mount
  }
  return { mountpoint: RawPath.display(best?.mountpoint ?? RawPath.fromLatin1("/")), type: best?.type ?? "" }
}

/** Whether what held the folder before is not mounted now: the folder lies in what is mounted above that place. */
export const isMissing = (before: Holder, now: Holder): boolean =>
  before.mountpoint !== now.mountpoint && isBelow(before.mountpoint, now.mountpoint)

const isBelow = (path: string, ancestor: string): boolean =>
  path.startsWith(ancestor.endsWith("/") ? ancestor : `${ancestor}/`)

/** Why a run must not use the folder of this `key` of the configuration, and what to do. `record`: the file that says so. */
export const notMounted = (key: string, path: string, before: Holder, record: string): string =>
  `${key} ${path} lay on ${before.type === "" ? "what" : `the ${before.type} file system that`} was mounted at ${before.mountpoint} at the last run, and nothing is mounted there now: mount it; or, if it is not to be mounted any more, remove ${record}`
