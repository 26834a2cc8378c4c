import * as Effect from "effect/Effect"
import type { Stream } from "../../../src/replication/Stream.ts"
import type { ZfsError } from "../../../src/zfs/ZfsCommand.ts"
import { type MemorySnapshot, type ReplicationMemory, zfsError } from "./world.ts"

/** One snapshot of a stream. */
interface Step {
  /** The snapshot (or bookmark) that the receiver must have as its newest; undefined for a full stream. */
  readonly base: string | undefined
  readonly snapshot: MemorySnapshot
  /** Bytes of it that the receiver has already. */
  readonly done: number
}

/** What `zfs send` puts into the stream, by name, as the source is now; it fails when something of it is gone. */
export const stepsOf = (
  memory: ReplicationMemory,
  source: string,
  stream: Stream
): Effect.Effect<ReadonlyArray<Step>, ZfsError> => {
  const dataset = memory.source.datasets.get(source)
  if (dataset === undefined) return vanished(source)
  const named = (name: string) => dataset.snapshots.find((snapshot) => snapshot.name === name)
  switch (stream._tag) {
    case "Full": {
      const to = named(stream.to.name)
      return to === undefined
        ? vanished(`${source}@${stream.to.name}`)
        : Effect.succeed([{ base: undefined, snapshot: to, done: 0 }])
    }
    case "Incremental": {
      const from = named(stream.from.name)
      const to = named(stream.to.name)
      if (from === undefined) return vanished(`${source}@${stream.from.name}`)
      if (to === undefined) return vanished(`${source}@${stream.to.name}`)
      const between = dataset.snapshots.filter(
        ({ createtxg }) => createtxg > from.createtxg && createtxg <= to.createtxg
      )
      if (between.length === 0) {
        return Effect.fail(zfsError("Other", `cannot send '${source}': not an earlier snapshot`))
      }
      const bases = [from, ...between]
      return Effect.succeed(between.map((snapshot, index) => ({ base: bases[index]?.guid, snapshot, done: 0 })))
    }
    case "FromBookmark": {
      const from = dataset.bookmarks.find(({ name }) => name === stream.from.name)
      const to = named(stream.to.name)
      if (from === undefined) return vanished(`${source}#${stream.from.name}`)
      return to === undefined
        ? vanished(`${source}@${stream.to.name}`)
        : Effect.succeed([{ base: from.guid, snapshot: to, done: 0 }])
    }
    case "Resume": {
      const found = memory.tokens.get(stream.token)
      const to = found === undefined ? undefined : named(found.to.name)
      if (found === undefined || to?.guid !== found.to.guid) return vanished(`${source}@${stream.toName}`)
      return Effect.succeed([{ base: found.fromGuid, snapshot: to, done: found.received }])
    }
  }
}

const vanished = (what: string) => Effect.fail(zfsError("Vanished", `cannot open '${what}': dataset does not exist`))
