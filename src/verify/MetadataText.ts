import * as Struct from "effect/Struct"
import type { Metadata } from "../store/Metadata.ts"
import type { ArchiveFinding } from "../store/PublishedArchive.ts"
import { byUtf8, count, quoted } from "../text/Text.ts"
import { instantPattern } from "../text/Time.ts"

/** Compares the files that an archive turns out to hold with a list of them. */
export interface FileNames {
  /** The next names of the archive, in its order. */
  readonly add: (names: ReadonlyArray<string>) => void
  /** All that differs, a sentence each. To be called once, when the archive has no more. */
  readonly end: () => ReadonlyArray<string>
}

const named = 3

const isPlain = (name: string): boolean => !name.includes("%")

/**
 * `listed` is sorted by the bytes of the names, as the archive is by the bytes of the paths. The orders differ only for names that
 * stand for a path that is not UTF-8, and these hold a `%` (see EntryName): such names are kept until the end.
 */
export const makeFileNames = (listed: ReadonlyArray<string>): FileNames => {
  const missing = makeDifferences("in the list of files and not in the archive")
  const extra = makeDifferences("in the archive and not in the list of files")
  const escaped = { names: listed.filter((name) => !isPlain(name)), at: 0 }
  const plain = { names: escaped.names.length === 0 ? listed : listed.filter(isPlain), at: 0 }
  /** Compares `names` with those of the list from its `at` on. */
  const compare = (names: ReadonlyArray<string>, list: typeof plain): void => {
    for (const name of names) {
      let order = 1
      for (let next = list.names[list.at]; next !== undefined; next = list.names[list.at]) {
        order = byUtf8(next, name)
        if (order > 0) break
        list.at += 1
        if (order === 0) break
        missing.add(next)
      }
      if (order !== 0) extra.add(name)
    }
  }
  const aside: Array<string> = []
  return {
    add: (names) => {
      const kept = names.filter((name) => !isPlain(name))
      for (const name of kept) aside.push(name)
      compare(kept.length === 0 ? names : names.filter(isPlain), plain)
    },
    end: () => {
      compare(aside.sort(byUtf8), escaped)
      for (const { at, names } of [plain, escaped]) for (const name of names.slice(at)) missing.add(name)
      const unsorted = listed.findIndex((name, index) => index > 0 && byUtf8(listed[index - 1] ?? "", name) >= 0)
      return [
        ...missing.messages(),
        ...extra.messages(),
        ...(unsorted === -1 ? [] : [`${quoted(listed[unsorted] ?? "")} is not in its place in the list of files`])
      ]
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
      const all = first.map((name) => `${quoted(name)} is ${what}`)
      return beyond === 0 ? all : [...all, `${count(beyond, "more file is", "more files are")} ${what}`]
    }
  }
}

interface ReadMetadata {
  readonly metadata: Metadata | undefined
  readonly findings: ReadonlyArray<ArchiveFinding>
}

/** Reads the text of metadata.json, named `file`, and checks that it is, byte for byte, such as this program writes it. */
export const readMetadata = (file: string, text: string): ReadMetadata => {
  const { findings, metadata } = parseMetadata(file, text)
  const different = metadata === undefined || findings.length > 0 ? undefined : firstDifference(metadata, text)
  if (different === undefined) return { metadata, findings }
  return {
    metadata,
    findings: [{ file, problem: `${different}: it does not say this in the way in which it was written` }]
  }
}

/** Reads a text that is known to be the one that was written: its form is not compared. */
export const parseMetadata = (file: string, text: string): ReadMetadata => {
  const value = parse(text)
  if (typeof value === "string") {
    return { metadata: undefined, findings: [{ file, problem: `is damaged: it is no JSON (${value})` }] }
  }
  const problems = [
    ...keys
      .filter((key) => !rules[key](value[key]))
      .map((key) => (value[key] === undefined ? `${key} is missing` : `${key} is not such as was written there`)),
    ...Object.keys(value)
      .filter((name) => !keys.some((key) => key === name))
      .map((name) => `${quoted(name)} is no key of it`)
  ]
  const metadata = isMetadata(value) ? value : undefined
  return { metadata, findings: problems.map((problem) => ({ file, problem })) }
}

/** The keys and values of an object, or why it is none. */
const parse = (text: string): Readonly<Record<string, unknown>> | string => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null ? { ...value } : "it holds no keys"
  } catch (cause) {
    // The parser quotes what it does not understand, which may be anything.
    return quoted(cause instanceof Error ? cause.message : String(cause)).slice(1, -1)
  }
}

type Rule = (value: unknown) => boolean
const isText: Rule = (value) => typeof value === "string"
const isCount: Rule = (value) => typeof value === "number" && Number.isSafeInteger(value) && value >= 0
const isList: Rule = (value) => Array.isArray(value) && value.every(isText)
const matches =
  (pattern: RegExp): Rule =>
  (value) =>
    typeof value === "string" && pattern.test(value)

const rules: Readonly<Record<keyof Metadata, Rule>> = {
  zip_name: isText,
  files: isList,
  zip_md5: matches(/^[0-9a-f]{32}$/),
  zip_sha256: matches(/^[0-9a-f]{64}$/),
  total_files: isCount,
  total_bytes: isCount,
  created_at_utc: matches(instantPattern),
  snapshot: isText
}
const keys = Struct.keys(rules)

const isMetadata = (value: Readonly<Record<string, unknown>>): value is typeof value & Metadata =>
  keys.every((key) => rules[key](value[key]))

/** Where the text is not what Metadata.encode gives: compared piece by piece, since a million names are many bytes. */
const firstDifference = (metadata: Metadata, text: string): string | undefined => {
  let at = 0
  const follows = (piece: string): boolean => {
    if (!text.startsWith(piece, at)) return false
    at += piece.length
    return true
  }
  let before = "{\n  "
  for (const key of keys) {
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
