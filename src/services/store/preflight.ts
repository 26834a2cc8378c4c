import * as Effect from "effect/Effect"
import { Disk, type DiskStat } from "../Disk.ts"
import { canRename, isFolder } from "./folders.ts"
import type { Layout } from "./layout.ts"
import { asStoreError, StoreError, type StoreReport } from "./model.ts"
import { rememberPlaces, requirePlaces } from "./mounts.ts"

/** How it is found out whether we can write to a folder. */
type Probe = "write" | "ask"

/** Target and tmp_dir are folders that we can write to. */
export const preflight = Effect.fnUntraced(function* (layout: Layout, probe: Probe) {
  const disk = yield* Disk
  const target = yield* folder("target_path", layout.target)
  // Before anything is written there.
  const places = yield* requirePlaces(layout, probe === "write" ? "set aside" : "rehearse").pipe(
    asStoreError("cannot see whether source and target are mounted")
  )
  yield* outside("target_path", layout.target, layout.source)
  yield* isFolder(layout.job).pipe(asStoreError("target_path cannot be used"))
  yield* inodes("target_path", layout.target)
  yield* writable("target_path", layout.target, layout.probe, probe)
  let stagesInTmp = false
  if (layout.tmp !== undefined) {
    const tmp = yield* folder("tmp_dir", layout.tmp.dir)
    yield* outside("tmp_dir", layout.tmp.dir, layout.source)
    yield* inodes("tmp_dir", layout.tmp.dir)
    yield* writable("tmp_dir", layout.tmp.dir, layout.tmp.probe, probe)
    stagesInTmp =
      tmp.dev === target.dev &&
      (probe === "ask" ||
        (yield* canRename(layout.tmp.probe, layout.probe).pipe(asStoreError("tmp_dir cannot be used"))))
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

// Permission bits do not tell the whole truth (ACLs, root squashing, read-only mounts, quotas): only writing does.
const writable = (key: string, path: string, probe: string, how: Probe) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    if (how === "ask") return yield* disk.writable(path)
    yield* disk.remove(probe)
    yield* Effect.ensuring(
      disk.write(probe, "zipper was here\n"),
      disk.remove(probe).pipe(Effect.ignoreLogged)
    )
    yield* disk.sync(`${path}/.`)
  }).pipe(asStoreError(`${key} ${path} cannot be written to`))
