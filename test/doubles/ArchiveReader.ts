import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { ArchiveReader } from "../../src/zip/Archiver.ts"
import type { ZipEntry } from "../../src/zip/Headers.ts"
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
      }),
    entries: (path) => Stream.make((zips[path]?.names ?? []).map(entryOf))
  })

const entryOf = (name: string): ZipEntry => ({
  name: Buffer.from(name),
  rawPath: undefined,
  kind: name.endsWith("/") ? "directory" : "file",
  size: name.endsWith("/") ? 0 : 10,
  seconds: 1_700_000_000,
  mode: name.endsWith("/") ? 0o40750 : 0o100640,
  method: "store",
  crc32: 0,
  compressedSize: 0,
  start: 0,
  dataStart: 0,
  end: 0
})
