import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import { hostname } from "node:os"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import { type FolderName, topFolder } from "../source/FolderName.ts"
import type { Blocked, Graft, SnapshotRef, SourceView } from "../source/SourceView.ts"
import * as Errno from "../system/Errno.ts"
import { Process } from "../system/Process.ts"
import * as RawPath from "../text/RawPath.ts"
import type { Role } from "./Allow.ts"
import type { SourceName } from "./JobIdentity.ts"
import {
  destroy,
  destroyAll,
  encodeMark,
  formatName,
  type MarkedSnapshot,
  markedSnapshots,
  markProperty,
  type OpenZfs,
  type PruneReport,
  planPrune,
  startOf,
  type ZfsSettings
} from "./SnapshotPrune.ts"
import {
  checkTarget,
  datasetsOf,
  fingerprint,
  infoOf,
  isGone,
  isNowhere,
  type Layout,
  readLayout,
  resolveFolder,
  type SourceInfo,
  sourceOf
} from "./SourceLayout.ts"
import { type Commands, complaint, makeCommands, readOutput, ZfsError } from "./ZfsCommand.ts"
import { changesSince, type Evidence, noEvidence } from "./ZfsDiff.ts"
import { datasetOf, listing, table } from "./ZfsList.ts"

/** Snapshots of the source. The layer knows the prefix, the run and the job that they are marked with. */
export class Zfs extends Context.Tag("zipper/Zfs")<Zfs, ZfsService>() {
  static readonly layer = (settings: ZfsSettings): Layer.Layer<Zfs, never, Process> =>
    layerOn(settings, (openZfs) => ({
      snapshot: (source) => takeSnapshot(openZfs, source),
      prune: (source, keep) =>
        Effect.flatMap(planPrune(openZfs, source, keep), (plan) => destroyAll(openZfs.commands, plan))
    }))

  /** Any plain folder, read as it is: `"snapshots": "live"`. */
  static readonly layerLive: Layer.Layer<Zfs> = Layer.sync(Zfs, () => live)

  /** Takes and destroys no snapshot: shows the live dataset, and logs what would be destroyed. */
  static readonly layerDryRun = (settings: ZfsSettings): Layer.Layer<Zfs, never, Process> =>
    layerOn(settings, makeDryRun)
}

export interface ZfsService {
  /** Fails when the path is no folder, not on ZFS, or not mounted. */
  readonly locate: (sourcePath: string) => Effect.Effect<SourceInfo, ZfsError>
  /** Fails when a dataset should be mounted at the target or above it and is not: it would hide new archives. */
  readonly checkTarget: (targetPath: string) => Effect.Effect<void, ZfsError>
  /** Whether the dataset is gone from its pool, or the folder from the mounted dataset. False where that is unknown. */
  readonly isGone: (source: SourceName) => Effect.Effect<boolean, ZfsError>
  /** The snapshots of the source's datasets that carry our mark, of any job, without those of a run that is alive. */
  readonly markedSnapshots: (source: SourceInfo) => Effect.Effect<ReadonlyArray<MarkedSnapshot>, ZfsError>
  /** Takes one atomic snapshot of all datasets. Unless kept, it is destroyed with the scope, or by a later prune. */
  readonly snapshot: (source: SourceInfo) => Effect.Effect<SnapshotHandle, ZfsError, Scope.Scope>
  /** Destroys our snapshots (property, exact name, this job) of no run that is alive, with no guid in `keep`. */
  readonly prune: (source: SourceInfo, keep: ReadonlySet<string>) => Effect.Effect<PruneReport, ZfsError>
}

/** A snapshot that this run holds; its dataset's own folder stays mounted until the scope of `snapshot` closes. */
export interface SnapshotHandle {
  readonly view: SourceView
  /** Which folders changed between `base` and this snapshot, by one `zfs diff` a dataset. Never fails. */
  readonly changesSince: (base: SnapshotRef | undefined) => Effect.Effect<Evidence>
  /** Keeps the snapshots of the view's children in this folder mounted until the scope closes. Fails where one is not. */
  readonly hold: (
    folder: FolderName,
    view: Pick<SourceView, "grafts" | "blocked">
  ) => Effect.Effect<void, ZfsError, Scope.Scope>
  /** From now on the snapshot outlives its scope: it is the base of the next diff. */
  readonly keep: Effect.Effect<void>
}

