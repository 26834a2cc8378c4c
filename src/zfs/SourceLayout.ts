import { createHash } from "node:crypto"
import * as fs from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Order from "effect/Order"
import { topFolder } from "../source/FolderName.ts"
import type { Blocked } from "../source/SourceView.ts"
import * as Errno from "../system/Errno.ts"
import { type Mount, mountOf, parseMountInfo, parseMountOutput } from "../system/MountTable.ts"
import { type Platform, platform } from "../system/Platform.ts"
import type { Process } from "../system/Process.ts"
import * as RawPath from "../text/RawPath.ts"
import { poolOf } from "./DatasetName.ts"
import type { JobIds, SourceName } from "./JobIdentity.ts"
import { archiveGrant, type Commands, notOpenZfs, readOutput, ZfsError } from "./ZfsCommand.ts"
import { datasetColumns, type ListedFileSystem, listing, parseDatasets } from "./ZfsList.ts"

export interface Runner {
  readonly process: typeof Process.Service
  readonly commands: Commands
}

export interface SourceInfo {
  readonly path: string
  /** Undefined when the source is read live. */
  readonly dataset: string | undefined
  /** Path inside the dataset; left out when the source is the dataset itself. */
  readonly within?: string
  /** Identifies the job in snapshot marks; left out: the layer's `jobId`. */
  readonly job?: JobIds
  /** What one snapshot has to cover: the dataset, and its children that are mounted inside the source folder. */
  readonly datasets: ReadonlyArray<string>
  /** The command that grants what a run needs; left out for root. */
  readonly grant?: string
}

/** Which datasets one snapshot of the folder has to cover, and which places in it cannot be read; `folders`: the names to archive. */
export const readLayout = Effect.fnUntraced(function* ({ commands, process }: Runner, path: string, folders: RegExp) {
  const folder = yield* resolveFolder(path)
  const mounts = yield* readMounts(process)
  const home = yield* findHome(mounts, folder)
  const datasets = yield* listAround(commands, home)
  const unusable = unmountedSource(home, mounts, datasets)
  return unusable === undefined ? layoutOf(home, mounts, datasets, folders) : yield* unusable
})

export const infoOf = (path: string, layout: Layout): SourceInfo => ({
  path,
  dataset: layout.dataset,
  ...(layout.within === "" ? {} : { within: RawPath.display(layout.within) }),
  datasets: datasetsOf(layout),
  ...(process.getuid?.() === 0 ? {} : { grant: archiveGrant(layout.dataset) })
})

export const datasetsOf = (layout: Layout): ReadonlyArray<string> => [
  ...new Set([layout.dataset, ...layout.children.map(({ dataset }) => dataset)])
]

export const checkTarget = Effect.fnUntraced(function* ({ commands, process }: Runner, path: string) {
  const target = yield* realPath(path)
  if (target === undefined) return
  const unusable = unmountedTarget(target, yield* readMounts(process), yield* listDatasets(commands, path))
  if (unusable !== undefined) return yield* unusable
})

export const isGone = Effect.fnUntraced(function* (
  { commands, process }: Runner,
  { dataset, source_path }: SourceName
) {
  if (dataset === undefined) return yield* isNowhere(source_path)
  const names = new Set((yield* listDatasets(commands, dataset)).map(({ name }) => name))
  // What a pool holds that is not imported is unknown.
  if (!names.has(dataset)) return names.has(poolOf(dataset))
  // zfs removes the mount point of a dataset that is not mounted.
  return mountedIn(yield* readMounts(process)).has(dataset) && (yield* isNowhere(source_path))
})

const listDatasets = Effect.fnUntraced(function* (commands: Commands, about: string) {
  const purpose = "list the datasets"
  const text = yield* commands.run(purpose, about, listing("filesystem", datasetColumns))
  return yield* readOutput(commands, purpose, parseDatasets(text))
})

