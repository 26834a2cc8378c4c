import * as Schema from "effect/Schema"
import { document, flag, optional, orNull, text } from "./Fields.ts"

/** What `prepare --json` prints. */
export const PrepareDocument = document({
  dry_run: flag("nothing was changed"),
  host: orNull(text("the other host; null for this one")),
  datasets: Schema.Array(
    Schema.Struct({
      dataset: text("what replicas are written below"),
      result: Schema.Literal("made", "set", "nothing_to_do"),
      parents: Schema.Array(text("a dataset above it that was not there and was made too")),
      properties: Schema.Array(text("name of a property that it lacked"))
    })
  )
})
export type PrepareDocument = typeof PrepareDocument.Type

/** What `delegate --json` prints. */
export const DelegateDocument = document({
  action: Schema.Literal("print", "check", "apply"),
  dry_run: flag("nothing was changed"),
  ok: flag("nothing is missing; a check of which something is has exit status 1"),
  rights: Schema.Array(
    Schema.Struct({
      host: text("the end, as in the messages: this host, or another"),
      user: text("who is meant"),
      dataset: text("where, with everything below it"),
      permissions: Schema.Array(text("as zfs allow calls it")),
      command: optional(text("what grants it, for root on that host; left out where root needs none"))
    })
  ).annotations({ description: "print: what is needed; check: what is missing; apply: what was granted" })
})
export type DelegateDocument = typeof DelegateDocument.Type
