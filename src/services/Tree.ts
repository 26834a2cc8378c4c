import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { FolderName } from "../domain/FolderName.ts"
import type { Manifest } from "../domain/Manifest.ts"
import * as RawPath from "../domain/RawPath.ts"
import type { Blocked, SourceView } from "../domain/Source.ts"
import { abortable } from "./abortable.ts"
import { toManifest } from "./tree/Build.ts"
import { blockedFor, canList, listFolders, type Replaced, type Unreadable } from "./tree/Folders.ts"
import type { Skipped } from "./tree/Reading.ts"
import { isTreeError, TreeError } from "./tree/TreeError.ts"
import { walk } from "./tree/Walk.ts"
import { Workers } from "./Workers.ts"

export { TreeError } from "./tree/TreeError.ts"

/** What lies directly in the source folder. */
interface Listing {
  /** Sorted. Those that are child datasets are listed even where the parent's snapshot does not show them. */
  readonly folders: ReadonlyArray<FolderName>
  /** Those of them that cannot be looked at, and why. */
  readonly unreadable: ReadonlyArray<Unreadable>
  /** Names of folders that something else has: a symbolic link, a file, a device. */
  readonly replaced: ReadonlyArray<Replaced>
  /** Everything else: other names, files, symlinks, devices. */
  readonly skipped: number
}

/** Reads names, sizes, times and modes of the source, never the content. */
export class Tree extends Context.Tag("zipper/Tree")<
  Tree,
  {
    readonly folders: (view: SourceView) => Effect.Effect<Listing, TreeError>
    /** Lists a folder, only to see that it can be read; what lies deeper is not looked at. */
    readonly readable: (view: SourceView, folder: FolderName) => Effect.Effect<void, TreeError>
    /**
     * Walks one folder, child datasets in their own snapshots, no symlink followed. Fails when any part of it
     * cannot be read or is blocked (locked, unmounted): a manifest is complete or it is not there.
     */
    readonly manifest: (view: SourceView, folder: FolderName) => Effect.Effect<Manifest, TreeError>
  }
>() {
  static readonly layer: Layer.Layer<Tree> = Layer.effect(
    Tree,
    Effect.map(Workers, (runner) => ({
      folders: Effect.fn("Tree.folders")(function* (view: SourceView) {
        const found = yield* abortable((signal) => listFolders(view, signal), isTreeError)
        yield* logSkipped(found.skippedNames, found.skipped)
        const { folders, replaced, skipped, unreadable } = found
        return { folders, replaced, skipped, unreadable }
      }),
      readable: Effect.fn("Tree.readable")(function* (view: SourceView, folder: FolderName) {
        const blocked = blockedFor(view, folder)
        if (blocked !== undefined) return yield* blockedError(blocked)
        yield* abortable(() => canList(view, folder), isTreeError)
      }),
      manifest: Effect.fn("Tree.manifest")(function* (view: SourceView, folder: FolderName) {
        const blocked = blockedFor(view, folder)
        if (blocked !== undefined) return yield* blockedError(blocked)
        const walked = yield* abortable((signal) => walk(view, folder, runner, signal), isTreeError)
        yield* logSkipped(walked.skippedNames, walked.skipped)
        return toManifest(folder, walked)
      })
    }))
  )
}

// The folder's own name stands before each of its lines already.
export const blockedError = (blocked: Blocked): TreeError =>
  new TreeError({
    path: RawPath.display(blocked.at),
    message: blocked.at.includes("/")
      ? `${RawPath.display(blocked.at)} cannot be read: ${blocked.reason}`
      : `it cannot be read: ${blocked.reason}`,
    transient: false
  })

const logSkipped = Effect.fnUntraced(function* (first: ReadonlyArray<Skipped>, count: number) {
  for (const { path, type } of first) yield* Effect.logDebug(`skipped ${RawPath.display(path)} (${type})`)
  if (count > first.length) yield* Effect.logDebug(`skipped ${count - first.length} more`)
})
