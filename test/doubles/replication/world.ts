import * as Effect from "effect/Effect"
import type { Account } from "../../../src/zfs/Account.ts"
import type { Bookmark, DatasetKind, SendMode, Snapshot } from "../../../src/zfs/Dataset.ts"
import { parentOf } from "../../../src/zfs/DatasetName.ts"
import type { PoolHealth } from "../../../src/zfs/PoolHealth.ts"
import { ZfsError } from "../../../src/zfs/ZfsCommand.ts"

/** A snapshot, and how many bytes it takes to send. */
export interface MemorySnapshot extends Snapshot {
  readonly bytes: number
  readonly written: number
}

/** What a cut stream left on its target. */
interface Half {
  readonly token: string
  /** guid of the newest snapshot that the target had; the stream may go on from one before it. */
  readonly from: string | undefined
  /** The dataset came with the stream: throwing away what was received takes it along. */
  readonly fresh: boolean
}

/** `unloaded` counts on the root alone. */
interface MemoryKey {
  readonly root: string
  readonly salt: string
  readonly unloaded?: boolean
}

/** A dataset, with what either end wants to know of it. Lists are by createtxg. */
export interface MemoryDataset {
  name: string
  readonly kind: DatasetKind
  readonly guid: string
  readonly encrypted: boolean
  /** Of an encrypted one: whose key zfs asks for, and what its own key is wrapped with. */
  key: MemoryKey | undefined
  snapshots: ReadonlyArray<MemorySnapshot>
  bookmarks: ReadonlyArray<Bookmark>
  written: number
  partial: Half | undefined
  mode: SendMode | undefined
  placeholder: boolean
  /** Native properties; `canmount` is always among those of a file system. */
  readonly properties: Map<string, string>
}

/** One of the two machines. */
export interface MemoryEnd {
  /** As messages name it. */
  readonly label: string
  account: Account
  readonly datasets: Map<string, MemoryDataset>
  /** What `zfs allow` prints, by dataset, without the sections of the datasets above it. */
  readonly allow: Map<string, string>
  /** Pools that have something to say; the others were scrubbed in 1970 and are well. */
  readonly pools: Map<string, Partial<PoolHealth> & { readonly readOnly?: boolean }>
}

/** What a resume token says. */
interface MemoryToken {
  readonly source: string
  readonly fromGuid: string | undefined
  readonly to: MemorySnapshot
  /** As zfs says it: of an encrypted dataset only. */
  readonly raw: boolean
  /** Bytes of it that are at the receiver. */
  readonly received: number
}

/** Two machines with datasets, and what a test wants to happen to them. */
export interface ReplicationMemory {
  readonly source: MemoryEnd
  readonly target: MemoryEnd
  /** Every operation in order: `read sender tank/a`, `send tank/a`, `createParent backup/nas`, … */
  readonly calls: Array<string>
  /** What limits every dataset of the target. */
  readonly limits: Map<string, ReadonlyMap<string, number>>
  /** Errors for the next operations of that name. */
  readonly failures: Map<string, ReadonlyArray<ZfsError>>
  /** The next streams are cut after that many bytes; those beyond the list are not. */
  readonly cuts: Array<number>
  /** What resume tokens are for. */
  readonly tokens: Map<string, MemoryToken>
  /** Whose the snapshots of the source are that jobs took, by `dataset@snapshot`. */
  readonly marks: Map<string, string>
  /** How many milliseconds an operation takes. */
  readonly delays: Map<string, number>
  /** Called with the name of every operation: another program changes the world meanwhile. */
  before: (operation: string) => void
  after: (operation: string) => void
  /** The transaction group and the guid that come next. */
  next: bigint
}

/** Two machines without datasets, where root is at work and everything goes well. */
export const makeReplicationMemory = (): ReplicationMemory => {
  const end = (label: string): MemoryEnd => ({
    label,
    account: { user: "root", groups: ["root"], root: true },
    datasets: new Map(),
    allow: new Map(),
    pools: new Map()
  })
  return {
    source: end("nas"),
    target: end("this host"),
    calls: [],
    failures: new Map(),
    limits: new Map(),
    delays: new Map(),
    cuts: [],
    tokens: new Map(),
    marks: new Map(),
    before: () => {},
    after: () => {},
    next: 1n
  }
}

