import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Resumable, Sender } from "../../../src/replication/Sender.ts"
import { byCreatetxg, type SourceDataset } from "../../../src/zfs/Dataset.ts"
import { formatName } from "../../../src/zfs/SnapshotPrune.ts"
import { makeMemoryEnd, notThere, within } from "./end.ts"
import { stepsOf } from "./steps.ts"
import {
  addSnapshot,
  isLoaded,
  isNeeded,
  type MemoryDataset,
  operation,
  Refused,
  type ReplicationMemory,
  removeSnapshot,
  tick
} from "./world.ts"

/** The sender of a world in memory. */
export const memorySender = (memory: ReplicationMemory): Layer.Layer<Sender> =>
  Layer.succeed(Sender, makeSender(memory))

const makeSender = (memory: ReplicationMemory): typeof Sender.Service => {
  const { datasets } = memory.source
  const change = (name: string, dataset: string, work: (found: MemoryDataset) => void) =>
    operation(memory, name, () => {
      const found = datasets.get(dataset)
      return found === undefined ? Effect.fail(notThere(dataset)) : Effect.sync(() => work(found))
    })
  return {
    ...makeMemoryEnd(memory, "source", "sender"),
    tree: (roots) =>
      operation(memory, "tree sender", () =>
        Effect.succeed({
          datasets: within(datasets, roots).map((dataset) => asSource(datasets, dataset)),
          missing: roots.filter((root) => !datasets.has(root))
        })
      ),
    read: (dataset) =>
      operation(memory, `read sender ${dataset}`, () => {
        const found = datasets.get(dataset)
        return Effect.succeed(found === undefined ? undefined : asSource(datasets, found))
      }),
    resumable: (token) => operation(memory, "resumable", () => Effect.succeed(look(memory, token))),
    estimate: (dataset, stream) =>
      operation(memory, `estimate ${dataset}`, () =>
        Effect.map(stepsOf(memory, dataset, stream), (steps) =>
          steps.reduce((sum, step) => sum + step.snapshot.bytes - step.done, 0)
        )
      ),
    written: (dataset) =>
      operation(memory, `written ${dataset}`, () => Effect.succeed(datasets.get(dataset)?.written ?? 0)),
    snapshot: (prefix, names, mark) =>
      operation(memory, `snapshot ${names.join(" ")}`, () =>
        Effect.sync(() => {
          // A second later each.
          const name = formatName(prefix, Number(tick(memory)) * 1000)
          for (const each of names) {
            const dataset = datasets.get(each)
            if (dataset === undefined) throw new Refused(`${each} does not exist`)
            addSnapshot(memory, dataset, name, { bytes: dataset.written })
            memory.marks.set(`${each}@${name}`, mark)
          }
        })
      ),
    marks: () => operation(memory, "marks", () => Effect.succeed(memory.marks)),
    destroySnapshot: (dataset, { guid, name }) =>
      change(`destroy ${dataset}@${name}`, dataset, (found) => {
        const snapshot = found.snapshots.find((one) => one.guid === guid && one.name === name)
        if (snapshot !== undefined && isNeeded(found, snapshot)) throw new Refused("dataset is busy")
        removeSnapshot(found, name)
      }),
    bookmark: (dataset, snapshot, name) =>
      operation(memory, `bookmark ${dataset}@${snapshot}`, () => {
        const found = datasets.get(dataset)
        const of = found?.snapshots.find((one) => one.name === snapshot)
        if (found === undefined || of === undefined) return Effect.fail(notThere(`${dataset}@${snapshot}`))
        if (found.bookmarks.some((one) => one.name === name)) return Effect.void
        const { createtxg, guid } = of
        found.bookmarks = [...found.bookmarks, { name, guid, createtxg }].sort(byCreatetxg)
        return Effect.void
      }),
    destroyBookmark: (dataset, name) =>
      change(`destroy ${dataset}#${name}`, dataset, (found) => {
        found.bookmarks = found.bookmarks.filter((one) => one.name !== name)
      })
  }
}

const look = (memory: ReplicationMemory, token: string): Resumable => {
  const found = memory.tokens.get(token)
  if (found === undefined) return { _tag: "Gone", reason: "the resume token is corrupt" }
  const { fromGuid, raw, source, to } = found
  const { bookmarks = [], snapshots = [] } = memory.source.datasets.get(source) ?? {}
  const there =
    snapshots.some(({ guid, name }) => guid === to.guid && name === to.name) &&
    (fromGuid === undefined || [...snapshots, ...bookmarks].some(({ guid }) => guid === fromGuid))
  return there
    ? { _tag: "Resumable", toGuid: to.guid, toName: `${source}@${to.name}`, raw }
    : { _tag: "Gone", reason: `'${source}@${to.name}' used in the initial send no longer exists` }
}

/** A dataset as the sender shows it. */
export const asSource = (datasets: ReadonlyMap<string, MemoryDataset>, dataset: MemoryDataset): SourceDataset => ({
  name: dataset.name,
  kind: dataset.kind,
  guid: dataset.guid,
  encrypted: dataset.encrypted,
  key: dataset.key && {
    root: dataset.key.root,
    salt: dataset.key.salt,
    rootSalt: datasets.get(dataset.key.root)?.key?.salt,
    loaded: isLoaded(datasets, dataset)
  },
  snapshots: dataset.snapshots,
  bookmarks: dataset.bookmarks
})
