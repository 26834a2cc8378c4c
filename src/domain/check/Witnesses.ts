import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type ArchiveSet, namesOf, type SetFinding } from "../ArchiveSet.ts"
import * as ChecksumFile from "../ChecksumFile.ts"
import type { Checksums, FolderState } from "../FolderState.ts"
import type { Metadata } from "../Metadata.ts"
import { digestOf } from "../PublishPlan.ts"

const stateFile = ".state.json"

/** One place that says what a zip was when it was published. */
interface Witness {
  readonly file: string
  /** How a message calls what it says. */
  readonly what: string
  readonly value: string
}

/**
 * Compares the digests of a zip as it lies there with all places that know them, and the checksum files with what was
 * written to them. Where none of the places agrees with the zip, it is the zip that has changed; where some do, the others.
 */
export const checkDigests = (
  set: ArchiveSet,
  metadata: Metadata | undefined,
  measured: Checksums
): ReadonlyArray<SetFinding> => {
  const names = namesOf(set.folder, set.which)
  const state = set.which === "current" ? set.state : undefined
  const md5 = witnesses([
    fromFile(names.md5, set.md5, md5Digits),
    { file: names.metadata, what: "zip_md5", value: metadata?.zip_md5 },
    { file: stateFile, what: "zip_md5", value: state?.zip_md5 }
  ])
  const sha256 = witnesses([
    fromFile(names.sha256, set.sha256, sha256Digits),
    { file: names.metadata, what: "zip_sha256", value: metadata?.zip_sha256 },
    { file: stateFile, what: "zip_sha256", value: state?.zip_sha256 }
  ])
  return [
    ...compare(names.zip, { md5, sha256 }, measured),
    ...checkFile(names.md5, set.md5, md5Digits, names.zip),
    ...checkFile(names.sha256, set.sha256, sha256Digits, names.zip)
  ]
}

const md5Digits = 32
const sha256Digits = 64

/** The same of an archive that another program made, with what that wrote beside it: in a form of its own, and not all of it. */
export const checkAdopted = (set: ArchiveSet, measured: Checksums): ReadonlyArray<SetFinding> => {
  const names = namesOf(set.folder, set.which)
  const said = set.metadata === undefined ? Option.none() : decodeDigests(set.metadata)
  const { zip_md5, zip_sha256 } = Option.getOrElse(said, () => ({
    zip_md5: undefined,
    zip_sha256: undefined
  }))
  const md5 = witnesses([
    fromFile(names.md5, set.md5, md5Digits),
    { file: names.metadata, what: "zip_md5", value: zip_md5?.toLowerCase() }
  ])
  const sha256 = witnesses([
    fromFile(names.sha256, set.sha256, sha256Digits),
    { file: names.metadata, what: "zip_sha256", value: zip_sha256?.toLowerCase() }
  ])
  if (md5.length + sha256.length === 0) {
    const problem = "was made by another program, and no checksum beside it says what it has to be"
    return [{ file: names.zip, problem: `is of no known content: it ${problem}` }]
  }
  return [
    ...compare(names.zip, { md5, sha256 }, measured),
    ...checkForm(names.md5, set.md5, md5Digits),
    ...checkForm(names.sha256, set.sha256, sha256Digits),
    ...(set.metadata !== undefined && Option.isNone(said)
      ? [
          {
            file: names.metadata,
            problem: "cannot be understood: it does not say what the MD5 of the archive is"
          }
        ]
      : [])
  ]
}

const decodeDigests = Schema.decodeUnknownOption(
  Schema.parseJson(Schema.Struct({ zip_md5: Schema.String, zip_sha256: Schema.optional(Schema.String) }))
)

const compare = (
  zip: string,
  { md5, sha256 }: { readonly md5: ReadonlyArray<Witness>; readonly sha256: ReadonlyArray<Witness> },
  measured: Checksums
): ReadonlyArray<SetFinding> => {
  const changed = [
    ...(agrees(md5, measured.md5) ? [] : ["MD5"]),
    ...(agrees(sha256, measured.sha256) ? [] : ["SHA-256"])
  ]
  return [
    ...(changed.length === 0
      ? []
      : [
          {
            file: zip,
            problem: `is not what was published: it has another ${changed.join(" and another ")}`
          }
        ]),
    ...contradictions(md5, measured.md5),
    ...contradictions(sha256, measured.sha256)
  ]
}

const witnesses = (
  all: ReadonlyArray<Omit<Witness, "value"> & { readonly value: string | undefined }>
): ReadonlyArray<Witness> =>
  all.flatMap(({ value, ...witness }) => (value === undefined ? [] : [{ ...witness, value }]))

const agrees = (known: ReadonlyArray<Witness>, measured: string): boolean =>
  known.length === 0 || known.some(({ value }) => value === measured)

