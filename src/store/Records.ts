import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type FolderName, parseFolderName } from "../source/FolderName.ts"
import { SnapshotRef } from "../source/SourceView.ts"
import { Disk, DiskError } from "../system/Disk.ts"
import { isDamage } from "../system/Errno.ts"
import { Sha256 } from "../system/Hasher.ts"
import { FolderFailure, type FolderRecord, FolderState } from "./FolderState.ts"
import * as Layout from "./Layout.ts"
import { folderNames, isFolder, setAside } from "./SafeFolder.ts"

/**
 * `<target>/.zipper/cursor.json`: how far the job has come. Every change up to `base` is either published or
 * has a failure record, so the next run only asks what changed since.
 */
export const Cursor = Schema.Struct({
  version: Schema.Literal(1),
  /** The configured source folder that the cursor belongs to; another one makes it void. */
  source_path: Schema.String,
  /** The base of the next `zfs diff`. */
  base: SnapshotRef,
  /** Older snapshots that retention keeps (`snapshot_keep`), newest first. */
  kept: Schema.Array(SnapshotRef),
  /**
   * SHA-256 of each folder's published archive when the cursor was written. What a diff from `base` says holds for that archive only:
   * an older one (put back from a backup) or a newer one (a run of chosen folders, a killed run) is compared closely. Older cursors know none.
   */
  archives: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Sha256 }), {
    exact: true,
    default: () => ({})
  }),
  run: Schema.String,
  advanced_at_utc: Schema.String
})
export type Cursor = typeof Cursor.Type

/** Replaces a file so that the old or the new content is there at any instant, and after a power cut. */
export const replace = (path: string, content: string | Uint8Array) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    yield* replaceByRename(path, (draft) => disk.write(draft, content))
    // A folder that users name may be a symlink: /var/run is one nearly everywhere.
    yield* disk.sync(`${dirname(path)}/.`)
  }).pipe(Effect.uninterruptible)

/** Puts the file that `write` makes under the name `draft` in the place of `path`, atomically; neither name is synced. */
export const replaceByRename = (
  path: string,
  write: (draft: string) => Effect.Effect<void, DiskError>,
  draft = `${path}${Layout.draftSuffix}`
) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    yield* disk.remove(draft)
    yield* write(draft).pipe(
      Effect.zipRight(disk.rename(draft, path)),
      Effect.onError(() => disk.remove(draft).pipe(Effect.ignoreLogged))
    )
  }).pipe(Effect.uninterruptible)

/** What to do with a file that cannot be understood: `dry run` and `report` leave it alone, and tell what a run would do, or does. */
export type Corrupt = "set aside" | "dry run" | "report"

/**
 * A state file's content; undefined when there is none. One that `decode` does not understand is set aside with a warning, and
 * the run works without it.
 */
export const load = Effect.fnUntraced(function* <A>(
  path: string,
  decode: (content: string) => Option.Option<A>,
  corrupt: Corrupt,
  without: string
) {
  const disk = yield* Disk
  const content = yield* disk.read(path)
  if (content === undefined) return undefined
  const decoded = decode(content)
  if (Option.isSome(decoded)) return decoded.value
  const how =
    corrupt === "set aside"
      ? `kept as ${yield* setAside(path)}`
      : corrupt === "dry run"
        ? "would be set aside"
        : "the next run sets it aside"
  yield* Effect.logWarning(`${path} cannot be understood (damaged, or of another version): ${how}; ${without}`)
  return undefined
})

const CursorFile = Schema.parseJson(Cursor)

export const cursor = Effect.fnUntraced(function* (layout: Layout.Layout, corrupt: Corrupt) {
  if (!(yield* isFolder(layout.job))) return undefined
  return yield* load(
    layout.cursor,
    Schema.decodeUnknownOption(CursorFile),
    corrupt,
    "every folder is compared with what was archived"
  ).pipe(Effect.mapError(withWayOut))
})

// Without the cursor, snapshots that it keeps would be destroyed; and the next attempt to read it may succeed.
const withWayOut = (error: DiskError): DiskError =>
  isDamage(error.code)
    ? new DiskError({
        ...error,
        message: `${error.message}; if it stays so, remove that file: every folder is then compared with what was archived`,
        cause: error
      })
    : error

export const advance = Effect.fnUntraced(function* (layout: Layout.Layout, next: Cursor) {
  yield* makeJobFolder(layout.job)
  yield* replace(layout.cursor, `${JSON.stringify(Schema.encodeSync(Cursor)(next), null, 2)}\n`)
})

const FailureFile = Schema.parseJson(FolderFailure)

const decodeFailure = (folder: FolderName) => (content: string) =>
  Option.filter(Schema.decodeUnknownOption(FailureFile)(content), (record) => record.folder === folder)

/**
 * The failure record of a folder. One that cannot be read or understood still says that the last attempt failed: without it the
 * cursor would pass the folder by.
 */
const failure = Effect.fnUntraced(function* ({ failure: path, folder }: Layout.FolderLayout) {
  const unknown = (reason: string): FolderFailure => ({
    version: 1,
    folder,
    run: "",
    failed_at_utc: "",
    failures: 1,
    error: `what failed is not known: ${reason}`
  })
  return yield* Effect.flatMap(Disk, (disk) => disk.read(path)).pipe(
    Effect.map((content) =>
      content === undefined
        ? undefined
        : Option.getOrElse(decodeFailure(folder)(content), () => unknown(`${path} cannot be understood`))
    ),
    Effect.catchAll(({ message }) => Effect.succeed(unknown(message)))
  )
})

