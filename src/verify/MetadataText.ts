import type { Metadata } from "../store/Metadata.ts"
import type { ArchiveFinding } from "../store/PublishedArchive.ts"
import { count, quoted } from "../text/Text.ts"

/** Compares the files that an archive turns out to hold with a list of them. */
export interface FileNames {
  /** The next names of the archive, in its order. */
  readonly add: (names: ReadonlyArray<string>) => void
  /** All that differs, a sentence each. To be called once, when the archive has no more. */
  readonly end: () => ReadonlyArray<string>
}

/** Of each kind of difference so many are named. */
const named = 3

/**
 * `listed` is the list in metadata.json: sorted by the bytes of the names, as the archive is by the bytes of the paths. The
 * two orders differ for names that stand for a path that is not UTF-8 alone. All of those have a `%` in them (see
 * EntryName), so names with one are kept until the end, and the others compared as they come.
 */
export const makeFileNames = (listed: ReadonlyArray<string>): FileNames => {
  const missing = makeDifferences("is in the list of files and not in the archive")
  const extra = makeDifferences("is in the archive and not in the list of files")
  const compare = (names: ReadonlyArray<string>, wanted: Cursor): void => {
    for (const name of names) {
      for (;;) {
        const next = wanted.peek()
        const order = next === undefined ? 1 : byUtf8(next, name)
        if (next !== undefined && order <= 0) wanted.take()
        if (next !== undefined && order < 0) {
          missing.add(next)
          continue
        }
        if (order > 0) extra.add(name)
        break
      }
    }
  }
  const rest = (wanted: Cursor): void => {
    for (let next = wanted.peek(); next !== undefined; next = wanted.peek()) {
      missing.add(next)
      wanted.take()
    }
  }
  const plain = cursorOf(listed, (name) => !name.includes("%"))
  const aside: Array<string> = []
  return {
    add: (names) => {
      const kept = names.filter((name) => name.includes("%"))
      for (const name of kept) aside.push(name)
      compare(kept.length === 0 ? names : names.filter((name) => !name.includes("%")), plain)
    },
    end: () => {
      const withPercent = cursorOf(listed, (name) => name.includes("%"))
      compare(aside.sort(byUtf8), withPercent)
      rest(plain)
      rest(withPercent)
      const unsorted = listed.findIndex((name, index) => index > 0 && byUtf8(listed[index - 1] ?? "", name) >= 0)
      return [
        ...missing.messages(),
        ...extra.messages(),
        ...(unsorted === -1 ? [] : [`${quoted(listed[unsorted] ?? "")} is not in its place in the list of files`])
      ]
    }
  }
}

interface Cursor {
  readonly peek: () => string | undefined
  readonly take: () => void
}

const cursorOf = (names: ReadonlyArray<string>, wanted: (name: string) => boolean): Cursor => {
  let at = 0
  const peek = (): string | undefined => {
    for (let name = names[at]; name !== undefined; name = names[at]) {
      if (wanted(name)) return name
      at += 1
    }
    return undefined
  }
  return {
    peek,
    take: () => {
      at += 1
    }
  }
}

const makeDifferences = (what: string) => {
  const first: Array<string> = []
  let beyond = 0
  return {
    add: (name: string): void => {
      if (first.length < named) first.push(name)
      else beyond += 1
    },
    messages: (): ReadonlyArray<string> => {
      const all = first.map((name) => `${quoted(name)} ${what}`)
      return beyond === 0 ? all : [...all, `${count(beyond, "more file", "more files")}: each ${what}`]
    }
  }
}

/**
 * The order of the bytes in UTF-8. That of UTF-16 units is the same but for surrogates, which come before
 * U+E000 to U+FFFF and stand for characters behind them.
 */
