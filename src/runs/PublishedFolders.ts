import * as Effect from "effect/Effect"
import { archiveJobKey } from "../config/ReplicationJob.ts"
import type { FolderName } from "../source/FolderName.ts"
import { isSameArchive, type PublishedArchive, PublishedArchives, type Which } from "../store/PublishedArchive.ts"
import { bytes } from "../text/Text.ts"
import { JobStates } from "./JobState.ts"

/** Folders of which runs have published archives, by the state of the job. */
export const publishedByState = Effect.gen(function* () {
  const state = yield* (yield* JobStates).load(archiveJobKey)
  const folders = state?.kind === "archive" ? state.folders : []
  return folders.filter((folder) => (folder.archived_at_utc ?? folder.files) !== undefined).map(({ folder }) => folder)
})

/** The same by all records outside the archives; in no order, some perhaps twice. `unread`: why there may be more. */
export const publishedFolders = Effect.gen(function* () {
  const [unread, folders] = yield* Effect.partition(
    [(yield* PublishedArchives).recorded, publishedByState],
    (source: Effect.Effect<ReadonlyArray<FolderName>, { readonly message: string }, JobStates>) => source
  )
  return {
    folders: folders.flat(),
    unread: unread.map(({ message }) => `a folder that lost all its archives may go unnoticed: ${message}`)
  }
})

/** The folders that lost a published archive, sorted, but not one whose first publication is under way; `unread`: why there may be more. */
export const lostArchives = Effect.gen(function* () {
  const archives = yield* PublishedArchives
  const published = yield* publishedFolders
  const known = new Set(published.folders)
  const unread = [...published.unread]
  const lost = yield* Effect.filter(
    [...new Set([...(yield* archives.folders), ...published.folders])].sort(),
    (folder) =>
      Effect.gen(function* () {
        if ((yield* archives.size(folder, "current")) > 0) return false
        const set = yield* archives.open(folder, "current")
        if (set !== undefined && (set.file !== undefined || set.interrupted)) return false
        return known.has(folder) || holdsSome(set) || holdsSome(yield* archives.open(folder, "previous"))
      }).pipe(
        // One folder that cannot be read does not hide the others; it is not called lost.
        Effect.catchAll(({ message }) => Effect.sync(() => unread.push(message) < 0))
      ),
    { concurrency: 16 }
  )
  return { lost, unread }
})

/**
 * Archives that are not what was published, without reading any zip: a current one of another size, a previous one that is gone.
 * `resized`: whether a folder's current zip may have another size; for the others, fewer files are read. `unread`: why there may be more.
 */
export const findFlaws = (resized: (folder: FolderName) => boolean = () => true) =>
  Effect.gen(function* () {
    const archives = yield* PublishedArchives
    const flawed = Effect.fnUntraced(function* (folder: FolderName, which: Which) {
      const set = yield* archives.open(folder, which)
      const flaw = set === undefined ? undefined : flawOf(set)
      if (set === undefined || flaw === undefined) return []
      // A run may publish meanwhile.
      return isSameArchive(set, yield* archives.open(folder, which)) ? [flaw] : []
    })
    const [unread, found] = yield* Effect.partition(
      yield* archives.folders,
      (folder) =>
        Effect.gen(function* () {
          const current = resized(folder) ? yield* flawed(folder, "current") : []
          const hasPrevious = (yield* archives.size(folder, "previous")) > 0
          return [...current, ...(hasPrevious ? [] : yield* flawed(folder, "previous"))]
        }),
      { concurrency: 4 }
    )
    return { flaws: found.flat(), unread: unread.map(({ message }) => message) }
  })

/** Whether something of it is there, and not only folders, symlinks and the like under names of its files. */
const holdsSome = (set: PublishedArchive | undefined): boolean => {
  if (set === undefined) return false
  // The state says nothing of the archive before.
  const parts = [set.file, set.md5, set.sha256, set.metadata, set.which === "current" ? set.state : undefined]
  return parts.some((part) => part !== undefined) || set.obstacles.some(({ why }) => why !== "taken")
}

const flawOf = (set: PublishedArchive): Flaw | undefined => {
  const { file, folder, interrupted, state, which } = set
  if (interrupted || !holdsSome(set)) return undefined
  if (which === "previous") {
    return file === undefined ? { folder, which, problem: "is not there, though one was published" } : undefined
  }
  if (file === undefined || state === undefined || file.size === state.zip_size) return undefined
  return { folder, which, problem: `has ${bytes(file.size)}, and ${bytes(state.zip_size)} were published` }
}

/** How an archive differs from what was published; `problem` is to be read after its name. */
export interface Flaw {
  readonly folder: FolderName
  readonly which: Which
  readonly problem: string
}