/** zfs refuses a command: what it says, more or less. */
export class Refused extends Error {}

/** Order in the pool of an end: the two pools must not be compared, so that the source's numbers are out of all proportion. */
export const nextTxg = (memory: ReplicationMemory, end: "source" | "target"): bigint =>
  end === "source" ? tick(memory) + 1_000_000n : tick(memory)

/** Counts up, for transaction groups and guids. */
export const tick = (memory: ReplicationMemory): bigint => {
  memory.next += 1n
  return memory.next
}

/** Makes a dataset on an end, as `zfs create` would. */
export const addDataset = (
  memory: ReplicationMemory,
  end: "source" | "target",
  name: string,
  given: {
    readonly kind?: DatasetKind
    readonly encrypted?: boolean
    readonly canmount?: string
    readonly placeholder?: boolean
  } = {}
): MemoryDataset => {
  const kind = given.kind ?? "filesystem"
  const dataset: MemoryDataset = {
    name,
    kind,
    guid: String(tick(memory) + 1_000_000n),
    encrypted: given.encrypted ?? false,
    key: given.encrypted ? newKey(memory, end, name) : undefined,
    snapshots: [],
    bookmarks: [],
    written: 0,
    partial: undefined,
    mode: undefined,
    placeholder: given.placeholder ?? false,
    properties: new Map(kind === "filesystem" ? [["canmount", given.canmount ?? "on"]] : [])
  }
  memory[end].datasets.set(name, dataset)
  return dataset
}

const newKey = (memory: ReplicationMemory, end: "source" | "target", name: string) =>
  memory[end].datasets.get(parentOf(name) ?? "")?.key ?? { root: name, salt: String(tick(memory)) }

/** `zfs change-key`: another passphrase for a dataset, which is a root of its own by it, and for all that its key opens. */
export const changeKey = (memory: ReplicationMemory, end: "source" | "target", name: string): void => {
  const salt = String(tick(memory))
  for (const dataset of memory[end].datasets.values()) {
    if (dataset.name === name || dataset.key?.root === name) dataset.key = { root: name, salt }
  }
}

/** `zfs unload-key`. */
export const unloadKey = (memory: ReplicationMemory, end: "source" | "target", root: string): void => {
  const dataset = memory[end].datasets.get(root)
  if (dataset?.key !== undefined) dataset.key = { ...dataset.key, unloaded: true }
}

/** The key that a command needs is loaded, or none is. */
export const isLoaded = (datasets: ReadonlyMap<string, MemoryDataset>, dataset: MemoryDataset | undefined): boolean =>
  datasets.get(dataset?.key?.root ?? "")?.key?.unloaded !== true

/** `zfs change-key -i`: the dataset is opened by the key of what it lies in. */
export const joinKey = (memory: ReplicationMemory, end: "source" | "target", name: string): void => {
  const dataset = memory[end].datasets.get(name)
  const key = memory[end].datasets.get(parentOf(name) ?? "")?.key
  if (dataset !== undefined && key !== undefined) dataset.key = key
}

/** Whether the key that zfs asks for opens the dataset. */
export const opens = (memory: ReplicationMemory, end: "source" | "target", name: string): boolean => {
  const key = memory[end].datasets.get(name)?.key
  return key === undefined || memory[end].datasets.get(key.root)?.key?.salt === key.salt
}

/** `zfs snapshot dataset@name`. */
export const addSnapshot = (
  memory: ReplicationMemory,
  dataset: MemoryDataset,
  name: string,
  given: { readonly [key in "bytes" | "creation" | "holds" | "written"]?: number } = {}
): MemorySnapshot => {
  refuseUnfinished(dataset)
  if (dataset.snapshots.some((each) => each.name === name)) throw new Refused(`${name} exists`)
  const createtxg = nextTxg(memory, [...memory.source.datasets.values()].includes(dataset) ? "source" : "target")
  const snapshot: MemorySnapshot = {
    name,
    guid: String(memory.next + 2_000_000n),
    createtxg,
    creation: given.creation ?? Number(memory.next),
    holds: given.holds ?? 0,
    clones: [],
    bytes: given.bytes ?? 100,
    // An empty dataset takes up something, too.
    written: given.written ?? dataset.written + (dataset.snapshots.length === 0 ? 24576 : 0)
  }
  dataset.snapshots = [...dataset.snapshots, snapshot]
  dataset.written = 0
  return snapshot
}

