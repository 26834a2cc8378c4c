import { createHash } from "node:crypto"
import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { FolderName } from "../source/FolderName.ts"
import { SnapshotRef } from "../source/SourceView.ts"
import { Disk, DiskError, ignoreCode } from "../system/Disk.ts"
import { adviceOnWriting, isDamage, isDenied } from "../system/Errno.ts"
import { Hasher, Sha256 } from "../system/Hasher.ts"
import * as ArchiveIndex from "../zip/ArchiveIndex.ts"
import { FolderFailure, type FolderRecord, FolderState } from "./FolderState.ts"
import * as Layout from "./Layout.ts"
import { folderNames, isFolder, setAside } from "./SafeFolder.ts"

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

/** What becomes of a file that cannot be understood: "dry run" and "report" leave it there, and log what a run does with it. */
export type Corrupt = keyof typeof waysToKeep

const waysToKeep = {
  "set aside": (path: string) => Effect.map(setAside(path), (aside) => `kept as ${aside}`),
  "dry run": () => Effect.succeed("would be set aside"),
  report: () => Effect.succeed("the next run sets it aside")
} as const

/** A state file's content; undefined when there is none or it cannot be understood: the warning ends with `without`. */
export const load = Effect.fnUntraced(function* <A>(
  path: string,
  decode: (content: string) => Option.Option<A>,
  corrupt: Corrupt,
  without: string
) {
  const content = yield* (yield* Disk).read(path)
  if (content === undefined) return undefined
  const decoded = decode(content)
  if (Option.isSome(decoded)) return decoded.value
  const how = yield* waysToKeep[corrupt](path)
  yield* Effect.logWarning(`${path} cannot be understood (damaged, or of another version): ${how}; ${without}`)
  return undefined
})

/** A state file: JSON, indented, with a newline at its end. `read` and `decode` give nothing for a text that is not of the schema. */
export const jsonFile = <A, I>(schema: Schema.Schema<A, I>) => {
  const file = Schema.parseJson(schema, { space: 2 })
  const decode = Schema.decodeUnknownOption(file)
  const encode = Schema.encodeSync(file)
  const read = (content: string | undefined): A | undefined => Option.getOrUndefined(decode(content))
  return { decode, read, encode: (value: A): string => `${encode(value)}\n` }
}

export const makeJobFolder = Effect.fnUntraced(function* (path: string) {
  const disk = yield* Disk
  if (yield* isFolder(path)) return
  // Two folders may fail at the same instant.
  yield* disk.makeFolder(path).pipe(ignoreCode("EEXIST"))
  yield* disk.sync(`${path}/..`)
})

/** `<target>/.zipper/cursor.json`. Every change up to `base` is published or has a failure record: the next run asks for later ones. */
export const Cursor = Schema.Struct({
  version: Schema.Literal(1),
  /** The configured source folder that the cursor belongs to; another one makes it void. */
  source_path: Schema.String,
  base: SnapshotRef,
  kept: Schema.Array(SnapshotRef),
  /** SHA-256 of the archives at that time: a diff from `base` says nothing of other ones. Older cursors have none. */
  archives: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Sha256 }), {
    exact: true,
    default: () => ({})
  }),
  run: Schema.String,
  advanced_at_utc: Schema.String
})
export type Cursor = typeof Cursor.Type

const cursorFile = jsonFile(Cursor)

export const cursor = Effect.fnUntraced(function* (layout: Layout.Layout, corrupt: Corrupt) {
  if (!(yield* isFolder(layout.job))) return undefined
  return yield* load(layout.cursor, cursorFile.decode, corrupt, "every folder is compared with what was archived").pipe(
    Effect.mapError(withWayOut)
  )
})

// Without the cursor, snapshots that it keeps would be destroyed; and the next attempt to read it may succeed.
const withWayOut = (error: DiskError): DiskError => {
  if (!isDamage(error.code)) return error
  const message = `${error.message}; if it stays so, remove that file: every folder is then compared with what was archived`
  return new DiskError({ ...error, message, cause: error })
}

export const advance = Effect.fnUntraced(function* (layout: Layout.Layout, next: Cursor) {
  yield* makeJobFolder(layout.job)
  yield* replace(layout.cursor, cursorFile.encode(next))
})

const failureFile = jsonFile(FolderFailure)

const decodeFailure = (folder: FolderName) => (content: string) =>
  Option.filter(failureFile.decode(content), (record) => record.folder === folder)

/** An unreadable record still says that the last attempt failed: without it, the cursor would pass the folder by. */
const failure = Effect.fnUntraced(
  function* ({ failure: path, folder }: Layout.FolderLayout) {
    const content = yield* (yield* Disk).read(path)
    if (content === undefined) return undefined
    return Option.getOrElse(decodeFailure(folder)(content), () =>
      unknownFailure(folder, `${path} cannot be understood`)
    )
  },
  (effect, { folder }) =>
    Effect.catchAll(effect, ({ message }) => Effect.succeed<FolderFailure>(unknownFailure(folder, message)))
)

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
  const { failure: path } = Layout.folder(layout, failed.folder)
  const before = yield* load(path, decodeFailure(failed.folder), "set aside", "the count of failures starts again")
  yield* replace(path, failureFile.encode({ version: 1, ...failed, failures: (before?.failures ?? 0) + 1 }))
})

