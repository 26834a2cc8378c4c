import * as Data from "effect/Data"

/**
 * An archive's content could not be put back. `Changed`: the zip is not the file any more that was looked at before, and
 * nothing has been written. `Target`: DIR is not a place to write to; nothing has been written. `Interrupted`: writing could not
 * be brought to its end.
 */
export class ExtractError extends Data.TaggedError("ExtractError")<{
  readonly reason: "Changed" | "Target" | "Interrupted"
  readonly message: string
  readonly cause?: unknown
}> {}

export const isExtractError = (cause: unknown): cause is ExtractError => cause instanceof ExtractError