type Changing = Pick<ZfsService, "snapshot" | "prune">

const layerOn = (given: ZfsSettings, changing: (openZfs: OpenZfs) => Changing) =>
  Layer.effect(
    Zfs,
    Effect.map(Process, (process): ZfsService => {
      const settings = { ...given, hostname: given.hostname ?? hostname() }
      const openZfs: OpenZfs = { process, commands: makeCommands(process), settings }
      const { prune, snapshot } = changing(openZfs)
      return {
        locate: Effect.fn("Zfs.locate")((path: string) =>
          Effect.map(readLayout(openZfs, path, settings.folders), (layout) => infoOf(path, layout))
        ),
        checkTarget: Effect.fn("Zfs.checkTarget")((path: string) => checkTarget(openZfs, path)),
        isGone: Effect.fn("Zfs.isGone")((source: SourceName) => isGone(openZfs, source)),
        markedSnapshots: Effect.fn("Zfs.markedSnapshots")((source: SourceInfo) => markedSnapshots(openZfs, source)),
        snapshot: Effect.fn("Zfs.snapshot")(snapshot),
        prune: Effect.fn("Zfs.prune")(prune)
      }
    })
  )

const makeDryRun = (openZfs: OpenZfs): Changing => {
  // A run prunes at its start and at its end, and a dry run finds the same snapshots both times.
  const logged = new Set<string>()
  return {
    snapshot: Effect.fnUntraced(function* (source: SourceInfo) {
      const layout = yield* readLayout(openZfs, source.path, openZfs.settings.folders)
      const name = formatName(openZfs.settings.prefix, yield* Clock.currentTimeMillis)
      yield* Effect.logInfo(`would take a snapshot of ${source.datasets.join(", ")}; looking at the live dataset`)
      return liveHandle(
        {
          label: "live (dry run)",
          // Without guids it is no snapshot, but retention can be planned with it.
          snapshot: { name, guids: {} },
          root: sourceOf(layout),
          blocked: layout.blocked
        },
        // To compare with the live dataset, zfs diff would take a snapshot of its own.
        "a dry run compares the live dataset file by file"
      )
    }),
    prune: Effect.fnUntraced(function* (source: SourceInfo, keep: ReadonlySet<string>) {
      const plan = yield* planPrune(openZfs, source, keep)
      for (const { name } of plan.destroy) {
        if (!logged.has(name)) yield* Effect.logInfo(`would destroy the snapshot ${name}`)
        logged.add(name)
      }
      return { destroyed: [], spared: plan.spare }
    })
  }
}

const live: ZfsService = {
  locate: Effect.fn("Zfs.locate")((path: string) =>
    Effect.as(resolveFolder(path), { path, dataset: undefined, datasets: [] })
  ),
  checkTarget: () => Effect.void,
  // zfs removes the mount point of a dataset that is not mounted, and this layer runs no zfs.
  isGone: ({ dataset, source_path }) => (dataset === undefined ? isNowhere(source_path) : Effect.succeed(false)),
  markedSnapshots: () => Effect.succeed([]),
  snapshot: Effect.fn("Zfs.snapshot")((source: SourceInfo) =>
    Effect.map(resolveFolder(source.path), (root) =>
      liveHandle({ label: "live", snapshot: undefined, root, blocked: [] }, "the source is read without snapshots")
    )
  ),
  prune: () => Effect.succeed({ destroyed: [], spared: [] })
}

const liveHandle = (view: Omit<SourceView, "grafts" | "frozen">, reason: string): SnapshotHandle => ({
  view: { ...view, grafts: [], frozen: false },
  changesSince: () => Effect.succeed(noEvidence(reason)),
  hold: () => Effect.void,
  keep: Effect.void
})

