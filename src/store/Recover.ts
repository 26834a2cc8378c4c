import { join } from "node:path"
import * as Effect from "effect/Effect"
import type { FolderName } from "../source/FolderName.ts"
import { Disk } from "../system/Disk.ts"
import type { FolderLayout } from "./Layout.ts"
import * as Layout from "./Layout.ts"
import { back, forward, settle } from "./Publish.ts"
import * as PublishPlan from "./PublishPlan.ts"
import { clearFailure } from "./Records.ts"
import { discard, folderNames, isFolder, setAside } from "./SafeFolder.ts"
import { asStoreError, type BrokenFolder, type RecoveryReport, type StoreError } from "./StoreError.ts"

/** What was found in a folder's work area. */
export interface Finding {
  readonly healed?: string
  /** To be looked at; the folder can be worked on. */
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
 * Without its journal it is not known how far the publication came. The work area is kept under another name, with the folder's
 * state, so that the folder is archived anew. The next publication compares the archive with the checksums beside it.
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

/**
 * Recovers every folder but those that this process is working on; one that cannot be put right does not stop
 * the others. `heal` does the work on one folder (a dry run only looks).
 */
export const recoverFolders = Effect.fnUntraced(function* <R>(
  layout: Layout.Layout,
  open: ReadonlySet<FolderName>,
  heal: (paths: Layout.FolderLayout) => Effect.Effect<Finding, StoreError, R>
) {
  const folders = (yield* candidates(layout)).filter((folder) => !open.has(folder))
  const healed: Array<string> = []
  const broken: Array<BrokenFolder> = []
  yield* Effect.forEach(
    folders,
    Effect.fnUntraced(function* (folder) {
      const finding = yield* heal(Layout.folder(layout, folder)).pipe(
        Effect.catchAll((error) => Effect.succeed<Finding>({ broken: error.message }))
      )
      if (finding.warning !== undefined) {
        yield* Effect.logWarning(finding.warning).pipe(Effect.annotateLogs("folder", folder))
      }
      if (finding.healed !== undefined) healed.push(`${folder}: ${finding.healed}`)
      if (finding.broken !== undefined) broken.push({ folder, reason: finding.broken })
    }),
    { concurrency: 16, discard: true }
  )
  return {
    healed: healed.sort(),
    broken: broken.sort((a, b) => (a.folder < b.folder ? -1 : 1))
  } satisfies RecoveryReport
})

export const recover = Effect.fnUntraced(function* (layout: Layout.Layout, open: ReadonlySet<FolderName>) {
  const report = yield* recoverFolders(layout, open, (paths) =>
    recoverFolder(paths).pipe(asStoreError(`cannot put ${paths.folder} right after an interrupted run`))
  )
  if (open.size > 0) return report
  for (const path of [layout.job, layout.failures]) {
    yield* removeDrafts(path).pipe(warning("an unfinished state file of an interrupted run stays"))
  }
  yield* removeDrafts(layout.indexes).pipe(warning("an unfinished index of an interrupted run stays"))
  const staging = yield* removeTmp(layout).pipe(warning("the staging of an interrupted run stays"))
  return { ...report, healed: [...report.healed, ...(staging ?? [])] }
})

/** Folders in the target, and those that were about to be made there. */
const candidates = Effect.fnUntraced(function* (layout: Layout.Layout) {
  const disk = yield* Disk
  const folders = new Set<FolderName>()
  yield* Effect.forEach(
    yield* folderNames(layout.target),
    Effect.fnUntraced(function* (folder) {
      // Anything else by that name is refused when the folder is to be archived.
      const isOne = yield* disk.stat(join(layout.target, folder)).pipe(
        Effect.map((stat) => stat?.kind === "directory"),
        // The work on it says why, and the others are not held up.
        Effect.orElseSucceed(() => true)
      )
      if (isOne) folders.add(folder)
    }),
    { concurrency: 16, discard: true }
  )
  if (yield* isFolder(layout.job)) {
    for (const name of yield* disk.list(layout.job)) {
      const folder = Layout.folderOfMarker(name)
      if (folder !== undefined) folders.add(folder)
    }
  }
  return [...folders]
})

const removeDrafts = Effect.fnUntraced(function* (path: string) {
  const disk = yield* Disk
  if (!(yield* isFolder(path))) return
  const drafts = (yield* disk.list(path)).filter((name) => name.endsWith(Layout.draftSuffix))
  yield* Effect.forEach(drafts, (name) => disk.remove(join(path, name)), { discard: true })
})

const removeTmp = Effect.fnUntraced(function* (layout: Layout.Layout) {
  if (layout.tmp === undefined || !(yield* isFolder(layout.tmp.root, "ours"))) return []
  yield* discard(layout.tmp.root)
  return [`removed ${layout.tmp.root}, the staging of an interrupted run`]
})

/** For what may stay: a failure to remove it is a warning. */
const warning =
  (what: string) =>
  <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.catchAll(effect, (error) => Effect.logWarning(`${what}: ${error.message}`).pipe(Effect.as(undefined)))
