import * as Schema from "effect/Schema"
import { pattern } from "./Time.ts"

/**
 * What the documents of `--json` are made of. The description of a value is what a reader of its JSON Schema is told.
 */

/** A document: `version` comes first, and goes up when a reader of the version before would misread it. */
export const document = <Fields extends Schema.Struct.Fields>(fields: Fields) =>
  Schema.Struct({ version: Schema.Literal(1), ...fields })

export const text = (description: string) => Schema.String.annotations({ description })

export const flag = (description: string) => Schema.Boolean.annotations({ description })

/** How many there are of something, or bytes. */
export const countField = (description: string) =>
  Schema.Number.pipe(Schema.int(), Schema.nonNegative()).annotations({ description })

export const seconds = (description: string) =>
  Schema.Number.pipe(Schema.nonNegative()).annotations({ description })

/** An instant, to the second: `2025-01-01T12:00:00Z`. */
export const instant = (description: string) =>
  Schema.String.pipe(Schema.pattern(pattern)).annotations({
    description: `${description}, UTC, such as 2025-01-01T12:00:00Z`
  })

export const orNull = <A, I>(schema: Schema.Schema<A, I>) => Schema.NullOr(schema)

/** A key that is only there when there is something to say. */
export const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

/** Of a command that sends messages. */
export const undelivered = optional(
  text("why a message about this could not be delivered; it is tried again after the next run")
)

/** Milliseconds as seconds. A clock that was set back in between gives no time below zero. */
export const secondsOf = (millis: number): number => Math.max(0, millis) / 1000

/** What every command prints with `--json` when it could not begin, or broke off as a whole: in place of its own document. */
export const ErrorsDocument = document({
  errors: Schema.NonEmptyArray(text("what went wrong and what to do about it; may be several lines"))
})
export type ErrorsDocument = typeof ErrorsDocument.Type
