import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { FolderState } from "../store/FolderState.ts"
import { encodeChecksums, type Metadata, parseChecksums } from "../store/Metadata.ts"
import { type ArchiveFinding, namesOf, type PublishedArchive } from "../store/PublishedArchive.ts"
import { digestOf } from "../store/PublishPlan.ts"
import { codeOf, explain, isAboutUs } from "../system/Errno.ts"
import { type Checksums, type HashError, Hasher } from "../system/Hasher.ts"
import { ArchiveReader } from "../zip/Archiver.ts"
import type { Audit } from "../zip/AuditZip.ts"
import type { ArchiveError } from "../zip/ZipError.ts"
import { type FileNames, makeFileNames, readMetadata } from "./MetadataText.ts"

/**
 * How much of a set is read. `checksums`: the whole zip for its digests, and every header and name in it; `content`: each
 * entry is inflated as well, and its CRC-32 checked.
 */
export type Depth = "checksums" | "content"

/** What a set turned out to be. */
export interface Examined {
  /** All that is wrong with it; nothing: it is good. */
  readonly findings: ReadonlyArray<ArchiveFinding>
  /** Something is wrong within the zip itself. */
  readonly flawed: boolean
  /** Another program made the zip, and it has the checksums that are known of it: its entries were not looked at. */
  readonly foreign: boolean
  /** Files in the zip and their uncompressed bytes, as far as it could be followed. */
  readonly files: number
  readonly bytes: number
}

/**
 * What is in a set and all that is wrong with it; no findings say that every bit of its zip, its checksum files and its metadata is
 * what was published, as far as they and the state know. Fails when the zip may not be read, or there is no memory, descriptor or
 * thread for the work. `onRead` receives how many bytes of the zip, from its beginning, have been read.
 */
export const examineArchive = Effect.fn("CheckSet")(function* (
  set: PublishedArchive,
  depth: Depth,
  onRead: (bytes: number) => void = () => {}
) {
  const names = namesOf(set.folder, set.which)
  const text = set.metadata === undefined ? undefined : readMetadata(names.metadata, set.metadata)
  const metadata = text?.metadata
  const found: Array<ArchiveFinding> = [...set.obstacles, ...missing(set, metadata), ...(text?.findings ?? [])]
  if (set.file === undefined) {
    return { findings: found, flawed: false, foreign: false, files: 0, bytes: 0 } satisfies Examined
  }
  const listed = metadata === undefined ? undefined : makeFileNames(metadata.files)
  const { audit, checksums } = yield* readZip(set, set.file.size, depth, listed, onRead)
  const flaws = audit.flaws.map((flaw) => ({ file: names.zip, ...flaw }))
  if (audit.foreign === true && checksums._tag === "Read") {
    const wrong = isAdopted(set, metadata)
      ? [...set.obstacles, ...checkAdopted(set, checksums.value)]
      : [...found, ...checkBeside(set, metadata, checksums.value, found)]
    const foreign = !wrong.some(({ file }) => file === names.zip)
    const findings = foreign ? wrong : [...flaws, ...wrong]
    return { findings, flawed: false, foreign, files: 0, bytes: 0 } satisfies Examined
  }
  found.push(...flaws)
  if (checksums._tag === "Read") found.push(...checkDigests(set, metadata, checksums.value))
  else if (flaws.length === 0) found.push({ file: names.zip, problem: checksums.problem })
  // Where headers are damaged, names and sizes are not what they were: that is no fault of the metadata.
  const contents = audit.complete && flaws.length === 0 ? audit : undefined
  if (contents !== undefined && listed !== undefined) {
    found.push(...listed.end().map((problem) => ({ file: names.metadata, problem: `files: ${problem}` })))
  }
  found.push(...checkFigures(set, metadata, contents))
  found.push(...checkPublished(set, metadata, found))
  const flawed = flaws.length > 0 || checksums._tag === "Unreadable"
  const { bytes, files } = audit
  return { findings: found, flawed, foreign: false, files, bytes } satisfies Examined
})

/** Digests of the zip, or why it cannot be read. */
type ZipDigests =
  | { readonly _tag: "Read"; readonly value: Checksums }
  | { readonly _tag: "Unreadable"; readonly problem: string }

// The digests follow the audit through the file, on a thread of their own: it comes off the disk once.
const readZip = (
  set: PublishedArchive,
  size: number,
  depth: Depth,
  listed: FileNames | undefined,
  onRead: (bytes: number) => void
): Effect.Effect<
  { readonly audit: Audit; readonly checksums: ZipDigests },
  ArchiveError | HashError,
  ArchiveReader | Hasher
