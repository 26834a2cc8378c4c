import * as Schema from "effect/Schema"
import { instantPattern } from "./Time.ts"

// Parts of the documents of `--json`; a description goes into the JSON Schema. countField: a whole number from 0 on; seconds: from 0
// on, with fractions; instant: UTC, to the second; optional: the key may be left out; orNull: it is there, and may be null.

/** `version` rises when a reader of the version before would misread the document. */
export const document = <Fields extends Schema.Struct.Fields>(fields: Fields) =>
  Schema.Struct({ version: Schema.Literal(1), ...fields })

export const text = (description: string) => Schema.String.annotations({ description })

export const flag = (description: string) => Schema.Boolean.annotations({ description })

export const countField = (description: string) =>
  Schema.Number.pipe(Schema.int(), Schema.nonNegative()).annotations({ description })

export const seconds = (description: string) => Schema.Number.pipe(Schema.nonNegative()).annotations({ description })

export const instant = (description: string) =>
  Schema.String.pipe(Schema.pattern(instantPattern)).annotations({
    description: `${description}, UTC, such as 2025-01-01T12:00:00Z`
  })

export const orNull = <A, I>(schema: Schema.Schema<A, I>) => Schema.NullOr(schema)

export const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

export const undelivered = optional(
  text("why a message about this could not be delivered; it is tried again after the next run")
)

export const errors = optional(
  Schema.NonEmptyArray(text("why it ended before it was done")).annotations({
    description: "only where it ended too soon, by a signal or an error: the rest says what was done until then"
  })
)

/** Milliseconds as seconds, never below zero: the clock may have been set back. */
export const secondsOf = (millis: number): number => Math.max(0, millis) / 1000

/** A command with `--json` that could not begin or broke off prints it instead of its own document. */
export const ErrorsDocument = document({
  errors: Schema.NonEmptyArray(text("what went wrong and what to do about it; may be several lines"))
})
export type ErrorsDocument = typeof ErrorsDocument.Type

export const errorsDocument = (...errors: readonly [string, ...ReadonlyArray<string>]): ErrorsDocument => ({
  version: 1,
  errors
})