/** The same, of which the kernel has one mounted: a list without it is not of OpenZFS. */
export const listAround = (commands: Commands, { dataset, mountpoint }: Home) =>
  Effect.filterOrFail(
    listDatasets(commands, dataset),
    (datasets) => datasets.some(({ name }) => name === dataset),
    () => {
      const why = `zfs list leaves out ${dataset}, which is mounted at ${RawPath.display(mountpoint)}`
      return unusable(
        "Other",
        `cannot list the datasets: ${why}; ${notOpenZfs}, and that this jail or container may see the dataset`
      )
    }
  )

export interface Home {
  readonly dataset: string
  /** Where the dataset itself is mounted: `.zfs` is there. */
  readonly mountpoint: RawPath.RawPath
  readonly within: RawPath.RawPath
  /** The mount that programs find first, whose paths `zfs diff` prints. */
  readonly diffTop: RawPath.RawPath
}

interface Child {
  readonly dataset: string
  readonly at: RawPath.RawPath
  readonly mountpoint: RawPath.RawPath
}

export interface Layout extends Home {
  readonly children: ReadonlyArray<Child>
  readonly blocked: ReadonlyArray<Blocked>
}

const unusable = (reason: "NotZfs" | "Unmounted" | "Other", message: string): ZfsError =>
  new ZfsError({ reason, message, transient: false })

export const root = RawPath.fromLatin1("/")

/** What to do about a folder that no snapshot can show. */
interface Remedies {
  readonly plain: string
  readonly frozen: string
}

const ofSource: Remedies = {
  plain: 'set "snapshots": "live" to archive a plain folder',
  frozen: "set source_path to the folder in the dataset itself"
}

export const findHome = (
  mounts: ReadonlyArray<Mount>,
  path: RawPath.RawPath,
  remedies: Remedies = ofSource
): Either.Either<Home, ZfsError> => {
  const mount = mountOf(mounts, path)
  const shown = RawPath.display(path)
  if (mount?.type !== "zfs") {
    const type = mount === undefined ? "" : ` but on ${mount.type}`
    return Either.left(unusable("NotZfs", `${shown} is not on ZFS${type}; ${remedies.plain}`))
  }
  if (mount.device.includes("@")) {
    return Either.left(unusable("NotZfs", `${shown} is inside the snapshot ${mount.device}; ${remedies.frozen}`))
  }
  const own = mounts.filter(({ device, type }) => type === "zfs" && device === mount.device)
  const whole =
    mount.root === root
      ? mount
      : own.find((other) => other.root === root && mountOf(mounts, other.mountpoint) === other)
  if (whole === undefined) {
    const message = `${shown} is a bind mount of a folder of ${mount.device}, whose snapshots can only be reached where the whole dataset is mounted, and it is not: zfs mount '${mount.device}'`
    return Either.left(unusable("Unmounted", message))
  }
  const inMount = RawPath.relativeTo(mount.mountpoint, path) ?? RawPath.here
  return Either.right({
    dataset: mount.device,
    mountpoint: whole.mountpoint,
    within: mount.root === root ? inMount : RawPath.join(RawPath.fromLatin1(mount.root.slice(1)), inMount),
    diffTop: own[0]?.mountpoint ?? whole.mountpoint
  })
}

/** A dataset that should be mounted at the source or above it and is not. `datasets`: those of all pools. */
export const unmountedSource = (
  home: Home,
  mounts: ReadonlyArray<Mount>,
  datasets: ReadonlyArray<ListedFileSystem>
): ZfsError | undefined => {
  const source = sourceOf(home)
  const missing = unmounted(mounts, datasets, source, home.mountpoint).find(
    ({ canmount, name }) => name !== home.dataset && canmount !== "off"
  )
  return missing === undefined ? undefined : unusable("Unmounted", notMounted("source", source, missing))
}

/** The same for a target on any file system. `canmount=noauto` (mounted by hand: a replica) does not count. */
export const unmountedTarget = (
  target: RawPath.RawPath,
  mounts: ReadonlyArray<Mount>,
  datasets: ReadonlyArray<ListedFileSystem>
): ZfsError | undefined => {
  const top = mountOf(mounts, target)?.mountpoint ?? root
  const missing = unmounted(mounts, datasets, target, top).find(({ canmount }) => canmount === "on")
  if (missing === undefined) return undefined
  const otherwise = `; or, if it does not belong there: zfs set canmount=noauto '${missing.name}'`
  return unusable("Unmounted", `${notMounted("target", target, missing)}${otherwise}`)
}

