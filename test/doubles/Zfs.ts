import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Blocked, Graft, SnapshotRef, SourceView } from "../../src/source/SourceView.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import type { MarkedSnapshot, PruneReport } from "../../src/zfs/SnapshotPrune.ts"
import * as SnapshotName from "../../src/zfs/SnapshotPrune.ts"
import type { SourceInfo } from "../../src/zfs/SourceLayout.ts"
import { type SnapshotHandle, Zfs, type ZfsService } from "../../src/zfs/Zfs.ts"
import type { ZfsError } from "../../src/zfs/ZfsCommand.ts"
import { type Evidence, noEvidence } from "../../src/zfs/ZfsDiff.ts"

/** A snapshot that exists in memory only. */
interface MemorySnapshot {
  readonly ref: SnapshotRef
  /** `taken`: its scope is open, or the process would have died in it. */
  status: "taken" | "kept" | "released" | "pruned"
}

/** What the memory layer goes by and what a test can look at; all of it may be changed between runs. */
export interface ZfsMemory {
  dataset: string
  /** Absolute path of what the view shows. */
  root: string
  grafts: ReadonlyArray<Graft>
  blocked: ReadonlyArray<Blocked>
  /** What changesSince answers; it is told the base. */
  evidence: (base: SnapshotRef | undefined) => Evidence
  /** Folders whose child datasets' snapshots cannot be kept mounted. */
  unheld: Readonly<Record<string, ZfsError>>
  /** Folders whose child datasets' snapshots are kept mounted now. */
  readonly held: Set<string>
  /** All snapshots that were ever taken, in order. */
  readonly snapshots: Array<MemorySnapshot>
  /** What isGone answers. */
  gone: boolean
  /** Snapshots that cannot be destroyed. */
  spared: PruneReport["spared"]
  /** Snapshots with our mark. */
  marked: ReadonlyArray<MarkedSnapshot>
  /** Makes these operations fail. */
  failing: Partial<Record<"locate" | "checkTarget" | "isGone" | "markedSnapshots" | "snapshot" | "prune", ZfsError>>
}

/** A dataset `tank/data` whose snapshots show the folder `root`, and of whose changes nothing is known. */
export const makeZfsMemory = (root: string, overrides: Partial<ZfsMemory> = {}): ZfsMemory => ({
  dataset: "tank/data",
  root,
  grafts: [],
  blocked: [],
  evidence: () => noEvidence("nothing is known"),
  unheld: {},
  held: new Set(),
  snapshots: [],
  gone: false,
  spared: [],
  marked: [],
  failing: {},
  ...overrides
})

/** Behaves like OpenZFS as far as a program can tell; snapshots are entries in `memory`. */
export const memoryZfs = (memory: ZfsMemory): Layer.Layer<Zfs> => Layer.succeed(Zfs, serviceOf(memory))

const serviceOf = (memory: ZfsMemory): ZfsService => ({
  locate: Effect.fn("Zfs.locate")((path: string) =>
    orFail(memory.failing.locate, () => ({ path, dataset: memory.dataset, datasets: [memory.dataset] }))
  ),
  checkTarget: Effect.fn("Zfs.checkTarget")(() => orFail(memory.failing.checkTarget, () => {})),
  isGone: () => orFail(memory.failing.isGone, () => memory.gone),
  markedSnapshots: () => orFail(memory.failing.markedSnapshots, () => memory.marked),
  snapshot: Effect.fn("Zfs.snapshot")(function* (_source: SourceInfo) {
    const taken = yield* Effect.acquireRelease(take(memory), (snapshot) =>
      Effect.sync(() => {
        if (snapshot.status === "taken") snapshot.status = "released"
      })
    )
    const view: SourceView = {
      label: `${memory.dataset}@${taken.ref.name}`,
      snapshot: taken.ref,
      root: RawPath.fromText(memory.root),
      grafts: memory.grafts,
      blocked: memory.blocked,
      frozen: true
    }
    const handle: SnapshotHandle = {
      view,
      changesSince: (base) => Effect.sync(() => memory.evidence(base)),
      hold: (folder) =>
        Effect.acquireRelease(
          orFail(memory.unheld[folder], () => memory.held.add(folder)),
          () => Effect.sync(() => memory.held.delete(folder))
        ),
      keep: Effect.sync(() => {
        taken.status = "kept"
      })
    }
    return handle
  }),
  prune: Effect.fn("Zfs.prune")((_source: SourceInfo, keep: ReadonlySet<string>) =>
    orFail(memory.failing.prune, () => {
      // A snapshot that is still `taken` belongs to a run that is alive.
      const due = memory.snapshots.filter(
        ({ ref, status }) => status === "kept" && !Object.values(ref.guids).some((guid) => keep.has(guid))
      )
      for (const snapshot of due) snapshot.status = "pruned"
      return { destroyed: due.map(({ ref }) => `${memory.dataset}@${ref.name}`), spared: memory.spared }
    })
  )
})

const take = Effect.fnUntraced(function* (memory: ZfsMemory) {
  const now = yield* Clock.currentTimeMillis
  return yield* orFail(memory.failing.snapshot, () => {
    const guid = String(memory.snapshots.length + 1)
    const snapshot: MemorySnapshot = {
      ref: { name: SnapshotName.formatName("auto-zip", now), guids: { [memory.dataset]: guid } },
      status: "taken"
    }
    memory.snapshots.push(snapshot)
    return snapshot
  })
})

const orFail = <A>(error: ZfsError | undefined, value: () => A): Effect.Effect<A, ZfsError> =>
  error === undefined ? Effect.sync(value) : Effect.fail(error)
