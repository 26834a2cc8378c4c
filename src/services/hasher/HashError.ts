import * as Data from "effect/Data"

/** A file could not be read for hashing. */
export class HashError extends Data.TaggedError("HashError")<{
  readonly path: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

export const isHashError = (cause: unknown): cause is HashError => cause instanceof HashError
