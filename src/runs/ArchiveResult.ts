import { sumAll } from "effect/Number"
import * as Schema from "effect/Schema"
import { FolderName } from "../source/FolderName.ts"
import * as LeftOut from "../source/LeftOut.ts"
import type { FolderState } from "../store/FolderState.ts"
import { countField, document, errors, flag, instant, optional, seconds, text, undelivered } from "../text/Document.ts"
import { bytes, count, duration, firstNames } from "../text/Text.ts"
import { TargetUpdate } from "../zfs/TargetSnapshots.ts"

const RunFolder = Schema.Union(
  Schema.Struct({
    folder: FolderName,
    result: Schema.Literal("archived"),
    reason: text("why it was due, in words"),
    files: countField("regular files in the archive"),
    bytes: countField("their size, uncompressed"),
    zip_bytes: countField("size of the archive; 0 in a dry run"),
    copied_files: countField("files taken over from the archive before, compressed as they were"),
    left_out: Schema.Struct({
      symlinks: countField("symbolic links"),
      fifos: countField("fifos"),
      sockets: countField("sockets"),
      devices: countField("devices"),
      excluded: countField("what exclude and exclude_caches match, of any kind; a directory counts once")
    }).annotations({ description: "what lies in the folder and is in no archive" }),
    seconds: seconds("time it took")
  }),
  Schema.Struct({ folder: FolderName, result: Schema.Literal("unchanged") }),
  Schema.Struct({
    folder: FolderName,
    result: Schema.Literal("failed"),
    error: text("why; the archive before is untouched")
  })
)

export const RunDocument = document({
  dry_run: flag("nothing was written: archived are those that a run would archive"),
  run: text("id of the run, as in the log"),
  source: text("the snapshot that was read; live when there was none; empty with errors"),
  started_at_utc: instant("when it began"),
  seconds: seconds("time it took"),
  archived: countField("folders archived"),
  unchanged: countField("folders that had not changed"),
  failed: countField("folders that failed; above 0 the exit status is 1"),
  bytes: countField("of the folders archived, uncompressed"),
  zip_bytes: countField("of the archives written"),
  undelivered,
  target_snapshots: optional(TargetUpdate).annotations({
    description: "with target_snapshots in the configuration; with an error in it the exit status is 1"
  }),
  hook_error: optional(text("why the hook after failed; the exit status is 1")),
  not_archived: optional(
    Schema.Array(text("a folder that is asked for, and why its name can have no archive")).annotations({
      description: "with any, the exit status is 1"
    })
  ),
  errors,
  folders: Schema.Array(RunFolder)
})
export type RunDocument = typeof RunDocument.Type

/**
 * Why a folder is archived, in the words of log and documents. archive/Changes decides by the records; what it leaves to the manifests
 * ("Compare"), archive/ArchiveFolder calls "changed" or the reason about the last listing. status/StatusText has a short form of each.
 */
export type DueReason =
  | "forced"
  | "never archived"
  | "its .state.json is missing or damaged"
  | "its folder in the target cannot be looked at"
  | "its archive is missing"
  | "its archive has another size than when it was published"
  | "a file beside its archive is missing"
  | "verify found its archive damaged"
  | "its last attempt failed"
  | "exclude or exclude_caches was changed"
  | "it was written to shortly before it was last listed"
  | "changed"

/** One folder: its document, and what the next steps of the run need. */
export type FolderResult =
  | (FolderDocument & {
      readonly result: "archived"
      readonly reason: DueReason
      /** The archive before became `ABCD.prev.zip`. */
      readonly rotated: boolean
      /** It has the bytes of the archive before, which was not kept as the previous one. */
      readonly same?: true
      readonly sha256: string
      readonly dry_run: boolean
      readonly archived_at_utc?: string
    })
  | (FolderDocument & {
      readonly result: "unchanged"
      readonly state: FolderState
    })
  | (FolderDocument & {
      readonly result: "failed"
      /** A failure record was written, so the folder stays due even if no change is found. */
      readonly recorded: boolean
      /** The user named it, and it is not in the source: its name may be mistyped. */
      readonly absent?: true
    })

