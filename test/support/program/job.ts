import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Ref from "effect/Ref"
import { type RunArchiveConfig, runArchive } from "../../../src/archive/ArchiveJob.ts"
import { archiveJobKey } from "../../../src/config/ReplicationJob.ts"
import type { Notification, Notifier } from "../../../src/notify/Notifier.ts"
import type { Ping } from "../../../src/notify/Ping.ts"
import type { FolderResult } from "../../../src/runs/ArchiveResult.ts"
import type { History } from "../../../src/runs/History.ts"
import type { Hooks } from "../../../src/runs/Hooks.ts"
import type { JobStates } from "../../../src/runs/JobState.ts"
import { Lock, type LockError } from "../../../src/runs/Lock.ts"
import type { Metrics } from "../../../src/runs/Metrics.ts"
import type { FolderName } from "../../../src/source/FolderName.ts"
import * as FolderNames from "../../../src/source/FolderName.ts"
import type { Tree } from "../../../src/source/Tree.ts"
import type { Store } from "../../../src/store/Store.ts"
import { StoreError } from "../../../src/store/StoreError.ts"
import type { Hasher } from "../../../src/system/Hasher.ts"
import type { Progress } from "../../../src/system/Progress.ts"
import { TargetSnapshots } from "../../../src/zfs/TargetSnapshots.ts"
import type { Zfs } from "../../../src/zfs/Zfs.ts"
import { noEvidence } from "../../../src/zfs/ZfsDiff.ts"
import type { Archiver } from "../../../src/zip/Archiver.ts"
import { ArchiveError } from "../../../src/zip/ZipError.ts"
import { type ArchiverMemory, memoryArchiver } from "../../doubles/Archiver.ts"
import { memoryHasher } from "../../doubles/Hasher.ts"
import { type HooksMemory, memoryHooks } from "../../doubles/Hooks.ts"
import { memoryLock } from "../../doubles/Lock.ts"
import { memoryNotifier } from "../../doubles/Notifier.ts"
import { memoryProgress, type Shown } from "../../doubles/Progress.ts"
import { emptyStore, type MemoryStore, memoryStore } from "../../doubles/Store.ts"
import { type MemoryTree, memoryTree } from "../../doubles/Tree.ts"
import { makeZfsMemory, memoryZfs, type ZfsMemory } from "../../doubles/Zfs.ts"
import { type MemoryState, makeState } from "./state.ts"

/** A folder name that is known to be one. */
export const folder = (name: string): FolderName => {
  const parsed = FolderNames.parseFolderName(name)
  if (parsed === undefined) throw new Error(`${name} is no folder name`)
  return parsed
}

/** A source of two folders with one file each. */
export const twoFolders = () => ({
  ABCD: { "a.txt": { content: "one" } },
  EFGH: { "b/c.txt": { content: "two" } }
})

/** What the archiver and the store may fail with. */
export const unreadable = (transient: boolean) =>
  new ArchiveError({
    reason: "Unreadable",
    path: "a.txt",
    message: "cannot read a.txt: permission denied (EACCES)",
    transient
  })

export const storeError = (message: string) =>
  new StoreError({ reason: "NoSpace", path: "/mnt/target", message, transient: false })

export const config: RunArchiveConfig = {
  source_path: "/mnt/tank/data",
  target_path: "/mnt/safe/archives",
  folders: "^[A-Z0-9]{4}$",
  lockfile_path: "/var/run/zipper.lock",
  max_workers: 2,
  retries: 3,
  task_timeout_seconds: 60,
  compare: "ctime" as const,
  exclude: [],
  exclude_caches: false,
  snapshot_keep: 1,
  notify_on: ["failure"],
  reminder_hours: 24
}

/** A whole job in memory: what it works on, what it did, and the means to run it. */
export interface JobKit {
  readonly tree: MemoryTree
  readonly zfs: ZfsMemory
  readonly archiver: Required<Omit<ArchiverMemory, "before">> & Pick<ArchiverMemory, "before">
  readonly store: Ref.Ref<MemoryStore>
  readonly sent: Ref.Ref<ReadonlyArray<Notification>>
  /** History, job states, metrics and pings. */
  readonly state: MemoryState
  /** The progress bars, in the order in which they began. */
  readonly shown: Array<Shown>
  /** "LEVEL folder: message" of every record, debug included. */
  readonly lines: Array<string>
  readonly run: (
    options?: { readonly folders?: ReadonlyArray<string>; readonly force?: boolean },
    overrides?: Partial<RunArchiveConfig>
  ) => ReturnType<typeof provided>
}

