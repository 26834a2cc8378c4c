import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import {
  type ArchiveError,
  type ArchiveReport,
  type CopiedRange,
  isArchiveError
} from "../archive/ArchiveError.ts"
import { verifyZip } from "../archive/VerifyZip.ts"
import { writeZip } from "../archive/WriteZip.ts"
import { type Compression, type PreviousArchive, sameCompression } from "../domain/ArchiveIndex.ts"
import type { Manifest } from "../domain/Manifest.ts"
import type { SourceView } from "../domain/Source.ts"
import { abortable } from "./abortable.ts"
import { Workers } from "./Workers.ts"

export { ArchiveError, type ArchiveReport } from "../archive/ArchiveError.ts"

/** How a zip is made, beside what it is made of. */
interface ArchiveOptions {
  /**
   * The archive before. Entries of files that nobody has touched since are copied from it in compressed form, if
   * it was made with the same compression; a failure to read it has the reason `Previous`.
   */
  readonly previous?: PreviousArchive | undefined
  /** Told now and then how many bytes at the beginning of the zip are in the file and will not change any more. */
  readonly settled?: ((bytes: number) => void) | undefined
  /** Told now and then how many of the manifest's bytes are in the zip; up to all of them. */
  readonly progress?: ((bytes: number) => void) | undefined
}

/** How a zip is verified. */
interface VerifyOptions {
  /** Of {@link ArchiveReport}: what was copied from the archive before. */
  readonly copied?: ReadonlyArray<CopiedRange> | undefined
  /** Told now and then how many of the zip's bytes have been read back; up to all of them. */
  readonly progress?: ((bytes: number) => void) | undefined
}

/** Writes zips and reads them back. The layer knows method, level and threads. */
export class Archiver extends Context.Tag("zipper/Archiver")<
  Archiver,
  {
    /**
     * Writes the entries of `manifest` to a new zip at `destination` (which must not exist). It is not synced.
     * Every entry or an error that names the one that failed; a file that changed while it was read (live
     * sources only) is a transient error. On failure or interruption the partial zip is removed.
     */
    readonly archive: (
      view: SourceView,
      manifest: Manifest,
      destination: string,
      options?: ArchiveOptions
    ) => Effect.Effect<ArchiveReport, ArchiveError>
    /**
     * Reads every byte of the zip back: that names, kinds, sizes, modes and times are exactly those of `manifest`,
     * and CRC-32 and size of each entry. Entries that were `copied` (see {@link ArchiveReport}) from an archive
     * that was verified in its time are not inflated: their bytes have to be those that were copied.
     */
    readonly verify: (
      zip: string,
      manifest: Manifest,
      options?: VerifyOptions
    ) => Effect.Effect<void, ArchiveError>
  }
>() {
  /** Real zips, made and read by {@link Workers}. */
  static readonly layer = (settings: Compression): Layer.Layer<Archiver> =>
    Layer.effect(
      Archiver,
      Effect.map(Workers, (runner) => ({
        archive: Effect.fn("Archiver.archive")(function* (view, manifest, destination, options = {}) {
          const previous = yield* usable(options.previous, settings)
          return yield* abortable(
            (signal) =>
              writeZip(
                {
                  view,
                  manifest,
                  destination,
                  compression: settings,
                  runner,
                  previous,
                  settled: options.settled,
                  progress: options.progress
                },
                signal
              ),
            isArchiveError
          )
        }),
        verify: Effect.fn("Archiver.verify")((zip, manifest, options = {}) =>
          abortable((signal) => verifyZip(zip, manifest, signal, runner, options), isArchiveError)
        )
      }))
    )

  /** Writes and reads nothing. */
  static readonly layerDryRun: Layer.Layer<Archiver> = Layer.succeed(Archiver, {
    archive: (_view, manifest) => Effect.succeed(reportOf(manifest, 0)),
    verify: () => Effect.void
  })
}

/** The archive before, if copying from it gives what compressing would. */
const usable = Effect.fnUntraced(function* (previous: PreviousArchive | undefined, settings: Compression) {
  if (previous === undefined) return undefined
  const { level, method } = previous.index
  if (sameCompression(previous.index, settings)) return previous
  yield* Effect.logInfo(
    `everything is compressed anew: the archive before was made with method ${method}, level ${level}`
  )
  return undefined
})

/** The report on a zip that holds all of the manifest, none of it copied. */
export const reportOf = (manifest: Manifest, zipSize: number): ArchiveReport => ({
  zipSize,
  entries: manifest.entries.length,
  bytes: manifest.bytes,
  madeWith: { method: "auto", level: 6 },
  copiedFiles: 0,
  copied: []
})
