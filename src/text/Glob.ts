/**
 * Patterns for names with slashes (datasets, files): `*` matches anything but a slash, `**` anything, `?` one character but a
 * slash. A backslash escapes the next character. All else matches itself, and so does a last backslash.
 */
type Token = number | "one" | "many" | "all"

const slash = 0x2f

const tokensOf = (pattern: string): ReadonlyArray<Token> =>
  (pattern.match(/\\[\s\S]|\*{2,}|[\s\S]/gu) ?? []).map((found) => {
    if (found === "?") return "one"
    if (found === "*") return "many"
    if (found.startsWith("**")) return "all"
    return codePoint(found, found.startsWith("\\") && found.length > 1 ? 1 : 0)
  })

const codePoint = (text: string, at: number): number => text.codePointAt(at) ?? 0

/** Follows all ways through the pattern at once: backtracking may take exponential time. */
const wholeMatcher = (pattern: string): ((name: string) => boolean) => {
  if (!/[*?\\]/.test(pattern)) return (name) => name === pattern
  // Most names are refused by the plain text at one of the ends, which costs least.
  const head = pattern.slice(0, pattern.search(/[*?\\]/))
  const tail = pattern.includes("\\")
    ? ""
    : pattern.slice(1 + Math.max(pattern.lastIndexOf("*"), pattern.lastIndexOf("?")))
  const tokens = tokensOf(pattern)
  const reached = new Float64Array(tokens.length + 1)
  let step = 0
  const reach = (places: Array<number>, place: number): void => {
    if (reached[place] === step) return
    reached[place] = step
    places.push(place)
    // Both match the empty text.
    if (tokens[place] === "many" || tokens[place] === "all") reach(places, place + 1)
  }
  return (name) => {
    if (!name.startsWith(head) || !name.endsWith(tail)) return false
    step += 1
    let places: Array<number> = []
    reach(places, 0)
    for (let at = 0; at < name.length && places.length > 0; ) {
      const char = codePoint(name, at)
      at += char > 0xffff ? 2 : 1
      step += 1
      const next: Array<number> = []
      for (const place of places) {
        const token = tokens[place]
        if (token === "all" || (token === "many" && char !== slash)) reach(next, place)
        else if (token === char || (token === "one" && char !== slash)) reach(next, place + 1)
      }
      places = next
    }
    return places.includes(tokens.length)
  }
}

/** Matches the whole name if the pattern has a slash, else the last part of the name. The caller adds what lies below. */
export const matcher = (pattern: string): ((name: string) => boolean) => {
  const matches = wholeMatcher(pattern)
  return pattern.includes("/") ? matches : (name) => matches(name.slice(name.lastIndexOf("/") + 1))
}

/** The same for a typed path: a first slash or `./` means the top; a last slash and Unicode composition (Mac) do not count. */
export const pathMatcher = (pattern: string): ((name: string) => boolean) => {
  // A slash needs no escape; without this, the backslash before a last slash would be left.
  const unescaped = pattern.normalize("NFC").replace(/\\([\s\S])/gu, (pair, next) => (next === "/" ? "/" : pair))
  const plain = withoutLastSlashes(unescaped)
  const top = plain.replace(/^(?:\.?\/+)+/, "")
  const matches = matcher(top)
  const within = top === plain || top.includes("/")
  return (name) => {
    const composed = name.normalize("NFC")
    return (within || !composed.includes("/")) && matches(composed)
  }
}

/** Whether a typed path holds no name: it would match everything, or nothing. */
export const isWithoutName = (pattern: string): boolean => /^\.{0,2}\/*$/.test(pattern)

const withoutLastSlashes = (pattern: string): string => {
  let end = pattern.length
  while (end > 1 && pattern[end - 1] === "/") end -= 1
  return pattern.slice(0, end)
}
