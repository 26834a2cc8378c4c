import * as Schema from "effect/Schema"
import { count, document, flag, text } from "./Fields.ts"

/** What `notify-test --json` prints. */
export const NotifyTestDocument = document({
  dry_run: flag("nothing was sent"),
  server: text("address of the server, without what may be secret in it"),
  sent: flag("the server took the message")
})

/** What `suspend --json` prints. */
export const SuspendDocument = document({
  dry_run: flag("nothing was published"),
  host: text("the broker"),
  port: count("its port"),
  topic: text("where to"),
  message: text("the word"),
  sent: flag("the broker took it")
})

/** What `demo --json` prints. */
export const DemoDocument = document({
  ok: flag("all went as it should; otherwise the exit status is 1"),
  folder: Schema.NullOr(text("the temporary folder, where it was kept")),
  archived: Schema.Array(count("folders archived by one of the runs, in their order")),
  checks: Schema.Array(
    Schema.Struct({
      reader: text("a program that is not ours, and what it was asked"),
      file: text("what it looked at"),
      ok: flag("it found the file good"),
      detail: text("what it said when it did not")
    })
  )
})
