import { randomBytes } from "node:crypto"
import { hostname } from "node:os"
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { FolderName } from "../source/FolderName.ts"
import { Disk, type DiskError } from "../system/Disk.ts"
import { orWarn } from "../system/Log.ts"
import { isRunning } from "../system/Process.ts"
import { foldedName, quoted } from "../text/Text.ts"
import type { FolderLayout } from "./Layout.ts"
import * as Layout from "./Layout.ts"
import { rememberPlaces, requirePlaces } from "./Mounts.ts"
import { makeJobFolder, targetFolders } from "./Records.ts"
import { recoverFolder, removeIfMade } from "./Recover.ts"
import { canRename, discard, firstAbove, isFolder, isSameInode, linkOrCopy } from "./SafeFolder.ts"
import type { Staging, StoreReport } from "./Store.ts"
import { asStoreError, StoreError, storeError } from "./StoreError.ts"

/** How it is found out whether we can write to a folder. */
export type Probe = "write" | "ask"

export const preflight = Effect.fnUntraced(function* (layout: Layout.Layout, probe: Probe) {
  const disk = yield* Disk
  const { job, source, target, tmp } = layout
  const unusable = asStoreError("target_path cannot be used")
  const targetStat = yield* configured("target_path", target)
  // Before anything is written there.
  const places = yield* requirePlaces(layout, probe === "write" ? "set aside" : "dry run").pipe(
    asStoreError("cannot see whether source and target are mounted")
  )
  yield* outside("target_path", target, source)
  const hasState = yield* isFolder(job).pipe(unusable)
  const name = `${ownProbes(layout)}${process.pid}`
  const tryToWrite = (key: string, path: string) =>
    Effect.zipRight(removeOldProbes(layout, path, probe), writable(key, path, name, probe))
  yield* hasInodes("target_path", target)
  yield* tryToWrite("target_path", target)
  if (hasState) yield* tryToWrite("the state of the job in", job)
  let stagesInTmp = false
  if (tmp !== undefined) {
    const tmpStat = yield* configured("tmp_dir", tmp.dir)
    yield* outside("tmp_dir", tmp.dir, source)
    yield* hasInodes("tmp_dir", tmp.dir)
    yield* tryToWrite("tmp_dir", tmp.dir)
    const tried = canRename(join(tmp.dir, name), join(target, name)).pipe(asStoreError("tmp_dir cannot be used"))
    stagesInTmp = tmpStat.dev === targetStat.dev && (probe === "ask" || (yield* tried))
  }
  if (places.isKnown && !hasState) yield* askForDisk(layout).pipe(unusable)
  if (probe === "write") yield* rememberPlaces(layout, places)
  return { free: yield* disk.free(target).pipe(unusable), stagesInTmp } satisfies StoreReport
})

/** Logged once: after this run the target has state. An error, since --quiet hides warnings. */
const askForDisk = Effect.fnUntraced(function* (layout: Layout.Layout) {
  if ((yield* targetFolders({ ...layout, folders: undefined })).length > 0) return
  yield* Effect.logError(
    `target_path ${layout.target} holds no archive and no state of this job, although an earlier run used it: is it the right disk? If it is, every folder is archived anew`
  )
})

