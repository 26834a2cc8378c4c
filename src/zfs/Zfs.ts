import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import { hostname } from "node:os"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import type { FolderName } from "../source/FolderName.ts"
import { type Blocked, type Graft, type SnapshotRef, type SourceView, topSegment } from "../source/SourceView.ts"
import * as Errno from "../system/Errno.ts"
import { Process } from "../system/Process.ts"
import * as RawPath from "../text/RawPath.ts"
import type { SourceName } from "./JobIdentity.ts"
import {
  destroy,
  destroyAll,
  encodeMark,
  formatName,
  type MarkedSnapshot,
  marked,
  markProperty,
  type PruneReport,
  planPrune,
  startOf
} from "./SnapshotPrune.ts"
import {
  canRead,
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
import {
  type Commands,
  complaint,
  makeCommands,
  type OpenZfs,
  readOutput,
  ZfsError,
  type ZfsSettings
} from "./ZfsCommand.ts"
import { changesSince, type Evidence, noEvidence } from "./ZfsDiff.ts"
import { datasetOf, table } from "./ZfsList.ts"

/** Snapshots of the source. The layer knows the prefix, the run and the job that they are marked with. */
export class Zfs extends Context.Tag("zipper/Zfs")<Zfs, ZfsService>() {
  static readonly layer = (settings: ZfsSettings): Layer.Layer<Zfs, never, Process> =>
    Layer.effect(
      Zfs,
      Effect.map(Process, (process) => makeZfs(process, settings))
    )

  /** Any plain folder, read as it is: `"snapshots": "live"`. */
  static readonly layerLive: Layer.Layer<Zfs> = Layer.sync(Zfs, () => live)

  /** Takes and destroys no snapshot: shows the live dataset, and logs what would be destroyed. */
  static readonly layerDryRun = (settings: ZfsSettings): Layer.Layer<Zfs, never, Process> =>
    Layer.effect(
      Zfs,
      Effect.map(Process, (process) => makeDryRun(process, settings))
    )
}

/** See the tag Zfs. */
export interface ZfsService {
  /** Fails when the path is no folder, not on ZFS, or not mounted. */
  readonly locate: (sourcePath: string) => Effect.Effect<SourceInfo, ZfsError>
  /**
   * Fails when a dataset should be mounted at the target or above it and is not: archives would go below its mount
   * point.
   */
  readonly checkTarget: (targetPath: string) => Effect.Effect<void, ZfsError>
  /**
   * Whether the source is gone: its dataset from its pool, or the folder from the mounted dataset. What cannot be
   * told is not gone: a pool that is not imported, or a dataset where the source is read live.
   */
  readonly isGone: (source: SourceName) => Effect.Effect<boolean, ZfsError>
  /** The snapshots of the source's datasets that carry our mark, of any job, without those of a run that is alive. */
  readonly marked: (source: SourceInfo) => Effect.Effect<ReadonlyArray<MarkedSnapshot>, ZfsError>
  /**
   * Takes one atomic snapshot of all the source's datasets. Destroyed, unless kept, when the scope closes; a failure
   * of that is logged, and the next run's prune destroys it.
   */
  readonly snapshot: (source: SourceInfo) => Effect.Effect<SnapshotHandle, ZfsError, Scope.Scope>
  /**
   * Destroys snapshots that are ours (property set locally, exact name, this job), of no run that is alive, with no
   * guid in `keep`.
   */
  readonly prune: (source: SourceInfo, keep: ReadonlySet<string>) => Effect.Effect<PruneReport, ZfsError>
}

/** A snapshot that this run holds; its dataset's own folder stays mounted until the scope of `snapshot` closes. */
export interface SnapshotHandle {
  readonly view: SourceView
  /**
   * Which folders changed between `base` and this snapshot, by one `zfs diff` a dataset. Never fails: `unknown` or
   * `changed` instead.
   */
  readonly changesSince: (base: SnapshotRef | undefined) => Effect.Effect<Evidence>
  /**
   * Keeps the snapshots of the child datasets in this folder mounted until the scope closes. Fails where one is an
   * empty folder instead.
   */
  readonly hold: (folder: FolderName) => Effect.Effect<void, ZfsError, Scope.Scope>
  /** From now on the snapshot outlives its scope: it is the base of the next diff. */
  readonly keep: Effect.Effect<void>
}

const makeZfs = (process: typeof Process.Service, settings: ZfsSettings): ZfsService => {
  const { openZfs, ...reader } = makeReader(process, settings)
  return {
    ...reader,
    snapshot: Effect.fn("Zfs.snapshot")((source: SourceInfo) => takeSnapshot(openZfs, source)),
    prune: Effect.fn("Zfs.prune")(function* (source: SourceInfo, keep: ReadonlySet<string>) {
      return yield* destroyAll(openZfs.commands, yield* planPrune(openZfs, source, keep))
    })
  }
}

const makeDryRun = (process: typeof Process.Service, settings: ZfsSettings): ZfsService => {
  const { openZfs, ...reader } = makeReader(process, settings)
  // A run prunes at its start and at its end, and a dry run finds the same snapshots both times.
  const logged = new Set<string>()
  return {
    ...reader,
    snapshot: Effect.fn("Zfs.snapshot")(function* (source: SourceInfo) {
      const layout = yield* readLayout(openZfs, source.path)
      const name = formatName(settings.prefix, yield* Clock.currentTimeMillis)
      yield* Effect.logInfo(`would take a snapshot of ${source.datasets.join(", ")}; looking at the live dataset`)
      return liveHandle(
        {
          label: "live (dry run)",
          // Without guids it is no snapshot, but retention can be planned with it.
          snapshot: { name, guids: {} },
          root: sourceOf(layout),
          grafts: [],
          blocked: layout.blocked,
          frozen: false
        },
        // To compare with the live dataset, zfs diff would take a snapshot of its own.
        "a dry run compares the live dataset file by file"
      )
    }),
    prune: Effect.fn("Zfs.prune")(function* (source: SourceInfo, keep: ReadonlySet<string>) {
      const { destroy, spare } = yield* planPrune(openZfs, source, keep)
      for (const { name } of destroy) {
        if (!logged.has(name)) yield* Effect.logInfo(`would destroy the snapshot ${name}`)
        logged.add(name)
      }
      return { destroyed: [], spared: spare }
    })
  }
}

/** What the layers on OpenZFS have in common: all that only looks. */
const makeReader = (process: typeof Process.Service, given: ZfsSettings) => {
  const commands = makeCommands(process)
  const settings: OpenZfs["settings"] = { ...given, hostname: given.hostname ?? hostname() }
  const openZfs: OpenZfs = { process, commands, settings }
  return {
    openZfs,
    locate: Effect.fn("Zfs.locate")(function* (path: string) {
      return infoOf(path, yield* readLayout(openZfs, path))
    }),
    checkTarget: Effect.fn("Zfs.checkTarget")((path: string) => checkTarget(openZfs, path)),
    isGone: Effect.fn("Zfs.isGone")((source: SourceName) => isGone(openZfs, source)),
    marked: Effect.fn("Zfs.marked")((source: SourceInfo) => marked(openZfs, source))
  }
}

/** Reads a plain folder as it is; there are no snapshots. */
const live: ZfsService = {
  locate: Effect.fn("Zfs.locate")(function* (path: string) {
    yield* resolveFolder(path)
    return { path, dataset: undefined, datasets: [] } satisfies SourceInfo
  }),
  checkTarget: () => Effect.void,
  // zfs removes the mount point of a dataset that is not mounted, and is not asked here.
  isGone: ({ dataset, source_path }) => (dataset === undefined ? isNowhere(source_path) : Effect.succeed(false)),
  marked: () => Effect.succeed([]),
  snapshot: Effect.fn("Zfs.snapshot")(function* (source: SourceInfo) {
    const root = yield* resolveFolder(source.path)
    return liveHandle(
      { label: "live", snapshot: undefined, root, grafts: [], blocked: [], frozen: false },
      "the source is read without snapshots"
    )
  }),
  prune: () => Effect.succeed({ destroyed: [], spared: [] })
}

const liveHandle = (view: SourceView, reason: string): SnapshotHandle => ({
  view,
  changesSince: () => Effect.succeed(noEvidence(reason)),
  hold: () => Effect.void,
  keep: Effect.void
})

const takeSnapshot = Effect.fnUntraced(function* (openZfs: OpenZfs, source: SourceInfo) {
  const { commands } = openZfs
  const layout = yield* readLayout(openZfs, source.path)
  yield* Effect.forEach(layout.blocked, ({ reason }) => Effect.logDebug(reason), { discard: true })
  const kept = yield* Ref.make(false)
  const ref = yield* Effect.acquireRelease(create(openZfs, layout, source.job), (taken) =>
    Ref.get(kept).pipe(Effect.flatMap((keep) => (keep ? Effect.void : release(commands, taken))))
  )
  const handle: SnapshotHandle = {
    view: yield* viewOf(layout, ref),
    changesSince: (base) => changesSince(commands, layout, ref, base),
    hold: (folder) =>
      Effect.forEach(
        layout.children.filter(({ at }) => topSegment(at) === folder),
        (child) => holdChild(child, ref),
        { discard: true }
      ),
    keep: Ref.set(kept, true)
  }
  return handle
})

const create = Effect.fnUntraced(function* (
  { commands, process: runner, settings }: OpenZfs,
  layout: Layout,
  job: SourceInfo["job"]
) {
  const mark = encodeMark({
    host: settings.hostname,
    pid: process.pid,
    start: (yield* startOf(runner, process.pid)) ?? "",
    run: settings.runId,
    job: job?.id ?? settings.jobId,
    layout: fingerprint(layout),
    target: settings.target
  })
  const datasets = datasetsOf(layout)
  const name = yield* createFirstFree(commands, settings.prefix, mark, layout.dataset, datasets)
  return yield* readBack(commands, layout.dataset, datasets, name).pipe(
    // Without its guids the caller cannot use it; by name it can still be destroyed.
    Effect.onError(() =>
      Effect.forEach(datasets, (dataset) => Effect.ignoreLogged(commands.attempt(["destroy", `${dataset}@${name}`])))
    )
  )
})

/** How many seconds ahead a free name is looked for, after the clock was set back or for a second run in a second. */
const namesToTry = 60

const createFirstFree = Effect.fnUntraced(function* (
  commands: Commands,
  prefix: string,
  mark: string,
  dataset: string,
  datasets: ReadonlyArray<string>
) {
  const now = yield* Clock.currentTimeMillis
  for (let second = 0; ; second++) {
    const name = formatName(prefix, now + second * 1000)
    const completed = yield* commands.attempt([
      ...["snapshot", "-o", `${markProperty}=${mark}`],
      ...datasets.map((each) => `${each}@${name}`)
    ])
    if (completed.exitCode === 0) return name
    if (second === namesToTry || !/dataset already exists/.test(complaint(completed))) {
      return yield* commands.failure(`take a snapshot of ${dataset}`, dataset, completed)
    }
  }
})

const readBack = Effect.fnUntraced(function* (
  commands: Commands,
  dataset: string,
  datasets: ReadonlyArray<string>,
  name: string
) {
  const purpose = `read the new snapshot of ${dataset}`
  const listed = yield* commands.run(purpose, dataset, [
    ...["list", "-H", "-p", "-t", "snapshot", "-o", "name,guid"],
    ...datasets.map((each) => `${each}@${name}`)
  ])
  const guids: Record<string, string> = {}
  for (const [full = "", guid = ""] of yield* readOutput(commands, purpose, table(listed, 2))) {
    guids[datasetOf(full)] = guid
  }
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
  yield* hold(top, own).pipe(
    Effect.mapError(
      (error) =>
        new ZfsError({
          ...error,
          message: `${error.message}; see also whether it can be listed by hand, and that zfs get snapdir '${layout.dataset}' is not "disabled"`,
          cause: error
        })
    )
  )
  yield* Effect.mapError(
    canRead(root),
    (cause) =>
      new ZfsError({
        reason: "Unmounted",
        message: `cannot read the source folder in ${own}, at ${RawPath.display(root)}: ${Errno.explain(cause)}`,
        transient: false,
        cause
      })
  )
  const grafts: Array<Graft> = []
  const blocked: Array<Blocked> = [...layout.blocked]
  for (const child of layout.children) {
    const { at, mountpoint } = child
    // Closed again at once, since there may be thousands: each is held open while its folder is read.
    const readable = yield* Effect.either(Effect.scoped(holdChild(child, ref)))
    if (readable._tag === "Right") grafts.push({ at, root: inSnapshot(mountpoint, ref.name) })
    else blocked.push({ at, reason: readable.left.message })
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

/** The folder in which the kernel shows a snapshot of the dataset that is mounted at `mountpoint`. */
const inSnapshot = (mountpoint: RawPath.RawPath, name: string): RawPath.RawPath =>
  RawPath.join(mountpoint, RawPath.fromText(`.zfs/snapshot/${name}`))

/**
 * Opens the folder of a snapshot, which mounts it, and keeps it open until the scope closes. Linux shows a snapshot
 * that it cannot mount as an empty folder: an error here.
 */
export const hold = Effect.fnUntraced(function* (root: RawPath.RawPath, what: string) {
  const unreadable = (cause: unknown) =>
    new ZfsError({
      reason: "Unmounted",
      message: `${what} cannot be read at ${RawPath.display(root)}: ${Errno.explain(cause)}`,
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
  return yield* new ZfsError({
    reason: "Unmounted",
    message: `${what} cannot be read: the system did not mount it at ${RawPath.display(root)}, where only an empty folder is; see what dmesg says, and whether the limit of mounts is reached (sysctl fs.mount-max)`,
    transient: false
  })
})