const takeSnapshot = Effect.fnUntraced(function* (openZfs: OpenZfs, source: SourceInfo) {
  const { commands } = openZfs
  const layout = yield* readLayout(openZfs, source.path, openZfs.settings.folders)
  yield* Effect.forEach(layout.blocked, ({ reason }) => Effect.logDebug(reason), { discard: true })
  const kept = yield* Ref.make(false)
  const ref = yield* Effect.acquireRelease(create(openZfs, layout, source.job), (taken) =>
    Effect.unlessEffect(release(commands, taken), Ref.get(kept))
  )
  return {
    view: yield* viewOf(layout, ref),
    changesSince: (base) => changesSince(commands, layout, ref, base),
    hold: (folder, { blocked, grafts }) =>
      Effect.forEach(
        layout.children.filter(
          ({ at }) => topFolder(at) === folder && [...grafts, ...blocked].some((place) => place.at === at)
        ),
        (child) => holdChild(child, ref),
        { discard: true }
      ),
    keep: Ref.set(kept, true)
  } satisfies SnapshotHandle
})

const create = Effect.fnUntraced(function* (openZfs: OpenZfs, layout: Layout, job: SourceInfo["job"]) {
  const mark = yield* markOf(openZfs, job, fingerprint(layout))
  return yield* takeMarked(openZfs, openZfs.settings.prefix, datasetsOf(layout), [markProperty, mark])
})

/** What a snapshot of this run is marked with. */
export const markOf = Effect.fnUntraced(function* (
  { process: runner, settings }: OpenZfs,
  job: SourceInfo["job"],
  layout: string
) {
  return encodeMark({
    host: settings.hostname,
    pid: process.pid,
    start: (yield* startOf(runner, process.pid)) ?? "",
    run: settings.runId,
    job: job?.id ?? settings.jobId,
    layout,
    target: settings.target
  })
})

/** How many seconds ahead a free name is looked for, after the clock was set back or for a second run in a second. */
const namesToTry = 60

/** Takes one atomic snapshot of the datasets, which lie in one pool. */
export const takeMarked = Effect.fnUntraced(function* (
  { commands }: Pick<OpenZfs, "commands">,
  prefix: string,
  datasets: ReadonlyArray<string>,
  [property, mark]: readonly [property: string, mark: string],
  role?: Role
) {
  const [dataset = ""] = datasets
  const now = yield* Clock.currentTimeMillis
  for (let second = 0; ; second++) {
    const name = formatName(prefix, now + second * 1000)
    const snapshots = datasets.map((each) => `${each}@${name}`)
    const completed = yield* commands.attempt(["snapshot", "-o", `${property}=${mark}`, ...snapshots])
    if (completed.exitCode === 0) {
      return yield* readBack(commands, dataset, name, snapshots).pipe(
        // Without its guids the caller cannot use it; by name it can still be destroyed.
        Effect.onError(() =>
          Effect.forEach(snapshots, (snapshot) =>
            commands
              .run(`destroy ${snapshot}`, datasetOf(snapshot), ["destroy", snapshot])
              .pipe(Effect.catchAll(({ message }) => Effect.logWarning(`${message}; the next run will try again`)))
          )
        )
      )
    }
    if (second === namesToTry || !/dataset already exists/.test(complaint(completed))) {
      return yield* commands.failure(`take a snapshot of ${dataset}`, dataset, completed, role)
    }
  }
})

const readBack = Effect.fnUntraced(function* (
  commands: Commands,
  dataset: string,
  name: string,
  snapshots: ReadonlyArray<string>
) {
  const purpose = `read the new snapshot of ${dataset}`
  const listed = yield* commands.run(purpose, dataset, listing("snapshot", "name,guid", snapshots))
  const found = yield* readOutput(commands, purpose, table(listed, 2))
  const guids = Object.fromEntries(found.map(([full = "", guid = ""]) => [datasetOf(full), guid]))
  return { name, guids } satisfies SnapshotRef
})