const byUtf8 = (a: string, b: string): number => {
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

/** What a text says, and what is wrong with it by itself. */
interface ReadMetadata {
  /** Undefined when it does not hold what metadata has to hold. */
  readonly metadata: Metadata | undefined
  readonly findings: ReadonlyArray<ArchiveFinding>
}

/**
 * Reads the text of `metadata.json` (`file` is its name) and checks that it is, byte for byte, such as this program writes
 * it: these keys in this order, this layout. The list of files is not copied for that.
 */
export const readMetadata = (file: string, text: string): ReadMetadata => {
  const value = parse(text)
  if (value instanceof Error) {
    return {
      metadata: undefined,
      findings: [{ file, problem: `is damaged: it is no JSON (${value.message})` }]
    }
  }
  const wrong = keys.filter(({ holds, key }) => !holds(value[key]))
  const unknown = Object.keys(value).filter((name) => !keys.some(({ key }) => key === name))
  const findings = [
    ...wrong.map(({ key }) => ({
      file,
      problem: value[key] === undefined ? `${key} is missing` : `${key} is not such as was written there`
    })),
    ...unknown.map((name) => ({ file, problem: `${quoted(name)} is no key of it` }))
  ]
  if (!isMetadata(value)) return { metadata: undefined, findings }
  if (findings.length > 0) return { metadata: value, findings }
  const different = firstDifference(value, text)
  return {
    metadata: value,
    findings:
      different === undefined
        ? []
        : [{ file, problem: `${different}: it does not say this in the way in which it was written` }]
  }
}

const parse = (text: string): Readonly<Record<string, unknown>> | Error => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null ? { ...value } : new Error("it holds no keys")
  } catch (cause) {
    // The parser quotes what it does not understand, which may be anything.
    const why = cause instanceof Error ? cause.message : String(cause)
    return new Error(quoted(why).slice(1, -1))
  }
}

const isText = (value: unknown): boolean => typeof value === "string"
const isCount = (value: unknown): boolean => typeof value === "number" && Number.isSafeInteger(value) && value >= 0
const isList = (value: unknown): boolean => Array.isArray(value) && value.every(isText)
const isHex = (digits: number) => (value: unknown) =>
  typeof value === "string" && value.length === digits && /^[0-9a-f]*$/.test(value)

/** In their order. */
const keys: ReadonlyArray<{ readonly key: keyof Metadata; readonly holds: (value: unknown) => boolean }> = [
  { key: "zip_name", holds: isText },
  { key: "files", holds: isList },
  { key: "zip_md5", holds: isHex(32) },
  { key: "zip_sha256", holds: isHex(64) },
  { key: "total_files", holds: isCount },
  { key: "total_bytes", holds: isCount },
  {
    key: "created_at_utc",
    holds: (value) => isText(value) && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(String(value))
  },
  { key: "snapshot", holds: isText }
]

const isMetadata = (value: object): value is Metadata =>
  keys.every(({ holds, key }) => key in value && holds(Object.getOwnPropertyDescriptor(value, key)?.value))

/** Where the text is not what Metadata.encode gives: compared piece by piece, since a million names are many bytes. */
const firstDifference = (metadata: Metadata, text: string): string | undefined => {
  let at = 0
  const follows = (piece: string): boolean => {
    if (!text.startsWith(piece, at)) return false
    at += piece.length
    return true
  }
  let before = "{\n  "
  for (const { key } of keys) {
    if (!follows(`${before}"${key}": `)) return key
    const holds = key === "files" ? followsList(metadata.files, follows) : follows(JSON.stringify(metadata[key]))
    if (!holds) return key
    before = ",\n  "
  }
  return follows("\n}\n") && at === text.length ? undefined : "what follows snapshot"
}

const followsList = (files: ReadonlyArray<string>, follows: (piece: string) => boolean): boolean => {
  if (files.length === 0) return follows("[]")
  return (
    files.every((name, index) => follows(`${index === 0 ? "[" : ","}\n    ${JSON.stringify(name)}`)) && follows("\n  ]")
  )
}
