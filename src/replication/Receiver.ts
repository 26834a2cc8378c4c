import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Process } from "../system/Process.ts"
import { placeholderProperty, type Snapshot, type TargetDataset } from "../zfs/Dataset.ts"
import { ancestorsOf, parentOf, poolOf } from "../zfs/DatasetName.ts"
import type { Endpoint } from "../zfs/Endpoint.ts"
import { destroy } from "../zfs/SnapshotPrune.ts"
import { at, type Commands, complaint, understood, ZfsError } from "../zfs/ZfsCommand.ts"
import { keyProperties, readTargets, rows, targetProperties } from "../zfs/ZfsList.ts"
import { DryRunTargets, makeDryRunReceiver } from "./DryRun.ts"
import { listing, listSnapshots, makeEnd, type Preparation, type ReceiverService } from "./End.ts"
import type { Rollback } from "./Plan.ts"

/** The end of a replication that gets the data. */
export class Receiver extends Context.Tag("zipper/Receiver")<Receiver, ReceiverService>() {
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

export const makeReceiver = (process: typeof Process.Service, endpoint: Endpoint): ReceiverService => {
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
  const got = yield* listing(commands, purpose, roots, [
    ...["get", "-H", "-p", ...(recursive ? ["-r"] : []), "-t", "filesystem,volume"],
    ...["-o", "name,property,value,source", targetProperties, ...roots]
  ])
  const there = yield* understood(commands, purpose, readTargets(got, new Map()))
  const existing = roots.filter((root) => there.has(root))
  const snapshots = yield* listSnapshots(commands, existing, recursive)
  const keys = yield* readKeys(commands, there, recursive)
  return yield* understood(commands, purpose, readTargets(got, snapshots, keys))
})

/** What was printed of the keys that open these datasets, and of what their keys open. */
const readKeys = Effect.fnUntraced(function* (
  commands: Commands,
  datasets: ReadonlyMap<string, TargetDataset>,
  recursive: boolean
) {
  const get = (names: ReadonlyArray<string>, ...below: ReadonlyArray<string>) =>
    listing(commands, `look at the keys of ${names.join(", ")}`, names, [
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
  return yield* commands.failure(
    `throw away what an interrupted receive left of ${dataset}`,
    dataset,
    aborted,
    "prune"
  )
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

const named = (snapshots: ReadonlyArray<Snapshot>): string =>
  snapshots.map(({ name }) => `@${name}`).join(", ")

const unprepared = Effect.fn("Receiver.unprepared")(function* (
  commands: Commands,
  dataset: string,
  properties: Readonly<Record<string, string>>
) {
  const purpose = `prepare ${dataset}`
  const above = ancestorsOf(dataset)
  const path = [...above, dataset]
  const listed = yield* listing(commands, purpose, path, ["list", "-H", "-o", "name", ...path])
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
  properties: Readonly<Record<string, string>>
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

const prepare = Effect.fn("Receiver.prepare")(function* (
  commands: Commands,
  dataset: string,
  properties: Readonly<Record<string, string>>
) {
  const assignments = (names: ReadonlyArray<string>) =>
    names.map((name) => `${name}=${properties[name] ?? ""}`)
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
const create = Effect.fnUntraced(function* (
  commands: Commands,
  dataset: string,
  assignments: ReadonlyArray<string>
) {
  const options = assignments.flatMap((assignment) => ["-o", assignment])
  const created = yield* commands.attempt(["create", ...options, dataset])
  if (created.exitCode === 0 || /dataset already exists/.test(complaint(created))) return
  return yield* commands.failure(`create ${dataset}`, parentOf(dataset) ?? dataset, created, "prepare")
})
