import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { FolderName } from "../../src/source/FolderName.ts"
import { ArchivesError, type PublishedArchive, PublishedArchives } from "../../src/store/PublishedArchive.ts"

/** These sets, each looked up anew at every call: a test changes them between two calls. */
export const memoryArchives = (
  sets: ReadonlyArray<PublishedArchive>,
  recorded: ReadonlyArray<FolderName> | ArchivesError = []
): Layer.Layer<PublishedArchives> =>
  Layer.succeed(PublishedArchives, {
    target: "/memory",
    live: "/memory",
    folders: Effect.sync(() => [...new Set(sets.map(({ folder }) => folder))].sort()),
    recorded: recorded instanceof ArchivesError ? Effect.fail(recorded) : Effect.succeed(recorded),
    size: (folder, which) =>
      Effect.sync(() => sets.find((set) => set.folder === folder && set.which === which)?.file?.size ?? 0),
    open: (folder, which) => Effect.sync(() => sets.find((set) => set.folder === folder && set.which === which))
  })
