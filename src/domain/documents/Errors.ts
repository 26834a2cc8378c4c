import * as Schema from "effect/Schema"
import { document, text } from "./Fields.ts"

/** What every command prints with `--json` when it could not begin, or broke off as a whole: in place of its own document. */
export const ErrorsDocument = document({
  errors: Schema.NonEmptyArray(text("what went wrong and what to do about it; may be several lines"))
})
export type ErrorsDocument = typeof ErrorsDocument.Type
