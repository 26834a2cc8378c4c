import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { FolderName, topFolder } from "../source/FolderName.ts"
import { Disk } from "../system/Disk.ts"
import { isLasting, type Mount, mountOf, parseMountInfo } from "../system/MountTable.ts"
import { platform } from "../system/Platform.ts"
import { optional } from "../text/Document.ts"
import * as RawPath from "../text/RawPath.ts"
import { shellWords } from "../text/Text.ts"
import { realPath } from "../zfs/SourceLayout.ts"
import type { Layout } from "./Layout.ts"
import { type Corrupt, jsonFile, load, makeJobFolder, replace, targetFolders } from "./Records.ts"
import { isFolder } from "./SafeFolder.ts"
import type { BrokenFolder } from "./Store.ts"
import { storeError } from "./StoreError.ts"

// A target whose disk is not mounted is a folder like any other, and what is written into it is hidden by the next mount. So a run
// records what source and target lie on, in files elsewhere, and which folders of the target are mounts of their own, in `.zipper`.

const Holder = Schema.Struct({
  mountpoint: Schema.String,
  /** `ext4`, `zfs`, `nfs4` …; empty where the system does not say. */
  type: Schema.String
})
type Holder = typeof Holder.Type

const PlaceMounts = Schema.Struct({
  version: Schema.Literal(1),
  source_path: optional(Schema.String),
  source: optional(Holder),
  target_path: Schema.String,
  target: Holder
})
type PlaceMounts = typeof PlaceMounts.Type
const placesFile = jsonFile(PlaceMounts)

/** `<target>/.zipper/mounts.json`: folders of the target that were mounts of their own at the last run. */
const foldersFile = jsonFile(Schema.Struct({ version: Schema.Literal(1), folders: Schema.Array(FolderName) }))

/** What the folder at `path`, which has no symlinks, lies on; a place of autofs is no mount yet. */
export const holderOf = (mounts: ReadonlyArray<Mount>, path: RawPath.RawPath): Holder => {
  const best = mountOf(
    mounts.filter(({ type }) => type !== "autofs"),
    path
  )
  return { mountpoint: RawPath.display(best?.mountpoint ?? RawPath.fromLatin1("/")), type: best?.type ?? "" }
}

/** Whether what held the folder before is not mounted now: the folder lies in what is mounted above that place. */
export const isMissing = (before: Holder, now: Holder): boolean =>
  before.mountpoint !== now.mountpoint && isBelow(before.mountpoint, now.mountpoint)

const isBelow = (path: string, ancestor: string): boolean =>
  path.startsWith(ancestor.endsWith("/") ? ancestor : `${ancestor}/`)

export const notMounted = (key: string, path: string, before: Holder, record: string): string =>
  `${key} ${path} lay on ${before.type === "" ? "what" : `the ${before.type} file system that`} was mounted at ${before.mountpoint} at the last run, and nothing is mounted there now: mount it; or, if it is not to be mounted any more, remove ${record}`

/** The kernel's list of mounts; undefined where there is none to read (only Linux has one): then device numbers decide. */
const mountList = Effect.gen(function* () {
  if (platform.mountList === undefined) return undefined
  const bytes = yield* (yield* Disk).readBytes(platform.mountList)
  return bytes === undefined ? undefined : parseMountInfo(Buffer.from(bytes).toString("latin1"))
})

const resolved = (path: string) => Effect.map(realPath(path), (real) => real ?? RawPath.fromText(path))

const holder = Effect.fnUntraced(function* (mounts: ReadonlyArray<Mount> | undefined, path: string) {
  const real = yield* resolved(path)
  return mounts === undefined ? yield* holderByDevice(RawPath.display(real)) : holderOf(mounts, real)
})

const holderByDevice = Effect.fnUntraced(function* (path: string) {
  const disk = yield* Disk
  const device = (yield* disk.stat(`${path}/.`))?.dev
  let top = path
  while (top !== dirname(top) && (yield* disk.stat(`${dirname(top)}/.`))?.dev === device) top = dirname(top)
  return { mountpoint: top, type: "" } satisfies Holder
})

/** What source and target lie on now. Fails when what one of them lay on at the last run is not mounted. */
export const requirePlaces = Effect.fnUntraced(function* (
  layout: Pick<Layout, "source" | "target" | "places">,
  corrupt: Corrupt
) {
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
  let isKnown = false
  for (const record of layout.places) {
    const before = yield* load(record, placesFile.decode, corrupt, "what source and target lay on is not known")
    if (before === undefined) continue
    isKnown ||= before.target_path === now.target_path
    const missing =
      before.target_path === now.target_path && isMissing(before.target, now.target)
        ? notMounted("target_path", now.target_path, before.target, record)
        : before.source !== undefined &&
            now.source !== undefined &&
            before.source_path === now.source_path &&
            isMissing(before.source, now.source)
          ? notMounted("source_path", layout.source ?? "", before.source, record)
          : undefined
    if (missing !== undefined) return yield* storeError("NotMounted", layout.target, missing)
  }
  return { mounts, now, isKnown }
})

