import * as Schema from "effect/Schema"

/** The form alone, which a 30 February has too: see {@link isInstant}. */
export const instantPattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/

/** Whether a text is an instant in UTC, to the second, that exists: `2025-01-01T12:00:00Z`. */
export const isInstant = (text: string): boolean => {
  const at = instantPattern.test(text) ? Date.parse(text) : Number.NaN
  // Of 30 February, Date makes 2 March.
  return Number.isFinite(at) && new Date(at).toISOString() === text.replace("Z", ".000Z")
}

export const Instant = Schema.String.pipe(Schema.filter(isInstant))

/** `2025-01-01T12:00:00Z`, without fractions, of milliseconds since 1970. */
export const utcSeconds = (millis: number): string => `${new Date(millis).toISOString().slice(0, 19)}Z`

export const hourMillis = 3_600_000
export const dayMillis = 24 * hourMillis

const slack = 5 * 60_000

/** Whether a time lies in the future: a clock was or is wrong. */
export const isAhead = (now: number, at: number): boolean => at > now + slack

const units = { s: 1000, m: 60_000, h: hourMillis, d: dayMillis } as const

/** `90m`, `26h` or `2d` in milliseconds; undefined for other text and for zero. */
export const parseDuration = (text: string): number | undefined => {
  const match = /^([0-9]{1,6})(s|m|h|d)$/.exec(text)
  const unit = match?.[2]
  if (match === null || (unit !== "s" && unit !== "m" && unit !== "h" && unit !== "d")) return undefined
  const millis = Number(match[1]) * units[unit]
  return millis > 0 ? millis : undefined
}

const clock = /^(\d{4})-(\d\d)-(\d\d)(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:?\d\d)?)?$/

/**
 * Milliseconds since 1970 of `2026-11-28` (its beginning) and `2026-11-28T10:00`, both local; of the latter with
 * seconds, `Z` or an offset; or of an age before `now`, such as `3d`. Undefined for other text.
 */
export const parseMoment = (text: string, now: number): number | undefined => {
  const age = parseDuration(text)
  if (age !== undefined) return now - age
  const [, year, month, day] = clock.exec(text) ?? []
  // Of 30 February, Date makes 2 March.
  if (!isInstant(`${year}-${month}-${day}T00:00:00Z`)) return undefined
  const at = Date.parse(text.length === 10 ? `${text}T00:00` : text.replace(" ", "T"))
  return Number.isNaN(at) ? undefined : at
}
