import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { FolderName } from "../source/FolderName.ts"
import * as Metadata from "../store/Metadata.ts"
import { type PublishedArchive, PublishedArchives, type Which } from "../store/PublishedArchive.ts"
import { adviceOnReading, codeOf, isAboutUs } from "../system/Errno.ts"
import { countField, document, instant, optional, orNull, text } from "../text/Document.ts"
import * as RawPath from "../text/RawPath.ts"
import { shellWord } from "../text/Text.ts"
import { isInstant, utcSeconds } from "../text/Time.ts"
import { ArchiveReader } from "../zip/Archiver.ts"
import { makeChooser } from "../zip/ExtractSurvey.ts"
import type { ZipEntry } from "../zip/Headers.ts"
import { ArchiveError, withMessage } from "../zip/ZipError.ts"
import { findFolders, openArchive } from "./FindArchive.ts"
import type { WantedArchive } from "./RestoreResult.ts"

const ListedEntry = Schema.Struct({
  name: text("its name in the archive, as --only and unzip take it; that of a folder ends in a slash"),
  original: optional(text("the name in the source, escaped, where that is no UTF-8 text")),
  kind: Schema.Literal("file", "directory"),
  size: countField("bytes, uncompressed; of a folder 0"),
  modified_at_utc: instant("time of the last change"),
  mode: text("permissions in octal, such as 0640")
})
export type ListedEntry = typeof ListedEntry.Type

const which = { archive: Schema.Literal("current", "previous") }

/** Printed by `ls ABCD --json`. */
export const ListDocument = document({
  ...which,
  folder: FolderName,
  zip: text("the archive's file"),
  archived_at_utc: orNull(instant("when it was made; null when no file beside it says so")),
  entries: Schema.Array(ListedEntry).annotations({ description: "in the order of the bytes of their names" }),
  files: countField("files among them"),
  bytes: countField("their size"),
  problems: Schema.Array(text("why entries are missing above; without any, the exit status is 0"))
})

const ListedFolder = Schema.Struct({
  folder: FolderName,
  zip_bytes: countField("size of the archive; 0 when it is missing"),
  files: orNull(countField("files in it; this and the next two are null when no file beside it says so")),
  bytes: orNull(countField("their size, uncompressed")),
  archived_at_utc: orNull(instant("when it was made")),
  problem: optional(text("why nothing of it can be restored, as far as that shows without reading it"))
})
export type ListedFolder = typeof ListedFolder.Type

/** Printed by `ls --json`. */
export const ListFoldersDocument = document({ ...which, folders: Schema.Array(ListedFolder) })

/** An archive of which the entries that the patterns match come in batches; all without patterns. `unmatched` is for afterwards. */
export const listArchive = Effect.fn("ListArchive")(function* (wanted: WantedArchive, patterns: ReadonlyArray<string>) {
  yield* findFolders([wanted.folder], wanted.which)
  const set = yield* openArchive(wanted)
  const { file, folder, obstacles, zip } = set
  const path = shellWord(zip)
  if (file === undefined) {
    const problem = obstacles.find((obstacle) => zip.endsWith(`/${obstacle.file}`))?.problem ?? "is missing"
    return yield* new ArchiveError({ reason: "Unreadable", path: zip, message: `${zip} ${problem}`, transient: false })
  }
  const { unmatched, wants } = makeFilter(patterns)
  const entries = (yield* ArchiveReader).entries(zip).pipe(
    Stream.map((batch) => batch.filter(wants).map(listedEntry)),
    Stream.mapError((error) => {
      const code = codeOf(error.cause)
      const advice = isAboutUs(code) ? adviceOnReading(code) : `; unzip -l ${path} may show its names`
      return withMessage(error, `${error.message}${advice}`)
    })
  )
  return { folder, zip, archived_at_utc: figuresOf(set).archived_at_utc, entries, unmatched }
})

/** The folders that have or had such an archive, with what the files beside it say of it. */
export const listFolders = Effect.fn("ListFolders")(function* (which: Which) {
  const archives = yield* PublishedArchives
  const found = yield* Effect.forEach(yield* findFolders([], which), (folder) =>
    archives.open(folder, which).pipe(
      Effect.map((set): ReadonlyArray<ListedFolder> => {
        // Not every folder has one before the current one.
        if (set === undefined && which === "previous") return []
        const lost = set === undefined ? { problem: "nothing is left of its archives" } : {}
        const gone = set !== undefined && set.file === undefined ? { problem: `${set.zip} is missing` } : {}
        return [{ folder, zip_bytes: set?.file?.size ?? 0, ...figuresOf(set), ...lost, ...gone }]
      }),
      Effect.catchAll(({ message }) =>
        Effect.succeed<ReadonlyArray<ListedFolder>>([
          { folder, zip_bytes: 0, ...figuresOf(undefined), problem: message }
        ])
      )
    )
  )
  return found.flat()
})

const figuresOf = (set: PublishedArchive | undefined): Pick<ListedFolder, "files" | "bytes" | "archived_at_utc"> => {
  const state = set?.which === "current" ? set.state : undefined
  const metadata = state === undefined ? Metadata.parse(set?.metadata) : undefined
  const at = state?.archived_at_utc ?? metadata?.created_at_utc
  return {
    files: state?.files ?? metadata?.total_files ?? null,
    bytes: state?.bytes ?? metadata?.total_bytes ?? null,
    archived_at_utc: at !== undefined && isInstant(at) ? at : null
  }
}

/** Chooses as `restore --only` does: what lies below a folder that matches is wanted, too. */
const makeFilter = (patterns: ReadonlyArray<string>) => {
  const choose = makeChooser(patterns)
  const folders = new Set<string>()
  const wants = (entry: ZipEntry): boolean => {
    if (patterns.length === 0) return true
    const name = entry.name.toString("latin1")
    const parent = name.slice(0, name.lastIndexOf("/", name.length - 2) + 1)
    const chosen = choose(entry, { chosen: folders.has(parent) })
    if (chosen && entry.kind === "directory") folders.add(name)
    return chosen
  }
  return { wants, unmatched: choose.unmatched }
}

const listedEntry = ({ kind, mode, name, rawPath, seconds, size }: ZipEntry): ListedEntry => ({
  name: name.toString("utf8"),
  ...(rawPath === undefined ? {} : { original: RawPath.display(rawPath) }),
  kind,
  size,
  modified_at_utc: utcSeconds(seconds * 1000),
  mode: (mode & 0o7777).toString(8).padStart(4, "0")
})
