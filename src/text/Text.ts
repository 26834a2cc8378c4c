import * as Cause from "effect/Cause"
import * as Inspectable from "effect/Inspectable"
import * as Redacted from "effect/Redacted"
import { distance } from "fastest-levenshtein"

/** The parts of a message as one text; other values as JSON, a Redacted without its value. */
export const messageText = (message: unknown): string =>
  (Array.isArray(message) ? message : [message]).map(show).join(" ")

const show = (value: unknown): string => {
  if (value instanceof Error) return value.message
  return Redacted.isRedacted(value) ? String(value) : Inspectable.toStringUnknown(value, 0)
}

/** The failures, then the defects with their stacks, joined by "; ". */
export const causeText = (cause: Cause.Cause<unknown>): string =>
  Cause.isInterruptedOnly(cause)
    ? "interrupted"
    : [
        ...Array.from(Cause.failures(cause), show),
        ...Array.from(Cause.defects(cause), (defect) =>
          defect instanceof Error ? (defect.stack ?? defect.message) : show(defect)
        )
      ].join("; ")

/** Control characters but the newline, other line ends, and changes of direction. */
const unseen = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

const hex = (char: string, digits: number): string => char.charCodeAt(0).toString(16).padStart(digits, "0")

/** Text that cannot steer a terminal: control characters but the newline become visible escapes. */
export const withoutControls = (text: string): string =>
  text.replace(unseen, (char) => (char < "\u0100" ? `\\x${hex(char, 2)}` : `\\u${hex(char, 4)}`))

/** The same on one line: a line end is an escape, too. */
export const oneLine = (text: string): string => withoutControls(text).replaceAll("\n", "\\x0a")

/** Text in quotes, on one line: a JSON string in which every character can be seen. */
export const quoted = (text: string): string => JSON.stringify(text).replace(unseen, (char) => `\\u${hex(char, 4)}`)

/** Indented JSON in which every character can be seen: safe for a terminal. */
export const visibleJson = (value: unknown, indent = 2): string =>
  JSON.stringify(value, undefined, indent).replace(unseen, (char) => `\\u${hex(char, 4)}`)

export const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const

/** A number of bytes: "0 B", "1023 B", "1.5 GiB". At most one digit after the point, never "1024.0 KiB". */
export const bytes = (count: number): string => {
  const size = Math.abs(count)
  const sign = count < 0 ? "-" : ""
  let unit = 0
  let value = size
  while (unit < byteUnits.length - 1 && tenths(value) >= 1024) {
    value /= 1024
    unit += 1
  }
  return `${sign}${unit === 0 ? Math.round(value) : tenths(value).toFixed(1)} ${byteUnits[unit] ?? "B"}`
}

/** "500G" in bytes: a whole number above 0; the letters K, M, G and T are powers of 1024. Undefined for other text. */
export const parseBytes = (text: string): number | undefined => {
  const [, digits = "0", unit = ""] = /^([1-9][0-9]{0,11})([KMGT]?)$/i.exec(text) ?? []
  const size = Number(digits) * 1024 ** ("KMGT".indexOf(unit.toUpperCase() || "?") + 1)
  return size > 0 && Number.isSafeInteger(size) ? size : undefined
}

/** The same for all names that any file system takes for one: case, composed or not, invisible characters, dots at the end. */
export const foldedName = (name: string): string => {
  const text = name.normalize("NFKD").toUpperCase().toLowerCase().normalize("NFKC")
  return text.replace(/\p{Default_Ignorable_Code_Point}/gu, "").replace(/[. ]+$/, "") || text
}

const tenths = (value: number): number => Math.round(value * 10) / 10

/** A length of time given in milliseconds: "0.4 s", "12 s", "2 m 05 s", "3 h 07 m", "2 d 04 h". */
export const duration = (millis: number): string => {
  const exact = Math.max(0, millis) / 1000
  if (tenths(exact) < 10) return `${tenths(exact).toFixed(1)} s`
  const seconds = Math.round(exact)
  if (seconds < 60) return `${seconds} s`
  const pair = (count: number, per: number, large: string, small: string) =>
    `${Math.floor(count / per)} ${large} ${String(count % per).padStart(2, "0")} ${small}`
  if (seconds < 3600) return pair(seconds, 60, "m", "s")
  const minutes = Math.floor(seconds / 60)
  return minutes < 1440 ? pair(minutes, 60, "h", "m") : pair(Math.floor(minutes / 60), 24, "d", "h")
}

/** A number with its noun: "1 folder", "1,204 files", "2 entries". Without `plural`, an s is added. */
export const count = (n: number, noun: string, plural: string = `${noun}s`): string =>
  `${number(n)} ${n === 1 ? noun : plural}`

/** The first `most` names, and how many more there are: "ABCD, EFGH and 3 more". */
export const firstNames = (names: ReadonlyArray<string>, most = 10): string => {
  const rest = names.length - most
  return `${names.slice(0, most).join(", ")}${rest > 0 ? ` and ${number(rest)} more` : ""}`
}

export const number = (n: number): string => String(n).replace(/\B(?=(\d{3})+(?!\d))/g, ",")

const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u

/** How many columns of a terminal the text takes: two for an ideograph or an emoji, none for an accent that is joined to a letter. */
export const widthOf = (text: string): number => {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length
  const widths = Array.from(text, (char): number => (wide.test(char) ? 2 : /[\p{Mn}\p{Me}\p{Cf}]/u.test(char) ? 0 : 1))
  return widths.reduce((sum, width) => sum + width, 0)
}