/** `zfs destroy dataset@name`; one that is gone is no failure. */
export const removeSnapshot = (dataset: MemoryDataset, name: string): void => {
  const snapshot = dataset.snapshots.find((each) => each.name === name)
  if (snapshot === undefined) return
  if (isNeeded(dataset, snapshot)) throw new Refused("dataset is busy")
  // What was in it and not in the one before counts as written since that one.
  const next = dataset.snapshots[dataset.snapshots.indexOf(snapshot) + 1]
  if (next === undefined) dataset.written += snapshot.written
  dataset.snapshots = dataset.snapshots.flatMap((each) => {
    if (each === snapshot) return []
    return [each === next ? { ...each, written: each.written + snapshot.written } : each]
  })
}

/** `zfs promote` of a clone of `of`: it gets the snapshots of its origin up to that one, and their bookmarks. */
export const promote = (clone: MemoryDataset, origin: MemoryDataset, of: string): void => {
  const last = origin.snapshots.find(({ name }) => name === of)?.createtxg ?? 0n
  const isShared = ({ createtxg }: Bookmark) => createtxg <= last
  clone.snapshots = [...origin.snapshots.filter(isShared), ...clone.snapshots]
  clone.bookmarks = [...origin.bookmarks.filter(isShared), ...clone.bookmarks]
  origin.snapshots = origin.snapshots.filter((each) => !isShared(each))
  origin.bookmarks = origin.bookmarks.filter((each) => !isShared(each))
}

/** `zfs rollback -r`: all that is later goes, bookmarks too. */
export const rollBackTo = (dataset: MemoryDataset, to: Snapshot): void => {
  const later = dataset.snapshots.filter(({ createtxg }) => createtxg > to.createtxg)
  if (later.some((each) => isNeeded(dataset, each))) throw new Refused("dataset is busy")
  dataset.snapshots = dataset.snapshots.filter((each) => !later.includes(each))
  dataset.bookmarks = dataset.bookmarks.filter(({ createtxg }) => createtxg <= to.createtxg)
  dataset.written = 0
}

/** Writes to its files. */
export const write = (dataset: MemoryDataset, bytes: number): void => {
  refuseUnfinished(dataset)
  dataset.written += bytes
}

/** Its clones, with the half of a stream that goes on from it. */
export const clonesOf = ({ name, partial }: MemoryDataset, { clones, guid }: Snapshot): ReadonlyArray<string> =>
  partial?.from === guid ? [...clones, `${name}/%recv`] : clones

/** Held or cloned: zfs destroys no such snapshot. */
export const isNeeded = (dataset: MemoryDataset, snapshot: Snapshot): boolean =>
  snapshot.holds > 0 || clonesOf(dataset, snapshot).length > 0

// A first stream was cut: no program can get at the dataset until the rest of it has come.
const refuseUnfinished = ({ partial, snapshots }: MemoryDataset): void => {
  if (partial !== undefined && snapshots.length === 0) throw new Refused("dataset is inconsistent")
}

/** Runs an operation as the test laid it out: it is noted, the world may change around it, and it may fail. */
export const operation = <A>(
  memory: ReplicationMemory,
  name: string,
  work: () => Effect.Effect<A, ZfsError>
): Effect.Effect<A, ZfsError> =>
  Effect.suspend(() => {
    memory.calls.push(name)
    memory.before(name)
    const [error, ...rest] = memory.failures.get(name) ?? []
    if (error !== undefined) {
      memory.failures.set(name, rest)
      return Effect.fail(error)
    }
    const millis = memory.delays.get(name)
    return Effect.tap(millis === undefined ? work() : Effect.delay(work(), millis), () => memory.after(name))
  })

export const zfsError = (reason: ZfsError["reason"], message: string, transient = false): ZfsError =>
  new ZfsError({ reason, message, transient })
