import * as Effect from "effect/Effect"
import { noEvidence } from "../../domain/Changes.ts"
import type { SnapshotHandle, SourceInfo, ZfsService } from "./contract.ts"
import { isNowhere, resolveFolder } from "./folder.ts"

/** Reads a plain folder as it is; there are no snapshots. */
export const live: ZfsService = {
  locate: Effect.fn("Zfs.locate")(function* (path: string) {
    yield* resolveFolder(path)
    return { path, dataset: undefined, datasets: [] } satisfies SourceInfo
  }),
  checkTarget: () => Effect.void,
  // zfs removes the mount point of a dataset that is not mounted, and is not asked here.
  isGone: ({ dataset, source_path }) =>
    dataset === undefined ? isNowhere(source_path) : Effect.succeed(false),
  marked: () => Effect.succeed([]),
  snapshot: Effect.fn("Zfs.snapshot")(function* (source: SourceInfo) {
    const root = yield* resolveFolder(source.path)
    const handle: SnapshotHandle = {
      view: { label: "live", snapshot: undefined, root, grafts: [], blocked: [], frozen: false },
      changesSince: () => Effect.succeed(noEvidence("the source is read without snapshots")),
      hold: () => Effect.void,
      keep: Effect.void
    }
    return handle
  }),
  prune: () => Effect.succeed({ destroyed: [], spared: [] })
}
