import type { SetFinding } from "../ArchiveSet.ts"
import type { Metadata } from "../Metadata.ts"
import { quoted } from "../Text.ts"

/** What a text says, and what is wrong with it by itself. */
interface ReadMetadata {
  /** Undefined when it does not hold what metadata has to hold. */
  readonly metadata: Metadata | undefined
  readonly findings: ReadonlyArray<SetFinding>
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
const isCount = (value: unknown): boolean =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0
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
    const holds =
      key === "files" ? followsList(metadata.files, follows) : follows(JSON.stringify(metadata[key]))
    if (!holds) return key
    before = ",\n  "
  }
  return follows("\n}\n") && at === text.length ? undefined : "what follows snapshot"
}

const followsList = (files: ReadonlyArray<string>, follows: (piece: string) => boolean): boolean => {
  if (files.length === 0) return follows("[]")
  return (
    files.every((name, index) => follows(`${index === 0 ? "[" : ","}\n    ${JSON.stringify(name)}`)) &&
    follows("\n  ]")
  )
}
