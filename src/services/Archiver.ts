import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type ArchiveError, type ArchiveReport, isArchiveError } from "../archive/ArchiveError.ts"
import type { Compression } from "../archive/Compress.ts"
import { verifyZip } from "../archive/VerifyZip.ts"
import { writeZip } from "../archive/WriteZip.ts"
import type { Manifest } from "../domain/Manifest.ts"
import type { SourceView } from "../domain/Source.ts"
import { abortable } from "./abortable.ts"

export { ArchiveError, type ArchiveReport } from "../archive/ArchiveError.ts"

/** How archives are made: `compression` of the configuration. */
interface ArchiverSettings extends Compression {
  /** Threads that compress. */
  readonly threads: number
}

/** What a test finds out from {@link Archiver.layerMemory} and tells it. */
export interface ArchiverMemory {
  /** By folder: the failures of its next attempts to archive, first one first; then it works. */
  readonly failures?: Record<string, Array<ArchiveError>>
  /** The same for verification. */
  readonly verifyFailures?: Record<string, Array<ArchiveError>>
  /** Runs before each attempt: a test makes it take time (`Effect.sleep`), or hang. */
  readonly before?: (folder: string) => Effect.Effect<void>
  /** Destinations, as they are archived. */
  readonly archived?: Array<string>
  /** Zips, as they are verified. */
  readonly verified?: Array<string>
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
>() {
  /** Real zips. Everything happens on this thread so far, whatever `threads` says. */
  static readonly layer = (settings: ArchiverSettings): Layer.Layer<Archiver> =>
    Layer.succeed(Archiver, {
      archive: Effect.fn("Archiver.archive")((view, manifest, destination) =>
        abortable(
          (signal) => writeZip({ view, manifest, destination, compression: settings }, signal),
          isArchiveError
        )
      ),
      verify: Effect.fn("Archiver.verify")((zip, manifest) =>
        abortable((signal) => verifyZip(zip, manifest, signal), isArchiveError)
      )
    })

  /** Writes and reads nothing. */
  static readonly layerDryRun: Layer.Layer<Archiver> = Layer.succeed(Archiver, {
    archive: (_view, manifest) => Effect.succeed(reportOf(manifest, 0)),
    verify: () => Effect.void
  })

  /** Writes nothing; fails where and as often as it is told. */
  static readonly layerMemory = (memory: ArchiverMemory = {}): Layer.Layer<Archiver> =>
    Layer.succeed(Archiver, {
      archive: Effect.fnUntraced(function* (_view, manifest, destination) {
        yield* memory.before?.(manifest.folder) ?? Effect.void
        const failure = memory.failures?.[manifest.folder]?.shift()
        if (failure !== undefined) return yield* failure
        memory.archived?.push(destination)
        return reportOf(manifest, 22 + 100 * manifest.entries.length + manifest.bytes)
      }),
      verify: Effect.fnUntraced(function* (zip, manifest) {
        const failure = memory.verifyFailures?.[manifest.folder]?.shift()
        if (failure !== undefined) return yield* failure
        memory.verified?.push(zip)
      })
    })
}

const reportOf = (manifest: Manifest, zipSize: number): ArchiveReport => ({
  zipSize,
  entries: manifest.entries.length,
  bytes: manifest.bytes
})