/** The same of the target alone, for what only reads. Who may not read the record is not told. */
export const requireTarget = ({ places, target }: Pick<Layout, "target" | "places">) =>
  Effect.unless(requirePlaces({ source: undefined, target, places }, "report"), () => places.length === 0).pipe(
    Effect.catchTag("DiskError", ({ message }) => Effect.logDebug(message)),
    Effect.asVoid
  )

/** Writes what source and target lie on to the first of the files that is not on the target itself and can be written. */
export const rememberPlaces = Effect.fnUntraced(function* (
  layout: Layout,
  { mounts, now }: Effect.Effect.Success<ReturnType<typeof requirePlaces>>
) {
  // What is mounted at / cannot be missing.
  if (now.target.mountpoint === "/" && (now.source?.mountpoint ?? "/") === "/") return
  const text = placesFile.encode(now)
  const errors: Array<string> = []
  for (const record of layout.places) {
    const { mountpoint } = yield* holder(mounts, dirname(record))
    // When the target is not mounted, the folder of the log or the lock is not there either, and that is noticed.
    if (mountpoint !== "/" && mountpoint === now.target.mountpoint) continue
    const written = yield* Effect.either(Effect.unlessEffect(replace(record, text), isWritten(record, text)))
    if (written._tag === "Right") return
    errors.push(written.left.message)
  }
  if (errors.length === 0) return
  yield* Effect.logWarning(
    `a later run will not notice when source or target are not mounted, since what they lie on cannot be written down: ${errors.join("; ")}`
  )
})

const isWritten = (record: string, text: string) =>
  Effect.flatMap(Disk, (disk) => Effect.map(disk.read(record), (content) => content === text))

/** See Store.unmounted. With `corrupt` "set aside", the folders that are mounted now are written down. */
export const unmounted = Effect.fnUntraced(function* (
  layout: Layout,
  accepted: ReadonlyArray<FolderName>,
  configWords: ReadonlyArray<string>,
  corrupt: Corrupt
) {
  const disk = yield* Disk
  const known = (yield* isFolder(layout.job))
    ? yield* load(layout.mounts, foldersFile.decode, corrupt, "which folders of the target were mounted is not known")
    : undefined
  const before = known?.folders ?? []
  // What is mounted on demand is mounted by this. One that cannot be is not in the list afterwards.
  yield* Effect.forEach(
    before,
    (folder) =>
      disk.stat(`${join(layout.target, folder)}/.`).pipe(Effect.catchAll((error) => Effect.logDebug(error.message))),
    { discard: true }
  )
  const mounted = yield* mountedFolders(layout)
  const missing = before.filter((folder) => !mounted.has(folder) && !accepted.includes(folder))
  const folders = [...new Set([...mounted, ...missing])].sort()
  if (corrupt === "set aside" && [...before].sort().join("/") !== folders.join("/")) {
    yield* makeJobFolder(layout.job)
    yield* replace(layout.mounts, foldersFile.encode({ version: 1, folders }))
  }
  return missing.map(
    (folder): BrokenFolder => ({
      folder,
      reason: `its folder of the target, ${join(layout.target, folder)}, was a mount of its own at the last run, and nothing is mounted there now: mount it, or accept that it is archived without: ${forcedRun(folder, configWords)}`
    })
  )
})

/** The command that archives a folder anew, and accepts what is missing in it or where its archives are. */
export const forcedRun = (folder: FolderName, job: ReadonlyArray<string>): string =>
  shellWords(["zipper", "run", ...job, "--force", "--folder", folder])

const mountedFolders = Effect.fnUntraced(function* (layout: Layout) {
  const disk = yield* Disk
  const mounts = yield* mountList
  const own = yield* targetFolders(layout)
  if (mounts !== undefined) {
    const target = yield* resolved(layout.target)
    const found = mounts.filter(isLasting).flatMap(({ mountpoint }) => {
      const at = RawPath.relativeTo(target, mountpoint) ?? RawPath.here
      return at.includes("/") ? [] : (topFolder(at) ?? [])
    })
    return new Set(found.filter((folder) => layout.folders?.test(folder) === true || own.includes(folder)))
  }
  const device = (yield* disk.stat(`${layout.target}/.`))?.dev
  const isMount = (folder: FolderName) =>
    Effect.map(disk.stat(join(layout.target, folder)), (stat) => stat?.kind === "directory" && stat.dev !== device)
  return new Set(yield* Effect.filter(own, isMount))
})
