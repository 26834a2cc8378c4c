import { isUtf8 } from "node:buffer"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type { FolderName } from "../source/FolderName.ts"
import { Disk, type DiskError, type DiskStat } from "../system/Disk.ts"
import { adviceOnReading, explain, isAboutUs, isDenied } from "../system/Errno.ts"
import { bytes } from "../text/Text.ts"
import { openTargetAt, type TargetView } from "../zfs/SnapshotAt.ts"
import type { ZfsError } from "../zfs/ZfsCommand.ts"
import { type FileIdentity, isSameFile } from "../zip/ArchiveIndex.ts"
import { type ArchiveIdentity, type FolderState, identityOfState } from "./FolderState.ts"
import * as Layout from "./Layout.ts"
import { publishedFileNames } from "./Layout.ts"
import { parseChecksums } from "./Metadata.ts"
import { requireTarget } from "./Mounts.ts"
import { publishedNames } from "./PublishPlan.ts"
import { decodeState, targetFolders } from "./Records.ts"
import { folderNames, kindOf } from "./SafeFolder.ts"
import type { StoreError } from "./StoreError.ts"

export type Which = "current" | "previous"

export interface ArchiveFinding {
  readonly file: string
  /** The entry of the zip that it is about: escaped, in quotes. */
  readonly entry?: string
  /** To be read after the name of the file and the entry: "its CRC-32 is wrong". */
  readonly problem: string
  /** `taken`: something else than a file has its name; `denied`: this process cannot read it, which says nothing of it. */
  readonly why?: "taken" | "denied"
}

/** One of a folder's two archives with the files that belong to it, as they lay there when it was opened. */
export interface PublishedArchive {
  readonly folder: FolderName
  readonly which: Which
  readonly zip: string
  /** The zip; undefined when it is missing, or something else is in its place. */
  readonly file: FileIdentity | undefined
  /** Texts of the checksum files and of the metadata; undefined when missing, or when `obstacles` has them. */
  readonly md5: string | undefined
  readonly sha256: string | undefined
  readonly metadata: string | undefined
  /** `.state.json`, which describes the current archive; undefined when it is missing or cannot be understood. */
  readonly state: FolderState | undefined
  /** Files that are there and cannot be read (a symlink, no UTF-8, a bad sector), and a state that ought to be there. */
  readonly obstacles: ReadonlyArray<ArchiveFinding>
  readonly interrupted: boolean
}

/** The target or a folder of it cannot be looked at; the message says which and why. */
export class ArchivesError extends Data.TaggedError("ArchivesError")<{
  readonly message: string
  readonly cause?: unknown
}> {}

/** Reads what was published, without a lock: a run may publish meanwhile. */
export class PublishedArchives extends Context.Tag("zipper/Archives")<
  PublishedArchives,
  {
    /** Where the archives are read: the target, or a snapshot of it. */
    readonly target: string
    /** The target itself, in which nothing may be written. */
    readonly live: string
    /** The folders that hold an archive or what is left of one, sorted. */
    readonly folders: Effect.Effect<ReadonlyArray<FolderName>, ArchivesError>
    /** The folders of which a run has published an archive, by the indexes: where nothing is left of one, it was lost. */
    readonly recorded: Effect.Effect<ReadonlyArray<FolderName>, ArchivesError>
    /** Size of the zip in bytes; 0 when there is none. For a bar: nothing is opened, and nothing fails. */
    readonly size: (folder: FolderName, which: Which) => Effect.Effect<number>
    /** An archive, even if parts are missing or unreadable; undefined when there is none and, as far as is known, never was. */
    readonly open: (folder: FolderName, which: Which) => Effect.Effect<PublishedArchive | undefined, ArchivesError>
  }
>() {
  /** `wanted`: the names to archive; without it, what a folder of the target holds says whether it is one of archives. */
  static readonly layer = (
    target: string,
    wanted?: RegExp,
    places?: Places
  ): Layer.Layer<PublishedArchives, never, Disk> =>
    Layer.effect(PublishedArchives, make(readLayout(target, wanted, places)))

  /** Those in a snapshot of the target; see openTargetAt. */
  static readonly layerAt = (target: string, at: string, wanted?: RegExp, places?: Places) =>
    Layer.scoped(
      PublishedArchives,
      Effect.gen(function* () {
        const layout = readLayout(target, wanted, places)
        yield* asArchivesError(`cannot read ${at}`)(requireTarget(layout))
        return yield* make(layout, yield* openTargetAt(target, at))
      })
    )
}

/** Names of the files of one of the two archives in its folder. */
export const namesOf = (folder: FolderName, which: Which) => {
  const n = publishedFileNames(folder)
  return which === "current"
    ? { zip: n.zip, md5: n.md5, sha256: n.sha256, metadata: n.metadata }
    : { zip: n.prevZip, md5: n.prevMd5, sha256: n.prevSha256, metadata: n.prevMetadata }
}