export const clearFailure = (paths: Layout.FolderLayout) =>
  Effect.flatMap(Disk, (disk) => disk.remove(paths.failure)).pipe(
    Effect.catchAll(({ message }) =>
      Effect.logWarning(`${paths.folder} was published, but is archived again next time: ${message}`)
    )
  )

/**
 * The folders of the target that are ours: by their names, or by the state of an archive from a time when `folders` was another.
 * `unseen`: whether one that cannot be looked at counts as ours.
 */
export const targetFolders = Effect.fnUntraced(function* (layout: Layout.Layout, unseen = false) {
  const { folders, target } = layout
  return yield* Effect.filter(
    yield* folderNames(target),
    (name) =>
      folders?.test(name)
        ? Effect.succeed(true)
        : Effect.catchAll(holdsArchive(Layout.folder(layout, name), folders), ({ message }) =>
            Effect.as(Effect.logDebug(unseen ? message : `passed over: ${message}`), unseen)
          ),
    { concurrency: 16 }
  )
})

const holdsArchive = Effect.fnUntraced(function* (paths: Layout.FolderLayout, folders: RegExp | undefined) {
  const { home, names } = paths
  const disk = yield* Disk
  if ((yield* disk.stat(home))?.kind !== "directory") return false
  if (folders === undefined && (yield* disk.stat(join(home, names.zip)))?.kind === "file") return true
  const isFile = (yield* disk.stat(join(home, names.state)))?.kind === "file"
  return isFile && decodeState(paths, yield* disk.read(join(home, names.state))) !== undefined
})

const namesIn = Effect.fnUntraced(function* (layout: Layout.Layout, path: string, ending?: string) {
  const isThere = yield* Effect.every([layout.job, path], (folder) => isFolder(folder))
  return new Set(isThere ? yield* folderNames(path, ending) : [])
})

/** "report" fails where the user may not read a state, or a folder cannot be looked at: that says nothing about the archive. */
export const records = Effect.fnUntraced(function* (layout: Layout.Layout, corrupt: Corrupt) {
  const folders = new Set(yield* targetFolders(layout))
  const failed = yield* namesIn(layout, layout.failures, ".json")
  const indexed = yield* namesIn(layout, layout.indexes).pipe(
    Effect.catchAll(({ message }) => {
      // A report has this failure from PublishedArchives.recorded, which reads the same.
      const said =
        corrupt === "report" ? Effect.void : Effect.logWarning(`an archive that is gone may not be noticed: ${message}`)
      return Effect.as(said, new Set<FolderName>())
    })
  )
  const found = yield* Effect.forEach(
    [...new Set([...folders, ...failed, ...indexed])].sort(),
    Effect.fnUntraced(function* (folder) {
      const paths = Layout.folder(layout, folder)
      const published = folders.has(folder) ? yield* current(paths, corrupt) : nothing
      const record: FolderRecord = { ...published, failure: failed.has(folder) ? yield* failure(paths) : undefined }
      const lost = record.zipSize === undefined && record.unknown !== true && indexed.has(folder)
      return [folder, lost ? { ...record, lost } : record] as const
    }),
    { concurrency: 16 }
  )
  return new Map<FolderName, FolderRecord>(found)
})

type Current = Omit<FolderRecord, "failure">

const nothing: Current = { state: undefined, zipSize: undefined }
const unknown: Current = { ...nothing, unknown: true }

const current = (paths: Layout.FolderLayout, corrupt: Corrupt) =>
  Effect.gen(function* () {
    const { folder, home, names } = paths
    const disk = yield* Disk
    // Nothing is read through a symlink, and staging refuses it; the archives may be where it leads.
    const kind = (yield* disk.stat(home))?.kind
    if (kind !== "directory") return kind === "symlink" ? unknown : nothing
    const zip = yield* disk.stat(join(home, names.zip))
    const state = yield* load(
      join(home, names.state),
      (content) => Option.fromNullable(decodeState(paths, content)),
      corrupt,
      corrupt === "report"
        ? `${folder} is then archived anew, and nothing is lost by that`
        : `${folder} is archived anew`
    ).pipe(
      // An unreadable state makes its folder due, and fails there with a message of its own; the archive is still there.
      Effect.catchIf(
        (error) => corrupt !== "report" || !isDenied(error.code),
        (error) => Effect.as(logUnknown(folder, corrupt, error), undefined)
      )
    )
    const beside = yield* Effect.findFirst([names.md5, names.sha256, names.metadata], (name) =>
      Effect.map(disk.stat(join(home, name)), (stat) => stat?.kind !== "file" || stat.size === 0)
    )
    return {
      state,
      zipSize: zip?.kind === "file" ? zip.size : undefined,
      ...(zip === undefined || zip.kind === "file" ? {} : { taken: true as const }),
      ...(Option.isSome(beside) ? { incomplete: beside.value } : {})
    } satisfies Current
  }).pipe(
    // One folder must not stop the others of a run.
    Effect.catchIf(
      () => corrupt !== "report",
      (error) => Effect.as(logUnknown(paths.folder, corrupt, error), unknown)
    )
  )

