import { join } from "node:path"
import * as Effect from "effect/Effect"
import type { FolderName } from "../../domain/FolderName.ts"
import { Disk } from "../Disk.ts"
import { type Finding, recoverFolder, removeIfMade } from "./folderRecovery.ts"
import { canRename, discard, ensureFolder, isFolder } from "./folders.ts"
import { makeJobFolder } from "./jobState.ts"
import * as Layout from "./layout.ts"
import { asStoreError, type Staging, StoreError } from "./model.ts"

/** What the stagings of one process share. */
export interface Stages {
  /** Folders that are staged now: recovery leaves them alone. */
  readonly open: Set<FolderName>
  /** Held while a folder in tmp_dir is made or removed, so that one folder's last step is not another's first. */
  readonly tmp: Effect.Semaphore
}

/**
 * An empty place for the new archive. What an earlier attempt left in the folder is put right first, so that a
 * second attempt starts like the first. Everything is gone when the scope closes; a publication that has
 * begun is left to recovery.
 */
export const stage = Effect.fnUntraced(function* (layout: Layout.Layout, stages: Stages, folder: FolderName) {
  const paths = Layout.folder(layout, folder)
  yield* Effect.acquireRelease(claim(stages, paths), () => Effect.sync(() => stages.open.delete(folder)))
  return yield* Effect.acquireRelease(
    clear(layout, stages, paths).pipe(
      Effect.zipRight(Effect.onError(build(layout, stages, paths), () => cleanUp(layout, stages, paths))),
      asStoreError(`cannot prepare a place for the archive of ${folder}`)
    ),
    () => cleanUp(layout, stages, paths)
  )
})

const claim = (stages: Stages, { folder, work }: Layout.FolderLayout) =>
  Effect.suspend(() => {
    if (!stages.open.has(folder)) return Effect.sync(() => stages.open.add(folder))
    return new StoreError({
      reason: "Other",
      path: work,
      message: `${folder} is being archived already`,
      transient: false
    })
  })

/** Refuses what is not ours, and removes what is. */
const clear = Effect.fnUntraced(function* (
  layout: Layout.Layout,
  stages: Stages,
  paths: Layout.FolderLayout
) {
  if (yield* isFolder(paths.home)) yield* refuseOtherCase(layout, paths)
  const finding: Finding = yield* recoverFolder(paths)
  const said = finding.healed ?? finding.warning
  if (said !== undefined) yield* Effect.logWarning(said)
  if (layout.tmp !== undefined && (yield* isFolder(layout.tmp.root, "ours"))) {
    yield* stages.tmp.withPermits(1)(discard(join(layout.tmp.root, paths.folder)))
  }
})

/** Where case does not matter, `abcd` answers to the name ABCD; but nobody who lists the target would find ABCD's archives in it. */
const refuseOtherCase = Effect.fnUntraced(function* (
  { target }: Layout.Layout,
  { folder, home }: Layout.FolderLayout
) {
  const disk = yield* Disk
  const lower = folder.toLowerCase()
  if (lower === folder) return
  const upperOne = yield* disk.stat(home)
  const lowerOne = yield* disk.stat(join(target, lower))
  if (upperOne === undefined || upperOne.dev !== lowerOne?.dev || upperOne.ino !== lowerOne.ino) return
  // The same folder by both names: only a list tells which of them is its own.
  const names = yield* disk.list(target)
  if (names.includes(folder)) return
  const other = names.find((name) => name.toUpperCase() === folder) ?? "it"
  return yield* new StoreError({
    reason: "Unsafe",
    path: home,
    message: `${target} does not tell upper case from lower, and ${other} is there: rename it to ${folder} if it is its folder, or else move it away`,
    transient: false
  })
})

const build = Effect.fnUntraced(function* (
  layout: Layout.Layout,
  stages: Stages,
  paths: Layout.FolderLayout
) {
  const disk = yield* Disk
  let home = yield* disk.stat(paths.home)
  if (home === undefined) {
    yield* makeJobFolder(layout.job)
    yield* disk.write(paths.marker, "")
    yield* disk.makeFolder(paths.home)
    home = yield* disk.stat(paths.home)
  }
  yield* disk.makeFolder(paths.work, 0o700)
  yield* disk.makeFolder(paths.next)
  const inTarget: Staging = { folder: paths.folder, zip: join(paths.next, paths.names.zip) }
  const { tmp } = layout
  if (tmp === undefined || paths.tmp === undefined) return inTarget
  const dir = yield* disk.stat(`${tmp.dir}/.`)
  if (dir === undefined || dir.dev !== home?.dev) return inTarget
  const place = paths.tmp
  yield* stages.tmp.withPermits(1)(
    ensureFolder(tmp.root, { mode: 0o700, owner: "ours" }).pipe(
      Effect.zipRight(disk.makeFolder(place, 0o700))
    )
  )
  // Same device, and still another mount or quota: an archive would have to be copied.
  if (!(yield* canRename(join(place, Layout.trial), join(paths.next, Layout.trial)))) return inTarget
  return { folder: paths.folder, zip: join(place, paths.names.zip) } satisfies Staging
})

/** Never fails: what stays is removed by the next recovery. */
const cleanUp = (layout: Layout.Layout, stages: Stages, paths: Layout.FolderLayout) =>
  Effect.all([cleanTmp(layout, stages, paths), cleanWork(paths)], { mode: "either" }).pipe(
    Effect.flatMap((results) =>
      Effect.forEach(
        results.flatMap((result) => (result._tag === "Left" ? [result.left] : [])),
        (error) =>
          Effect.logWarning(
            `the staging of ${paths.folder} could not be removed, the next run does that: ${error.message}`
          ),
        { discard: true }
      )
    )
  )

const cleanTmp = Effect.fnUntraced(function* (
  layout: Layout.Layout,
  stages: Stages,
  paths: Layout.FolderLayout
) {
  const disk = yield* Disk
  const { tmp } = layout
  if (tmp === undefined || paths.tmp === undefined) return
  const place = paths.tmp
  yield* stages.tmp.withPermits(1)(
    Effect.gen(function* () {
      if (!(yield* isFolder(tmp.root, "ours"))) return
      yield* discard(place)
      if ((yield* disk.list(tmp.root)).length === 0) yield* disk.removeFolder(tmp.root)
    })
  )
})

const cleanWork = Effect.fnUntraced(function* (paths: Layout.FolderLayout) {
  const disk = yield* Disk
  if (yield* isFolder(paths.work, "ours")) {
    const journal = (yield* disk.stat(paths.commit)) ?? (yield* disk.stat(paths.abort))
    // A publication that could neither be finished nor undone: what it needs must stay.
    if (journal !== undefined) return
    yield* discard(paths.work)
  }
  yield* removeIfMade(paths)
})