const release = (commands: Commands, ref: SnapshotRef) =>
  Effect.forEach(
    Object.entries(ref.guids),
    ([dataset, guid]) =>
      destroy(commands, `${dataset}@${ref.name}`, guid).pipe(
        Effect.catchAll((error) => Effect.logWarning(`${error.message}; the next run will try again`))
      ),
    { discard: true }
  )

const viewOf = Effect.fnUntraced(function* (layout: Layout, ref: SnapshotRef) {
  const top = inSnapshot(layout.mountpoint, ref.name)
  const root = RawPath.join(top, layout.within)
  const own = `the snapshot ${layout.dataset}@${ref.name}`
  const advice = `see also whether it can be listed by hand, and that zfs get snapdir '${layout.dataset}' is not "disabled"`
  yield* Effect.mapError(
    hold(top, own),
    (cause) => new ZfsError({ ...cause, message: `${cause.message}; ${advice}`, cause })
  )
  yield* Effect.tryPromise({
    try: async () => (await fs.opendir(RawPath.toBuffer(root))).close(),
    catch: (cause) => {
      const message = `cannot read the source folder in ${own}, at ${RawPath.display(root)}: ${Errno.explain(cause)}`
      return new ZfsError({ reason: "Unmounted", message, transient: false, cause })
    }
  })
  const grafts: Array<Graft> = []
  const blocked: Array<Blocked> = [...layout.blocked]
  for (const child of layout.children) {
    // Closed again at once, since there may be thousands: each is held open while its folder is read.
    const readable = yield* Effect.either(Effect.scoped(holdChild(child, ref)))
    if (readable._tag === "Left") blocked.push({ at: child.at, reason: readable.left.message })
    else grafts.push({ at: child.at, root: inSnapshot(child.mountpoint, ref.name) })
  }
  return {
    label: `${layout.dataset}@${ref.name}`,
    snapshot: ref,
    root,
    livePath: sourceOf(layout),
    grafts,
    blocked,
    frozen: true
  } satisfies SourceView
})

const holdChild = ({ dataset, mountpoint }: Layout["children"][number], ref: SnapshotRef) =>
  hold(inSnapshot(mountpoint, ref.name), `the snapshot of child dataset ${dataset}`)

export const inSnapshot = (mountpoint: RawPath.RawPath, name: string): RawPath.RawPath =>
  RawPath.join(mountpoint, RawPath.fromText(`.zfs/snapshot/${name}`))

/** Mounts a snapshot, by opening its folder, until the scope closes. Linux shows one that it cannot mount as empty. */
export const hold = Effect.fnUntraced(function* (root: RawPath.RawPath, what: string) {
  const shown = RawPath.display(root)
  const unreadable = (cause: unknown) =>
    new ZfsError({
      reason: "Unmounted",
      message: `${what} cannot be read at ${shown}: ${Errno.explain(cause)}`,
      transient: Errno.isTransientCode(Errno.codeOf(cause)),
      cause
    })
  const folder = yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: () => fs.open(RawPath.toBuffer(root), constants.O_RDONLY | constants.O_DIRECTORY),
      catch: unreadable
    }),
    // What close reports is about writing, and nothing was written.
    (opened) => Effect.promise(() => Promise.allSettled([opened.close()]))
  )
  const above = RawPath.fromLatin1(root.slice(0, root.lastIndexOf("/")))
  const [own, parent] = yield* Effect.tryPromise({
    try: () => Promise.all([folder.stat({ bigint: true }), fs.stat(RawPath.toBuffer(above), { bigint: true })]),
    catch: unreadable
  })
  if (own.dev !== parent.dev) return
  const message = `${what} cannot be read: the system did not mount it at ${shown}, where only an empty folder is; see what dmesg says, and whether the limit of mounts is reached (sysctl fs.mount-max)`
  return yield* new ZfsError({ reason: "Unmounted", message, transient: false })
})
