import { isAhead } from "./Instant.ts"
import { harmless } from "./Text.ts"
import { number } from "./Units.ts"
import { wrapped } from "./Wrap.ts"

/** How a line is meant: what needs somebody, what is worth a look, and what is over. */
export type Mood = "bad" | "watch" | "past" | "plain"

/** A line of the report, and how it is meant. */
export interface Line {
  readonly text: string
  readonly mood: Mood
}

/** How long ago something was, in words: `just now`, `5 min ago`, `3 h ago`, `12 d ago`, or `in the future`. What is no time is `unknown`. */
export const age = (now: number, utc: string): string => {
  const at = Date.parse(utc)
  if (isAhead(now, at)) return "in the future"
  const minutes = Math.floor((now - at) / 60_000)
  if (Number.isNaN(minutes)) return "unknown"
  if (minutes < 1) return "just now"
  if (minutes < 60) return `${minutes} min ago`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ago` : `${number(Math.floor(hours / 24))} d ago`
}

/** Whatever is in the text, it stays on its line. */
export const line = (text: string, mood: Mood = "plain"): Line => ({ text: harmless(text), mood })

/** Lines no wider than `width`, those after the first indented. */
export const paragraph = (text: string, width: number, mood: Mood = "plain"): ReadonlyArray<Line> =>
  wrapped(harmless(text), width, "  ").map((part) => ({ text: part, mood }))
