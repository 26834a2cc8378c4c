import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { FolderState } from "../store/FolderState.ts"
import { encodeChecksums, type Metadata, parseChecksums } from "../store/Metadata.ts"
import { type ArchiveFinding, namesOf, type PublishedArchive } from "../store/PublishedArchive.ts"
import { digestOf } from "../store/Records.ts"
import { codeOf, explain, isAboutUs } from "../system/Errno.ts"
import { type Checksums, type HashError, Hasher } from "../system/Hasher.ts"
import { ArchiveReader } from "../zip/Archiver.ts"
import type { Audit } from "../zip/VerifyZip.ts"
import type { ArchiveError } from "../zip/ZipError.ts"
import { type FileNames, makeFileNames, parseMetadata, readMetadata } from "./MetadataText.ts"

/** `checksums`: the whole zip is read for its digests, and every header and name; `content`: each entry is inflated, too. */
export type Depth = "checksums" | "content"

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
 * All that is wrong with an archive; no findings: every bit of its zip, its checksum files and its metadata is what was published,
 * as far as they and the state know. Fails when the zip may not be read, or there is no memory, descriptor or thread for the work.
 * `onRead` receives how many bytes of the zip, from its beginning, have been read.
 */
export const examineArchive = Effect.fn("CheckSet")(function* (
  set: PublishedArchive,
  depth: Depth,
  onRead: (bytes: number) => void = () => {}
) {
  const subject = subjectOf(set)
  const { metadata, names, text } = subject
  const found: Array<ArchiveFinding> = [...set.obstacles, ...missing(subject), ...(text?.findings ?? [])]
  if (set.file === undefined) {
    return { findings: found, flawed: false, foreign: false, files: 0, bytes: 0 } satisfies Examined
  }
  const listed = metadata === undefined ? undefined : makeFileNames(metadata.files)
  const { audit, checksums } = yield* readZip(set, set.file.size, depth, listed, onRead)
  const flaws = audit.flaws.map((flaw): ArchiveFinding => ({ file: names.zip, ...flaw }))
  if (audit.foreign === true && checksums._tag === "Read") {
    // Another program made the files beside the zip too: this one writes a SHA-256 into the metadata, and a state.
    const adopted = metadata === undefined && (set.which === "previous" || set.state === undefined)
    if (!adopted) found.push(...checkDigests(subject, checksums.value), ...checkFigures(subject, undefined))
    const wrong = adopted
      ? [...set.obstacles, ...checkAdopted(subject, checksums.value)]
      : [...found, ...checkPublished(subject, found)]
    const foreign = !wrong.some(({ file }) => file === names.zip)
    const findings = foreign || wrong.some(isOfUnknownContent) ? wrong : [...flaws, ...wrong]
    return { findings, flawed: false, foreign, files: 0, bytes: 0 } satisfies Examined
  }
  found.push(...flaws)
  if (checksums._tag === "Read") found.push(...checkDigests(subject, checksums.value))
  else if (flaws.length === 0) found.push({ file: names.zip, problem: checksums.problem })
  // Where headers are damaged, names and sizes are not what they were: that is no fault of the metadata.
  const contents = audit.complete && flaws.length === 0 ? audit : undefined
  if (contents !== undefined && listed !== undefined) {
    found.push(...listed.end().map((problem) => ({ file: names.metadata, problem: `files: ${problem}` })))
  }
  found.push(...checkFigures(subject, contents))
  found.push(...checkPublished(subject, found))
  const flawed = flaws.length > 0 || checksums._tag === "Unreadable"
  const { bytes, files } = audit
  return { findings: found, flawed, foreign: false, files, bytes } satisfies Examined
})

/** Whether something that was published says what the zip has to be: without, nothing tells a damaged one from a good one. */
export const hasDigest = (set: PublishedArchive): boolean => {
  const subject = subjectOf(set)
  const { md5, sha256 } = knownDigests(subject, subject.metadata, subject.state)
  return md5.length + sha256.length > 0
}

/**
 * The totals in the metadata, and an effect that says whether the zip is bit by bit what was published, by metadata, state and
 * checksum files. Undefined where one of these is missing or contradicts another. Neither that nor `false` says what is wrong:
 * {@link examineArchive} finds that. `onRead` as there.
 */
export const recordedArchive = (set: PublishedArchive) => {
  const subject = subjectOf(set)
  const { metadata, published, text } = subject
  const { file } = set
  const found = [...set.obstacles, ...missing(subject), ...(text?.findings ?? [])]
  if (file === undefined || metadata === undefined || published !== true || found.length > 0) return undefined
  const totals = { files: metadata.total_files, bytes: metadata.total_bytes }
  if ([...checkFigures(subject, totals), ...checkPublished(subject, [])].length > 0) return undefined
  const isUnchanged = Effect.fn("IsUnchanged")(function* (onRead: (bytes: number) => void = () => {}) {
    const following = yield* (yield* Hasher).follow(set.zip, file.size)
    const report = Effect.sync(() => onRead(following.hashed() ?? 0))
    yield* report.pipe(Effect.delay("200 millis"), Effect.forever, Effect.forkScoped)
    return checkDigests(subject, yield* following.finish(file.size)).length === 0
  }, Effect.scoped)
  return { file, totals, isUnchanged }
}