/** Datasets that are not mounted, and would be at the path or between it and the mount at `top`. */
const unmounted = (
  mounts: ReadonlyArray<Mount>,
  datasets: ReadonlyArray<ListedFileSystem>,
  path: RawPath.RawPath,
  top: RawPath.RawPath
): ReadonlyArray<ListedFileSystem> => {
  const mounted = mountedIn(mounts)
  return datasets.filter(
    ({ mountpoint, name }) =>
      !mounted.has(name) &&
      mountpoint.startsWith("/") &&
      RawPath.relativeTo(mountpoint, path) !== undefined &&
      // What is mounted at `top` is meant, and nothing above it hides it (boot environments all say "/").
      mountpoint !== top &&
      RawPath.relativeTo(top, mountpoint) !== undefined
  )
}

const notMounted = (what: string, path: RawPath.RawPath, dataset: ListedFileSystem): string =>
  `the ${what} ${RawPath.display(path)} belongs to dataset ${dataset.name}, which is not mounted: ${remedy(dataset)}`

export const mountedIn = (mounts: ReadonlyArray<Mount>): ReadonlySet<string> =>
  new Set(mounts.filter(({ type }) => type === "zfs").map(({ device }) => device))

const remedy = ({ keystatus, name }: ListedFileSystem): string =>
  keystatus === "unavailable" ? `zfs load-key '${name}' && zfs mount '${name}'` : `zfs mount '${name}'`

export const sourceOf = (home: Home): RawPath.RawPath => RawPath.join(home.mountpoint, home.within)

/** What is mounted in the source's folders, and which descendants of its dataset should be but are not. */
export const layoutOf = (
  home: Home,
  mounts: ReadonlyArray<Mount>,
  datasets: ReadonlyArray<ListedFileSystem>,
  folders: RegExp
): Layout => {
  const source = sourceOf(home)
  const place = (path: RawPath.RawPath) => {
    const at = RawPath.relativeTo(source, path)
    const folder = at === undefined ? undefined : topFolder(at)
    return folder !== undefined && folders.test(folder) ? at : undefined
  }
  const children: Array<Child> = []
  const blocked: Array<Blocked> = []
  const visible = new Map(mounts.map((mount) => [mount.mountpoint, mount]))
  for (const [mountpoint, mount] of visible) {
    const at = place(mountpoint)
    if (at === undefined || mount.device.includes("@")) continue
    if (mount.type === "zfs" && mount.root === root && mount.device.startsWith(`${home.dataset}/`)) {
      children.push({ dataset: mount.device, at, mountpoint })
    } else {
      blocked.push({ at, reason: foreignReason(mount, home.dataset) })
    }
  }
  const mounted = mountedIn(mounts)
  const property = datasets.find(({ name }) => name === home.dataset)?.mountpoint
  for (const dataset of datasets) {
    if (!dataset.name.startsWith(`${home.dataset}/`)) continue
    if (dataset.canmount === "off" || mounted.has(dataset.name)) continue
    const at = place(expectedAt(home, property, dataset.mountpoint))
    if (at !== undefined) blocked.push({ at, reason: notMountedReason(dataset) })
  }
  return { ...home, children: children.sort(byDataset), blocked }
}

// A dataset mounted by hand somewhere else still has its children's paths below the property.
const expectedAt = (home: Home, property: RawPath.RawPath | undefined, child: RawPath.RawPath): RawPath.RawPath => {
  const below = property?.startsWith("/") ? RawPath.relativeTo(property, child) : undefined
  return below === undefined ? child : RawPath.join(home.mountpoint, below)
}