> =>
  Effect.gen(function* () {
    let reached = 0
    const following = yield* (yield* Hasher).follow(set.zip)
    // Each byte is read twice, and the slower of the two says when it is done.
    const report = () => onRead(Math.min(reached, Math.floor((reached + (following.hashed() ?? reached)) / 2)))
    yield* Effect.sync(report).pipe(Effect.delay("200 millis"), Effect.forever, Effect.forkScoped)
    const audit = yield* (yield* ArchiveReader).audit(set.zip, {
      content: depth === "content",
      onFiles: (names) => listed?.add(names),
      onRead: (bytes) => {
        reached = Math.max(reached, Math.min(bytes, size))
        following.advance(reached)
        report()
      }
    })
    const checksums = yield* following.finish(size).pipe(
      Effect.map((value): ZipDigests => ({ _tag: "Read", value })),
      Effect.catchIf(
        // Without an errno it is a thread that ended; neither that nor what we lack says anything of the file.
        ({ cause, transient }) => (!transient || codeOf(cause) !== undefined) && !isAboutUs(codeOf(cause)),
        (error) =>
          Effect.succeed<ZipDigests>({
            _tag: "Unreadable",
            problem: `cannot be read: ${explain(error.cause)}`
          })
      )
    )
    onRead(size)
    return { audit, checksums }
  }).pipe(Effect.scoped)

/** Files of the set that ought to be there. */
const missing = (set: PublishedArchive, metadata: Metadata | undefined): ReadonlyArray<ArchiveFinding> => {
  const names = namesOf(set.folder, set.which)
  // An archive whose metadata was lost becomes the previous one without; the state then knows of none.
  const without =
    set.which === "previous" && set.state?.metadata_sha256 !== undefined && set.state.prev_metadata_sha256 === undefined
  const absent = [
    ...(set.file === undefined ? [names.zip] : []),
    ...(set.md5 === undefined ? [names.md5] : []),
    ...(set.sha256 === undefined ? [names.sha256] : []),
    ...(set.metadata === undefined && !without ? [names.metadata] : []),
    // Only this program writes such metadata, and its time and snapshot can be compared with the state alone.
    ...(set.which === "current" && set.state === undefined && metadata !== undefined ? [stateFile] : [])
  ]
  return absent
    .filter((file) => !set.obstacles.some((obstacle) => obstacle.file === file))
    .map((file) => ({ file, problem: "is missing" }))
}

/** Another program made the files beside the zip too: this one writes a SHA-256 into the metadata, and a state. */
const isAdopted = (set: PublishedArchive, metadata: Metadata | undefined): boolean =>
  metadata === undefined && (set.which === "previous" || set.state === undefined)

/** All that can be said without knowing what is in the zip. */
const checkBeside = (
  set: PublishedArchive,
  metadata: Metadata | undefined,
  measured: Checksums,
  found: ReadonlyArray<ArchiveFinding>
): ReadonlyArray<ArchiveFinding> => {
  const wrong = [...checkDigests(set, metadata, measured), ...checkFigures(set, metadata, undefined)]
  return [...wrong, ...checkPublished(set, metadata, [...found, ...wrong])]
}

const stateFile = ".state.json"

/** The state, where it describes this archive. */
const stateOf = ({ state, which }: PublishedArchive): FolderState | undefined =>
  which === "current" ? state : undefined

/** The kinds of checksum, with the digits and the name of each. */
const kinds = ["md5", "sha256"] as const
type Kind = (typeof kinds)[number]
const digits = { md5: 32, sha256: 64 }
const titles = { md5: "MD5", sha256: "SHA-256" }

/**
 * Compares the digests of a zip with all places that know them, and the checksum files with what was written to them. Where none
 * of the places agrees with the zip, it is the zip that has changed; where some do, the others.
 */
const checkDigests = (
  set: PublishedArchive,
  metadata: Metadata | undefined,
  measured: Checksums
): ReadonlyArray<ArchiveFinding> => {
  const names = namesOf(set.folder, set.which)
  return [
    ...compareDigests(set, knownDigests(set, metadata, stateOf(set)), measured),
    ...kinds.flatMap((kind) => checkFile(names[kind], set[kind], digits[kind], names.zip))
  ]
}

