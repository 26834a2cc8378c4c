import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { finishBriefly } from "../runs/Run.ts"
import { Process } from "../system/Process.ts"
import { allowCommand, type Role } from "../zfs/Allow.ts"
import { type Own, placeholderProperty, type Snapshot, type TargetDataset, type TargetKey } from "../zfs/Dataset.ts"
import { ancestorsOf, isWithin, parentOf, poolOf } from "../zfs/DatasetName.ts"
import type { Endpoint } from "../zfs/Endpoint.ts"
import { destroy } from "../zfs/SnapshotPrune.ts"
import { at, type Commands, complaint, readOutput, ZfsError } from "../zfs/ZfsCommand.ts"
import { keyProperties, readTargets, rows, targetProperties } from "../zfs/ZfsList.ts"
import { type End, listNamed, listSnapshots, makeEnd } from "./End.ts"
import { type Limits, readLimits } from "./Limits.ts"
import type { Rollback } from "./Plan.ts"

/** The end of a replication that gets the data. */
export class Receiver extends Context.Tag("zipper/Receiver")<
  Receiver,
  End & {
    /** Changes are logged and not made. Decides the wording of messages and documents, nothing else. */
    readonly dryRun?: boolean
    /** The roots and all below them, by name, without roots that do not exist. */
    readonly tree: (roots: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, TargetDataset>, ZfsError>
    /** Undefined when there is no such dataset. */
    readonly read: (dataset: string) => Effect.Effect<TargetDataset | undefined, ZfsError>
    /** What limits the space and the numbers of snapshots and file systems of a dataset, itself and above it. */
    readonly limits: (dataset: string) => Effect.Effect<Limits, ZfsError>
    /** Makes a dataset whose parent exists: canmount=off, marked as a placeholder. One that exists is no failure. */
    readonly createParent: (dataset: string) => Effect.Effect<void, ZfsError>
    /** Renames a dataset, with all below it. */
    readonly rename: (from: string, to: string) => Effect.Effect<void, ZfsError>
    /** Destroys a placeholder. Fails when it has been touched, or there is something below it. */
    readonly destroyParent: (dataset: string) => Effect.Effect<void, ZfsError>
    /** Throws away what an interrupted receive left (`zfs receive -A`). */
    readonly abort: (dataset: string) => Effect.Effect<void, ZfsError>
    /** Destroys nothing and fails when more than `rollback.destroys`, or a held or cloned snapshot, would be lost. */
    readonly rollback: (dataset: string, rollback: Rollback) => Effect.Effect<void, ZfsError>
    /** Destroys one snapshot if it still has that guid, no hold and no clone. One that is gone is no failure. */
    readonly destroySnapshot: (
      dataset: string,
      snapshot: { readonly name: string; readonly guid: string }
    ) => Effect.Effect<void, ZfsError>
    /** What `prepare` would do. Fails when the pool is not there. */
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
  readonly created: boolean
  readonly parents: ReadonlyArray<string>
  readonly changed: ReadonlyArray<string>
}

type Properties = Readonly<Record<string, string>>

export const makeReceiver = (process: typeof Process.Service, endpoint: Endpoint): typeof Receiver.Service => {
  const { commands, end } = makeEnd(process, endpoint, "receive")

  /** Makes a dataset, and gives whether it did: one that another process made in the meantime is no failure. */
  const create = Effect.fnUntraced(function* (
    purpose: string,
    dataset: string,
    assignments: ReadonlyArray<string>,
    role?: Role
  ) {
    const created = yield* commands.attempt(["create", ...assignments.flatMap((each) => ["-o", each]), dataset])
    if (created.exitCode === 0) return true
    if (/dataset already exists/.test(complaint(created))) return false
    return yield* commands.failure(purpose, parentOf(dataset) ?? dataset, created, role)
  })

  const unprepared = Effect.fn("Receiver.unprepared")(function* (dataset: string, properties: Properties) {
    const purpose = `prepare ${dataset}`
    const above = ancestorsOf(dataset)
    const path = [...above, dataset]
    const listed = yield* listNamed(commands, purpose, path, ["list", "-H", "-o", "name", ...path])
    const there = new Set(rows(listed).map(([name]) => name))
    const pool = poolOf(dataset)
    if (!there.has(pool)) {
      // The message of zfs says that there is no such pool.
      const asked = yield* commands.attempt(["list", "-H", "-o", "name", pool])
      if (asked.exitCode !== 0) return yield* commands.failure(purpose, pool, asked, "prepare")
      return yield* readOutput(commands, purpose, Either.left(asked.stdout.trim()))
    }
    const created = dataset !== pool && !there.has(dataset)
    return {
      created,
      parents: above.filter((name) => name !== pool && !there.has(name)),
      changed: created ? [] : yield* differing(commands, purpose, dataset, properties)
    } satisfies Preparation
  })

  const read = Effect.fn("Receiver.read")(function* (dataset: string) {
    return (yield* readDatasets(commands, [dataset], false)).get(dataset)
  })

  return {
    ...end,
    tree: Effect.fn("Receiver.tree")((roots: ReadonlyArray<string>) => readDatasets(commands, roots, true)),
    read,
    limits: Effect.fn("Receiver.limits")((dataset: string) => readLimits(commands, dataset)),
    // Finished also when interrupted: a parent that is only half marked could never become a replica itself.
    createParent: Effect.fn("Receiver.createParent")(function* (dataset: string) {
      const purpose = `create the parent dataset ${dataset}`
      // Marked in the same step, so that one that is left half made is known as ours, and as not proved to be untouched.
      if (!(yield* create(purpose, dataset, ["canmount=off", `${placeholderProperty}=new`]))) return
      const get = ["get", "-H", "-p", "-o", "value", "logicalreferenced", dataset]
      const bytes = yield* commands.run(purpose, dataset, get)
      yield* commands.run(purpose, dataset, ["set", `${placeholderProperty}=${bytes.trim()}`, dataset])
    }, finishBriefly),
    rename: Effect.fn("Receiver.rename")(function* (from: string, to: string) {
      yield* commands.run(`rename ${from} to ${to}`, parentOf(from) ?? from, ["rename", from, to], "replace")
    }),
    destroyParent: Effect.fn("Receiver.destroyParent")(function* (dataset: string) {
      if ((yield* read(dataset))?.placeholder !== true) {
        const message = `${at(endpoint)}${dataset} is no empty parent any more; nothing was destroyed`
        return yield* new ZfsError({ reason: "Modified", message, transient: false })
      }
      yield* commands.run(`destroy the empty parent ${dataset}`, dataset, ["destroy", dataset], "replace")
    }),
    abort: Effect.fn("Receiver.abort")(function* (dataset: string) {
      const aborted = yield* commands.attempt(["receive", "-A", dataset])
      if (aborted.exitCode === 0 || /does not have any resumable receive state/.test(complaint(aborted))) return
      const purpose = `throw away what an interrupted receive left of ${dataset}`
      const error = commands.failure(purpose, dataset, aborted)
      if (error.reason !== "PermissionDenied") return yield* error
      // The right to destroy lasts, and this is needed once.
      return yield* new ZfsError({
        reason: error.reason,
        message: `${at(endpoint)}cannot ${purpose}: ${complaint(aborted)}; root can, once: zfs receive -A '${dataset}'`,
        transient: false
      })
    }),
    rollback: Effect.fn("Receiver.rollback")(function* (dataset: string, rollback: Rollback) {
      const purpose = `roll ${dataset} back to @${rollback.to.name}`
      const own = (yield* listSnapshots(commands, [dataset], false)).get(dataset)
      const checked = yield* Either.mapLeft(
        checkRollback(own ?? { snapshots: [], bookmarks: [] }, rollback),
        (refusal) => {
          const message = `${at(endpoint)}cannot ${purpose}: ${refusal.why}; nothing was destroyed`
          return new ZfsError({ reason: refusal.reason, message, transient: false })
        }
      )
      // One by one and by guid, newest first: -r would also destroy what another process takes at this moment.
      for (const { guid, name } of checked.later.toReversed()) {
        yield* destroy(commands, `${dataset}@${name}`, guid, { spareNeeded: true, role: "rollback" })
      }
      yield* commands.run(purpose, dataset, ["rollback", `${dataset}@${checked.back.name}`], "rollback")
    }),
    destroySnapshot: Effect.fn("Receiver.destroySnapshot")((dataset, { guid, name }) =>
      destroy(commands, `${dataset}@${name}`, guid, { spareNeeded: true, role: "prune" })
    ),
    unprepared,
    prepare: Effect.fn("Receiver.prepare")(function* (dataset: string, properties: Properties) {
      const assignments = (names: ReadonlyArray<string>) => names.map((name) => `${name}=${properties[name] ?? ""}`)
      const todo = yield* unprepared(dataset, properties)
      for (const parent of todo.parents) yield* create(`create ${parent}`, parent, ["canmount=off"], "prepare")
      if (todo.created) {
        yield* create(`create ${dataset}`, dataset, assignments(Object.keys(properties)), "prepare")
      }
      if (todo.changed.length > 0) {
        const set = ["set", ...assignments(todo.changed), dataset]
        yield* commands.run(`prepare ${dataset}`, dataset, set, "prepare")
      }
      return todo
    })
  }
}

const readDatasets = Effect.fnUntraced(function* (
  commands: Commands,
  roots: ReadonlyArray<string>,
  recursive: boolean
) {
  const purpose = `look at ${roots.join(", ")}`
  const got = yield* getProperties(commands, purpose, targetProperties, roots, recursive)
  const there = yield* readOutput(commands, purpose, readTargets(got, new Map()))
  const existing = roots.filter((root) => there.has(root))
  const snapshots = yield* listSnapshots(commands, existing, recursive, true)
  const keys = yield* readKeys(commands, there, recursive)
  return yield* readOutput(commands, purpose, readTargets(got, snapshots, keys))
})

/** Properties of the keys that open these datasets, and of the other datasets that their keys open. */
const readKeys = Effect.fnUntraced(function* (
  commands: Commands,
  datasets: ReadonlyMap<string, TargetDataset>,
  recursive: boolean
) {
  const get = (names: ReadonlyArray<string>, below: boolean) =>
    getProperties(commands, `look at the keys of ${names.join(", ")}`, keyProperties, names, below)
  const encrypted = [...datasets.values()].flatMap(({ key, mode, name }) =>
    key === undefined ? [] : [{ name, root: key.root, mode }]
  )
  // What is received plain gets its key from what it lies in, which zfs keeps right.
  const above = encrypted.flatMap(({ mode, root }) => (mode === "plain" || datasets.has(root) ? [] : [root]))
  const roots = recursive ? [] : encrypted.flatMap(({ name, root }) => (root === name ? [name] : []))
  return (yield* get([...new Set(above)], false)) + (yield* get(roots, true))
})

const getProperties = (
  commands: Commands,
  purpose: string,
  properties: string,
  datasets: ReadonlyArray<string>,
  recursive: boolean
) =>
  listNamed(commands, purpose, datasets, [
    ...["get", "-H", "-p", ...(recursive ? ["-r"] : []), "-t", "filesystem,volume"],
    ...["-o", "name,property,value,source", properties, ...datasets]
  ])

/** What a rollback would destroy at this moment; left: why it must not begin. */
const checkRollback = (
  { bookmarks, snapshots }: Own,
  { destroys, to }: Rollback
): Either.Either<
  { readonly back: Snapshot; readonly later: ReadonlyArray<Snapshot> },
  { readonly reason: ZfsError["reason"]; readonly why: string }
> => {
  const refuse = (reason: ZfsError["reason"], why: string) => Either.left({ reason, why })
  const back = snapshots.find(({ guid }) => guid === to.guid)
  if (back === undefined) return refuse("Modified", "that snapshot is not there any more")
  const isLater = ({ createtxg }: { readonly createtxg: bigint }) => createtxg > back.createtxg
  const later = snapshots.filter(isLater)
  const agreed = new Set(destroys.map(({ guid }) => guid))
  const others = later.filter(({ guid }) => !agreed.has(guid))
  if (others.length > 0) {
    return refuse("Modified", `it would also destroy ${named(others)}, made after this was planned`)
  }
  const needed = later.filter(({ clones, holds }) => holds > 0 || clones.length > 0)
  if (needed.length > 0) return refuse("Other", `held or cloned: ${named(needed)}`)
  // zfs would destroy newer bookmarks too, which no plan has listed.
  const marks = bookmarks.filter(isLater).map(({ name }) => `#${name}`)
  return marks.length === 0
    ? Either.right({ back, later })
    : refuse("Other", `it would also destroy the bookmarks ${marks.join(", ")}; destroy them by hand first`)
}

const named = (snapshots: ReadonlyArray<Snapshot>): string => snapshots.map(({ name }) => `@${name}`).join(", ")

const differing = Effect.fnUntraced(function* (
  commands: Commands,
  purpose: string,
  dataset: string,
  properties: Properties
) {
  const names = Object.keys(properties)
  if (names.length === 0) return []
  const get = ["get", "-H", "-p", "-o", "property,value", names.join(","), dataset]
  const got = yield* commands.run(purpose, dataset, get)
  const values = new Map(rows(got).map(([name = "", value = ""]) => [name, value] as const))
  if (properties["xattr"] === "sa" && values.get("xattr") === "on") {
    if (printsOnForSa((yield* commands.attempt(["version"])).stdout)) values.set("xattr", "sa")
  }
  return names.filter((name) => plain(values.get(name)) !== plain(properties[name]))
})

/** By what `zfs version` prints: OpenZFS 2.3 prints `on` for `xattr=sa`; of 2.2 and before `on` means `dir`. */
const printsOnForSa = (version: string): boolean => /^zfs-(2\.([3-9]|\d\d)|[3-9])/m.test(version)

/** OpenZFS 2.0 and before print `posixacl` for `posix`. */
const plain = (value: string | undefined): string | undefined => (value === "posixacl" ? "posix" : value)

/** The targets that a dry run shows as made. The dry run's transfer adds what it would have sent. */
export class DryRunTargets extends Context.Tag("zipper/DryRunTargets")<
  DryRunTargets,
  { readonly put: (dataset: TargetDataset) => Effect.Effect<void> }
>() {}

const makeDryRunReceiver = (real: typeof Receiver.Service) => {
  const shown = new Map<string, TargetDataset | undefined>()
  const put = (dataset: TargetDataset) => Effect.sync(() => void shown.set(dataset.name, dataset))
  const read = (dataset: string) =>
    Effect.suspend(() => (shown.has(dataset) ? Effect.succeed(shown.get(dataset)) : real.read(dataset)))
  const tree: typeof real.tree = (roots) =>
    Effect.map(real.tree(roots), (found) => {
      const all = new Map(found)
      for (const [name, dataset] of shown) {
        if (!roots.some((root) => isWithin(name, root))) continue
        if (dataset === undefined) all.delete(name)
        else all.set(name, dataset)
      }
      return all
    })
  const change = Effect.fnUntraced(function* (
    dataset: string,
    would: string,
    to: (before: TargetDataset) => TargetDataset | undefined
  ) {
    yield* Effect.logInfo(`would ${would}`)
    const before = yield* read(dataset)
    if (before !== undefined) shown.set(dataset, to(before))
  })
  const unprepared = Effect.fnUntraced(function* (dataset: string, properties: Properties) {
    if (shown.get(dataset) !== undefined) return { created: false, parents: [], changed: [] }
    const todo = yield* real.unprepared(dataset, properties)
    return { ...todo, parents: todo.parents.filter((parent) => shown.get(parent) === undefined) }
  })
  const receiver: typeof Receiver.Service = {
    ...real,
    dryRun: true,
    read,
    tree,
    grant: (user, permissions, dataset) =>
      Effect.logInfo(`would run on ${real.label}: ${allowCommand({ user, permissions, dataset })}`),
    createParent: (dataset) =>
      Effect.zipRight(
        Effect.logInfo(`would make ${dataset} (canmount=off)`),
        Effect.flatMap(read(parentOf(dataset) ?? dataset), (above) =>
          put({ ...newDataset(dataset, "filesystem", keyBelow(above)), made: true, placeholder: true })
        )
      ),
    rename: Effect.fnUntraced(function* (from: string, to: string) {
      yield* Effect.logInfo(`would rename ${from} to ${to}`)
      const moved = (name: string) => (isWithin(name, from) ? to + name.slice(from.length) : name)
      for (const [name, found] of yield* tree([from])) {
        shown.set(name, undefined)
        yield* put({ ...found, name: moved(name), key: found.key && { ...found.key, root: moved(found.key.root) } })
      }
    }),
    destroyParent: (dataset) => change(dataset, `destroy the empty parent ${dataset}`, () => undefined),
    abort: (dataset) =>
      change(dataset, `throw away what ${dataset} has of a stream that was cut`, (before) =>
        // A dataset that came with that stream goes with it.
        before.snapshots.length === 0 && !before.placeholder ? undefined : { ...before, resumeToken: undefined }
      ),
    rollback: (dataset, { destroys, to }) => {
      const what = destroys.length === 0 ? "no snapshot" : named(destroys)
      return change(dataset, `take ${dataset} back to @${to.name}, destroying ${what}`, (before) => {
        const gone = new Set(destroys.map(({ guid }) => guid))
        return { ...before, written: 0, snapshots: before.snapshots.filter(({ guid }) => !gone.has(guid)) }
      })
    },
    destroySnapshot: (dataset, { guid, name }) =>
      change(dataset, `destroy ${dataset}@${name}`, (before) => ({
        ...before,
        snapshots: before.snapshots.filter((snapshot) => snapshot.guid !== guid)
      })),
    unprepared,
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

/** The key of a dataset that is made below this one. */
export const keyBelow = (above: TargetDataset | undefined): TargetKey | undefined =>
  above?.key && { ...above.key, dependents: [] }

/** A dataset as a dry run shows it before anything is in it. */
export const newDataset = (name: string, kind: TargetDataset["kind"], key?: TargetKey): TargetDataset => ({
  name,
  kind,
  guid: `not made: ${name}`,
  snapshots: [],
  bookmarks: [],
  written: 0,
  resumeToken: undefined,
  mode: undefined,
  made: false,
  placeholder: false,
  canmount: kind === "filesystem" ? "off" : undefined,
  key
})
