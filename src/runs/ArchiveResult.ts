import * as Schema from "effect/Schema"
import { FolderName } from "../source/FolderName.ts"
import * as LeftOut from "../source/LeftOut.ts"
import type { FolderState } from "../store/FolderState.ts"
import {
  countField,
  document,
  flag,
  instant,
  seconds,
  secondsOf,
  text,
  undelivered
} from "../text/Document.ts"
import { bytes, count, duration } from "../text/Text.ts"

/** What became of one folder in a run. */
export type FolderResult =
  | {
      readonly _tag: "Archived"
      readonly folder: FolderName
      readonly reason: DueReason
      readonly files: number
      /** Uncompressed bytes. */
      readonly bytes: number
      readonly zipSize: number
      /** Files that were taken from the archive before, in compressed form. */
      readonly copied: number
      /** What lies in the folder and is in no archive. */
      readonly leftOut?: LeftOut.LeftOut | undefined
      readonly millis: number
      /** The archive before is now `ABCD.prev.zip`. */
      readonly rotated: boolean
      /** It has the bytes of the archive before, which therefore did not become the previous one. */
      readonly same?: true
      /** Of the archive. */
      readonly sha256: string
      /** Nothing was written: a real run would do it. */
      readonly rehearsed: boolean
      /** FolderState.archived_at_utc of what was published. */
      readonly archivedAt?: string
    }
  | {
      readonly _tag: "Unchanged"
      readonly folder: FolderName
      /** What it was published with: that is still good. */
      readonly state: FolderState
    }
  | {
      readonly _tag: "Failed"
      readonly folder: FolderName
      readonly error: string
      /** A failure record was written, so the folder stays due whatever the cursor says. */
      readonly recorded: boolean
      /** It was asked for, and is not in the source: perhaps its name was only mistyped. */
      readonly absent?: true
    }

/** A whole run. */
export interface RunSummary {
  readonly run: string
  /** SourceView.label. */
  readonly source: string
  /** UTC, to the second. */
  readonly startedAt: string
  readonly results: ReadonlyArray<FolderResult>
  readonly archived: number
  /** Nothing was written: the archived ones are those that a real run would archive. */
  readonly rehearsed: boolean
  readonly unchanged: number
  readonly failed: number
  /** Uncompressed bytes archived. */
  readonly bytes: number
  /** Bytes of the archives written. */
  readonly zipBytes: number
  readonly seconds: number
  /** Why a message about it could not be delivered, once that was tried. */
  readonly undelivered?: string
}

/** Counts and sums of a run's results, which come out in order of folder. */
export const summarize = (options: {
  readonly run: string
  readonly source: string
  readonly startedAt: string
  readonly seconds: number
  readonly results: ReadonlyArray<FolderResult>
}): RunSummary => {
  const archived = options.results.filter((result) => result._tag === "Archived")
  return {
    ...options,
    results: [...options.results].sort((a, b) => (a.folder < b.folder ? -1 : a.folder > b.folder ? 1 : 0)),
    archived: archived.length,
    rehearsed: archived.some((result) => result.rehearsed),
    unchanged: options.results.filter((result) => result._tag === "Unchanged").length,
    failed: options.results.filter((result) => result._tag === "Failed").length,
    bytes: archived.reduce((sum, result) => sum + result.bytes, 0),
    zipBytes: archived.reduce((sum, result) => sum + result.zipSize, 0)
  }
}

/** `archived 12 files, 3.4 MiB in 1.2 MiB, 0.4 s (changed; 10 files copied from the archive before)`: what became of one folder, for the log. */
export const describe = (result: FolderResult): string => {
  switch (result._tag) {
    case "Archived": {
      const leftOut = LeftOut.describe(result.leftOut ?? LeftOut.nothing)
      const without = leftOut === undefined ? "" : `; ${leftOut}`
      const what = `${count(result.files, "file")}, ${bytes(result.bytes)}`
      return result.rehearsed
        ? `would archive ${what} (${result.reason})${result.rotated ? `; ${result.folder}.zip would become ${result.folder}.prev.zip` : ""}${without}`
        : `archived ${what} in ${bytes(result.zipSize)}, ${duration(result.millis)} (${result.reason}${result.copied > 0 ? `; ${count(result.copied, "file")} copied from the archive before` : ""}${result.same === true ? `; the same bytes as before, so the previous archive stays` : ""})${without}`
    }
    case "Unchanged":
      return "unchanged"
    case "Failed":
      return result.error
  }
}

/** `3 archived, 11 unchanged, 0 failed; 1.2 GiB in 400 MiB, 12 s`: the last line of a run. */
export const totals = (summary: RunSummary): string => {
  const counts = `${summary.archived} ${summary.rehearsed ? "would be archived" : "archived"}, ${summary.unchanged} unchanged, ${summary.failed} failed`
  if (summary.archived === 0) return `${counts}; ${duration(summary.seconds * 1000)}`
  const size = summary.rehearsed
    ? bytes(summary.bytes)
    : `${bytes(summary.bytes)} in ${bytes(summary.zipBytes)}`
  return `${counts}; ${size}, ${duration(summary.seconds * 1000)}`
}

/** The document of `run --json`. */
export const documentOf = (summary: RunSummary, dryRun: boolean): RunDocument => ({
  version: 1,
  dry_run: dryRun,
  run: summary.run,
  source: summary.source,
  started_at_utc: summary.startedAt,
  seconds: Math.max(0, summary.seconds),
  archived: summary.archived,
  unchanged: summary.unchanged,
  failed: summary.failed,
  bytes: summary.bytes,
  zip_bytes: summary.zipBytes,
  ...(summary.undelivered === undefined ? {} : { undelivered: summary.undelivered }),
  folders: summary.results.map(folderDocument)
})

const folderDocument = (result: FolderResult): RunDocument["folders"][number] => {
  switch (result._tag) {
    case "Archived":
      return {
        folder: result.folder,
        result: "archived",
        reason: result.reason,
        files: result.files,
        bytes: result.bytes,
        zip_bytes: result.zipSize,
        copied_files: result.copied,
        left_out: result.leftOut ?? LeftOut.nothing,
        seconds: secondsOf(result.millis)
      }
    case "Unchanged":
      return { folder: result.folder, result: "unchanged" }
    case "Failed":
      return { folder: result.folder, result: "failed", error: result.error }
  }
}

/** What became of one folder. */
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
      devices: countField("devices")
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

/** What `run --json` prints. */
export const RunDocument = document({
  dry_run: flag("nothing was written: archived are those that a run would archive"),
  run: text("id of the run, as in the log"),
  source: text("the snapshot that was read; live when there was none"),
  started_at_utc: instant("when it began"),
  seconds: seconds("time it took"),
  archived: countField("folders archived"),
  unchanged: countField("folders that had not changed"),
  failed: countField("folders that failed; above 0 the exit status is 1"),
  bytes: countField("of the folders archived, uncompressed"),
  zip_bytes: countField("of the archives written"),
  undelivered,
  folders: Schema.Array(RunFolder)
})
export type RunDocument = typeof RunDocument.Type

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
