import * as Schema from "effect/Schema"
import { count, document, flag, optional, orNull, seconds, text, undelivered } from "./Fields.ts"
import { jobRun } from "./JobRun.ts"

const dataset = text("its name at the source")
const target = text("name of its replica")
const loss = {
  snapshots: Schema.Array(text("name after the @")),
  bytes: count("written on the replica since the latest common snapshot")
}
const rolledBack = {
  rolled_back: optional(
    Schema.Struct({ to: orNull(text("the latest common snapshot, name after the @")), ...loss }).annotations({
      description: "what the replica lost because --rollback allowed it"
    })
  )
}
const names = { dataset, target }
const maybeNowhere = { dataset, target: orNull(target) }
const sentBefore = count("sent before it came to that")

/** What became of one dataset. */
const ReplicationDataset = Schema.Union(
  Schema.Struct({
    ...names,
    result: Schema.Literal("sent"),
    how: Schema.Literal("full", "incremental", "resumed"),
    snapshots: count("how many the replica has now that it had not"),
    bytes: count("sent"),
    seconds: seconds("time it took"),
    ...rolledBack
  }),
  Schema.Struct({ ...names, result: Schema.Literal("up_to_date"), ...rolledBack }),
  Schema.Struct({ ...names, result: Schema.Literal("nothing_to_send"), ...rolledBack }),
  Schema.Struct({
    ...names,
    result: Schema.Literal("refused"),
    error: text("why going on would destroy something"),
    bytes: sentBefore,
    would_lose: Schema.Struct(loss),
    ...rolledBack
  }),
  Schema.Struct({
    ...maybeNowhere,
    result: Schema.Literal("failed"),
    error: text("why"),
    bytes: sentBefore,
    ...rolledBack
  })
)

/** What `pull --json` and `push --json` print. */
export const ReplicationDocument = document({
  dry_run: flag("nothing was changed: sent are those that a run would send"),
  ...jobRun,
  sent: count("datasets of which something was sent"),
  up_to_date: count("datasets whose replica has everything"),
  nothing_to_send: count("datasets without a snapshot"),
  refused: count("datasets left alone so that nothing is destroyed; above 0 the exit status is 4"),
  failed: count("datasets that failed"),
  bytes: count("sent, also of datasets that failed after all"),
  undelivered,
  datasets: Schema.Array(ReplicationDataset)
})
export type ReplicationDocument = typeof ReplicationDocument.Type
