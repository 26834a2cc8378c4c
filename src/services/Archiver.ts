import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { Manifest } from "../domain/Manifest.ts"
import type { SourceView } from "../domain/Source.ts"

/** A folder could not be archived, or its archive is not what it should be; the message names file or entry. */
export class ArchiveError extends Data.TaggedError("ArchiveError")<{
  readonly reason: "Unreadable" | "Changed" | "Write" | "Corrupt" | "Mismatch"
  readonly path: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** What was written. */
export interface ArchiveReport {
  /** Size of the zip in bytes. */
  readonly zipSize: number
  readonly entries: number
  /** Uncompressed bytes. */
  readonly bytes: number
}

/** Writes zips and reads them back. The layer knows method, level and threads. */
export class Archiver extends Context.Tag("zipper/Archiver")<
  Archiver,
  {
    /**
     * Writes the entries of `manifest` to a new zip at `destination` (which must not exist) and syncs it.
     * Every entry or an error that names the one that failed; a file that changed while it was read (live
     * sources only) is a transient error. On failure or interruption the partial zip is removed.
     */
    readonly archive: (
      view: SourceView,
      manifest: Manifest,
      destination: string
    ) => Effect.Effect<ArchiveReport, ArchiveError>
    /**
     * Reads every byte of the zip back: CRC-32 and size of each entry, and that names, kinds, sizes, modes and
     * times are exactly those of `manifest`.
     */
    readonly verify: (zip: string, manifest: Manifest) => Effect.Effect<void, ArchiveError>
  }
>() {}