export const makeKit = (
  tree: MemoryTree,
  options: {
    readonly zfs?: Partial<ZfsMemory>
    readonly held?: ReadonlyArray<string>
    /** By default the configuration wants none. */
    readonly targetSnapshots?: Layer.Layer<TargetSnapshots>
    /** Comes before a lock is taken. */
    readonly usesLock?: (path: string) => Effect.Effect<void, LockError>
    readonly before?: ArchiverMemory["before"]
    /** Comes before a message is sent. */
    readonly beforeSending?: Effect.Effect<void>
    readonly hooks?: HooksMemory
  } = {}
) =>
  Effect.gen(function* () {
    const zfs = makeZfsMemory("/mnt/tank/data", options.zfs)
    const archiver = {
      failures: {},
      verifyFailures: {},
      archived: [],
      verified: [],
      copied: [],
      contents: new Map<string, string>(),
      ...(options.before === undefined ? {} : { before: options.before })
    }
    const store = yield* Ref.make<MemoryStore>(emptyStore)
    const sent = yield* Ref.make<ReadonlyArray<Notification>>([])
    const state = yield* makeState([archiveJobKey])
    const lines: Array<string> = []
    const shown: Array<Shown> = []
    const layer = Layer.mergeAll(
      memoryZfs(zfs),
      options.targetSnapshots ?? TargetSnapshots.layerNone,
      memoryTree(tree),
      memoryArchiver(archiver),
      memoryHasher({}, archiver.contents),
      memoryStore(store),
      memoryNotifier(sent, options.beforeSending),
      memoryHooks(options.hooks ?? { ran: [] }),
      lockLayer(options.held ?? [], options.usesLock ?? (() => Effect.void)),
      state.layer,
      memoryProgress(shown),
      recording(lines)
    )
    const kit: JobKit = {
      tree,
      zfs,
      archiver,
      store,
      sent,
      state,
      shown,
      lines,
      run: (asked = {}, overrides = {}) => provided(layer, asked, { ...config, ...overrides })
    }
    return kit
  })

const provided = (
  layer: Layer.Layer<
    | Zfs
    | TargetSnapshots
    | Tree
    | Archiver
    | Hasher
    | Store
    | Notifier
    | Hooks
    | Lock
    | History
    | JobStates
    | Metrics
    | Ping
    | Progress
  >,
  asked: { readonly folders?: ReadonlyArray<string>; readonly force?: boolean },
  used: RunArchiveConfig
) =>
  runArchive(used, {
    run: "ab12cd",
    pid: 4711,
    host: "nas",
    folders: (asked.folders ?? []).map(folder),
    force: asked.force ?? false,
    configWords: ["--config", "c.json"]
  }).pipe(Effect.provide(layer))

const lockLayer = (
  held: ReadonlyArray<string>,
  before: (path: string) => Effect.Effect<void, LockError>
): Layer.Layer<Lock> =>
  Layer.effect(
    Lock,
    Effect.map(Lock, (lock) => ({
      ...lock,
      acquire: (path: string) => Effect.zipRight(before(path), lock.acquire(path))
    }))
  ).pipe(Layer.provide(memoryLock(held)))

const recording = (lines: Array<string>) =>
  Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ annotations, logLevel, message }) => {
      const named = [...annotations].find(([key]) => key === "folder")?.[1]
      const text = Array.isArray(message) ? message.join(" ") : String(message)
      lines.push(`${logLevel.label} ${named === undefined ? "" : `${named}: `}${text}`)
    })
  )

/** Evidence as zfs diff gives it: these folders changed, the others did not. */
export const onlyChanged =
  (...changed: ReadonlyArray<string>) =>
  (base: unknown) =>
    base === undefined
      ? noEvidence("no previous snapshot")
      : {
          otherwise: "unchanged" as const,
          folders: new Map(changed.map((name) => [folder(name), "changed" as const])),
          reason: "zfs diff"
        }

/** Results in short: "ABCD Archived". */
export const short = (results: ReadonlyArray<FolderResult>): ReadonlyArray<string> =>
  results.map(({ folder, result }) => `${folder} ${result}`)
