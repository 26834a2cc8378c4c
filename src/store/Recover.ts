import { join } from "node:path"
import * as Effect from "effect/Effect"
import type { FolderName } from "../source/FolderName.ts"
import { Disk, type DiskError } from "../system/Disk.ts"
import { orWarn } from "../system/Log.ts"
import type { FolderLayout } from "./Layout.ts"
import * as Layout from "./Layout.ts"
import { back, forward, settle } from "./Publish.ts"
import * as PublishPlan from "./PublishPlan.ts"
import { clearFailure, targetFolders } from "./Records.ts"
import { discard, isFolder, setAside } from "./SafeFolder.ts"
import type { BrokenFolder, RecoveryReport } from "./Store.ts"
import { asStoreError, type StoreError } from "./StoreError.ts"

/** See Store.recover. Leaves the folders in `open` alone: this process is working on them. */
export const recover = Effect.fnUntraced(function* (layout: Layout.Layout, open: ReadonlySet<FolderName>) {
  const folders = (yield* candidates(layout)).filter((folder) => !open.has(folder))
  const report = yield* reportOn(layout, folders, (paths) =>
    recoverFolder(paths).pipe(asStoreError(`cannot put ${paths.folder} right after an interrupted run`))
  )
  if (open.size > 0) return report
  for (const path of [layout.job, layout.failures]) {
    yield* removeDrafts(path).pipe(orWarn("an unfinished state file of an interrupted run stays", undefined))
  }
  yield* removeDrafts(layout.indexes, (name) => name.startsWith(".")).pipe(
    orWarn("an unfinished index of an interrupted run stays", undefined)
  )
  const staging = yield* removeTmp(layout).pipe(orWarn("the staging of an interrupted run stays", undefined))
  return { ...report, healed: [...report.healed, ...(staging ?? [])] }
})

export const wouldRecover = Effect.fnUntraced(function* (layout: Layout.Layout) {
  return yield* reportOn(layout, yield* candidates(layout), (paths) =>
    Effect.map(leftover(paths), ({ _tag, path }): Finding => {
      if (_tag === "Nothing") return {}
      if (_tag !== "Unreadable") return { healed: wouldHeal[_tag] }
      const warning = `the record of an interrupted publication (${path}) cannot be understood; what belongs to it would be set aside, and the folder archived anew`
      return { warning }
    }).pipe(asStoreError(`cannot look at what an interrupted run left of ${paths.folder}`))
  )
})

const healed = {
  Staging: "removed what an interrupted run had prepared but not published",
  Forward: "finished the publication that was interrupted",
  Back: "undid the publication that had failed and was interrupted"
} as const

const wouldHeal = {
  Staging: "would remove what an interrupted run had prepared but not published",
  Forward: "would finish the publication that was interrupted",
  Back: "would undo the publication that had failed and was interrupted"
} as const

interface Finding {
  readonly healed?: string
  readonly warning?: string
}

/** What an interrupted publication left behind; `path` is that of its journal. */
type Leftover =
  | { readonly _tag: "Nothing"; readonly path?: undefined }
  | { readonly _tag: "Staging"; readonly path?: undefined }
  | { readonly _tag: "Unreadable"; readonly path: string }
  | { readonly _tag: "Forward" | "Back"; readonly path: string; readonly journal: PublishPlan.Journal }

/** Looks at a folder's work area without touching it. Fails when it is not ours. */
export const leftover = Effect.fnUntraced(function* (
  paths: FolderLayout
): Effect.fn.Return<Leftover, DiskError | StoreError, Disk> {
  const disk = yield* Disk
  if (!(yield* isFolder(paths.work, "ours"))) return { _tag: "Nothing" }
  const committed = yield* disk.read(paths.commit)
  const aborted = yield* disk.read(paths.abort)
  const text = committed ?? aborted
  if (text === undefined) return { _tag: "Staging" }
  const path = committed === undefined ? paths.abort : paths.commit
  // There is one journal, under the one name or the other.
  const twice = committed !== undefined && aborted !== undefined
  const journal = twice ? undefined : PublishPlan.decodeJournal(paths.folder, text)
  if (journal === undefined) return { _tag: "Unreadable", path }
  return { _tag: committed === undefined ? "Back" : "Forward", path, journal }
})

