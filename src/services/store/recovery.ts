import { join } from "node:path"
import * as Effect from "effect/Effect"
import { type FolderName, parse } from "../../domain/FolderName.ts"
import { Disk } from "../Disk.ts"
import { type Finding, recoverFolder } from "./folderRecovery.ts"
import { discard, isFolder } from "./folders.ts"
import * as Layout from "./layout.ts"
import { asStoreError, type BrokenFolder, type RecoveryReport, type StoreError } from "./model.ts"

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
  yield* removeDrafts(layout.job).pipe(warning("an unfinished state file of an interrupted run stays"))
  yield* removeDrafts(layout.failures).pipe(warning("an unfinished state file of an interrupted run stays"))
  yield* removeDrafts(layout.indexes).pipe(warning("an unfinished index of an interrupted run stays"))
  const staging = yield* removeTmp(layout).pipe(warning("the staging of an interrupted run stays"))
  return { ...report, healed: [...report.healed, ...(staging ?? [])] }
})

/** Folders in the target, and those that were about to be made there. */
const candidates = Effect.fnUntraced(function* (layout: Layout.Layout) {
  const disk = yield* Disk
  const folders = new Set<FolderName>()
  yield* Effect.forEach(
    yield* disk.list(layout.target),
    Effect.fnUntraced(function* (name) {
      const folder = parse(name)
      if (folder === undefined) return
      // Anything else by that name is refused when the folder is to be archived.
      const isOne = yield* disk.stat(join(layout.target, folder)).pipe(
        Effect.map((stat) => stat?.kind === "directory"),
        // Whoever works on it says why, and the others are not held up.
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

// Nothing relies on these, so they hold up nothing.
const warning =
  (what: string) =>
  <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.catchAll(effect, (error) =>
      Effect.logWarning(`${what}: ${error.message}`).pipe(Effect.as(undefined))
    )