/** Text with blanks behind it, or before it, up to `width` columns. */
export const padded = (text: string, width: number, side: "left" | "right" = "left"): string => {
  const blanks = " ".repeat(Math.max(0, width - widthOf(text)))
  return side === "left" ? `${text}${blanks}` : `${blanks}${text}`
}

/** Text in at most `width` columns: where it is longer, `ellipsis` stands for its start or its end. */
export const cutTo = (text: string, width: number, side: "start" | "end", ellipsis: string): string => {
  if (widthOf(text) <= width) return text
  const kept = Array.from(text)
  const room = Math.max(0, width - widthOf(ellipsis))
  while (widthOf(kept.join("")) > room) kept.splice(side === "end" ? -1 : 0, 1)
  return side === "end" ? `${kept.join("")}${ellipsis}` : `${ellipsis}${kept.join("")}`
}

/** Text on lines no wider than `width`, further ones after `indent`. Keeps its line breaks, and breaks no word. */
export const wrapped = (text: string, width: number, indent: string): ReadonlyArray<string> =>
  text
    .split("\n")
    .flatMap((part, index) =>
      wrappedWords(part.trim().split(" "), width, indent, index === 0 ? (/^ */.exec(part)?.[0] ?? "") : indent)
    )

/** Words on lines no wider than `width`: the first after `lead`, further ones after `indent`. */
export const wrappedWords = (
  words: ReadonlyArray<string>,
  width: number,
  indent: string,
  lead: string = indent,
  lengthOf: (text: string) => number = widthOf
): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = lead
  let empty = true
  for (const word of words) {
    if (!empty && lengthOf(line) + 1 + lengthOf(word) > width) {
      lines.push(line)
      line = indent
      empty = true
    }
    line = empty ? `${line}${word}` : `${line} ${word}`
    empty = false
  }
  return [...lines, line]
}

/** One word, quoted alike for sh, bash, zsh, csh, tcsh and fish: sshd runs any login shell. Some take no newline. */
export const shellWord = (word: string): string => {
  if (/^[A-Za-z0-9_./:@,+-]+$/.test(word)) return word
  // Outside of quotes: a backslash, which fish escapes with inside, and `!`, which csh expands even there.
  const parts = word.match(/[^'\\!]+|['\\!]/g) ?? [""]
  return parts.map((part) => (/^['\\!]$/.test(part) ? `\\${part}` : `'${part}'`)).join("")
}

export const shellWords = (words: ReadonlyArray<string>): string => words.map(shellWord).join(" ")

/** A command with a name beside its options; one that looks like an option goes to the end, behind `--`. */
export const commandOf = (command: ReadonlyArray<string>, name: string, options: ReadonlyArray<string> = []): string =>
  shellWords(name.startsWith("-") ? [...command, ...options, "--", name] : [...command, name, ...options])

/** An option with its value; nothing without one. A value that looks like an option is joined to it. */
export const optionWords = (option: string, value: string | undefined): ReadonlyArray<string> => {
  if (value === undefined) return []
  return value.startsWith("-") ? [`${option}=${value}`] : [option, value]
}

/** The names by how much they differ from `word`, the nearest first. Case does not count. */
export const nearest = (word: string, names: ReadonlyArray<string>): ReadonlyArray<string> =>
  [...names].sort((a, b) => farFrom(word, a) - farFrom(word, b))

/** `; did you mean …?` with the known word that is near each of `words`; nothing where none is near. */
export const didYouMean = (known: ReadonlyArray<string>, ...words: ReadonlyArray<string>): string => {
  const meant = words.flatMap((word) => {
    const { length } = word.replace(/^-+/, "")
    const most = length < 2 ? 0 : length < 5 ? 1 : Math.min(4, 1 + length / 4)
    return nearest(word, known)
      .slice(0, 1)
      .filter((name) => farFrom(word, name) <= most)
  })
  return meant.length === 0 ? "" : `; did you mean ${[...new Set(meant)].join(", ")}?`
}

/** In how many letters they differ. Less than one where the name only goes on; one for two neighbours that change places. */
const farFrom = (word: string, name: string): number => {
  const [a, b] = [word.toLowerCase(), name.toLowerCase()]
  const letters = a.replace(/[-_]/g, "")
  if (a !== b && letters.length > 2 && b.replace(/[-_]/g, "").startsWith(letters)) return name.length / 1000
  return distance(a, b) === 2 && isSwapped(a, b) ? 1 : distance(a, b)
}

const isSwapped = (a: string, b: string): boolean =>
  [...a].some(
    (_, at) =>
      b ===
      a.slice(0, at) +
        a
          .slice(at, at + 2)
          .split("")
          .reverse()
          .join("") +
        a.slice(at + 2)
  )

/** The order of the bytes in UTF-8: that of UTF-16 units, but surrogates stand for characters behind U+E000 to U+FFFF. */
export const byUtf8 = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at += 1) {
    const x = a.charCodeAt(at)
    const y = b.charCodeAt(at)
    if (x === y) continue
    const surrogates = Number(isSurrogate(x)) - Number(isSurrogate(y))
    return surrogates !== 0 && x >= 0xd800 && y >= 0xd800 ? surrogates : x - y
  }
  return a.length - b.length
}

const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff
