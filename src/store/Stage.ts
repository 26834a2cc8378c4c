import { join } from "node:path"
import * as Effect from "effect/Effect"
import { type FolderName, parseFolderName } from "../source/FolderName.ts"
import { Disk, type DiskError } from "../system/Disk.ts"
import type { FolderLayout } from "./Layout.ts"
import * as Layout from "./Layout.ts"
import { rememberPlaces, requirePlaces } from "./Mounts.ts"
import { makeJobFolder } from "./Records.ts"
import { type Finding, recoverFolder, removeIfMade } from "./Recover.ts"
import { canRename, discard, ensureFolder, firstAbove, isFolder, isSameInode, linkOrCopy } from "./SafeFolder.ts"
import { asStoreError, type Staging, StoreError, type StoreReport, storeError } from "./StoreError.ts"

/** How it is found out whether we can write to a folder: `check` writes beside a run that may be at work. */
export type Probe = "write" | "check" | "ask"

/** Target and tmp_dir are folders that we can write to. */
export const preflight = Effect.fnUntraced(function* (layout: Layout.Layout, probe: Probe) {
  const disk = yield* Disk
  const target = yield* folder("target_path", layout.target)
  // Before anything is written there.
  const places = yield* requirePlaces(layout, probe === "write" ? "set aside" : "dry run").pipe(
    asStoreError("cannot see whether source and target are mounted")
  )
  yield* outside("target_path", layout.target, layout.source)
  const hasState = yield* isFolder(layout.job).pipe(asStoreError("target_path cannot be used"))
  const name = probe === "check" ? `${layout.probe}-check` : layout.probe
  yield* inodes("target_path", layout.target)
  yield* writable("target_path", layout.target, name, probe)
  if (hasState) yield* writable("the state of the job in", layout.job, name, probe)
  let stagesInTmp = false
  if (layout.tmp !== undefined) {
    const tmp = yield* folder("tmp_dir", layout.tmp.dir)
    yield* outside("tmp_dir", layout.tmp.dir, layout.source)
    yield* inodes("tmp_dir", layout.tmp.dir)
    yield* writable("tmp_dir", layout.tmp.dir, name, probe)
    stagesInTmp =
      tmp.dev === target.dev &&
      (probe === "ask" ||
        (yield* canRename(join(layout.tmp.dir, name), join(layout.target, name)).pipe(
          asStoreError("tmp_dir cannot be used")
        )))
  }
  if (places.isKnown && !hasState) yield* askForDisk(layout)
  if (probe === "write") yield* rememberPlaces(layout, places)
  const free = yield* disk.free(layout.target).pipe(asStoreError("target_path cannot be used"))
  return { free, stagesInTmp } satisfies StoreReport
})

/** Says once that an earlier run used a target which holds nothing now: after this run it has state. An error, since --quiet hides warnings. */
const askForDisk = Effect.fnUntraced(function* ({ target }: Layout.Layout) {
  const names = yield* (yield* Disk).list(target)
  if (names.some((name) => parseFolderName(name) !== undefined)) return
  yield* Effect.logError(
    `target_path ${target} holds no archive and no state of this job, although an earlier run used it: is it the right disk? If it is, every folder is archived anew`
  )
}, asStoreError("target_path cannot be used"))

const folder = Effect.fnUntraced(
  function* (key: string, path: string) {
    const disk = yield* Disk
    const named = yield* disk.stat(path)
    // The operator may configure a symlink; one that another user made is not the operator's choice.
    const uid = process.geteuid?.()
    if (named?.kind === "symlink" && uid !== undefined && named.uid !== uid && named.uid !== 0) {
      return yield* storeError(
        "Unsafe",
        path,
        `${key} ${path} is a symlink made by user ${named.uid}: refused, for safety. Configure the folder itself`
      )
    }
    const stat = named?.kind === "symlink" ? yield* disk.stat(`${path}/.`) : named
    if (stat?.kind === "directory") return stat
    const what =
      named === undefined
        ? "does not exist; create it, or mount the dataset that holds it"
        : named.kind === "symlink"
          ? "is a symlink to nothing; mount the dataset that holds it"
          : "is not a folder; configure a folder, or move that file away"
    return yield* storeError("NotAFolder", path, `${key} ${path} ${what}`)
  },
  (effect, key) => asStoreError(`${key} cannot be used`)(effect)
)

/** Fails when the folder lies in the source: the configuration's texts do not tell where a symlink leads. */
const outside = Effect.fnUntraced(
  function* (key: string, path: string, source: string | undefined) {
    const disk = yield* Disk
    const root = source === undefined ? undefined : yield* disk.stat(`${source}/.`)
    if (root === undefined) return
    const what = yield* firstAbove(path, (stat, depth) =>
      isSameInode(stat, root) ? (depth === 0 ? "is the same folder as" : "lies inside") : undefined
    )
    if (what === undefined) return
    return yield* storeError(
      "Unsafe",
      path,
      `${key} ${path} ${what} source_path ${source}, by a symlink or another mount: archives would be archived again. Configure a folder elsewhere`
    )
  },
  (effect, key) => asStoreError(`${key} cannot be used`)(effect)
)

/** Fails when no file can be made there any more: writing would only say that there is no space. */
const inodes = Effect.fnUntraced(
  function* (key: string, path: string) {
    const disk = yield* Disk
    if ((yield* disk.freeInodes(path)) !== 0) return
    return yield* storeError(
      "NoSpace",
      path,
      `${key} ${path} cannot be written to: its file system has no inodes left; remove files that are not needed, or raise the limit`
    )
  },
  (effect, key) => asStoreError(`${key} cannot be used`)(effect)
)

