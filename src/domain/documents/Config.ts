import * as Schema from "effect/Schema"
import { document, flag, text } from "./Fields.ts"

const file = text("the configuration file")

/** What `config init --json` prints. */
export const ConfigInitDocument = document({
  file: text("the configuration that was written, readable by its owner alone"),
  example: text("the example beside it, with every key and what it means")
})

/** What `config validate --json` prints, whether the file is in order or not. */
export const ConfigValidateDocument = document({
  file,
  valid: flag("it can be used; otherwise the exit status is 2"),
  problems: Schema.Array(text("one mistake: the key, its value, what was expected")),
  warnings: Schema.Array(text("what is no mistake and should be known all the same"))
})

/** What `config show --json` prints. */
export const ConfigShowDocument = document({
  file,
  config: Schema.Record({ key: Schema.String, value: Schema.Unknown }).annotations({
    description:
      "the effective configuration: every key of the README's table that has a value, secrets as <hidden>"
  })
})