const logUnknown = (folder: FolderName, corrupt: Corrupt, { message }: { readonly message: string }) =>
  Effect.logWarning(
    corrupt === "report"
      ? `the state of ${folder} is not known, and the next run archives it anew: ${message}`
      : `${folder} is archived anew, its state is not known: ${message}`
  )

const stateFile = jsonFile(FolderState)
const decodeStrictly = Schema.decodeUnknownOption(Schema.parseJson(FolderState), { onExcessProperty: "error" })

/** SHA-256 (hex) of a text in UTF-8, or of bytes. */
export const digestOf = (text: string | ReadonlyArray<Uint8Array>): string => {
  const hash = createHash("sha256")
  for (const part of typeof text === "string" ? [text] : text) hash.update(part)
  return hash.digest("hex")
}

const lastLine = /,\n {2}"sha256": "([0-9a-f]{64})"\n\}\n$/

/** Its last key is the SHA-256 of the text without it, so that damage anywhere in it is noticed. */
export const encodeState = (state: FolderState): string => {
  const text = stateFile.encode(state)
  return `${text.slice(0, -"\n}\n".length)},\n  "sha256": "${digestOf(text)}"\n}\n`
}

/** States of earlier versions end without a digest. */
export const decodeState = (paths: Layout.FolderLayout, content = ""): FolderState | undefined => {
  const [end, digest] = lastLine.exec(content) ?? []
  const text = end === undefined ? content : `${content.slice(0, -end.length)}\n}\n`
  if (digest !== undefined && digest !== digestOf(text)) return undefined
  return Option.getOrUndefined(Option.filter(decodeStrictly(text), ({ folder }) => folder === paths.folder))
}

/** See Store.previous. The current archive is read and compared with what was published. */
export const previous = (layout: Layout.Layout, paths: Layout.FolderLayout) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    if (!(yield* isFolder(layout.job)) || !(yield* isFolder(layout.indexes))) return undefined
    const content = yield* disk.readBytes(paths.index)
    if (content === undefined || !(yield* isFolder(paths.home))) return undefined
    const index = ArchiveIndex.decode(content)
    if (index === undefined) {
      return yield* noPrevious(`${paths.index} cannot be understood (damaged, or of another version)`)
    }
    const state = decodeState(paths, yield* disk.read(join(paths.home, paths.names.state)))
    if (state?.zip_sha256 !== index.sha256) return yield* noPrevious(`${paths.index} is of another archive`)
    const zip = join(paths.home, paths.names.zip)
    const stat = yield* disk.stat(zip)
    if (stat?.kind !== "file" || stat.size !== state.zip_size) {
      return yield* noPrevious(`${zip} is not there, or not of the size that was published`)
    }
    const { checksums, pieces } = yield* (yield* Hasher).hashInPieces(zip)
    if (checksums.sha256 !== index.sha256) {
      return yield* noPrevious(`${zip} is damaged: its SHA-256 is not the one that was published`)
    }
    const { ctimeMs, dev, ino, mtimeMs, size } = stat
    const file = { dev, ino, size, mtimeMs, ctimeMs }
    return { zip, file, checksums, pieces, index } satisfies ArchiveIndex.PreviousArchive
  }).pipe(Effect.catchAll((error) => noPrevious(error.message)))

const noPrevious = (why: string) => Effect.as(Effect.logInfo(`everything is compressed anew: ${why}`), undefined)

/** Makes `index` that of the archive that was just published; the one of the archive before it is void in any case. */
export const replaceIndex = (
  layout: Layout.Layout,
  { folder, index: path }: Layout.FolderLayout,
  index: ArchiveIndex.ArchiveIndex | undefined
) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    if (index === undefined) return yield* disk.remove(path)
    yield* makeJobFolder(layout.job)
    yield* makeJobFolder(layout.indexes)
    // With the dot it is the name of no folder's index.
    const draft = join(layout.indexes, `.${folder}${Layout.draftSuffix}`)
    yield* replaceByRename(path, () => disk.writeUnsynced(draft, ArchiveIndex.encode(index)), draft)
  }).pipe(
    Effect.catchAll((error) => {
      const advice = error._tag === "DiskError" ? adviceOnIndex(path, error.code) : ""
      return Effect.logWarning(
        `the archive was published, but the next one takes longer than it need: ${error.message}${advice}`
      )
    })
  )

// A folder there cannot be removed as a file: EISDIR on Linux, EPERM elsewhere.
const adviceOnIndex = (path: string, code: string | undefined): string =>
  code === "EISDIR" || code === "EPERM"
    ? `. If something else lies at ${path}, find out who made it, then remove it`
    : adviceOnWriting(code)
