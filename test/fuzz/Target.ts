/**
 * A reader of what others wrote, and what has to hold of it whatever it is given. Texts have a character for each byte, as
 * files and outputs of programs come.
 */
export interface Target {
  /** Its folder in test/corpus. */
  readonly name: string
  /** Throws where the reader does, and where something else does not hold. */
  readonly check: (bytes: string) => void
}

/** The text that is in a file of ours. */
export const asText = (bytes: string): string => Buffer.from(bytes, "latin1").toString("utf8")

export function holds(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

/** Nothing in it steers a terminal. */
export const isSeen = (text: string): boolean =>
  !/[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/.test(text)

export const isCount = (value: number | undefined): boolean =>
  value === undefined || (Number.isSafeInteger(value) && value >= 0)
