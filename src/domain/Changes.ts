import type { FolderName } from "./FolderName.ts"
import type { FolderRecord, FolderState } from "./FolderState.ts"

/** What is known of a folder since the cursor: `unknown` means that its manifest has to be compared. */
export type Verdict = "changed" | "unchanged" | "unknown"

/** What the source itself can say about changes since the cursor's snapshot. */
export interface Evidence {
  /** For every folder that `folders` does not name. */
  readonly otherwise: Verdict
  readonly folders: ReadonlyMap<FolderName, Verdict>
  /** Why it is no better than it is ("no previous snapshot"), for the log. */
  readonly reason: string
}

/** Nothing is known: every folder's manifest is compared. */
export const noEvidence = (reason: string): Evidence => ({ otherwise: "unknown", folders: new Map(), reason })

/** Why a folder is archived in this run, in words for the log. */
export type DueReason =
  | "forced"
  | "never archived"
  | "its .state.json is missing or damaged"
  | "its archive is missing"
  | "its archive has another size than when it was published"
  | "a file beside its archive is missing"
  | "verify found its archive damaged"
  | "its last attempt failed"
  | "it was written to shortly before it was last listed"
  | "changed"

/** The decision on one folder before its manifest is read. */
export type Decision =
  | { readonly _tag: "Due"; readonly reason: DueReason }
  | { readonly _tag: "Compare"; readonly state: FolderState }
  | { readonly _tag: "Unchanged"; readonly state: FolderState }

/**
 * Whether a folder has to be archived. The verdict counts only for the archive that the cursor knows; any other archive is compared
 * by its manifest (`Compare`: due unless Manifest.isAsBefore). A folder is never left out because something is unknown.
 */
export const decide = (options: {
  readonly record: FolderRecord | undefined
  readonly verdict: Verdict
  /** SHA-256 of the archive that the cursor knows (Cursor.archives); undefined when it knows none. */
  readonly known: string | undefined
  readonly force: boolean
}): Decision => {
  const { record } = options
  if (options.force) return due("forced")
  if (record?.failure !== undefined) return due("its last attempt failed")
  if (record?.state === undefined) {
    return due(record?.zipSize === undefined ? "never archived" : "its .state.json is missing or damaged")
  }
  if (record.zipSize === undefined) return due("its archive is missing")
  if (record.zipSize !== record.state.zip_size) {
    return due("its archive has another size than when it was published")
  }
  if (record.incomplete !== undefined) return due("a file beside its archive is missing")
  if (record.damaged === true) return due("verify found its archive damaged")
  const { state } = record
  if (options.verdict === "unknown" || options.known !== state.zip_sha256) return { _tag: "Compare", state }
  if (options.verdict === "changed") return due("changed")
  // zfs diff names a file with several names only once, perhaps in another folder.
  return state.hard_links ? { _tag: "Compare", state } : { _tag: "Unchanged", state }
}

/** The evidence's word on one folder. */
export const verdictOn = (evidence: Evidence, folder: FolderName): Verdict =>
  evidence.folders.get(folder) ?? evidence.otherwise

const due = (reason: DueReason): Decision => ({ _tag: "Due", reason })