/** The same for an archive that another program made, which wrote files of a form of its own beside it, and not all of them. */
const checkAdopted = (set: PublishedArchive, measured: Checksums): ReadonlyArray<ArchiveFinding> => {
  const names = namesOf(set.folder, set.which)
  const metadata = set.metadata === undefined ? undefined : Option.getOrUndefined(decodeDigests(set.metadata))
  const known = knownDigests(
    set,
    { zip_md5: metadata?.zip_md5.toLowerCase(), zip_sha256: metadata?.zip_sha256?.toLowerCase() },
    undefined
  )
  if (known.md5.length + known.sha256.length === 0) {
    const problem = "was made by another program, and no checksum beside it says what it has to be"
    return [{ file: names.zip, problem: `is of no known content: it ${problem}` }]
  }
  return [
    ...compareDigests(set, known, measured),
    ...kinds.flatMap((kind) => checkForm(names[kind], set[kind], digits[kind])),
    ...(set.metadata !== undefined && metadata === undefined
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

/** A digest that the zip had when it was published. */
interface KnownDigest {
  readonly file: string
  /** Its name in a message. */
  readonly what: string
  readonly value: string
}

type Digests = { readonly [Key in `zip_${Kind}`]?: string | undefined } | undefined

const knownDigests = (set: PublishedArchive, metadata: Digests, state: Digests) => {
  const names = namesOf(set.folder, set.which)
  const known = (kind: Kind): ReadonlyArray<KnownDigest> => {
    const key = `zip_${kind}` as const
    const inFile = set[kind] === undefined ? undefined : digestIn(set[kind], digits[kind])
    return [
      { file: names[kind], what: "the checksum in it", value: inFile },
      { file: names.metadata, what: key, value: metadata?.[key] },
      { file: stateFile, what: key, value: state?.[key] }
    ].flatMap(({ value, ...place }) => (value === undefined ? [] : [{ ...place, value }]))
  }
  return { md5: known("md5"), sha256: known("sha256") }
}

const compareDigests = (
  set: PublishedArchive,
  known: ReturnType<typeof knownDigests>,
  measured: Checksums
): ReadonlyArray<ArchiveFinding> => {
  const changed = kinds.filter((kind) => !agrees(known[kind], measured[kind])).map((kind) => titles[kind])
  const problem = `is not what was published: it has another ${changed.join(" and another ")}`
  return [
    ...(changed.length === 0 ? [] : [{ file: namesOf(set.folder, set.which).zip, problem }]),
    ...kinds.flatMap((kind) => contradictions(known[kind], measured[kind]))
  ]
}

const agrees = (known: ReadonlyArray<KnownDigest>, measured: string): boolean =>
  known.length === 0 || known.some(({ value }) => value === measured)

/** Those that say something else than the zip; or than each other, where none agrees with the zip. */
const contradictions = (known: ReadonlyArray<KnownDigest>, measured: string): ReadonlyArray<ArchiveFinding> => {
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
  const digest = parseChecksums(content)?.digest
  return digest?.length === digits ? digest : undefined
}

/** Everything in it but the digest itself. */
const checkFile = (
  file: string,
  content: string | undefined,
  digits: number,
  zip: string
): ReadonlyArray<ArchiveFinding> => {
  if (content === undefined) return []
  const digest = digestIn(content, digits)
  if (digest === undefined) return checkForm(file, content, digits)
  return content === encodeChecksums(digest, zip)
    ? []
    : [{ file, problem: `is damaged: it is not one line with the checksum of ${zip}` }]
}

const checkForm = (file: string, content: string | undefined, digits: number): ReadonlyArray<ArchiveFinding> =>
  content === undefined || digestIn(content, digits) !== undefined
    ? []
    : [{ file, problem: "is damaged: it is no checksum file" }]

/** Compares the metadata, and the state where it describes this archive, with what the archive turned out to hold. */
const checkFigures = (
  set: PublishedArchive,
  metadata: Metadata | undefined,
  contents: Pick<Audit, "files" | "bytes"> | undefined
): ReadonlyArray<ArchiveFinding> => {
  const names = namesOf(set.folder, set.which)
  const state = stateOf(set)
  const findings: Array<ArchiveFinding> = []
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
 * Compares what only the state knows: when the archive was made, and from what. `found` holds the findings so far: metadata that
 * is no longer the text that was published is reported once.
 */
const checkPublished = (
  set: PublishedArchive,
  metadata: Metadata | undefined,
  found: ReadonlyArray<ArchiveFinding>
): ReadonlyArray<ArchiveFinding> => {
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
  ...(state.archived_at_utc === metadata.created_at_utc ? [] : [["created_at_utc", "archived_at_utc"] as const]),
  ...(state.snapshot === metadata.snapshot ? [] : [["snapshot", "snapshot"] as const])
]