/** Whether nothing was published, repaired or removed between the two readings. */
export const isSameArchive = (a: PublishedArchive, b: PublishedArchive | undefined): boolean =>
  b !== undefined &&
  (a.file === undefined ? b.file === undefined : b.file !== undefined && isSameFile(a.file, b.file)) &&
  a.md5 === b.md5 &&
  a.sha256 === b.sha256 &&
  a.metadata === b.metadata &&
  a.interrupted === b.interrupted &&
  JSON.stringify([a.state, a.obstacles]) === JSON.stringify([b.state, b.obstacles])

/** Tells an archive from later ones: a current one by its state, a previous one by its checksum file; empty where that is missing. */
export const identityOf = (set: PublishedArchive | undefined): ArchiveIdentity => {
  if (set?.which === "current") return identityOfState(set.state)
  const digest = parseChecksums(set?.sha256 ?? "")?.digest
  return digest === undefined ? {} : { zip_sha256: digest }
}

class TargetMissing extends Data.TaggedError("TargetMissing")<{ readonly path: string; readonly named: string }> {
  override get message() {
    return `the target ${this.path} does not exist: is its dataset mounted, and is ${this.named} right?`
  }
}

/** Files with what the target lay on at the last run (see Mounts.ts). */
type Places = ReadonlyArray<string> | undefined

/** The folders of the target that are ours, sorted. Fails with TargetMissing, StoreError when it is not mounted, or DiskError. */
export const ownFolders = (target: string, wanted: RegExp, places?: Places) =>
  foldersOf(readLayout(target, wanted, places))

const foldersOf = Effect.fnUntraced(function* (layout: Layout.Layout) {
  const { target: path } = layout
  // Without a configuration, which has the names of folders, an option names the target.
  const named = layout.folders === undefined ? "--from" : "target_path"
  if ((yield* (yield* Disk).stat(path)) === undefined) return yield* new TargetMissing({ path, named })
  yield* requireTarget(layout)
  // Where no names are configured, to open one that cannot be looked at says why.
  return yield* targetFolders(layout, layout.folders === undefined)
})

const readLayout = (targetPath: string, folders: RegExp | undefined, placesPaths?: Places) =>
  Layout.make({ targetPath, folders, tmpDir: undefined, jobId: "", placesPaths: placesPaths ?? [] })

const make = Effect.fnUntraced(function* (live: Layout.Layout, view?: TargetView) {
  const disk = yield* Disk
  const layout = view === undefined ? live : readLayout(view.root, live.folders)
  const mounted = yield* Effect.cached(requireTarget(layout))
  const withDisk = Effect.provideService(Disk, disk)
  const pathsOf = Effect.fnUntraced(function* (folder: FolderName) {
    const home = view === undefined ? undefined : yield* view.home(folder)
    return Layout.folder(layout, folder, home)
  })
  // To open one that cannot be read says why.
  const mayHoldSomething = (folder: FolderName) =>
    pathsOf(folder).pipe(
      Effect.flatMap(holdsSomething),
      Effect.catchTag("ZfsError", () => Effect.succeed(true))
    )
  return {
    target: layout.target,
    live: live.target,
    folders: foldersOf(layout).pipe(
      Effect.flatMap(Effect.filter(mayHoldSomething, { concurrency: 16 })),
      withDisk,
      asArchivesError("cannot look for archives")
    ),
    recorded: Effect.all([disk.stat(layout.job), disk.stat(layout.indexes)]).pipe(
      Effect.flatMap((stats) =>
        stats.every((stat) => stat?.kind === "directory") ? folderNames(layout.indexes) : Effect.succeed([])
      ),
      withDisk,
      asArchivesError("cannot look for what was archived before")
    ),
    size: (folder: FolderName, which: Which) =>
      Effect.flatMap(pathsOf(folder), ({ home }) => disk.stat(join(home, namesOf(folder, which).zip))).pipe(
        Effect.map((stat) => (stat?.kind === "file" ? stat.size : 0)),
        Effect.orElseSucceed(() => 0)
      ),
    open: Effect.fn("Archives.open")((folder: FolderName, which: Which) =>
      mounted.pipe(
        Effect.zipRight(Effect.flatMap(pathsOf(folder), (paths) => open(paths, which))),
        withDisk,
        asArchivesError(`cannot look at the archives of ${folder}`)
      )
    )
  }
})

const asArchivesError = (doing: string) =>
  Effect.mapError((error: DiskError | ArchivesError | TargetMissing | StoreError | ZfsError) => {
    if (error._tag === "ArchivesError") return error
    if (error._tag === "ZfsError") return new ArchivesError({ message: `${doing}: ${error.message}`, cause: error })
    const advice = error._tag === "DiskError" ? adviceOnReading(error.code) : ""
    // The message of a DiskError says once more what could not be done.
    const why = error._tag === "DiskError" ? `${error.path}: ${explain(error.cause)}` : error.message
    return new ArchivesError({ message: `${doing}: ${why}${advice}`, cause: error })
  })

const holdsSomething = Effect.fnUntraced(function* ({ folder, home }: Layout.FolderLayout) {
  const disk = yield* Disk
  const stat = yield* disk.stat(home)
  // Archives that were moved elsewhere and linked to: opening them says why that does not work.
  if (stat?.kind !== "directory") return stat?.kind === "symlink"
  const published = new Set(publishedNames(folder))
  return yield* disk.list(home).pipe(
    Effect.map((names) => names.some((name) => published.has(name))),
    Effect.orElseSucceed(() => true)
  )
})

