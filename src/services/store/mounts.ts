import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type FolderName, parse } from "../../domain/FolderName.ts"
import * as RawPath from "../../domain/RawPath.ts"
import {
  FolderMounts,
  type Holder,
  holderOf,
  isMissing,
  notMounted,
  PlaceMounts
} from "../../domain/TargetMounts.ts"
import { isLasting, type Mount, parseMountInfo } from "../../domain/ZfsList.ts"
import { Disk } from "../Disk.ts"
import { realPath } from "../zfs/folder.ts"
import { isFolder } from "./folders.ts"
import { type Corrupt, load, makeJobFolder, replace } from "./jobState.ts"
import type { Layout } from "./layout.ts"
import { type BrokenFolder, StoreError } from "./model.ts"

/**
 * A target whose disk or share is not mounted is a folder like any other, and archives written into it are out of sight as soon as
 * it is mounted again. What source and target lay on is remembered in files that are not on the target, and which folders
 * of the target are mounts of their own in the target's `.zipper`.
 */

/** The kernel's list of mounts; undefined where there is none to read (Linux has one), and devices have to tell. */
const mountList = Effect.gen(function* () {
  if (process.platform !== "linux") return undefined
  const bytes = yield* (yield* Disk).readBytes("/proc/self/mountinfo")
  return bytes === undefined ? undefined : parseMountInfo(Buffer.from(bytes).toString("latin1"))
})

const resolved = (path: string) =>
  Effect.map(realPath(path), (real) => (real === undefined ? RawPath.fromText(path) : real))

const holder = Effect.fnUntraced(function* (mounts: ReadonlyArray<Mount> | undefined, path: string) {
  const real = yield* resolved(path)
  return mounts === undefined ? yield* holderByDevice(RawPath.display(real)) : holderOf(mounts, real)
})

/** The mount point is the highest folder above that is on the same device. */
const holderByDevice = Effect.fnUntraced(function* (path: string) {
  const disk = yield* Disk
  const device = (yield* disk.stat(`${path}/.`))?.dev
  let top = path
  while (top !== dirname(top) && (yield* disk.stat(`${dirname(top)}/.`))?.dev === device) top = dirname(top)
  return { mountpoint: top, type: "" } satisfies Holder
})

const PlaceMountsFile = Schema.parseJson(PlaceMounts, { space: 2 })

/** What source and target lie on now. Fails when what one of them lay on at the last run is not mounted. */
export const requirePlaces = Effect.fnUntraced(function* (layout: Layout, corrupt: Corrupt) {
  // To look into a folder mounts what autofs, say, mounts on demand.
  for (const path of [layout.source, layout.target]) {
    if (path !== undefined) yield* (yield* Disk).stat(`${path}/.`)
  }
  const mounts = yield* mountList
  const now: PlaceMounts = {
    version: 1,
    ...(layout.source === undefined
      ? {}
      : { source_path: layout.source, source: yield* holder(mounts, layout.source) }),
    target_path: layout.target,
    target: yield* holder(mounts, layout.target)
  }
  for (const record of layout.places) {
    const before = yield* load(
      record,
      Schema.decodeUnknownOption(PlaceMountsFile),
      corrupt,
      "what source and target lay on is not known"
    )
    if (before === undefined) continue
    const missing =
      before.target_path === now.target_path && isMissing(before.target, now.target)
        ? notMounted("target_path", now.target_path, before.target, record)
        : before.source !== undefined &&
            now.source !== undefined &&
            before.source_path === now.source_path &&
            isMissing(before.source, now.source)
          ? notMounted("source_path", layout.source ?? "", before.source, record)
          : undefined
    if (missing !== undefined) {
      return yield* new StoreError({
        reason: "NotMounted",
        path: layout.target,
        message: missing,
        transient: false
      })
    }
  }
  return { mounts, now }
})

