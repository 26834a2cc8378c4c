import * as RawPath from "../text/RawPath.ts"

interface Named {
  readonly path: RawPath.RawPath
  readonly name: string
}

interface Names {
  readonly nameOf: (path: RawPath.RawPath) => string
  /** Entries whose last part is escaped. */
  readonly escaped: ReadonlyArray<Named>
}

/**
 * The archive names of all paths of one folder, in byte order; no two share one. UTF-8 keeps its bytes. A byte that is no part of
 * a UTF-8 character becomes `%` and two hexadecimal digits, and `~1`, `~2`, … is added where another entry has that name.
 */
export const assign = (paths: Iterable<RawPath.RawPath>): Names => {
  const odd: Array<RawPath.RawPath> = []
  for (const path of paths) if (RawPath.toText(path) === undefined) odd.push(path)
  // An escaped name has a %: only such a name can equal it.
  const taken = new Set<string>()
  if (odd.length > 0) {
    for (const path of paths) if (path.includes("%")) taken.add(RawPath.toText(path) ?? "")
  }
  const byPath = new Map<string, string>()
  const escaped: Array<Named> = []
  for (const path of odd) {
    const slash = path.lastIndexOf("/")
    const parent = path.slice(0, Math.max(slash, 0))
    const last = RawPath.fromLatin1(path.slice(slash + 1))
    const below = slash === -1 ? "" : `${byPath.get(parent) ?? escape(RawPath.fromLatin1(parent))}/`
    const name = free(taken, below + (RawPath.toText(last) ?? escape(last)))
    taken.add(name)
    byPath.set(path, name)
    if (RawPath.toText(last) === undefined) escaped.push({ path, name })
  }
  return { nameOf: (path) => byPath.get(path) ?? escape(path), escaped }
}

/** Whether `name` has other bytes than the path, which then has to be recorded beside it. */
export const isEscaped = ({ name, path }: Named): boolean => path !== name && path !== RawPath.fromText(name)

export const escape = (bytes: RawPath.RawPath): string => {
  const text = RawPath.toText(bytes)
  if (text !== undefined) return text
  const kept = bytes.replace(
    utf8OrByte,
    (match, character: string | undefined) =>
      character ?? `%${match.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`
  )
  return Buffer.from(kept, "latin1").toString("utf8")
}

// The well-formed sequences of the Unicode standard (table 3-7), over bytes held as latin1; or any one byte.
const utf8OrByte = new RegExp(
  [
    "([\\x00-\\x7f]",
    "[\\xc2-\\xdf][\\x80-\\xbf]",
    "\\xe0[\\xa0-\\xbf][\\x80-\\xbf]",
    "[\\xe1-\\xec\\xee\\xef][\\x80-\\xbf]{2}",
    "\\xed[\\x80-\\x9f][\\x80-\\xbf]",
    "\\xf0[\\x90-\\xbf][\\x80-\\xbf]{2}",
    "[\\xf1-\\xf3][\\x80-\\xbf]{3}",
    "\\xf4[\\x80-\\x8f][\\x80-\\xbf]{2})",
    "[\\x00-\\xff]"
  ].join("|"),
  "g"
)

const free = (taken: ReadonlySet<string>, name: string): string => {
  if (!taken.has(name)) return name
  let suffix = 1
  while (taken.has(`${name}~${suffix}`)) suffix += 1
  return `${name}~${suffix}`
}
