import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Preparation, Receiver } from "../../../src/replication/Receiver.ts"
import type { TargetDataset } from "../../../src/zfs/Dataset.ts"
import { ancestorsOf, isWithin, parentOf } from "../../../src/zfs/DatasetName.ts"
import type { ZfsError } from "../../../src/zfs/ZfsCommand.ts"
import { makeMemoryEnd, notThere, within } from "./end.ts"
import {
  addDataset,
  clonesOf,
  isLoaded,
  isNeeded,
  type MemoryDataset,
  operation,
  type ReplicationMemory,
  removeSnapshot,
  rollBackTo,
  zfsError
} from "./world.ts"

/** The receiver of a world in memory. */
export const memoryReceiver = (memory: ReplicationMemory): Layer.Layer<Receiver> =>
  Layer.succeed(Receiver, makeReceiver(memory))

const makeReceiver = (memory: ReplicationMemory): typeof Receiver.Service => {
  const { datasets } = memory.target
  const change = (name: string, dataset: string, work: (found: MemoryDataset) => Effect.Effect<void, ZfsError>) =>
    operation(memory, name, () => {
      const found = datasets.get(dataset)
      return found === undefined ? Effect.fail(notThere(dataset)) : work(found)
    })
  return {
    ...makeMemoryEnd(memory, "target", "receiver"),
    tree: (roots) =>
      operation(memory, "tree receiver", () =>
        Effect.succeed(
          new Map(within(datasets, roots).map((dataset) => [dataset.name, asTarget(datasets, dataset)] as const))
        )
      ),
    read: (dataset) =>
      operation(memory, `read receiver ${dataset}`, () => {
        const found = datasets.get(dataset)
        return Effect.succeed(found === undefined ? undefined : asTarget(datasets, found))
      }),
    limits: (dataset) => operation(memory, `limits ${dataset}`, () => Effect.succeed(memory.limits)),
    createParent: (dataset) =>
      operation(memory, `createParent ${dataset}`, () => {
        const parent = parentOf(dataset)
        if (parent === undefined || !datasets.has(parent)) return Effect.fail(notThere(parent ?? dataset))
        if (!datasets.has(dataset)) {
          if (!isLoaded(datasets, datasets.get(parent))) {
            return Effect.fail(zfsError("Other", "encryption root's key is not loaded or provided"))
          }
          const encrypted = datasets.get(parent)?.encrypted === true
          addDataset(memory, "target", dataset, { canmount: "off", placeholder: true, encrypted })
        }
        return Effect.void
      }),
    rename: (from, to) =>
      operation(memory, `rename ${from}`, () => {
        const parent = datasets.get(parentOf(to) ?? "")
        const moved = within(datasets, [from])
        const key = moved[0]?.key
        if (moved.length === 0 || parent === undefined) return Effect.fail(notThere(from))
        if (datasets.has(to)) return Effect.fail(zfsError("Other", `cannot rename '${from}': dataset already exists`))
        if (key !== undefined && key.root !== from && key.root !== parent.key?.root) {
          return Effect.fail(zfsError("Other", "cannot move encrypted child outside of its encryption root"))
        }
        for (const dataset of moved) {
          datasets.delete(dataset.name)
          dataset.name = to + dataset.name.slice(from.length)
          if (dataset.key !== undefined && isWithin(dataset.key.root, from)) {
            dataset.key = { ...dataset.key, root: to + dataset.key.root.slice(from.length) }
          }
          datasets.set(dataset.name, dataset)
        }
        return Effect.void
      }),
    destroyParent: (dataset) =>
      change(`destroyParent ${dataset}`, dataset, (found) => {
        if (!asTarget(datasets, found).placeholder || within(datasets, [dataset]).length > 1) {
          return Effect.fail(zfsError("Modified", `cannot destroy '${dataset}': it has children`))
        }
        return Effect.sync(() => void datasets.delete(dataset))
      }),
    abort: (dataset) =>
      change(`abort ${dataset}`, dataset, (found) => {
        if (found.partial?.fresh) datasets.delete(dataset)
        found.partial = undefined
        return Effect.void
      }),
    rollback: (dataset, { destroys, to }) =>
      change(`rollback ${dataset}`, dataset, (found) => {
        const later = found.snapshots.slice(found.snapshots.findIndex(({ guid }) => guid === to.guid) + 1)
        const mark = found.bookmarks.find(({ createtxg }) => createtxg > to.createtxg)
        if (mark !== undefined) {
          return Effect.fail(zfsError("Modified", `cannot rollback: ${dataset}#${mark.name} is in the way`))
        }
        const agreed = new Set(destroys.map(({ guid }) => guid))
        const other = later.find((each) => !agreed.has(each.guid) || isNeeded(found, each))
        if (other !== undefined) {
          return Effect.fail(zfsError("Modified", `cannot rollback: ${dataset}@${other.name} is in the way`))
        }
        return Effect.sync(() => rollBackTo(found, to))
      }),
    destroySnapshot: (dataset, { guid, name }) =>
      change(`destroy ${dataset}@${name}`, dataset, (found) => {
        const snapshot = found.snapshots.find((one) => one.guid === guid && one.name === name)
        if (snapshot === undefined) return Effect.void
        if (isNeeded(found, snapshot)) {
          return Effect.fail(zfsError("Busy", `cannot destroy ${dataset}@${name}: dataset is busy`))
        }
        return Effect.sync(() => removeSnapshot(found, name))
      }),
    unprepared: (dataset, properties) =>
      operation(memory, `unprepared ${dataset}`, () => Effect.sync(() => lookAt(datasets, dataset, properties))),
    prepare: (dataset, properties) =>
      operation(memory, `prepare ${dataset}`, () =>
        Effect.sync(() => {
          const todo = lookAt(datasets, dataset, properties)
          for (const parent of todo.parents) addDataset(memory, "target", parent, { canmount: "off" })
          if (todo.created) addDataset(memory, "target", dataset)
          const found = datasets.get(dataset)
          for (const [name, value] of Object.entries(properties)) found?.properties.set(name, value)
          return todo
        })
      )
  }
}