/** Remembers what source and target lie on, in the first of the files that is not on the target itself and can be written. */
export const rememberPlaces = Effect.fnUntraced(function* (
  layout: Layout,
  { mounts, now }: Effect.Effect.Success<ReturnType<typeof requirePlaces>>
) {
  // What is mounted at / cannot be missing.
  if (now.target.mountpoint === "/" && (now.source?.mountpoint ?? "/") === "/") return
  const text = `${Schema.encodeSync(PlaceMountsFile)(now)}\n`
  const errors: Array<string> = []
  for (const record of layout.places) {
    const { mountpoint } = yield* holder(mounts, dirname(record))
    // When the target is not mounted, the folder of the log or the lock is not there either, and that is noticed.
    if (mountpoint !== "/" && mountpoint === now.target.mountpoint) continue
    const written = yield* Effect.either(remember(record, text))
    if (written._tag === "Right") return
    errors.push(written.left.message)
  }
  if (errors.length === 0) return
  yield* Effect.logWarning(
    `a later run will not notice when source or target are not mounted, since what they lie on cannot be written down: ${errors.join("; ")}`
  )
})

const remember = Effect.fnUntraced(function* (record: string, text: string) {
  if ((yield* (yield* Disk).read(record)) !== text) yield* replace(record, text)
})

const FolderMountsFile = Schema.parseJson(FolderMounts, { space: 2 })

/**
 * Folders of the target that were mounts of their own and are not any more, without those in `accepted`; and which folders are to
 * be written down, if they have changed.
 */
export const unmounted = Effect.fnUntraced(function* (
  layout: Layout,
  accepted: ReadonlyArray<FolderName>,
  corrupt: Corrupt
) {
  const disk = yield* Disk
  const before = (yield* isFolder(layout.job))
    ? ((yield* load(
        layout.mounts,
        Schema.decodeUnknownOption(FolderMountsFile),
        corrupt,
        "which folders of the target were mounted is not known"
      ))?.folders ?? [])
    : []
  // What is mounted on demand is mounted by this. One that cannot be is not in the list afterwards.
  yield* Effect.forEach(
    before,
    (folder) =>
      disk
        .stat(`${join(layout.target, folder)}/.`)
        .pipe(Effect.catchAll((error) => Effect.logDebug(error.message))),
    { discard: true }
  )
  const mounted = yield* mountedFolders(layout)
  const gone = before.filter((folder) => !mounted.has(folder))
  const missing = gone.filter((folder) => !accepted.includes(folder))
  const broken = missing.map(
    (folder): BrokenFolder => ({
      folder,
      reason: `its folder of the target, ${join(layout.target, folder)}, was a mount of its own at the last run, and nothing is mounted there now: mount it, or accept that it is archived without: zipper run --force --folder ${folder}`
    })
  )
  const folders = [...new Set([...mounted, ...missing])].sort()
  return { broken, folders, changed: [...before].sort().join() !== folders.join() }
})

/** Writes down which folders of the target are mounts of their own. */
export const rememberFolders = Effect.fnUntraced(function* (
  layout: Layout,
  folders: ReadonlyArray<FolderName>
) {
  yield* makeJobFolder(layout.job)
  yield* replace(layout.mounts, `${Schema.encodeSync(FolderMountsFile)({ version: 1, folders })}\n`)
})

const mountedFolders = Effect.fnUntraced(function* (layout: Layout) {
  const disk = yield* Disk
  const mounts = yield* mountList
  const found = new Set<FolderName>()
  if (mounts !== undefined) {
    const target = yield* resolved(layout.target)
    for (const { mountpoint } of mounts.filter(isLasting)) {
      const folder = parse(RawPath.relativeTo(target, mountpoint) ?? "")
      if (folder !== undefined) found.add(folder)
    }
    return found
  }
  const device = (yield* disk.stat(`${layout.target}/.`))?.dev
  for (const name of yield* disk.list(layout.target)) {
    const folder = parse(name)
    if (folder === undefined) continue
    const stat = yield* disk.stat(join(layout.target, folder))
    if (stat?.kind === "directory" && stat.dev !== device) found.add(folder)
  }
  return found
})
