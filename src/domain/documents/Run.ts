import * as Schema from "effect/Schema"
import { FolderName } from "../FolderName.ts"
import { count, document, flag, instant, seconds, text, undelivered } from "./Fields.ts"

/** What became of one folder. */
const RunFolder = Schema.Union(
  Schema.Struct({
    folder: FolderName,
    result: Schema.Literal("archived"),
    reason: text("why it was due, in words"),
    files: count("regular files in the archive"),
    bytes: count("their size, uncompressed"),
    zip_bytes: count("size of the archive; 0 in a dry run"),
    copied_files: count("files taken over from the archive before, compressed as they were"),
    left_out: Schema.Struct({
      symlinks: count("symbolic links"),
      fifos: count("fifos"),
      sockets: count("sockets"),
      devices: count("devices")
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
  archived: count("folders archived"),
  unchanged: count("folders that had not changed"),
  failed: count("folders that failed; above 0 the exit status is 1"),
  bytes: count("of the folders archived, uncompressed"),
  zip_bytes: count("of the archives written"),
  undelivered,
  folders: Schema.Array(RunFolder)
})
export type RunDocument = typeof RunDocument.Type
