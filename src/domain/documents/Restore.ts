import * as Schema from "effect/Schema"
import { FolderName } from "../FolderName.ts"
import type { RestoreSummary } from "../RestoreSummary.ts"
import { count, document, flag, orNull, seconds, text } from "./Fields.ts"

const some = <A, I>(schema: Schema.Schema<A, I>, description: string) =>
  Schema.Struct({ count: count("how many"), first: Schema.Array(schema) }).annotations({ description })

const path = text("relative to the directory; what is no plain text in it is escaped")

/** What `restore --json` prints. */
export const RestoreDocument = document({
  dry_run: flag("nothing was written: restored is what a restore would do"),
  folder: FolderName,
  archive: Schema.Literal("current", "previous"),
  zip: text("the archive's file"),
  result: Schema.Literal("restored", "incomplete", "refused").annotations({
    description: "refused: nothing was written; anything but restored: exit status 1"
  }),
  directory: orNull(text("where to, symlinks followed; null when that was not looked at")),
  files: count("files that are complete in the directory"),
  bytes: count("their size"),
  folders: count("folders that were made"),
  replaced: count("files among them that took the place of others"),
  seconds: seconds("time it took, checking included"),
  conflicts: some(
    Schema.Struct({
      path,
      is: Schema.Literal("file", "directory", "symlink", "other", "archives").annotations({
        description: "what is there; archives: the folder that the archives are in"
      }),
      wanted: Schema.Literal("file", "directory").annotations({ description: "what belongs there" })
    }),
    "what is in the way, the first of them by name"
  ),
  failures: some(
    Schema.Struct({
      path,
      kind: Schema.Literal("missing", "kept", "attributes").annotations({
        description:
          "missing: it is not there; kept: the file that it was to take the place of is there, unchanged; attributes: it is there without its mode or time"
      }),
      error: text("why")
    }),
    "what is not as in the archive, the first of them by name"
  ),
  problems: Schema.Array(text("what there is to say of it, as on standard error"))
})
export type RestoreDocument = typeof RestoreDocument.Type

const none = { count: 0, first: [] }

export const documentOf = (summary: RestoreSummary, dryRun: boolean): RestoreDocument => ({
  version: 1,
  dry_run: dryRun,
  folder: summary.folder,
  archive: summary.which,
  zip: summary.zip,
  result: summary.result,
  directory: summary.plan?.directory ?? null,
  files: summary.restored?.files ?? 0,
  bytes: summary.restored?.bytes ?? 0,
  folders: summary.restored?.folders ?? 0,
  replaced: summary.restored?.replaced ?? 0,
  seconds: Math.max(0, summary.seconds),
  conflicts: summary.plan?.conflicts ?? none,
  failures: summary.restored?.failures ?? none,
  problems: summary.problems
})
