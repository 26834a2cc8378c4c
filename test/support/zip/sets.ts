import * as Effect from "effect/Effect"
import type { FolderName } from "../../../src/source/FolderName.ts"
import type { FolderState } from "../../../src/store/FolderState.ts"
import * as ChecksumFile from "../../../src/store/Metadata.ts"
import * as Metadata from "../../../src/store/Metadata.ts"
import { namesOf, type PublishedArchive, type Which } from "../../../src/store/PublishedArchive.ts"
import { digestOf } from "../../../src/store/Records.ts"
import { Hasher } from "../../../src/system/Hasher.ts"
import { memoryHasher } from "../../doubles/Hasher.ts"

/** The zip of a set in memory. */
export const zipOf = (name: FolderName, which: Which) => `/memory/${name}/${namesOf(name, which).zip}`

/** A set in memory; by default a good one. Digests are those of memoryHasher. */
export const setOf = (name: FolderName, which: Which, change: Partial<PublishedArchive> = {}) =>
  Effect.gen(function* () {
    const names = namesOf(name, which)
    const zip = zipOf(name, which)
    const { md5, sha256 } = yield* Effect.flatMap(Hasher, (hasher) => hasher.hash(zip))
    const metadata: Metadata.Metadata = {
      zip_name: names.zip,
      files: ["a", "b"],
      zip_md5: md5,
      zip_sha256: sha256,
      total_files: 2,
      total_bytes: 30,
      created_at_utc: "2025-01-01T12:00:00Z",
      snapshot: "live"
    }
    const text = Buffer.concat(Metadata.encode(metadata)).toString()
    const state: FolderState = {
      version: 1,
      folder: name,
      manifest_sha256: "0".repeat(64),
      hard_links: false,
      snapshot: metadata.snapshot,
      archived_at_utc: metadata.created_at_utc,
      files: metadata.total_files,
      bytes: metadata.total_bytes,
      zip_size: 100,
      zip_md5: md5,
      zip_sha256: sha256,
      [which === "current" ? "metadata_sha256" : "prev_metadata_sha256"]: digestOf(text)
    }
    return {
      folder: name,
      which,
      zip,
      file: { dev: 1, ino: 1, size: 100, mtimeMs: 0, ctimeMs: 0 },
      md5: ChecksumFile.encodeChecksums(md5, names.zip),
      sha256: ChecksumFile.encodeChecksums(sha256, names.zip),
      metadata: text,
      state,
      obstacles: [],
      interrupted: false,
      ...change
    } satisfies PublishedArchive
  }).pipe(Effect.provide(memoryHasher()))