const configured = Effect.fnUntraced(
  function* (key: string, path: string) {
    const disk = yield* Disk
    const named = yield* disk.stat(path)
    // The operator may configure a symlink; one that another user made is not the operator's choice.
    const uid = process.geteuid?.()
    if (named?.kind === "symlink" && uid !== undefined && named.uid !== uid && named.uid !== 0) {
      const message = `${key} ${path} is a symlink made by user ${named.uid}: refused, for safety. Configure the folder itself`
      return yield* storeError("Unsafe", path, message)
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

/** Fails when the folder lies in the source, which the texts of the configuration do not show where there are symlinks. */
const outside = Effect.fnUntraced(
  function* (key: string, path: string, source: string | undefined) {
    const root = source === undefined ? undefined : yield* (yield* Disk).stat(`${source}/.`)
    if (root === undefined) return
    const what = yield* firstAbove(path, (stat, depth) =>
      isSameInode(stat, root) ? (depth === 0 ? "is the same folder as" : "lies inside") : undefined
    )
    if (what === undefined) return
    const message = `${key} ${path} ${what} source_path ${source}, by a symlink or another mount: archives would be archived again. Configure a folder elsewhere`
    return yield* storeError("Unsafe", path, message)
  },
  (effect, key) => asStoreError(`${key} cannot be used`)(effect)
)

/** Fails when no file can be made there any more: writing would only say that there is no space. */
const hasInodes = Effect.fnUntraced(
  function* (key: string, path: string) {
    if ((yield* (yield* Disk).freeInodes(path)) !== 0) return
    const message = `${key} ${path} cannot be written to: its file system has no inodes left; remove files that are not needed, or raise the limit`
    return yield* storeError("NoSpace", path, message)
  },
  (effect, key) => asStoreError(`${key} cannot be used`)(effect)
)

/** Only writing proves it (ACLs, quotas, network mounts); a publication needs links or copies, and renames over another file. */
const writable = (key: string, path: string, probe: string, how: Probe) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    if (how === "ask") return yield* disk.writable(path)
    const file = join(path, probe)
    const next = `${file}.new`
    const second = `${file}.link`
    const cannot = (what: string) => unable(key, path, what)
    const files = [file, next, second]
    yield* Effect.gen(function* () {
      yield* disk.write(file, "zipper was here\n")
      yield* linkOrCopy(file, second).pipe(
        cannot("a file cannot get a second name, and cannot be copied: the archive before could not be kept")
      )
      yield* disk.write(next, "zipper was here again\n")
      const noRename = "a file cannot be renamed over another one there, which is how archives and state are replaced"
      yield* disk.rename(next, file).pipe(cannot(noRename))
      yield* disk.sync(`${path}/.`)
    }).pipe(
      // One that cannot be removed keeps none of the others there, and is named.
      Effect.ensuring(Effect.forEach(files, (each) => remove(disk, each), { discard: true }))
    )
  }).pipe(asStoreError(`${key} ${path} cannot be written to`))

// A read-only file system refuses to remove also what is not there.
const remove = (disk: typeof Disk.Service, path: string) =>
  disk.stat(path).pipe(
    Effect.flatMap((stat) => (stat === undefined ? Effect.void : disk.remove(path))),
    orWarn("a file that was written on trial stays", undefined)
  )

/** No lock keeps away another check, nor, from a target without state, another run, also of another host. A pid follows. */
const ownProbes = ({ probe }: Layout.Layout): string => `${probe}-${hostname().replace(/\W/g, "_")}-`

/** After so long, no process has any more use for a file that it wrote on trial. */
const oldProbeMillis = 3_600_000

/** Removes what runs and checks that were killed have left of their trials. */
const removeOldProbes = Effect.fnUntraced(
  function* (layout: Layout.Layout, path: string, how: Probe) {
    if (how === "ask") return
    const disk = yield* Disk
    const own = ownProbes(layout)
    const now = yield* Clock.currentTimeMillis
    for (const name of yield* disk.list(path)) {
      if (!name.startsWith(layout.probe)) continue
      const pid = Number.parseInt(name.slice(own.length), 10)
      // In a container, the process before had the same pid.
      const isOver = name.startsWith(own) && (pid === process.pid || !isRunning(pid))
      const stat = yield* disk.stat(join(path, name))
      const isOld = now - (stat?.mtimeMs ?? now) > oldProbeMillis
      if (isOver || isOld) yield* remove(disk, join(path, name))
    }
  },
  orWarn("files of earlier trials are not looked for", undefined)
)

/** See Store.requireDistinct. Only trying shows it: file systems differ in what they fold. */
export const requireDistinct = Effect.fnUntraced(function* (
  layout: Layout.Layout,
  folders: ReadonlyArray<FolderName>,
  probe: Probe
) {
  const alike = new Map<string, Array<FolderName>>()
  for (const folder of folders) {
    const key = foldedName(folder)
    const others = alike.get(key) ?? []
    for (const other of others) {
      if (!(yield* isOneName(layout, other, folder, probe))) continue
      const message = `target_path ${layout.target} takes ${quoted(other)} and ${quoted(folder)} for one name, and their archives would replace each other: rename one of the two in the source, or leave it out by "folders"`
      return yield* storeError("Unsafe", layout.target, message)
    }
    alike.set(key, [...others, folder])
  }
})

const isOneName = Effect.fnUntraced(function* (layout: Layout.Layout, first: string, second: string, how: Probe) {
  const disk = yield* Disk
  const inTarget = (name: string) => join(layout.target, name)
  if (how === "ask") {
    const listed = new Set(yield* disk.list(layout.target))
    // A name that is found and not listed is found by another one. Inodes may differ (FUSE).
    const unlisted = [first, second].filter((name) => !listed.has(name))
    return yield* Effect.exists(unlisted, (name) => Effect.map(disk.stat(inTarget(name)), (stat) => stat !== undefined))
  }
  // New names: Linux remembers of a name that it was not there, and would not ask a file system that folds it.
  const prefix = `${ownProbes(layout)}${process.pid}-${randomBytes(4).toString("hex")}-`
  const made = inTarget(`${prefix}${first}`)
  return yield* disk.writeUnsynced(made, new Uint8Array()).pipe(
    Effect.zipRight(disk.stat(inTarget(`${prefix}${second}`))),
    Effect.map((found) => found !== undefined),
    Effect.ensuring(remove(disk, made)),
    // A folder whose name the target does not take fails by itself.
    Effect.catchAll(({ message }) => Effect.as(Effect.logWarning(message), false))
  )
})

const unable = (key: string, path: string, what: string) =>
  Effect.mapError((error: DiskError) => {
    if (error.code === "ENOSPC" || error.code === "EDQUOT") return error
    const message = `${key} ${path} cannot be used: ${what} (${error.message}); some mounts over a network are like that (sshfs, for one): use another folder, or mount it in another way`
    return new StoreError({ reason: "Other", path, message, transient: error.transient, cause: error })
  })

export interface Stages {
  /** Folders that are staged now: recovery leaves them alone. */
  readonly open: Set<FolderName>
  /** Held while a folder in tmp_dir is made or removed, so that one folder's last step is not another's first. */
  readonly tmp: Effect.Semaphore
}

/** See Store.stage. A publication that has begun is left to recovery. */
export const stage = Effect.fnUntraced(function* (layout: Layout.Layout, stages: Stages, folder: FolderName) {
  const paths = Layout.folder(layout, folder)
  const cleanUp = cleanUpOf(layout, stages, paths)
  yield* Effect.acquireRelease(claim(stages, paths), () => Effect.sync(() => stages.open.delete(folder)))
  return yield* Effect.acquireRelease(
    clear(layout, stages, paths).pipe(
      Effect.zipRight(Effect.onError(build(layout, stages, paths), () => cleanUp)),
      asStoreError(`cannot prepare a place for the archive of ${folder}`)
    ),
    () => cleanUp
  )
})

const claim = (stages: Stages, { folder, work }: FolderLayout) =>
  Effect.suspend(() => {
    if (!stages.open.has(folder)) return Effect.sync(() => stages.open.add(folder))
    return storeError("Other", work, `${folder} is being archived already`)
  })

const clear = Effect.fnUntraced(function* ({ target, tmp }: Layout.Layout, stages: Stages, paths: FolderLayout) {
  if (yield* isFolder(paths.home)) yield* requireOwnName(target, paths)
  const { healed, warning } = yield* recoverFolder(paths)
  const done = healed ?? warning
  if (done !== undefined) yield* Effect.logWarning(done)
  if (tmp !== undefined && (yield* isFolder(tmp.root, "ours"))) {
    yield* stages.tmp.withPermits(1)(discard(join(tmp.root, paths.folder)))
  }
})

/** Where case does not matter, `abcd` answers to the name ABCD; but a list of the target would not show ABCD. */
const requireOwnName = Effect.fnUntraced(function* (target: string, { folder, home }: FolderLayout) {
  const names = yield* (yield* Disk).list(target)
  if (names.includes(folder)) return
  const other = names.find((name) => foldedName(name) === foldedName(folder))
  const message =
    other === undefined
      ? `${target} does not keep the name ${quoted(folder)} as it is: rename the folder, or use another target`
      : `${target} takes ${quoted(folder)} and ${quoted(other)} for one name, and ${quoted(other)} is there: rename it to ${quoted(folder)} if it is its folder, or else move it away`
  return yield* storeError("Unsafe", home, message)
})

const build = Effect.fnUntraced(function* ({ job, target, tmp }: Layout.Layout, stages: Stages, paths: FolderLayout) {
  const disk = yield* Disk
  let home = yield* disk.stat(paths.home)
  if (home === undefined) {
    yield* makeJobFolder(job)
    yield* disk.write(paths.marker, "")
    yield* disk.makeFolder(paths.home)
    yield* requireOwnName(target, paths)
    home = yield* disk.stat(paths.home)
  }
  yield* disk.makeFolder(paths.work, 0o700)
  yield* disk.makeFolder(paths.next)
  const inTarget: Staging = { folder: paths.folder, zip: join(paths.next, paths.names.zip) }
  const place = paths.tmp
  if (tmp === undefined || place === undefined) return inTarget
  const dir = yield* disk.stat(`${tmp.dir}/.`)
  if (dir === undefined || dir.dev !== home?.dev) return inTarget
  yield* stages.tmp.withPermits(1)(
    Effect.gen(function* () {
      if (!(yield* isFolder(tmp.root, "ours"))) yield* disk.makeFolder(tmp.root, 0o700)
      yield* disk.makeFolder(place, 0o700)
    })
  )
  // Same device, and still another mount or quota: an archive would have to be copied.
  if (!(yield* canRename(join(place, Layout.trial), join(paths.next, Layout.trial)))) return inTarget
  return { folder: paths.folder, zip: join(place, paths.names.zip) } satisfies Staging
})

const cleanUpOf = (layout: Layout.Layout, stages: Stages, paths: FolderLayout) =>
  Effect.forEach(
    [cleanTmp(layout, stages, paths), cleanWork(paths)],
    Effect.catchAll(({ message }) =>
      Effect.logWarning(`the staging of ${paths.folder} could not be removed, the next run does that: ${message}`)
    ),
    { discard: true }
  )

const cleanTmp = Effect.fnUntraced(function* ({ tmp }: Layout.Layout, stages: Stages, { tmp: place }: FolderLayout) {
  const disk = yield* Disk
  if (tmp === undefined || place === undefined) return
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
