import * as Effect from "effect/Effect"
import { parentOf } from "../../domain/replication/DatasetName.ts"
import type { Endpoint } from "../../domain/replication/Endpoint.ts"
import { keyProperties, readTargets, targetProperties } from "../../domain/replication/Listing.ts"
import type { Rollback } from "../../domain/replication/Plan.ts"
import { placeholderProperty, type TargetDataset } from "../../domain/replication/State.ts"
import type { Process } from "../Process.ts"
import { type Commands, complaint, understood } from "../zfs/command.ts"
import { destroy } from "../zfs/destroy.ts"
import type { ReceiverService } from "./contract.ts"
import { listing, listSnapshots, makeEnd } from "./end.ts"
import { prepare, unprepared } from "./prepare.ts"
import { rollback } from "./rollback.ts"

/** OpenZFS on an end that gets the data. */
export const makeReceiver = (process: typeof Process.Service, endpoint: Endpoint): ReceiverService => {
  const { commands, end } = makeEnd(process, endpoint, "receive")
  return {
    ...end,
    tree: Effect.fn("Receiver.tree")((roots: ReadonlyArray<string>) => readDatasets(commands, roots, true)),
    read: Effect.fn("Receiver.read")(function* (dataset: string) {
      return (yield* readDatasets(commands, [dataset], false)).get(dataset)
    }),
    createParent: Effect.fn("Receiver.createParent")((dataset: string) => createParent(commands, dataset)),
    abort: Effect.fn("Receiver.abort")((dataset: string) => abort(commands, dataset)),
    rollback: Effect.fn("Receiver.rollback")((dataset: string, planned: Rollback) =>
      rollback(commands, dataset, planned)
    ),
    destroySnapshot: Effect.fn("Receiver.destroySnapshot")(
      (dataset: string, { guid, name }: { readonly name: string; readonly guid: string }) =>
        destroy(commands, `${dataset}@${name}`, guid, { spareNeeded: true, role: "prune" })
    ),
    unprepared: Effect.fn("Receiver.unprepared")(
      (dataset: string, properties: Readonly<Record<string, string>>) =>
        unprepared(commands, dataset, properties)
    ),
    prepare: Effect.fn("Receiver.prepare")((dataset: string, properties: Readonly<Record<string, string>>) =>
      prepare(commands, dataset, properties)
    )
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

/** The keys that have to do with those of these datasets: of what they are opened by, and of what they open. */
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
const createParent = Effect.fnUntraced(function* (commands: Commands, dataset: string) {
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

const abort = Effect.fnUntraced(function* (commands: Commands, dataset: string) {
  const aborted = yield* commands.attempt(["receive", "-A", dataset])
  if (aborted.exitCode === 0 || /does not have any resumable receive state/.test(complaint(aborted))) return
  return yield* commands.failure(
    `throw away what an interrupted receive left of ${dataset}`,
    dataset,
    aborted,
    "prune"
  )
})
