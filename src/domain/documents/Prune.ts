import * as Schema from "effect/Schema"
import { count, document, flag, optional, orNull, text, undelivered } from "./Fields.ts"
import { jobRun } from "./JobRun.ts"

const dataset = text("its name at the source")
const target = text("name of the replica")
const destroyed = Schema.Array(text("name after the @, oldest first"))

/** What became of one replica. */
export const PruneReplica = Schema.Union(
  Schema.Struct({
    dataset,
    target,
    result: Schema.Literal("pruned", "failed"),
    destroyed,
    kept: count("snapshots that stay"),
    failed: optional(
      Schema.Array(Schema.Struct({ snapshot: text("name after the @"), error: text("why it could not go") }))
    )
  }),
  Schema.Struct({
    dataset: orNull(dataset),
    target,
    result: Schema.Literal("left_alone"),
    reason: text("why nothing of it was destroyed"),
    destroyed
  }),
  Schema.Struct({
    dataset,
    target,
    result: Schema.Literal("no_replica"),
    reason: text("why there is none"),
    destroyed
  }),
  Schema.Struct({
    dataset,
    target: orNull(target),
    result: Schema.Literal("not_found"),
    error: text("where it was looked for"),
    destroyed
  })
)

/** What `prune --json` prints. */
export const PruneDocument = document({
  dry_run: flag("nothing was destroyed: destroyed are those that a run would destroy"),
  ...jobRun,
  destroyed: count("snapshots, over all replicas"),
  kept: count("snapshots that stay"),
  failed: count("snapshots that should have gone and could not; above 0 the exit status is 1"),
  not_found: count("datasets that neither end has; above 0 the exit status is 1"),
  undelivered,
  replicas: Schema.Array(PruneReplica)
})
export type PruneDocument = typeof PruneDocument.Type