const open = Effect.fnUntraced(function* (paths: Layout.FolderLayout, which: Which) {
  const disk = yield* Disk
  const { folder, home } = paths
  const there = yield* disk.stat(home)
  if (there === undefined) return undefined
  if (there.kind !== "directory") {
    const message = `${home} is ${kindOf(there)}, not a folder: nothing is read there, and no run writes there; put the folder itself in its place`
    return yield* new ArchivesError({ message })
  }
  const names = namesOf(folder, which)
  const zip = yield* disk.stat(join(home, names.zip))
  const interrupted = yield* isThere(paths.commit, paths.abort)
  const md5 = yield* readSmall(home, names.md5, checksumFileLimit)
  const sha256 = yield* readSmall(home, names.sha256, checksumFileLimit)
  const metadata = yield* readSmall(home, names.metadata)
  const stateFile = yield* readSmall(home, paths.names.state)
  const state = decodeState(paths, stateFile.text)
  const beside = [md5, sha256, metadata]
  const ownFiles = which === "current" ? [...beside, stateFile] : beside
  const obstacles = [
    ...(zip === undefined || zip.kind === "file" ? [] : [taken(names.zip, zip)]),
    ...ownFiles.flatMap(({ obstacle }) => obstacle ?? []),
    ...(which === "current" && stateFile.text !== undefined && state === undefined
      ? [{ file: stateFile.name, problem: `cannot be understood: it is damaged, or not the state of ${folder}` }]
      : [])
  ]
  const wasThere =
    zip !== undefined ||
    ownFiles.some((found) => found.isThere) ||
    (which === "current" ? interrupted : state?.prev_metadata_sha256 !== undefined)
  if (!wasThere) {
    // Where a look failed, it is not known that there is none.
    const failed = [...beside, stateFile].find((found) => found.failed !== undefined)?.failed
    return failed === undefined ? undefined : yield* failed
  }
  const isGone = !stateFile.isThere && stateFile.failed === undefined
  const lost = which === "current" && isGone && (yield* isThere(paths.index))
  return {
    folder,
    which,
    zip: join(home, names.zip),
    file: zip?.kind === "file" ? zip : undefined,
    md5: md5.text,
    sha256: sha256.text,
    metadata: metadata.text,
    state,
    obstacles: lost ? [...obstacles, { file: paths.names.state, problem: "is missing" }] : obstacles,
    interrupted
  } satisfies PublishedArchive
})

/** Whether one of these is there. What only the user of the runs may read counts as not there, with a warning. */
const isThere = Effect.fnUntraced(
  function* (...paths: ReadonlyArray<string>) {
    const disk = yield* Disk
    const stats = yield* Effect.forEach(paths, disk.stat)
    return stats.some((stat) => stat !== undefined)
  },
  Effect.catchIf(
    ({ code }) => isDenied(code),
    ({ message }) =>
      Effect.as(Effect.logWarning(`${message}: what only the user of the runs may see is taken for not there`), false)
  )
)

const checksumFileLimit = 64 * 1024

interface SmallFile {
  readonly name: string
  readonly isThere: boolean
  readonly failed?: DiskError
  readonly text?: string
  readonly obstacle?: ArchiveFinding
}

const taken = (file: string, stat: DiskStat): ArchiveFinding => ({
  file,
  problem: `is ${kindOf(stat)}, not a file`,
  why: "taken"
})

const readSmall = Effect.fnUntraced(function* (
  home: string,
  name: string,
  limit = Number.POSITIVE_INFINITY
): Effect.fn.Return<SmallFile, never, Disk> {
  const disk = yield* Disk
  const path = join(home, name)
  const obstacle = (problem: string) => ({ name, isThere: true, obstacle: { file: name, problem } })
  const unreadable = ({ cause, code }: DiskError): SmallFile => {
    const found = obstacle(`cannot be read: ${explain(cause)}${adviceOnReading(code)}`)
    return isAboutUs(code) ? { ...found, obstacle: { ...found.obstacle, why: "denied" } } : found
  }
  const stat = yield* Effect.either(disk.stat(path))
  if (Either.isLeft(stat)) return { ...unreadable(stat.left), isThere: false, failed: stat.left }
  if (stat.right === undefined) return { name, isThere: false }
  const { kind, size } = stat.right
  if (kind !== "file") return { name, isThere: true, obstacle: taken(name, stat.right) }
  if (size > limit) return obstacle(`has ${bytes(size)}, far more than such a file can have`)
  const content = yield* Effect.either(disk.readBytes(path))
  if (Either.isLeft(content)) return unreadable(content.left)
  if (content.right === undefined) return { name, isThere: false }
  const { buffer, byteLength, byteOffset } = content.right
  // Strictly: two texts with different bytes must not look the same.
  if (!isUtf8(content.right)) return obstacle("is damaged: it is no UTF-8 text")
  return { name, isThere: true, text: Buffer.from(buffer, byteOffset, byteLength).toString("utf8") }
})