type FolderDocument = RunDocument["folders"][number]

/** A whole run. The caller adds whether it is a dry run. */
export interface RunSummary extends Omit<RunDocument, "dry_run" | "folders"> {
  readonly folders: ReadonlyArray<FolderResult>
}

/** Counts and sums up; sorts the folders by name. */
export const summarize = (
  run: Pick<
    RunSummary,
    "run" | "source" | "started_at_utc" | "seconds" | "folders" | "not_archived" | "target_snapshots" | "errors"
  >
): RunSummary => {
  const { folders } = run
  const archived = folders.filter((folder) => folder.result === "archived")
  return {
    version: 1,
    ...run,
    seconds: Math.max(0, run.seconds),
    archived: archived.length,
    unchanged: folders.filter(({ result }) => result === "unchanged").length,
    failed: folders.filter(({ result }) => result === "failed").length,
    bytes: sumAll(archived.map(({ bytes: size }) => size)),
    zip_bytes: sumAll(archived.map(({ zip_bytes }) => zip_bytes)),
    folders: [...folders].sort((a, b) => (a.folder < b.folder ? -1 : a.folder > b.folder ? 1 : 0))
  }
}

/** Whether nothing failed: every folder that is asked for, the snapshots of the target, the hook after the run. */
export const allWell = (summary: RunSummary): boolean =>
  summary.failed === 0 && summary.target_snapshots?.error === undefined && errorOf(summary) === undefined

const namedAtMost = 5

/** What failed beside folders and snapshots of the target. */
export const errorOf = ({ hook_error, not_archived = [] }: RunSummary): string | undefined => {
  const errors = [
    ...(not_archived.length === 0 ? [] : [firstNames(not_archived, namedAtMost)]),
    ...(hook_error === undefined ? [] : [hook_error])
  ]
  return errors.length === 0 ? undefined : errors.join("; ")
}

/** For the log: `archived 12 files, 3.4 MiB in 1.2 MiB, 0.4 s (changed; 10 files copied from the archive before)`. */
export const describe = (result: FolderResult): string => {
  switch (result.result) {
    case "archived": {
      const leftOut = LeftOut.describe(result.left_out)
      const without = leftOut === undefined ? "" : `; ${leftOut}`
      const what = `${count(result.files, "file")}, ${bytes(result.bytes)}`
      return result.dry_run
        ? `would archive ${what} (${result.reason})${result.rotated ? `; ${result.folder}.zip would become ${result.folder}.prev.zip, unless the new one has the same bytes` : ""}${without}`
        : `archived ${what} in ${bytes(result.zip_bytes)}, ${duration(result.seconds * 1000)} (${result.reason}${result.copied_files > 0 ? `; ${count(result.copied_files, "file")} copied from the archive before` : ""}${result.same === true ? `; the same bytes as before, so the previous archive stays` : ""})${without}`
    }
    case "unchanged":
      return "unchanged"
    case "failed":
      return result.error
  }
}

/** `3 archived, 11 unchanged, 0 failed; 1.2 GiB in 400 MiB, 12 s`: the last line of a run. */
export const totals = (summary: RunSummary): string => {
  const dryRun = summary.folders.some((result) => result.result === "archived" && result.dry_run)
  const counts = `${summary.archived} ${dryRun ? "would be archived" : "archived"}, ${summary.unchanged} unchanged, ${summary.failed} failed`
  const size = dryRun ? bytes(summary.bytes) : `${bytes(summary.bytes)} in ${bytes(summary.zip_bytes)}`
  const snapshots = summary.target_snapshots?.error === undefined ? "" : "; the snapshots of the target failed"
  return `${counts}; ${summary.archived === 0 ? "" : `${size}, `}${duration(summary.seconds * 1000)}${snapshots}`
}