/** Finishes or undoes what a crash left in one folder. Can itself be stopped at any step and repeated. */
export const recoverFolder = Effect.fnUntraced(function* (
  paths: FolderLayout
): Effect.fn.Return<Finding, DiskError | StoreError, Disk> {
  const disk = yield* Disk
  const found = yield* leftover(paths)
  if (found._tag === "Nothing") {
    const removed = yield* removeIfMade(paths)
    return removed ? { healed: "removed the empty folder that an interrupted run had made" } : {}
  }
  if (found._tag === "Unreadable") return { warning: yield* keepAside(paths, found.path) }
  if (found._tag === "Staging") yield* discard(paths.work)
  else {
    // The name of the journal decides; it is made durable before anything relies on it.
    yield* disk.sync(paths.work)
    if (found._tag === "Back") yield* back(paths, found.journal.steps)
    else yield* Effect.zipRight(forward(paths, found.journal.steps), clearFailure(paths))
    yield* settle(paths, found.path)
  }
  yield* removeIfMade(paths)
  return { healed: healed[found._tag] }
})

/** Without its journal it is not known how far the publication came. Without its state, the folder is archived anew. */
const keepAside = Effect.fnUntraced(function* (paths: FolderLayout, journal: string) {
  const disk = yield* Disk
  const state = join(paths.home, paths.names.state)
  if ((yield* disk.stat(state)) !== undefined) yield* disk.rename(state, join(paths.work, paths.names.state))
  const aside = yield* setAside(paths.work)
  yield* disk.sync(paths.home)
  return `the record of an interrupted publication (${journal}) cannot be understood; everything that belonged to it is kept in ${aside}, and the folder is archived anew. Remove that when \`sha256sum -c\` passes for both archives`
})

/** Removes the published folder if a run made it and it is still empty, and then the marker. Whether the folder was removed. */
export const removeIfMade = Effect.fnUntraced(function* (paths: FolderLayout) {
  const disk = yield* Disk
  if ((yield* disk.stat(paths.marker)) === undefined) return false
  const home = yield* disk.stat(paths.home)
  const empty = home?.kind === "directory" && (yield* disk.list(paths.home)).length === 0
  if (empty) yield* disk.removeFolder(paths.home)
  yield* disk.remove(paths.marker)
  return empty
})

const reportOn = Effect.fnUntraced(function* (
  layout: Layout.Layout,
  folders: ReadonlyArray<FolderName>,
  heal: (paths: FolderLayout) => Effect.Effect<Finding, StoreError, Disk>
) {
  const healed: Array<string> = []
  const broken: Array<BrokenFolder> = []
  yield* Effect.forEach(
    folders,
    Effect.fnUntraced(function* (folder) {
      const finding = yield* Effect.either(heal(Layout.folder(layout, folder)))
      if (finding._tag === "Left") {
        broken.push({ folder, reason: finding.left.message })
        return
      }
      const { healed: done, warning } = finding.right
      if (warning !== undefined) yield* Effect.logWarning(warning).pipe(Effect.annotateLogs("folder", folder))
      if (done !== undefined) healed.push(`${folder}: ${done}`)
    }),
    { concurrency: 16, discard: true }
  )
  broken.sort((a, b) => (a.folder < b.folder ? -1 : 1))
  return { healed: healed.sort(), broken } satisfies RecoveryReport
})

const candidates = Effect.fnUntraced(function* (layout: Layout.Layout) {
  const disk = yield* Disk
  const folders = yield* Effect.filter(
    yield* targetFolders(layout),
    (folder) =>
      disk.stat(join(layout.target, folder)).pipe(
        // Anything else by that name is refused when the folder is to be archived.
        Effect.map((stat) => stat?.kind === "directory"),
        Effect.orElseSucceed(() => true)
      ),
    { concurrency: 16 }
  )
  const job = (yield* isFolder(layout.job)) ? yield* disk.list(layout.job) : []
  return [...new Set([...folders, ...job.flatMap((name) => Layout.folderOfMarker(name) ?? [])])]
})

const removeDrafts = Effect.fnUntraced(function* (path: string, isDraft: (name: string) => boolean = isStateDraft) {
  const disk = yield* Disk
  if (!(yield* isFolder(path))) return
  const drafts = (yield* disk.list(path)).filter((name) => name.endsWith(Layout.draftSuffix) && isDraft(name))
  yield* Effect.forEach(drafts, (name) => disk.remove(join(path, name)), { discard: true })
})

/** No probe, and no marker, which may be that of a folder with such a name. */
const isStateDraft = (name: string): boolean =>
  !name.startsWith(Layout.probePrefix) && Layout.folderOfMarker(name) === undefined

const removeTmp = Effect.fnUntraced(function* ({ tmp }: Layout.Layout) {
  if (tmp === undefined || !(yield* isFolder(tmp.root, "ours"))) return []
  yield* discard(tmp.root)
  return [`removed ${tmp.root}, the staging of an interrupted run`]
})
