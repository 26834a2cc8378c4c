import { dirname } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Cursor } from "../../domain/Cursor.ts"
import { isDamage } from "../../domain/Errno.ts"
import type { FolderName } from "../../domain/FolderName.ts"
import { FolderFailure } from "../../domain/FolderState.ts"
import { Disk, DiskError } from "../Disk.ts"
import { isFolder, setAside } from "./folders.ts"
import * as Layout from "./layout.ts"

/** Replaces a file so that the old or the new content is there at any instant, and after a power cut. */
export const replace = (path: string, content: string | Uint8Array) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    yield* swapIn(path, (draft) => disk.write(draft, content))
    // A folder that users name may be a symlink: /var/run is one nearly everywhere.
    yield* disk.sync(`${dirname(path)}/.`)
  }).pipe(Effect.uninterruptible)

/** Puts the file that `write` makes in the place of `path`, atomically; neither name is synced. */
export const swapIn = (path: string, write: (draft: string) => Effect.Effect<void, DiskError>) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    const draft = `${path}${Layout.draftSuffix}`
    yield* disk.remove(draft)
    yield* write(draft).pipe(
      Effect.zipRight(disk.rename(draft, path)),
      Effect.onError(() => disk.remove(draft).pipe(Effect.ignoreLogged))
    )
  }).pipe(Effect.uninterruptible)

/** What to do with a file that cannot be understood: `rehearse` and `report` leave it alone, and tell what a run would do, or does. */
export type Corrupt = "set aside" | "rehearse" | "report"

/**
 * A state file's content; undefined when there is none. One that `decode` does not understand is set aside with
 * a warning and worked without: it must not stop the backup, nor be lost for whoever looks into it.
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
      : corrupt === "rehearse"
        ? "would be set aside"
        : "the next run sets it aside"
  yield* Effect.logWarning(
    `${path} cannot be understood (damaged, or of another version): ${how}; ${without}`
  )
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

// It is not worked without: snapshots that it keeps would be destroyed, and a disk may give it the next time.
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
 * The failure record of a folder. One that cannot be read or understood still says that the last attempt failed:
 * without it the cursor would pass the folder by. It goes when the folder is archived.
 */
export const failure = (paths: Layout.FolderLayout) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    const content = yield* disk.read(paths.failure)
    if (content === undefined) return undefined
    return Option.getOrElse(decodeFailure(paths.folder)(content), () =>
      unknownFailure(paths.folder, `${paths.failure} cannot be understood`)
    )
  }).pipe(Effect.catchAll((error) => Effect.succeed(unknownFailure(paths.folder, error.message))))

const unknownFailure = (folder: FolderName, reason: string): FolderFailure => ({
  version: 1,
  folder,
  run: "",
  failed_at_utc: "",
  failures: 1,
  error: `what failed is not known: ${reason}`
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

/** A failure that is over. */
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
