import * as Effect from "effect/Effect"
import { type ArchiveSet, namesOf, type SetFinding } from "../domain/ArchiveSet.ts"
import { type FileNames, makeFileNames } from "../domain/check/FileNames.ts"
import { readMetadata } from "../domain/check/MetadataText.ts"
import { checkAdopted, checkDigests, checkFigures, checkPublished } from "../domain/check/Witnesses.ts"
import { codeOf, explain, isAboutUs } from "../domain/Errno.ts"
import type { Checksums } from "../domain/FolderState.ts"
import type { Metadata } from "../domain/Metadata.ts"
import { type ArchiveError, ArchiveReader, type Audit } from "../services/ArchiveReader.ts"
import { type HashError, Hasher } from "../services/Hasher.ts"

/**
 * How much of a set is read. `checksums`: the whole zip for its digests, and every header and name in it; `content`: each
 * entry is inflated as well, and its CRC-32 checked.
 */
export type Depth = "checksums" | "content"

/** What a set turned out to be. */
export interface Examined {
  /** All that is wrong with it; nothing: it is good. */
  readonly findings: ReadonlyArray<SetFinding>
  /** Something is wrong within the zip, whatever the files beside it say. */
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
 * thread for the work. `onRead` is told how many bytes of the zip, from its beginning, have been read.
 */
export const examine = Effect.fn("CheckSet")(function* (
  set: ArchiveSet,
  depth: Depth,
  onRead: (bytes: number) => void = () => {}
) {
  const names = namesOf(set.folder, set.which)
  const text = set.metadata === undefined ? undefined : readMetadata(names.metadata, set.metadata)
  const metadata = text?.metadata
  const found: Array<SetFinding> = [...set.obstacles, ...missing(set, metadata), ...(text?.findings ?? [])]
  if (set.file === undefined) {
    return { findings: found, flawed: false, foreign: false, files: 0, bytes: 0 } satisfies Examined
  }
  const listed = metadata === undefined ? undefined : makeFileNames(metadata.files)
  const { audit, checksums } = yield* read(set, set.file.size, depth, listed, onRead)
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

/** What lies beside the zip is not by this program either: that writes a SHA-256 into the metadata, and a state. */
const isAdopted = (set: ArchiveSet, metadata: Metadata | undefined): boolean =>
  metadata === undefined && (set.which === "previous" || set.state === undefined)

/** All that can be said without knowing what is in the zip. */
const checkBeside = (
  set: ArchiveSet,
  metadata: Metadata | undefined,
  measured: Checksums,
  found: ReadonlyArray<SetFinding>
): ReadonlyArray<SetFinding> => {
  const wrong = [...checkDigests(set, metadata, measured), ...checkFigures(set, metadata, undefined)]
  return [...wrong, ...checkPublished(set, metadata, [...found, ...wrong])]
}

const stateFile = ".state.json"

/** Files of the set that ought to be there. */
const missing = (set: ArchiveSet, metadata: Metadata | undefined): ReadonlyArray<SetFinding> => {
  const names = namesOf(set.folder, set.which)
  // An archive whose metadata was lost becomes the previous one without; the state then knows of none.
  const without =
    set.which === "previous" &&
    set.state?.metadata_sha256 !== undefined &&
    set.state.prev_metadata_sha256 === undefined
  const absent = [
    ...(set.file === undefined ? [names.zip] : []),
    ...(set.md5 === undefined ? [names.md5] : []),
    ...(set.sha256 === undefined ? [names.sha256] : []),
    ...(set.metadata === undefined && !without ? [names.metadata] : []),
    // Nobody else writes such metadata, and what it says of time and snapshot can be compared with nothing but the state.
    ...(set.which === "current" && set.state === undefined && metadata !== undefined ? [stateFile] : [])
  ]
  return absent
    .filter((file) => !set.obstacles.some((obstacle) => obstacle.file === file))
    .map((file) => ({ file, problem: "is missing" }))
}

/** Digests of the zip, or why it cannot be read. */
type Digests =
  | { readonly _tag: "Read"; readonly value: Checksums }
  | { readonly _tag: "Unreadable"; readonly problem: string }

// The digests follow the audit through the file, on a thread of their own: it comes off the disk once.
const read = (
  set: ArchiveSet,
  size: number,
  depth: Depth,
  listed: FileNames | undefined,
  onRead: (bytes: number) => void
): Effect.Effect<
  { readonly audit: Audit; readonly checksums: Digests },
  ArchiveError | HashError,
  ArchiveReader | Hasher
> =>
  Effect.gen(function* () {
    let reached = 0
    const following = yield* (yield* Hasher).follow(set.zip)
    // Each byte is read twice, and the slower of the two says when it is done.
    const report = () =>
      onRead(Math.min(reached, Math.floor((reached + (following.hashed() ?? reached)) / 2)))
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
      Effect.map((value): Digests => ({ _tag: "Read", value })),
      Effect.catchIf(
        // Without an errno it is a thread that ended; neither that nor what we lack says anything of the file.
        ({ cause, transient }) => (!transient || codeOf(cause) !== undefined) && !isAboutUs(codeOf(cause)),
        (error) =>
          Effect.succeed<Digests>({ _tag: "Unreadable", problem: `cannot be read: ${explain(error.cause)}` })
      )
    )
    onRead(size)
    return { audit, checksums }
  }).pipe(Effect.scoped)
