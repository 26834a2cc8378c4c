import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { Checksums } from "../domain/FolderState.ts"

/** A file could not be read for hashing. */
export class HashError extends Data.TaggedError("HashError")<{
  readonly path: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** Digests of files. */
export class Hasher extends Context.Tag("zipper/Hasher")<
  Hasher,
  {
    /** MD5 and SHA-256 in one pass, in constant memory. Does not follow a symlink. */
    readonly hash: (path: string) => Effect.Effect<Checksums, HashError>
  }
>() {}
