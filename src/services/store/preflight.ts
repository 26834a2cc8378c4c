import { join } from "node:path"
import * as Effect from "effect/Effect"
import { Disk, type DiskError, type DiskStat } from "../Disk.ts"
import { canRename, isFolder, linkOrCopy } from "./folders.ts"
import type { Layout } from "./layout.ts"
import { asStoreError, StoreError, type StoreReport } from "./model.ts"
import { rememberPlaces, requirePlaces } from "./mounts.ts"

/** How it is found out whether we can write to a folder: `check` writes beside a run that may be at work. */
export type Probe = "write" | "check" | "ask"

/** Target and tmp_dir are folders that we can write to. */
export const preflight = Effect.fnUntraced(function* (layout: Layout, probe: Probe) {
  const disk = yield* Disk
  const target = yield* folder("target_path", layout.target)
  // Before anything is written there.
  const places = yield* requirePlaces(layout, probe === "write" ? "set aside" : "rehearse").pipe(
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
  if (probe === "write") yield* rememberPlaces(layout, places)
  const free = yield* disk.free(layout.target).pipe(asStoreError("target_path cannot be used"))
  return { free, stagesInTmp } satisfies StoreReport
})

const folder = Effect.fnUntraced(
  function* (key: string, path: string) {
    const disk = yield* Disk
    const named = yield* disk.stat(path)
    // The operator may configure a symlink; what somebody else has planted is not the operator's choice.
    const uid = process.geteuid?.()
    if (named?.kind === "symlink" && uid !== undefined && named.uid !== uid && named.uid !== 0) {
      return yield* new StoreError({
        reason: "Unsafe",
        path,
        message: `${key} ${path} is a symlink made by user ${named.uid}: refused, for safety. Configure the folder itself`,
        transient: false
      })
    }
    const stat = named?.kind === "symlink" ? yield* disk.stat(`${path}/.`) : named
    if (stat?.kind === "directory") return stat
    const what =
      named === undefined
        ? "does not exist; create it, or mount the dataset that holds it"
        : named.kind === "symlink"
          ? "is a symlink to nothing; mount the dataset that holds it"
          : "is not a folder; configure a folder, or move that file away"
    return yield* new StoreError({
      reason: "NotAFolder",
      path,
      message: `${key} ${path} ${what}`,
      transient: false
    })
  },
  (effect, key) => asStoreError(`${key} cannot be used`)(effect)
)

/** Fails when the folder lies in the source: the configuration's texts do not tell where a symlink leads. */
const outside = Effect.fnUntraced(
  function* (key: string, path: string, source: string | undefined) {
    const disk = yield* Disk
    const root = source === undefined ? undefined : yield* disk.stat(`${source}/.`)
    if (root === undefined) return
    let below: DiskStat | undefined
    for (let at = `${path}/.`; ; at = `${at}/..`) {
      const stat = yield* disk.stat(at)
      // Above the top of everything there is the same folder again.
      if (stat === undefined || isSame(stat, below)) return
      if (isSame(stat, root)) {
        const what = below === undefined ? "is the same folder as" : "lies inside"
        return yield* new StoreError({
          reason: "Unsafe",
          path,
          message: `${key} ${path} ${what} source_path ${source}, by a symlink or another mount: archives would be archived again. Configure a folder elsewhere`,
          transient: false
        })
      }
      below = stat
    }
  },
  (effect, key) => asStoreError(`${key} cannot be used`)(effect)
)

const isSame = (a: DiskStat, b: DiskStat | undefined): boolean => a.dev === b?.dev && a.ino === b.ino

/** Fails when no file can be made there any more: writing would only say that there is no space. */
const inodes = Effect.fnUntraced(
  function* (key: string, path: string) {
    const disk = yield* Disk
    if ((yield* disk.freeInodes(path)) !== 0) return
    return yield* new StoreError({
      reason: "NoSpace",
      path,
      message: `${key} ${path} cannot be written to: its file system has no inodes left; remove files that are not needed, or raise the limit`,
      transient: false
    })
  },
  (effect, key) => asStoreError(`${key} cannot be used`)(effect)
)

/**
 * Permission bits do not tell the whole truth (ACLs, root squashing, read-only mounts, quotas): only writing does. What replaces
 * another file does so by `rename`, and the archive before is kept by a second name: a file system that cannot do these fails here.
 */
const writable = (key: string, path: string, probe: string, how: Probe) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    if (how === "ask") return yield* disk.writable(path)
    const [file, next, second] = [probe, `${probe}.new`, `${probe}.link`].map((name) => join(path, name))
    if (file === undefined || next === undefined || second === undefined) return
    const clear = Effect.forEach([file, next, second], disk.remove, { discard: true })
    yield* clear
    yield* Effect.gen(function* () {
      yield* disk.write(file, "zipper was here\n")
      yield* linkOrCopy(file, second).pipe(
        unable(
          key,
          path,
          "a file cannot get a second name, and cannot be copied: the archive before could not be kept"
        )
      )
      yield* disk.write(next, "zipper was here again\n")
      yield* disk
        .rename(next, file)
        .pipe(
          unable(
            key,
            path,
            "a file cannot be renamed over another one there, which is how archives and state are replaced"
          )
        )
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
