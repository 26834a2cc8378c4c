import * as Schema from "effect/Schema"
import { instant, seconds, text } from "./Fields.ts"

/** What the documents of all runs of a replication job have in common. */
export const jobRun = {
  job: text("name of the job; pull-HOST or push-HOST when the command line was the job"),
  direction: Schema.Literal("pull", "push"),
  host: text("the other host"),
  run: text("id of the run, as in the log"),
  started_at_utc: instant("when it began"),
  seconds: seconds("time it took")
}
