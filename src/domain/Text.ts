import * as Cause from "effect/Cause"
import * as Inspectable from "effect/Inspectable"
import * as Redacted from "effect/Redacted"

/** The parts of a message as one text; what is not text as JSON (a Redacted shows nothing of its value). */
export const textOf = (message: unknown): string =>
  (Array.isArray(message) ? message : [message]).map(show).join(" ")

const show = (value: unknown): string => {
  if (value instanceof Error) return value.message
  return Redacted.isRedacted(value) ? String(value) : Inspectable.toStringUnknown(value, 0)
}

/** What a cause says: the message of each failure, and the stack of what nobody expected. */
export const causeText = (cause: Cause.Cause<unknown>): string =>
  Cause.isInterruptedOnly(cause)
    ? "interrupted"
    : [
        ...Array.from(Cause.failures(cause), show),
        ...Array.from(Cause.defects(cause), (defect) =>
          defect instanceof Error ? (defect.stack ?? defect.message) : show(defect)
        )
      ].join("; ")

/** Control characters but the newline, the other line ends, and what turns the direction of text around. */
const unseen = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

const hex = (char: string, digits: number): string => char.charCodeAt(0).toString(16).padStart(digits, "0")

/**
 * Text that cannot steer a terminal: names of files come from strangers. Newlines stay; other control
 * characters, and those that turn the direction of text around, become escapes that can be seen.
 */
export const harmless = (text: string): string =>
  text.replace(unseen, (char) => (char < "\u0100" ? `\\x${hex(char, 2)}` : `\\u${hex(char, 4)}`))

/** Text in quotes, on one line: a JSON string in which every character can be seen. */
export const quoted = (text: string): string =>
  JSON.stringify(text).replace(unseen, (char) => `\\u${hex(char, 4)}`)

/** A value as JSON, indented, in which every character can be seen: it may be printed to a terminal. */
export const visibleJson = (value: unknown): string =>
  JSON.stringify(value, undefined, 2).replace(unseen, (char) => `\\u${hex(char, 4)}`)