/** An archive with what is known of it; `state`: only where it describes this archive. */
interface Subject {
  readonly set: PublishedArchive
  readonly names: ReturnType<typeof namesOf>
  readonly metadata: Metadata | undefined
  /** The metadata is the text that was published, by its digest in the state; undefined where that has none. */
  readonly published: boolean | undefined
  readonly state: FolderState | undefined
}

const subjectOf = (set: PublishedArchive) => {
  const names = namesOf(set.folder, set.which)
  const published = isPublished(set)
  // The digest of the previous one's may be that of what was found there.
  const read = published === true && set.which === "current" ? parseMetadata : readMetadata
  const text = set.metadata === undefined ? undefined : read(names.metadata, set.metadata)
  const state = set.which === "current" ? set.state : undefined
  return { set, names, text, metadata: text?.metadata, published, state }
}

const isPublished = ({ metadata, state, which }: PublishedArchive): boolean | undefined => {
  const published = which === "current" ? state?.metadata_sha256 : state?.prev_metadata_sha256
  return published === undefined || metadata === undefined ? undefined : published === digestOf(metadata)
}

type Findings = ReadonlyArray<ArchiveFinding>

type ZipDigests =
  | { readonly _tag: "Read"; readonly value: Checksums }
  | { readonly _tag: "Unreadable"; readonly problem: string }

/** A file of up to so many bytes stays in the system's memory between two readings: they need not follow each other. */
const staysInMemory = 256 * 1024 * 1024

// The digests of a large file follow the audit through it, on a thread of their own: it comes off the disk once.
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
    const following = yield* (yield* Hasher).follow(set.zip, size > staysInMemory ? undefined : size)
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

const stateFile = ".state.json"

