import * as Schema from "effect/Schema"
import { FolderName } from "../FolderName.ts"
import { count, document, optional, seconds, text, undelivered } from "./Fields.ts"

/** One thing that is wrong with an archive or with a file beside it. */
const VerifyFinding = Schema.Struct({
  file: text("the file in the folder that it is about"),
  entry: optional(text("the entry of the zip, in quotes, with what cannot be seen escaped")),
  problem: text("what is wrong, to be read after the file or the entry")
})

/** One archive. */
const VerifyFolder = Schema.Struct({
  folder: FolderName,
  result: Schema.Literal("good", "foreign", "damaged", "missing", "unsettled").annotations({
    description:
      "foreign: made by another program, and its checksums are right; missing: there is no such archive; unsettled: a publication was interrupted, the archive was replaced each time while it was read, or its folder cannot be looked at"
  }),
  files: count("regular files in the archive, as far as it could be read"),
  bytes: count("their size, uncompressed"),
  zip_bytes: count("size of the archive"),
  seconds: seconds("time it took"),
  findings: Schema.Array(VerifyFinding).annotations({
    description: "all that is wrong; none when it is good"
  })
})

/** What `verify --json` prints. */
export const VerifyDocument = document({
  which: Schema.Literal("current", "previous"),
  good: count("archives of which every bit is what was published"),
  foreign: count(
    "archives that another program made, and whose checksums are right; their entries are not looked at"
  ),
  damaged: count("archives of which something is not; above 0 the exit status is 1, as with the two below"),
  missing: count("archives that are not there"),
  unsettled: count("archives of which nothing can be said yet"),
  bytes: count("size of all these archives"),
  seconds: seconds("time it took"),
  undelivered,
  folders: Schema.Array(VerifyFolder)
})
export type VerifyDocument = typeof VerifyDocument.Type