const foreignReason = (mount: Mount, dataset: string): string => {
  const shown = RawPath.display(mount.mountpoint)
  if (mount.type !== "zfs") {
    return `${shown} is a mount of ${mount.type}, which no snapshot of ${dataset} holds: unmount it`
  }
  return mount.root === root
    ? `${mount.device} is mounted at ${shown}, but is no child dataset of ${dataset}: mount it elsewhere`
    : `${shown} is a bind mount of ${mount.device}, which no snapshot of ${dataset} holds: unmount it`
}

export const notMountedReason = (dataset: ListedFileSystem): string =>
  dataset.keystatus === "unavailable"
    ? `child dataset ${dataset.name} is locked (its key is not loaded): ${remedy(dataset)}`
    : `child dataset ${dataset.name} is not mounted: ${remedy(dataset)} (or zfs set canmount=off '${dataset.name}' if it should not be)`

const byDataset = Order.mapInput(
  Order.tuple(Order.string, Order.string),
  ({ at, dataset }: Child) => [dataset, at] as const
)

/** Equal while the source and its children lie in the same places; when it differs, `zfs diff` misses changes. */
export const fingerprint = (layout: Layout): string => {
  const hash = createHash("sha256").update(`${layout.within}\0`, "latin1")
  for (const { at, dataset } of layout.children) {
    hash.update(`${dataset.slice(layout.dataset.length)}\0${at}\0`, "latin1")
  }
  return hash.digest("hex").slice(0, 16)
}

export const resolveFolder = Effect.fnUntraced(function* (path: string) {
  const { isFolder, real } = yield* Effect.tryPromise({
    try: async () => {
      const bytes = await fs.realpath(path, { encoding: "buffer" })
      return { real: RawPath.fromBuffer(bytes), isFolder: (await fs.stat(bytes)).isDirectory() }
    },
    catch: (cause) => cannotUse(path, Errno.explain(cause), cause)
  })
  return isFolder ? real : yield* cannotUse(path, "it is not a folder", undefined)
})

/** The path without symlinks; undefined when nothing is there, and also when it cannot be looked at. */
export const realPath = (path: string): Effect.Effect<RawPath.RawPath | undefined> =>
  Effect.tryPromise(() => fs.realpath(path, { encoding: "buffer" })).pipe(
    Effect.map(RawPath.fromBuffer),
    Effect.orElseSucceed(() => undefined)
  )

/** Whether nothing is at the path. One that cannot be examined counts as existing. */
export const isNowhere = (path: string): Effect.Effect<boolean> =>
  Effect.tryPromise(() => fs.lstat(path)).pipe(
    Effect.as(false),
    Effect.catchAll(({ error }) => Effect.succeed(["ENOENT", "ENOTDIR"].includes(Errno.codeOf(error) ?? "")))
  )

const cannotUse = (path: string, why: string, cause: unknown): ZfsError => {
  const code = Errno.codeOf(cause)
  const transient = Errno.isTransientCode(code)
  return new ZfsError({
    reason: code === "EACCES" ? "PermissionDenied" : "NotFound",
    message: `cannot use the source folder ${path}: ${why}${transient ? "" : "; check source_path"}`,
    transient,
    cause
  })
}

/** What is mounted where, as the kernel has it: the mountpoint property only says where it should be. */
export const readMounts = (
  runner: typeof Process.Service,
  { mountList }: Pick<Platform, "mountList"> = platform
): Effect.Effect<ReadonlyArray<Mount>, ZfsError> =>
  mountList !== undefined
    ? Effect.tryPromise({
        try: () => fs.readFile(mountList, "latin1"),
        catch: (cause) => unreadable(Errno.explain(cause), cause)
      }).pipe(Effect.map(parseMountInfo))
    : runner.run({ program: "mount", args: [] }).pipe(
        Effect.mapError((cause) => unreadable(cause.message, cause)),
        Effect.flatMap(({ exitCode, stderr, stdout }) =>
          exitCode === 0 ? Effect.succeed(parseMountOutput(stdout)) : Effect.fail(unreadable(stderr.trim(), undefined))
        )
      )

const unreadable = (why: string, cause: unknown): ZfsError =>
  new ZfsError({
    reason: "Other",
    message: `cannot read the list of mounted file systems: ${why}`,
    transient: true,
    cause
  })