const missing = ({ metadata, names, set }: Subject): Findings => {
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

const kinds = ["md5", "sha256"] as const
type Kind = (typeof kinds)[number]
const digits = { md5: 32, sha256: 64 }
const titles = { md5: "MD5", sha256: "SHA-256" }

/** Where none of the places that know a digest agrees with the zip, it is the zip that has changed; where some do, the others. */
const checkDigests = (subject: Subject, measured: Checksums): Findings => {
  const { metadata, names, set, state } = subject
  return [
    ...compareDigests(subject, knownDigests(subject, metadata, state), measured),
    ...kinds.flatMap((kind) => checkFile(kind, names[kind], set[kind], names.zip))
  ]
}

/** The same for an archive that another program made, which wrote files of a form of its own beside it, and not all of them. */
const checkAdopted = (subject: Subject, measured: Checksums): Findings => {
  const { names, set } = subject
  const metadata = set.metadata === undefined ? undefined : Option.getOrUndefined(decodeDigests(set.metadata))
  const inMetadata = { zip_md5: metadata?.zip_md5.toLowerCase(), zip_sha256: metadata?.zip_sha256?.toLowerCase() }
  const known = knownDigests(subject, inMetadata, undefined)
  if (known.md5.length + known.sha256.length === 0) {
    return [{ file: names.zip, problem: unknownContent }]
  }
  const unclear = "cannot be understood: it does not say what the MD5 of the archive is"
  return [
    ...compareDigests(subject, known, measured),
    ...kinds.flatMap((kind) => checkFile(kind, names[kind], set[kind])),
    ...(set.metadata !== undefined && metadata === undefined ? [{ file: names.metadata, problem: unclear }] : [])
  ]
}

const unknownContent =
  "is of no known content: it was made by another program, and no checksum beside it says what it has to be"

/** The finding of an archive of which nothing can be said. */
export const isOfUnknownContent = ({ problem }: ArchiveFinding): boolean => problem === unknownContent

const decodeDigests = Schema.decodeUnknownOption(
  Schema.parseJson(Schema.Struct({ zip_md5: Schema.String, zip_sha256: Schema.optional(Schema.String) }))
)

/** A digest that the zip had when it was published; `what` is its name in a message. */
interface KnownDigest {
  readonly file: string
  readonly what: string
  readonly value: string
}

type Digests = { readonly [Key in `zip_${Kind}`]?: string | undefined } | undefined

const knownDigests = ({ names, set }: Subject, metadata: Digests, state: Digests) => {
  const known = (kind: Kind): ReadonlyArray<KnownDigest> => {
    const key = `zip_${kind}` as const
    return [
      { file: names[kind], what: "the checksum in it", value: digestIn(kind, set[kind]) },
      { file: names.metadata, what: key, value: metadata?.[key] },
      { file: stateFile, what: key, value: state?.[key] }
    ].flatMap(({ value, ...place }) => (value === undefined ? [] : [{ ...place, value }]))
  }
  return { md5: known("md5"), sha256: known("sha256") }
}

const compareDigests = ({ names }: Subject, known: ReturnType<typeof knownDigests>, measured: Checksums): Findings => {
  const changed = kinds.filter((kind) => !agrees(known[kind], measured[kind])).map((kind) => titles[kind])
  const problem = `is not what was published: it has another ${changed.join(" and another ")}`
  return [
    ...(changed.length === 0 ? [] : [{ file: names.zip, problem }]),
    ...kinds.flatMap((kind) => contradictions(known[kind], measured[kind]))
  ]
}

const agrees = (known: ReadonlyArray<KnownDigest>, measured: string): boolean =>
  known.length === 0 || known.some(({ value }) => value === measured)

/** Those that say something else than the zip; or than the first, where none agrees with the zip. */
const contradictions = (known: ReadonlyArray<KnownDigest>, measured: string): Findings => {
  const right = agrees(known, measured)
  const [first] = known
  const expected = right ? measured : first?.value
  const problem = right ? "is not that of the archive" : `is another one than in ${first?.file}`
  return known
    .filter(({ value }) => value !== expected)
    .map(({ file, what }) => ({ file, problem: `${what} ${problem}` }))
}

const digestIn = (kind: Kind, content = ""): string | undefined => {
  const digest = parseChecksums(content)?.digest
  return digest?.length === digits[kind] ? digest : undefined
}

/** Everything in a checksum file but the digest itself; with `zip`, it has to be the line that this program writes for it. */
const checkFile = (kind: Kind, file: string, content: string | undefined, zip?: string): Findings => {
  if (content === undefined) return []
  const digest = digestIn(kind, content)
  if (digest === undefined) return [{ file, problem: "is damaged: it is no checksum file" }]
  return zip === undefined || content === encodeChecksums(digest, zip)
    ? []
    : [{ file, problem: `is damaged: it is not one line with the checksum of ${zip}` }]
}

const checkFigures = (
  { metadata, names, set, state }: Subject,
  contents: Pick<Audit, "files" | "bytes"> | undefined
): Findings => {
  const same = (file: string, key: string, value: unknown, found: unknown, what: string): Findings =>
    value === undefined || found === undefined || value === found
      ? []
      : [{ file, problem: `${key} is ${JSON.stringify(value)}; ${what} ${JSON.stringify(found)}` }]
  return [
    ...same(names.metadata, "zip_name", metadata?.zip_name, names.zip, "it has to be"),
    ...same(names.metadata, "total_files", metadata?.total_files, contents?.files, "the archive has"),
    ...same(names.metadata, "total_bytes", metadata?.total_bytes, contents?.bytes, "the files in the archive have"),
    ...same(stateFile, "zip_size", state?.zip_size, set.file?.size, "the archive has"),
    ...same(stateFile, "files", state?.files, contents?.files, "the archive has"),
    ...same(stateFile, "bytes", state?.bytes, contents?.bytes, "the files in the archive have")
  ]
}

/** Compares what only the state knows. Metadata that `found` already has a finding of is not reported again. */
const checkPublished = ({ metadata, names, published, set, state }: Subject, found: Findings): Findings => {
  const file = names.metadata
  if (set.state === undefined || set.metadata === undefined) return []
  const key = set.which === "current" ? "metadata_sha256" : "prev_metadata_sha256"
  const different = state === undefined || metadata === undefined ? [] : contradicted(state, metadata)
  if (different.length > 0) {
    // The digest of the metadata shows which of the two has changed.
    const [at, other] = published === true ? [stateFile, file] : [file, stateFile]
    return different.map(([inMetadata, inState]) => ({
      file: at,
      problem: `${published === true ? inState : inMetadata} is another one than in ${other}`
    }))
  }
  if (published !== false || found.some((finding) => finding.file === file)) return []
  const what = set.which === "current" ? "is not the text" : "created_at_utc or snapshot is not the one"
  return [{ file, problem: `${what} that was published, by ${key} in ${stateFile}` }]
}

const contradicted = (
  state: FolderState,
  metadata: Metadata
): ReadonlyArray<readonly [inMetadata: string, inState: string]> => [
  ...(state.archived_at_utc === metadata.created_at_utc ? [] : [["created_at_utc", "archived_at_utc"] as const]),
  ...(state.snapshot === metadata.snapshot ? [] : [["snapshot", "snapshot"] as const])
]
