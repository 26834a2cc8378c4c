import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as PublishPlan from "../../domain/PublishPlan.ts"
import { Disk } from "../Disk.ts"
import { discard, isFolder, setAside } from "./folders.ts"
import { clearFailure } from "./jobState.ts"
import type { FolderLayout } from "./layout.ts"
import { back, forward, settle } from "./steps.ts"

/** What was found in a folder's work area, in words that continue its name. */
export interface Finding {
  readonly healed?: string
  /** Somebody should look at it, and the folder can be worked on. */
  readonly warning?: string
  /** The folder cannot be worked on. */
  readonly broken?: string
}

/** What an interrupted publication left behind, and so what has to be done about it. */
type Leftover =
  | { readonly _tag: "Nothing" }
  | { readonly _tag: "Staging" }
  | { readonly _tag: "Forward" | "Back"; readonly journal: PublishPlan.Journal }
  | { readonly _tag: "Unreadable"; readonly path: string }

/** Looks at a folder's work area without touching it. Fails when it is not ours. */
export const leftover = Effect.fnUntraced(function* (paths: FolderLayout) {
  const disk = yield* Disk
  if (!(yield* isFolder(paths.work, "ours"))) return { _tag: "Nothing" } satisfies Leftover
  const committed = yield* disk.read(paths.commit)
  const aborted = yield* disk.read(paths.abort)
  const text = committed ?? aborted
  if (text === undefined) return { _tag: "Staging" } satisfies Leftover
  const path = committed === undefined ? paths.abort : paths.commit
  // There is one journal, under the one name or the other.
  const twice = committed !== undefined && aborted !== undefined
  const journal = twice ? undefined : PublishPlan.decodeJournal(paths.folder, text)
  return journal === undefined
    ? ({ _tag: "Unreadable", path } satisfies Leftover)
    : ({ _tag: committed === undefined ? "Back" : "Forward", journal } satisfies Leftover)
})

/** Finishes or undoes what a crash left in one folder. Can itself be stopped at any step and repeated. */
export const recoverFolder = Effect.fnUntraced(function* (paths: FolderLayout) {
  const disk = yield* Disk
  const found: Leftover = yield* leftover(paths)
  switch (found._tag) {
    case "Nothing":
      return yield* removeIfMade(paths)
    case "Staging":
      yield* discard(paths.work)
      yield* removeIfMade(paths)
      return { healed: "removed what an interrupted run had prepared but not published" }
    case "Forward":
      // The name of the journal decides; it is made durable before anything relies on it.
      yield* disk.sync(paths.work)
      yield* forward(paths, found.journal.steps)
      yield* clearFailure(paths)
      yield* settle(paths, paths.commit)
      yield* removeIfMade(paths)
      return { healed: "finished the publication that was interrupted" }
    case "Back":
      yield* disk.sync(paths.work)
      yield* back(paths, found.journal.steps)
      yield* settle(paths, paths.abort)
      yield* removeIfMade(paths)
      return { healed: "undid the publication that had failed and was interrupted" }
    case "Unreadable":
      return { warning: yield* keepAside(paths, found.path) }
  }
})

/**
 * Without its journal nobody knows how far the publication came. Nothing is thrown away: the work area is kept
 * under another name, with the folder's state, so that the folder is archived anew and goes on from there. The
 * next publication compares what lies there with the checksums beside it before it becomes the previous one.
 */
const keepAside = Effect.fnUntraced(function* (paths: FolderLayout, journal: string) {
  const disk = yield* Disk
  const state = join(paths.home, paths.names.state)
  if ((yield* disk.stat(state)) !== undefined) yield* disk.rename(state, join(paths.work, paths.names.state))
  const aside = yield* setAside(paths.work)
  yield* disk.sync(paths.home)
  return `the record of an interrupted publication (${journal}) cannot be understood; everything that belonged to it is kept in ${aside}, and the folder is archived anew. Remove that when \`sha256sum -c\` passes for both archives`
})

/** Removes the published folder if we made it and it is still empty, and then the note that says so. */
export const removeIfMade = Effect.fnUntraced(function* (paths: FolderLayout) {
  const disk = yield* Disk
  if ((yield* disk.stat(paths.marker)) === undefined) return {}
  const home = yield* disk.stat(paths.home)
  const empty = home?.kind === "directory" && (yield* disk.list(paths.home)).length === 0
  if (empty) yield* disk.removeFolder(paths.home)
  yield* disk.remove(paths.marker)
  return empty ? { healed: "removed the empty folder that an interrupted run had made" } : {}
})
