import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Manifest } from "../../src/source/Manifest.ts"
import { Archiver, reportOf } from "../../src/zip/Archiver.ts"
import type { ArchiveError } from "../../src/zip/ZipError.ts"

/** What a test finds out from {@link memoryArchiver} and tells it. */
export interface ArchiverMemory {
  /** By folder: the failures of its next attempts to archive, first one first; then it works. */
  readonly failures?: Record<string, Array<ArchiveError>>
  /** The same for verification. */
  readonly verifyFailures?: Record<string, Array<ArchiveError>>
  /** Runs before each attempt: a test makes it take time (`Effect.sleep`), or hang. */
  readonly before?: (folder: string) => Effect.Effect<void>
  /** Destinations, as they are archived. */
  readonly archived?: Array<string>
  /** Those among them that could be copied from the archive before. */
  readonly copied?: Array<string>
  /** What the zips are made of, by destination: the digests of their manifests. */
  readonly contents?: Map<string, string>
  /** Zips, as they are verified. */
  readonly verified?: Array<string>
}

/** Writes nothing; fails where and as often as it is told. */
export const memoryArchiver = (memory: ArchiverMemory = {}): Layer.Layer<Archiver> =>
  Layer.succeed(Archiver, {
    archive: Effect.fnUntraced(function* (_view, manifest, destination, options = {}) {
      yield* memory.before?.(manifest.folder) ?? Effect.void
      const failure = memory.failures?.[manifest.folder]?.shift()
      if (failure !== undefined) return yield* failure
      memory.archived?.push(destination)
      memory.contents?.set(destination, `${manifest.hash} ${manifest.stampsHash}`)
      options.progress?.(manifest.bytes)
      const zipSize = memorySize(manifest)
      if (options.previous === undefined) return reportOf(manifest, zipSize)
      memory.copied?.push(destination)
      const range = { start: 0, end: 100, entries: 1, crc32: 0 }
      return { ...reportOf(manifest, zipSize), copiedFiles: 1, copied: [range] }
    }),
    verify: Effect.fnUntraced(function* (zip, manifest, options = {}) {
      const failure = memory.verifyFailures?.[manifest.folder]?.shift()
      if (failure !== undefined) return yield* failure
      options.progress?.(memorySize(manifest) / 2)
      options.progress?.(memorySize(manifest))
      memory.verified?.push(zip)
    })
  })

/** Of a zip that is not there. */
const memorySize = (manifest: Manifest): number => 22 + 100 * manifest.entries.length + manifest.bytes
