import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ArchiveSet, Which } from "../domain/ArchiveSet.ts"
import type { FolderName } from "../domain/FolderName.ts"
import type { ArchivesError } from "./archives/ArchivesError.ts"
import { make } from "./archives/make.ts"
import type { Disk } from "./Disk.ts"

export { ArchivesError } from "./archives/ArchivesError.ts"

/** What was published, for whoever reads it back. Reads only, and takes no lock: a run may publish meanwhile. */
export class Archives extends Context.Tag("zipper/Archives")<
  Archives,
  {
    /** Absolute path of the target, for messages. */
    readonly target: string
    /** The folders of which something is published, sorted: a current or previous archive, or what is left of one. */
    readonly folders: Effect.Effect<ReadonlyArray<FolderName>, ArchivesError>
    /**
     * The folders of which it is on record, apart from their own files, that a run has published an archive: where nothing is
     * left of one, it was lost.
     */
    readonly recorded: Effect.Effect<ReadonlyArray<FolderName>, ArchivesError>
    /** Size of the zip in bytes; 0 when there is none. For a bar: nothing is opened, and nothing fails. */
    readonly size: (folder: FolderName, which: Which) => Effect.Effect<number>
    /**
     * One archive of a folder with all that belongs to it; undefined when there is none and, as far as is known,
     * never was. A file that is missing or cannot be read is in the set as such.
     */
    readonly open: (folder: FolderName, which: Which) => Effect.Effect<ArchiveSet | undefined, ArchivesError>
  }
>() {
  /** Those in the target folder. */
  static readonly layer = (target: string): Layer.Layer<Archives, never, Disk> =>
    Layer.effect(Archives, make(target))
}