/**
 * Permission bits do not tell the whole truth (ACLs, root squashing, read-only mounts, quotas): only writing does. Also fails where
 * the file system can do neither links nor copies, or cannot rename over another file: a publication does both.
 */
const writable = (key: string, path: string, probe: string, how: Probe) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    if (how === "ask") return yield* disk.writable(path)
    const [file, next, second] = [probe, `${probe}.new`, `${probe}.link`].map((name) => join(path, name))
    if (file === undefined || next === undefined || second === undefined) return
    const cannot = (what: string) => unable(key, path, what)
    const clear = Effect.forEach([file, next, second], disk.remove, { discard: true })
    yield* clear
    yield* Effect.gen(function* () {
      yield* disk.write(file, "zipper was here\n")
      yield* linkOrCopy(file, second).pipe(
        cannot("a file cannot get a second name, and cannot be copied: the archive before could not be kept")
      )
      yield* disk.write(next, "zipper was here again\n")
      const noRename = "a file cannot be renamed over another one there, which is how archives and state are replaced"
      yield* disk.rename(next, file).pipe(cannot(noRename))
      yield* disk.sync(`${path}/.`)
    }).pipe(Effect.ensuring(Effect.ignoreLogged(clear)))
  }).pipe(asStoreError(`${key} ${path} cannot be written to`))

/** What the file system cannot do. A full disk and a missing permission speak for themselves. */
const unable = (key: string, path: string, what: string) =>
  Effect.mapError((error: DiskError) =>
    error.code === "ENOSPC" || error.code === "EDQUOT"
      ? error
      : new StoreError({
          reason: "Other",
          path,
          message: `${key} ${path} cannot be used: ${what} (${error.message}); some mounts over a network are like that (sshfs, for one): use another target, or mount it in another way`,
          transient: error.transient,
          cause: error
        })
  )

/** What the stagings of one process share. */
export interface Stages {
  /** Folders that are staged now: recovery leaves them alone. */
  readonly open: Set<FolderName>
  /** Held while a folder in tmp_dir is made or removed, so that one folder's last step is not another's first. */
  readonly tmp: Effect.Semaphore
}

/** See Store.stage. A publication that has begun is left to recovery. */
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

const claim = (stages: Stages, { folder, work }: FolderLayout) =>
  Effect.suspend(() => {
    if (!stages.open.has(folder)) return Effect.sync(() => stages.open.add(folder))
    return storeError("Other", work, `${folder} is being archived already`)
  })

/** Refuses what is not ours, and removes what is. */
const clear = Effect.fnUntraced(function* (layout: Layout.Layout, stages: Stages, paths: FolderLayout) {
  if (yield* isFolder(paths.home)) yield* refuseOtherCase(layout, paths)
  const finding: Finding = yield* recoverFolder(paths)
  const said = finding.healed ?? finding.warning
  if (said !== undefined) yield* Effect.logWarning(said)
  if (layout.tmp !== undefined && (yield* isFolder(layout.tmp.root, "ours"))) {
    yield* stages.tmp.withPermits(1)(discard(join(layout.tmp.root, paths.folder)))
  }
})

/** Where case does not matter, `abcd` answers to the name ABCD; but a list of the target would not show ABCD. */
const refuseOtherCase = Effect.fnUntraced(function* ({ target }: Layout.Layout, { folder, home }: FolderLayout) {
  const disk = yield* Disk
  const lower = folder.toLowerCase()
  if (lower === folder) return
  if (!isSameInode(yield* disk.stat(home), yield* disk.stat(join(target, lower)))) return
  // The same folder by both names: only a list tells which of them is its own.
  const names = yield* disk.list(target)
  if (names.includes(folder)) return
  const other = names.find((name) => name.toUpperCase() === folder) ?? "it"
  return yield* storeError(
    "Unsafe",
    home,
    `${target} does not tell upper case from lower, and ${other} is there: rename it to ${folder} if it is its folder, or else move it away`
  )
})

const build = Effect.fnUntraced(function* (layout: Layout.Layout, stages: Stages, paths: FolderLayout) {
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
    ensureFolder(tmp.root, { mode: 0o700, owner: "ours" }).pipe(Effect.zipRight(disk.makeFolder(place, 0o700)))
  )
  // Same device, and still another mount or quota: an archive would have to be copied.
  if (!(yield* canRename(join(place, Layout.trial), join(paths.next, Layout.trial)))) return inTarget
  return { folder: paths.folder, zip: join(place, paths.names.zip) } satisfies Staging
})

/** Never fails: what stays is removed by the next recovery. */
const cleanUp = Effect.fnUntraced(function* (layout: Layout.Layout, stages: Stages, paths: FolderLayout) {
  for (const clean of [cleanTmp(layout, stages, paths), cleanWork(paths)]) {
    yield* Effect.catchAll(clean, ({ message }) =>
      Effect.logWarning(`the staging of ${paths.folder} could not be removed, the next run does that: ${message}`)
    )
  }
})

const cleanTmp = Effect.fnUntraced(function* (layout: Layout.Layout, stages: Stages, paths: FolderLayout) {
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

const cleanWork = Effect.fnUntraced(function* (paths: FolderLayout) {
  const disk = yield* Disk
  if (yield* isFolder(paths.work, "ours")) {
    const journal = (yield* disk.stat(paths.commit)) ?? (yield* disk.stat(paths.abort))
    // A publication that could neither be finished nor undone: what it needs must stay.
    if (journal !== undefined) return
    yield* discard(paths.work)
  }
  yield* removeIfMade(paths)
})
