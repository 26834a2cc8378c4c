import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Resumable, Sender } from "../../../src/replication/Sender.ts"
import type { SourceDataset } from "../../../src/zfs/Dataset.ts"
import { makeMemoryEnd, within } from "./end.ts"
import { stepsOf } from "./steps.ts"
import { isLoaded, type MemoryDataset, operation, type ReplicationMemory } from "./world.ts"

/** The sender of a world in memory. */
export const memorySender = (memory: ReplicationMemory): Layer.Layer<Sender> =>
  Layer.succeed(Sender, makeSender(memory))

const makeSender = (memory: ReplicationMemory): typeof Sender.Service => {
  const { datasets } = memory.source
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
      )
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
