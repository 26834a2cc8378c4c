/**
 * Patterns for names whose parts stand between slashes (datasets, files): `*` stands for anything but a slash, `**` for
 * anything, `?` for one character that is no slash. A backslash makes the next character stand for itself (`\*`, `\\`).
 * Everything else stands for itself, and so does a backslash at the end.
 */

/** A character (its code point), or one of these. */
type Token = number | "one" | "many" | "all"

const slash = 0x2f

const tokensOf = (pattern: string): ReadonlyArray<Token> =>
  // Characters, not UTF-16 units.
  (pattern.match(/\\[\s\S]|\*{2,}|[\s\S]/gu) ?? []).map((found) => {
    if (found === "?") return "one"
    if (found === "*") return "many"
    if (found.startsWith("**")) return "all"
    return codePoint(found, found.startsWith("\\") && found.length > 1 ? 1 : 0)
  })

const codePoint = (text: string, at: number): number => text.codePointAt(at) ?? 0

/**
 * Follows all ways through the pattern at once, a character of the name at a time: that takes at most as many steps as the
 * name has characters, times the pattern's, where trying one way after the other may take for ever.
 */
const wholeMatcher = (pattern: string): ((name: string) => boolean) => {
  if (!/[*?\\]/.test(pattern)) return (name) => name === pattern
  const tokens = tokensOf(pattern)
  // In which step a place in the pattern was last reached.
  const reached = new Float64Array(tokens.length + 1)
  let step = 0
  const reach = (places: Array<number>, place: number): void => {
    if (reached[place] === step) return
    reached[place] = step
    places.push(place)
    // Both may stand for nothing.
    if (tokens[place] === "many" || tokens[place] === "all") reach(places, place + 1)
  }
  return (name) => {
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

/**
 * Whether a name is meant by the pattern: the whole name by one with a slash, the last part of the name by one
 * without. What lies below is for the caller to take along.
 */
export const matcher = (pattern: string): ((name: string) => boolean) => {
  const matches = wholeMatcher(pattern)
  return pattern.includes("/") ? matches : (name) => matches(name.slice(name.lastIndexOf("/") + 1))
}

/**
 * The same for a path that a person gives: a slash at the front or `./` stands for the top, one at the end for nothing,
 * and it does not matter whether an accent is a character of its own (as on a Mac) or not.
 */
export const pathMatcher = (pattern: string): ((name: string) => boolean) => {
  const plain = withoutLastSlashes(plainSlashes(pattern.normalize("NFC")))
  const top = plain.replace(/^(?:\.?\/+)+/, "")
  const matches = matcher(top)
  const within = top === plain || top.includes("/")
  return (name) => {
    const composed = name.normalize("NFC")
    return (within || !composed.includes("/")) && matches(composed)
  }
}

/** A slash stands for itself anyway: without this, the backslash before the last one would be left alone. */
const plainSlashes = (pattern: string): string =>
  pattern.replace(/\\([\s\S])/gu, (pair, next) => (next === "/" ? "/" : pair))

/** The first character stays, whatever it is. */
const withoutLastSlashes = (pattern: string): string => {
  let end = pattern.length
  while (end > 1 && pattern[end - 1] === "/") end -= 1
  return pattern.slice(0, end)
}
