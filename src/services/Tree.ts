import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { FolderName } from "../domain/FolderName.ts"
import type { Manifest } from "../domain/Manifest.ts"
import type { SourceView } from "../domain/Source.ts"

/** A folder or file of the source could not be read; the message names it. */
export class TreeError extends Data.TaggedError("TreeError")<{
  readonly path: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** What lies directly in the source folder. */
export interface Listing {
  /** Sorted. Those that are child datasets are listed even where the parent's snapshot does not show them. */
  readonly folders: ReadonlyArray<FolderName>
  /** Everything else: other names, files, symlinks, devices. */
  readonly skipped: number
}

/** Reads names, sizes, times and modes of the source, never the content. */
export class Tree extends Context.Tag("zipper/Tree")<
  Tree,
  {
    readonly folders: (view: SourceView) => Effect.Effect<Listing, TreeError>
    /**
     * Walks one folder, child datasets in their own snapshots, no symlink followed. Fails when any part of it
     * cannot be read or is blocked (locked, unmounted): a manifest is complete or it is not there.
     */
    readonly manifest: (view: SourceView, folder: FolderName) => Effect.Effect<Manifest, TreeError>
  }
>() {}
