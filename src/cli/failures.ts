import * as Cause from "effect/Cause"
import * as Inspectable from "effect/Inspectable"
import { Stop } from "./Exit.ts"

/**
 * What to tell of a failure, a message each: what an error says for itself, never with a stack; a defect is
 * our own mistake and says so, with its stack only when `debug` is on. Nothing for what was said already
 * (Stop) and for an interruption.
 */
export const messagesOf = (cause: Cause.Cause<unknown>, debug: boolean): ReadonlyArray<string> => [
  ...Array.from(Cause.failures(cause))
    .filter((error) => !(error instanceof Stop))
    .map(messageOf),
  ...Array.from(Cause.defects(cause), (defect) => {
    const what = `internal error: ${messageOf(defect)} (please report)`
    return debug && defect instanceof Error && defect.stack !== undefined ? `${what}\n${defect.stack}` : what
  })
]

const messageOf = (error: unknown): string => {
  if (
    typeof error === "object" &&
    error !== null &&
    "message" in error &&
    typeof error.message === "string"
  ) {
    if (error.message !== "") return error.message
    if ("_tag" in error && typeof error._tag === "string") return error._tag
    return error instanceof Error ? error.name : "unknown error"
  }
  return Inspectable.toStringUnknown(error, 0)
}