export const recordFailure = Effect.fnUntraced(function* (
  layout: Layout.Layout,
  failed: Omit<FolderFailure, "version" | "failures">
) {
  yield* makeJobFolder(layout.job)
  yield* makeJobFolder(layout.failures)
  const paths = Layout.folder(layout, failed.folder)
  const before = yield* load(
    paths.failure,
    decodeFailure(failed.folder),
    "set aside",
    "the count of failures starts again"
  )
  const record: FolderFailure = { version: 1, ...failed, failures: (before?.failures ?? 0) + 1 }
  yield* replace(paths.failure, `${JSON.stringify(Schema.encodeSync(FolderFailure)(record), null, 2)}\n`)
})

export const clearFailure = Effect.fnUntraced(function* (paths: Layout.FolderLayout) {
  const disk = yield* Disk
  yield* disk
    .remove(paths.failure)
    .pipe(
      Effect.catchAll((error) =>
        Effect.logWarning(`${paths.folder} was published, but is archived again next time: ${error.message}`)
      )
    )
})

/** Makes `.zipper` or a folder in it. */
export const makeJobFolder = Effect.fnUntraced(function* (path: string) {
  const disk = yield* Disk
  if (yield* isFolder(path)) return
  // Two folders may fail at the same instant.
  yield* disk.makeFolder(path).pipe(
    Effect.catchIf(
      (error) => error.code === "EEXIST",
      () => Effect.void
    )
  )
  yield* disk.sync(`${path}/..`)
})

/**
 * What is known of every folder in the target, and of those that have only ever failed. `report` fails where the user may not
 * read a state, or a folder cannot be looked at: that says nothing about the archive.
 */
export const records = Effect.fnUntraced(function* (layout: Layout.Layout, corrupt: Corrupt) {
  const folders = new Set(yield* folderNames(layout.target))
  const hasFailures = (yield* isFolder(layout.job)) && (yield* isFolder(layout.failures))
  const failed = new Set(hasFailures ? yield* folderNames(layout.failures, ".json") : [])
  const indexed = new Set(yield* indexedFolders(layout, corrupt))
  const found = yield* Effect.forEach(
    [...new Set([...folders, ...failed, ...indexed])].sort(),
    Effect.fnUntraced(function* (folder) {
      const paths = Layout.folder(layout, folder)
      const published = folders.has(folder) ? yield* current(paths, corrupt) : nothing
      const lost = published.zipSize === undefined && indexed.has(folder) ? { lost: true as const } : {}
      return [
        folder,
        { ...published, ...lost, failure: failed.has(folder) ? yield* failure(paths) : undefined }
      ] as const
    }),
    { concurrency: 16 }
  )
  return new Map<FolderName, FolderRecord>(found)
})

/** The folders that have an index: an archive of each was published. */
const indexedFolders = (layout: Layout.Layout, corrupt: Corrupt) =>
  Effect.gen(function* () {
    if (!((yield* isFolder(layout.job)) && (yield* isFolder(layout.indexes)))) return []
    return (yield* (yield* Disk).list(layout.indexes)).flatMap((name) => parseFolderName(name) ?? [])
  }).pipe(
    // Who asks how things stand is told by Archives.recorded, which reads the same.
    Effect.tapError((error) =>
      corrupt === "report"
        ? Effect.void
        : Effect.logWarning(`an archive that is gone may not be noticed: ${error.message}`)
    ),
    Effect.orElseSucceed(() => [] as FolderName[])
  )

type Current = Omit<FolderRecord, "failure">

const nothing: Current = { state: undefined, zipSize: undefined }

const isDenied = ({ code }: DiskError): boolean => code === "EACCES" || code === "EPERM"

const current = (paths: Layout.FolderLayout, corrupt: Corrupt) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    // Nothing is read through a symlink; staging refuses it.
    if ((yield* disk.stat(paths.home))?.kind !== "directory") return nothing
    const zip = yield* disk.stat(join(paths.home, paths.names.zip))
    const state = yield* load(
      join(paths.home, paths.names.state),
      (content) => Option.fromNullable(decodeState(paths, content)),
      corrupt,
      corrupt === "report"
        ? `${paths.folder} is then archived anew, and nothing is lost by that`
        : `${paths.folder} is archived anew`
    ).pipe(
      // What cannot be read makes its folder due, and fails there with a message of its own; the archive is still there.
      Effect.catchIf(
        (error) => corrupt !== "report" || !isDenied(error),
        (error) => Effect.as(Effect.logWarning(unknownText(paths.folder, corrupt, error)), undefined)
      )
    )
    const beside = yield* Effect.findFirst([paths.names.md5, paths.names.sha256, paths.names.metadata], (name) =>
      Effect.map(disk.stat(join(paths.home, name)), (stat) => stat?.kind !== "file" || stat.size === 0)
    )
    return {
      state,
      zipSize: zip?.kind === "file" ? zip.size : undefined,
      ...Option.match(beside, { onNone: () => ({}), onSome: (incomplete) => ({ incomplete }) })
    } satisfies Current
  }).pipe(
    // One folder must not stop the others of a run.
    Effect.catchIf(
      () => corrupt !== "report",
      (error) => Effect.as(Effect.logWarning(unknownText(paths.folder, corrupt, error)), nothing)
    )
  )

const unknownText = (folder: FolderName, corrupt: Corrupt, { message }: { readonly message: string }) =>
  corrupt === "report"
    ? `the state of ${folder} is not known, and the next run archives it anew: ${message}`
    : `${folder} is archived anew, its state is not known: ${message}`

const decodeStateFile = Schema.decodeUnknownOption(Schema.parseJson(FolderState))

/** The state of this folder that `content` holds, if it does. */
export const decodeState = (paths: Layout.FolderLayout, content: string | undefined): FolderState | undefined =>
  content === undefined
    ? undefined
    : Option.getOrUndefined(Option.filter(decodeStateFile(content), (state) => state.folder === paths.folder))
