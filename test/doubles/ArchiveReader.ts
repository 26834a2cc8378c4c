import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ArchiveReader } from "../../src/zip/Archiver.ts"
import type { Audit } from "../../src/zip/VerifyZip.ts"

/** A zip: what comes of its audit, and the names of the files that are come across. */
export type MemoryZip = Audit & { readonly names: ReadonlyArray<string> }

/** Reads nothing; `zips` by path. */
export const memoryArchiveReader = (zips: Readonly<Record<string, MemoryZip>>): Layer.Layer<ArchiveReader> =>
  Layer.succeed(ArchiveReader, {
    audit: (path, { onFiles }) =>
      Effect.sync(() => {
        const zip = zips[path]
        if (zip === undefined) return { files: 0, bytes: 0, complete: false, flaws: [{ problem: "is missing" }] }
        onFiles(zip.names)
        return zip
      })
  })
