import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Process } from "../system/Process.ts"
import { allowCommand } from "../zfs/Allow.ts"
import { placeholderProperty, type Snapshot, type TargetDataset } from "../zfs/Dataset.ts"
import { ancestorsOf, isWithin, parentOf, poolOf } from "../zfs/DatasetName.ts"
import type { Endpoint } from "../zfs/Endpoint.ts"
import { destroy } from "../zfs/SnapshotPrune.ts"
import { at, type Commands, complaint, readOutput, ZfsError } from "../zfs/ZfsCommand.ts"
import { keyProperties, readTargets, rows, targetProperties } from "../zfs/ZfsList.ts"
import { type End, listNamed, listSnapshots, makeEnd } from "./End.ts"
import type { Rollback } from "./Plan.ts"

/** The end of a replication that gets the data. */
export class Receiver extends Context.Tag("zipper/Receiver")<
  Receiver,
  End & {
    /** Changes are logged and not made. Only wording depends on it. */
    readonly dryRun?: boolean
    readonly tree: (roots: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, TargetDataset>, ZfsError>
    readonly read: (dataset: string) => Effect.Effect<TargetDataset | undefined, ZfsError>
    /** Makes a parent, whose own parent exists: canmount=off, marked as a placeholder. One that is there is no failure. */
    readonly createParent: (dataset: string) => Effect.Effect<void, ZfsError>
    /** Throws away what an interrupted receive left (`zfs receive -A`). */
    readonly abort: (dataset: string) => Effect.Effect<void, ZfsError>
    /**
     * Checks again first, and fails when more than `rollback.destroys`, a clone or a held snapshot would be destroyed.
     */
    readonly rollback: (dataset: string, rollback: Rollback) => Effect.Effect<void, ZfsError>
    /** Destroys one snapshot (`name` after the @) if it still has that guid, no hold and no clone; gone is no failure. */
    readonly destroySnapshot: (
      dataset: string,
      snapshot: { readonly name: string; readonly guid: string }
    ) => Effect.Effect<void, ZfsError>
    /** What `prepare` would do. */
    readonly unprepared: (dataset: string, properties: Properties) => Effect.Effect<Preparation, ZfsError>
    /** Makes the dataset with these properties and its missing parents (canmount=off), or sets those that differ. */
    readonly prepare: (dataset: string, properties: Properties) => Effect.Effect<Preparation, ZfsError>
  }
>() {
  static readonly layer = (endpoint: Endpoint): Layer.Layer<Receiver, never, Process> =>
    Layer.effect(
      Receiver,
      Effect.map(Process, (process) => makeReceiver(process, endpoint))
    )

  /** Logs the changes that `real` would make, and shows them as made. Goes with Transfer.layerDryRun. */
  static readonly layerDryRun = <E, R>(
    real: Layer.Layer<Receiver, E, R>
  ): Layer.Layer<Receiver | DryRunTargets, E, R> =>
    Layer.effectContext(
      Effect.map(Receiver, (service) => {
        const { receiver, targets } = makeDryRunReceiver(service)
        return Context.make(Receiver, receiver).pipe(Context.add(DryRunTargets, targets))
      })
    ).pipe(Layer.provide(real))
}

export interface Preparation {
  /** The dataset is made with all properties. */
  readonly created: boolean
  /** The datasets above it that do not exist, from the top down. */
  readonly parents: ReadonlyArray<string>
  /** Names of the properties that have another value. */
  readonly changed: ReadonlyArray<string>
}

/** Native properties of ZFS, by name. */
export type Properties = Readonly<Record<string, string>>

export const makeReceiver = (process: typeof Process.Service, endpoint: Endpoint): typeof Receiver.Service => {
  const { commands, end } = makeEnd(process, endpoint, "receive")
  return {
    ...end,
    tree: Effect.fn("Receiver.tree")((roots: ReadonlyArray<string>) => readDatasets(commands, roots, true)),
    read: Effect.fn("Receiver.read")(function* (dataset: string) {
      return (yield* readDatasets(commands, [dataset], false)).get(dataset)
    }),
    createParent: (dataset) => createParent(commands, dataset),
    abort: (dataset) => abort(commands, dataset),
    rollback: (dataset, planned) => rollback(commands, dataset, planned),
    destroySnapshot: Effect.fn("Receiver.destroySnapshot")(
      (dataset: string, { guid, name }: { readonly name: string; readonly guid: string }) =>
        destroy(commands, `${dataset}@${name}`, guid, { spareNeeded: true, role: "prune" })
    ),
    unprepared: (dataset, properties) => unprepared(commands, dataset, properties),
    prepare: (dataset, properties) => prepare(commands, dataset, properties)
  }
}

const readDatasets = Effect.fnUntraced(function* (
  commands: Commands,
  roots: ReadonlyArray<string>,
  recursive: boolean
) {
  const purpose = `look at ${roots.join(", ")}`
  const got = yield* listNamed(commands, purpose, roots, [
    ...["get", "-H", "-p", ...(recursive ? ["-r"] : []), "-t", "filesystem,volume"],
    ...["-o", "name,property,value,source", targetProperties, ...roots]
  ])
  const there = yield* readOutput(commands, purpose, readTargets(got, new Map()))
  const existing = roots.filter((root) => there.has(root))
  const snapshots = yield* listSnapshots(commands, existing, recursive)
  const keys = yield* readKeys(commands, there, recursive)
  return yield* readOutput(commands, purpose, readTargets(got, snapshots, keys))
})

/** What was printed of the keys that open these datasets, and of what their keys open. */
const readKeys = Effect.fnUntraced(function* (
  commands: Commands,
  datasets: ReadonlyMap<string, TargetDataset>,
  recursive: boolean
) {
  const get = (names: ReadonlyArray<string>, ...below: ReadonlyArray<string>) =>
    listNamed(commands, `look at the keys of ${names.join(", ")}`, names, [
      ...["get", "-H", "-p", ...below, "-t", "filesystem,volume"],
      ...["-o", "name,property,value,source", keyProperties, ...names]
    ])
  const encrypted = [...datasets.values()].flatMap(({ key, mode, name }) =>
    key === undefined ? [] : [{ name, root: key.root, mode }]
  )
  // What is received plain gets its key from what it lies in, which zfs keeps right.
  const above = encrypted.flatMap(({ mode, root }) => (mode === "plain" || datasets.has(root) ? [] : [root]))
  const roots = recursive ? [] : encrypted.flatMap(({ name, root }) => (root === name ? [name] : []))
  return (yield* get([...new Set(above)])) + (yield* get(roots, "-r"))
})

// In one go: a parent that is only half marked could never become a replica itself.
const createParent = Effect.fn("Receiver.createParent")(function* (commands: Commands, dataset: string) {
  const purpose = `create the parent dataset ${dataset}`
  const created = yield* commands.attempt([
    // Marked in the same step, so that one that is left half made is known as ours, and as not proved to be untouched.
    ...["create", "-o", "canmount=off", "-o", `${placeholderProperty}=new`, dataset]
  ])
  if (created.exitCode !== 0) {
    if (/dataset already exists/.test(complaint(created))) return
    return yield* commands.failure(purpose, parentOf(dataset) ?? dataset, created)
  }
  const bytes = yield* commands.run(purpose, dataset, [
    ...["get", "-H", "-p", "-o", "value", "logicalreferenced", dataset]
  ])
  yield* commands.run(purpose, dataset, ["set", `${placeholderProperty}=${bytes.trim()}`, dataset])
}, Effect.uninterruptible)

const abort = Effect.fn("Receiver.abort")(function* (commands: Commands, dataset: string) {
  const aborted = yield* commands.attempt(["receive", "-A", dataset])
  if (aborted.exitCode === 0 || /does not have any resumable receive state/.test(complaint(aborted))) return
  return yield* commands.failure(`throw away what an interrupted receive left of ${dataset}`, dataset, aborted, "prune")
})

const rollback = Effect.fn("Receiver.rollback")(function* (
  commands: Commands,
  dataset: string,
  { destroys, to }: Rollback
) {
  const purpose = `roll ${dataset} back to @${to.name}`
  const refuse = (reason: ZfsError["reason"], why: string) =>
    new ZfsError({
      reason,
      message: `${at(commands.endpoint)}cannot ${purpose}: ${why}; nothing was destroyed`,
      transient: false
    })
  const own = (yield* listSnapshots(commands, [dataset], false)).get(dataset)
  const snapshots = own?.snapshots ?? []
  const back = snapshots.find(({ guid }) => guid === to.guid)
  if (back === undefined) return yield* refuse("Modified", "that snapshot is not there any more")
  const later = snapshots.filter(({ createtxg }) => createtxg > back.createtxg)
  const agreed = new Set(destroys.map(({ guid }) => guid))
  const others = later.filter(({ guid }) => !agreed.has(guid))
  if (others.length > 0) {
    return yield* refuse("Modified", `it would also destroy ${named(others)}, made after this was planned`)
  }
  const needed = later.filter(({ clones, holds }) => holds > 0 || clones.length > 0)
  if (needed.length > 0) return yield* refuse("Other", `held or cloned: ${named(needed)}`)
  // zfs would destroy newer bookmarks too, which no plan has listed.
  const bookmarks = (own?.bookmarks ?? []).filter(({ createtxg }) => createtxg > back.createtxg)
  if (bookmarks.length > 0) {
    const names = bookmarks.map(({ name }) => `#${name}`).join(", ")
    return yield* refuse("Other", `it would also destroy the bookmarks ${names}; destroy them by hand first`)
  }
  // One by one and by guid, newest first: -r would also destroy what another process takes at this moment.
  for (const { guid, name } of later.toReversed()) {
    yield* destroy(commands, `${dataset}@${name}`, guid, { spareNeeded: true, role: "rollback" })
  }
  yield* commands.run(purpose, dataset, ["rollback", `${dataset}@${back.name}`], "rollback")
})

const named = (snapshots: ReadonlyArray<Snapshot>): string => snapshots.map(({ name }) => `@${name}`).join(", ")

const unprepared = Effect.fn("Receiver.unprepared")(function* (
  commands: Commands,
  dataset: string,
  properties: Properties
) {
  const purpose = `prepare ${dataset}`
  const above = ancestorsOf(dataset)
  const path = [...above, dataset]
  const listed = yield* listNamed(commands, purpose, path, ["list", "-H", "-o", "name", ...path])
  const there = new Set(rows(listed).map(([name]) => name))
  const pool = poolOf(dataset)
  if (!there.has(pool)) {
    // zfs says best that there is no such pool.
    yield* commands.run(purpose, pool, ["list", "-H", "-o", "name", pool], "prepare")
  }
  const created = dataset !== pool && !there.has(dataset)
  return {
    created,
    parents: above.filter((name) => name !== pool && !there.has(name)),
    changed: created ? [] : yield* differing(commands, purpose, dataset, properties)
  } satisfies Preparation
})

const differing = Effect.fnUntraced(function* (
  commands: Commands,
  purpose: string,
  dataset: string,
  properties: Properties
) {
  const names = Object.keys(properties)
  if (names.length === 0) return []
  const got = yield* commands.run(purpose, dataset, [
    ...["get", "-H", "-p", "-o", "property,value", names.join(","), dataset]
  ])
  const values = new Map(rows(got).map(([name = "", value = ""]) => [name, value] as const))
  return names.filter((name) => plain(values.get(name)) !== plain(properties[name]))
})

/** One value has two names: OpenZFS 2.0 and before say `posixacl`. */
const plain = (value: string | undefined): string | undefined => (value === "posixacl" ? "posix" : value)

const prepare = Effect.fn("Receiver.prepare")(function* (commands: Commands, dataset: string, properties: Properties) {
  const assignments = (names: ReadonlyArray<string>) => names.map((name) => `${name}=${properties[name] ?? ""}`)
  const todo = yield* unprepared(commands, dataset, properties)
  for (const parent of todo.parents) yield* create(commands, parent, ["canmount=off"])
  if (todo.created) yield* create(commands, dataset, assignments(Object.keys(properties)))
  if (todo.changed.length > 0) {
    const args = ["set", ...assignments(todo.changed), dataset]
    yield* commands.run(`prepare ${dataset}`, dataset, args, "prepare")
  }
  return todo
})

/** Makes a dataset; one that another process made in the meantime is no failure. */
const create = Effect.fnUntraced(function* (commands: Commands, dataset: string, assignments: ReadonlyArray<string>) {
  const options = assignments.flatMap((assignment) => ["-o", assignment])
  const created = yield* commands.attempt(["create", ...options, dataset])
  if (created.exitCode === 0 || /dataset already exists/.test(complaint(created))) return
  return yield* commands.failure(`create ${dataset}`, parentOf(dataset) ?? dataset, created, "prepare")
})

/** The targets that a dry run pretends to have made: shown by the receiver, changed by it and by the transfer. */
export class DryRunTargets extends Context.Tag("zipper/DryRunTargets")<
  DryRunTargets,
  { readonly put: (dataset: TargetDataset) => Effect.Effect<void> }
>() {}

/** A receiver that logs each change instead of making it, and shows it from then on as made, so that the program goes on. */
const makeDryRunReceiver = (
  real: typeof Receiver.Service
): { readonly receiver: typeof Receiver.Service; readonly targets: typeof DryRunTargets.Service } => {
  const pretended = new Map<string, TargetDataset | undefined>()
  const put = (dataset: TargetDataset) => Effect.sync(() => void pretended.set(dataset.name, dataset))
  const read = (dataset: string) =>
    Effect.suspend(() => (pretended.has(dataset) ? Effect.succeed(pretended.get(dataset)) : real.read(dataset)))
  const change = Effect.fnUntraced(function* (
    dataset: string,
    to: (before: TargetDataset) => TargetDataset | undefined
  ) {
    const before = yield* read(dataset)
    if (before !== undefined) pretended.set(dataset, to(before))
  })

  const unprepared = Effect.fnUntraced(function* (dataset: string, properties: Properties) {
    if (pretended.get(dataset) !== undefined) return { created: false, parents: [], changed: [] }
    const todo = yield* real.unprepared(dataset, properties)
    return { ...todo, parents: todo.parents.filter((parent) => pretended.get(parent) === undefined) }
  })

  const receiver: typeof Receiver.Service = {
    ...real,
    dryRun: true,
    read,
    tree: (roots) =>
      Effect.map(real.tree(roots), (found) => {
        const shown = new Map(found)
        for (const [name, dataset] of pretended) {
          if (!roots.some((root) => isWithin(name, root))) continue
          if (dataset === undefined) shown.delete(name)
          else shown.set(name, dataset)
        }
        return shown
      }),
    grant: (user, permissions, dataset) =>
      Effect.logInfo(`would run on ${real.label}: ${allowCommand({ user, permissions, dataset })}`),
    createParent: (dataset) =>
      Effect.zipRight(
        Effect.logInfo(`would make ${dataset} (canmount=off)`),
        put({ ...newDataset(dataset, "filesystem"), placeholder: true })
      ),
    abort: (dataset) =>
      Effect.zipRight(
        Effect.logInfo(`would throw away what ${dataset} has of a stream that was cut`),
        // A dataset that came with that stream goes with it.
        change(dataset, (before) =>
          before.snapshots.length === 0 && !before.placeholder ? undefined : { ...before, resumeToken: undefined }
        )
      ),
    rollback: (dataset, { destroys, to }) =>
      Effect.zipRight(
        Effect.logInfo(
          `would take ${dataset} back to @${to.name}, destroying ${destroys.length === 0 ? "no snapshot" : destroys.map(({ name }) => `@${name}`).join(", ")}`
        ),
        change(dataset, (before) => {
          const gone = new Set(destroys.map(({ guid }) => guid))
          return {
            ...before,
            written: 0,
            snapshots: before.snapshots.filter(({ guid }) => !gone.has(guid))
          }
        })
      ),
    destroySnapshot: (dataset, { guid, name }) =>
      Effect.zipRight(
        Effect.logInfo(`would destroy ${dataset}@${name}`),
        change(dataset, (before) => ({
          ...before,
          snapshots: before.snapshots.filter((snapshot) => snapshot.guid !== guid)
        }))
      ),
    unprepared,
    // The program logs the result, as in a real run.
    prepare: Effect.fnUntraced(function* (dataset: string, properties: Properties) {
      const todo = yield* unprepared(dataset, properties)
      for (const parent of todo.parents) yield* put(newDataset(parent, "filesystem"))
      const before = (yield* read(dataset)) ?? newDataset(dataset, "filesystem")
      yield* put({ ...before, canmount: properties["canmount"] ?? before.canmount })
      return todo
    })
  }
  return { receiver, targets: { put } }
}

/** A dataset as a dry run shows it before anything is in it. */
export const newDataset = (name: string, kind: TargetDataset["kind"]): TargetDataset => ({
  name,
  kind,
  guid: `not made: ${name}`,
  snapshots: [],
  bookmarks: [],
  written: 0,
  resumeToken: undefined,
  mode: undefined,
  placeholder: false,
  canmount: kind === "filesystem" ? "off" : undefined,
  key: undefined
})