const lookAt = (
  datasets: ReadonlyMap<string, MemoryDataset>,
  dataset: string,
  properties: Readonly<Record<string, string>>
): Preparation => {
  const found = datasets.get(dataset)
  return {
    created: found === undefined,
    parents: ancestorsOf(dataset).filter((name) => !datasets.has(name)),
    changed: Object.entries(properties).flatMap(([name, value]) =>
      found === undefined || found.properties.get(name) === value ? [] : [name]
    )
  }
}

/** A dataset as the receiver shows it. */
export const asTarget = (datasets: ReadonlyMap<string, MemoryDataset>, dataset: MemoryDataset): TargetDataset => ({
  name: dataset.name,
  kind: dataset.kind,
  guid: dataset.guid,
  snapshots: dataset.snapshots.map((each) => ({ ...each, clones: clonesOf(dataset, each) })),
  bookmarks: dataset.bookmarks,
  written: dataset.written,
  resumeToken: dataset.partial?.token,
  mode: dataset.mode,
  made: dataset.placeholder && dataset.written === 0,
  placeholder: dataset.placeholder && dataset.snapshots.length === 0 && dataset.written === 0,
  canmount: dataset.kind === "volume" ? undefined : dataset.properties.get("canmount"),
  key: dataset.key && {
    root: dataset.key.root,
    salt: dataset.key.salt,
    loaded: isLoaded(datasets, dataset),
    rootSalt: datasets.get(dataset.key.root)?.key?.salt,
    dependents: [...datasets.values()]
      .filter(({ key, name }) => key?.root === dataset.name && name !== dataset.name)
      .map(({ key, name }) => ({ name, salt: key?.salt }))
  }
})
