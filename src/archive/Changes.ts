import type { DueReason } from "../runs/ArchiveResult.ts"
import { type ExcludeRules, excluderWithin, hasRules, isSavedAs } from "../source/Exclude.ts"
import type { FolderName } from "../source/FolderName.ts"
import type { Compare, Manifest } from "../source/Manifest.ts"
import { graftsIn, places, type SourceView } from "../source/SourceView.ts"
import type { FolderRecord, FolderState } from "../store/FolderState.ts"
import { fromText } from "../text/RawPath.ts"
import type { Verdict } from "../zfs/ZfsDiff.ts"
import { unsettledFrom } from "../zip/ArchiveIndex.ts"

export type Decision =
  | { readonly _tag: "Due"; readonly reason: DueReason }
  | { readonly _tag: "Compare" | "Unchanged"; readonly state: FolderState }

/**
 * Whether a folder has to be archived. The verdict counts only for the archive that the cursor knows; any other is
 * compared by its manifest (`Compare`: due unless isAsBefore), and so is one that may have changed only where it is excluded.
 * What is unknown never leaves a folder out.
 */
export const decide = (options: {
  readonly record: FolderRecord | undefined
  readonly verdict: Verdict
  readonly known: string | undefined
  readonly force: boolean
  readonly rules: ExcludeRules
}): Decision => {
  const { record } = options
  if (options.force) return due("forced")
  if (record?.failure !== undefined) return due("its last attempt failed")
  if (record?.state === undefined) {
    if (record?.lost === true) return due("its archive is missing")
    if (record?.unknown === true) return due("its folder in the target cannot be looked at")
    return due(record?.zipSize === undefined ? "never archived" : "its .state.json is missing or damaged")
  }
  if (record.zipSize === undefined) return due("its archive is missing")
  if (record.zipSize !== record.state.zip_size) return due("its archive has another size than when it was published")
  if (record.incomplete !== undefined) return due("a file beside its archive is missing")
  if (record.damaged === true) return due("verify found its archive damaged")
  const { state } = record
  if (!isSavedAs(state, options.rules)) return due("exclude or exclude_caches was changed")
  if (options.verdict === "unknown" || options.known !== state.zip_sha256) return { _tag: "Compare", state }
  if (options.verdict === "changed") return hasRules(options.rules) ? { _tag: "Compare", state } : due("changed")
  // zfs diff names a file with several names only once, perhaps in another folder.
  return state.hard_links ? { _tag: "Compare", state } : { _tag: "Unchanged", state }
}

const due = (reason: DueReason): Decision => ({ _tag: "Due", reason })

/** Otherwise the state has to be written anew, or the folder fails. */
export const isMountedAsBefore = (
  state: Pick<FolderState, "mounts" | "hollow">,
  now: Pick<Manifest, "mounts" | "hollow">
): boolean => isSame(state.mounts, now.mounts) && isSame(state.hollow, now.hollow)

/** The same by the snapshot alone, for a folder that is not listed. */
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
 * Why the folder must not be archived as it is now, and what to do. `state` is that of its last archive, `accept` the command
 * that archives it all the same.
 */
export const missing = (
  folder: FolderName,
  state: Pick<FolderState, "mounts" | "hollow"> | undefined,
  now: Pick<Manifest, "mounts" | "hollow" | "caches">,
  rules: ExcludeRules,
  accept: string
): string | undefined => {
  const isExcluded = excluderWithin(rules)
  const caches = (now.caches ?? []).map((cache) => (cache === "" ? "" : `${cache}/`))
  const gone = without(state?.mounts, now.mounts).filter(
    (place) => !isExcluded(fromText(place)) && !caches.some((cache) => place !== "" && place.startsWith(cache))
  )
  if (gone.length > 0) {
    return `${named(folder, gone)} a mount of its own when the folder was last archived, and nothing is mounted there now: mount it, or accept it as it is: ${accept}`
  }
  const hollow = without(now.hollow, state?.hollow)
  if (hollow.length > 0) {
    return `${named(folder, hollow)} a btrfs subvolume of its own in the volume that the snapshot was taken of, and only an empty folder in the snapshot: its files are not there. Read it where it is whole, or accept it as it is: ${accept}`
  }
  return undefined
}

export const missingWhole = (state: Pick<FolderState, "mounts"> | undefined): string | undefined =>
  state?.mounts?.includes("") === true
    ? "it was a mount of its own when it was last archived, and is not in the source now: mount it; or, if it is gone for good, move its folder out of the target"
    : undefined

const named = (folder: FolderName, [first = "", ...more]: ReadonlyArray<string>): string =>
  `${first === "" ? "it" : `${folder}/${first}`}${more.length === 0 ? "" : ` (and ${more.length} more)`} was`

/** Whether the folder is as its state says, as far as `compare` shows it. What is unknown counts as changed. */
export const isAsBefore = (
  manifest: Pick<Manifest, "hash" | "stampsHash">,
  state: Pick<FolderState, "manifest_sha256" | "stamps_sha256">,
  compare: Compare
): boolean =>
  manifest.hash === state.manifest_sha256 &&
  (compare === "mtime" || (state.stamps_sha256 !== undefined && manifest.stampsHash === state.stamps_sha256))

/** Whether something, listed at `millis`, is so young that a later change may show neither in ctime nor in mtime. */
export const isUnsettled = ({ latest }: Pick<Manifest, "latest">, millis: number, compare: Compare): boolean => {
  if (latest === undefined) return true
  // A file system without ctime reports 0.
  const time = compare === "mtime" || latest.ctimeNs <= 0n ? latest.mtimeNs : latest.ctimeNs
  return time >= unsettledFrom(millis)
}