/** Those that say something else than the zip; or than each other, where no one says what the zip does. */
const contradictions = (known: ReadonlyArray<Witness>, measured: string): ReadonlyArray<SetFinding> => {
  if (agrees(known, measured)) {
    return known
      .filter(({ value }) => value !== measured)
      .map(({ file, what }) => ({ file, problem: `${what} is not that of the archive` }))
  }
  const [first] = known
  return known
    .filter(({ value }) => value !== first?.value)
    .map(({ file, what }) => ({ file, problem: `${what} is another one than in ${first?.file}` }))
}

const digestIn = (content: string, digits: number): string | undefined => {
  const digest = ChecksumFile.parse(content)?.digest
  return digest?.length === digits ? digest : undefined
}

const fromFile = (file: string, content: string | undefined, digits: number) => ({
  file,
  what: "the checksum in it",
  value: content === undefined ? undefined : digestIn(content, digits)
})

/** Everything in it but the digest itself. */
const checkFile = (
  file: string,
  content: string | undefined,
  digits: number,
  zip: string
): ReadonlyArray<SetFinding> => {
  if (content === undefined) return []
  const digest = digestIn(content, digits)
  if (digest === undefined) return checkForm(file, content, digits)
  return content === ChecksumFile.encode(digest, zip)
    ? []
    : [{ file, problem: `is damaged: it is not one line with the checksum of ${zip}` }]
}

const checkForm = (file: string, content: string | undefined, digits: number): ReadonlyArray<SetFinding> =>
  content === undefined || digestIn(content, digits) !== undefined
    ? []
    : [{ file, problem: "is damaged: it is no checksum file" }]

/** What an archive turned out to hold. */
interface Contents {
  readonly files: number
  readonly bytes: number
}

/** Compares the metadata, and the state where it describes this archive, with what the archive turned out to hold. */
export const checkFigures = (
  set: ArchiveSet,
  metadata: Metadata | undefined,
  contents: Contents | undefined
): ReadonlyArray<SetFinding> => {
  const names = namesOf(set.folder, set.which)
  const state = set.which === "current" ? set.state : undefined
  const findings: Array<SetFinding> = []
  const same = (file: string, key: string, said: unknown, found: unknown, what: string): void => {
    if (said === undefined || found === undefined || said === found) return
    findings.push({ file, problem: `${key} is ${JSON.stringify(said)}; ${what} ${JSON.stringify(found)}` })
  }
  same(names.metadata, "zip_name", metadata?.zip_name, names.zip, "it has to be")
  same(names.metadata, "total_files", metadata?.total_files, contents?.files, "the archive has")
  same(names.metadata, "total_bytes", metadata?.total_bytes, contents?.bytes, "the files in the archive have")
  same(stateFile, "zip_size", state?.zip_size, set.file?.size, "the archive has")
  same(stateFile, "files", state?.files, contents?.files, "the archive has")
  same(stateFile, "bytes", state?.bytes, contents?.bytes, "the files in the archive have")
  return findings
}

/**
 * Compares what nothing but the state knows: when the archive was made, and from what. `found` is what is known to be wrong
 * already: metadata that is no longer the text that was published is said once.
 */
export const checkPublished = (
  set: ArchiveSet,
  metadata: Metadata | undefined,
  found: ReadonlyArray<SetFinding>
): ReadonlyArray<SetFinding> => {
  const { state, which } = set
  const file = namesOf(set.folder, which).metadata
  if (state === undefined || set.metadata === undefined) return []
  const key = which === "current" ? "metadata_sha256" : "prev_metadata_sha256"
  const published = state[key]
  const same = published === undefined ? undefined : published === digestOf(set.metadata)
  const different = which === "current" && metadata !== undefined ? contradicted(state, metadata) : []
  if (different.length > 0) {
    // The digest of the metadata tells which of the two has changed.
    const at = same === true ? stateFile : file
    const other = same === true ? file : stateFile
    return different.map((keys) => ({
      file: at,
      problem: `${keys[at === file ? 0 : 1]} is another one than in ${other}`
    }))
  }
  if (same !== false || found.some((finding) => finding.file === file)) return []
  const what = which === "current" ? "is not the text" : "created_at_utc or snapshot is not the one"
  return [{ file, problem: `${what} that was published, by ${key} in ${stateFile}` }]
}

/** Keys in the metadata, and in the state, that ought to say the same. */
const contradicted = (
  state: FolderState,
  metadata: Metadata
): ReadonlyArray<readonly [inMetadata: string, inState: string]> => [
  ...(state.archived_at_utc === metadata.created_at_utc
    ? []
    : [["created_at_utc", "archived_at_utc"] as const]),
  ...(state.snapshot === metadata.snapshot ? [] : [["snapshot", "snapshot"] as const])
]
