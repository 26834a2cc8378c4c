import * as Schema from "effect/Schema"
import { count, document, flag, instant, text } from "./Fields.ts"

/** What `report --json` prints. */
export const ReportDocument = document({
  file: text("the page that was written"),
  bytes: count("its size"),
  made_at_utc: instant("when it was made"),
  days: count("how many days its lists and charts go back"),
  runs: count("runs in that time"),
  ok: flag("nothing needs a look; the exit status is 0 either way"),
  problems: Schema.Array(
    Schema.Struct({
      subject: text("a job, a folder, a dataset"),
      problem: text("what is wrong with it, or what it said of itself")
    })
  ),
  unreadable_lines: count("lines of the history that could not be understood, and are left out")
})
export type ReportDocument = typeof ReportDocument.Type
