import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Checksums } from "../domain/FolderState.ts"
import { inProcess } from "../workers/InProcess.ts"
import { abortable } from "./abortable.ts"
import { makeFollowers } from "./hasher/followers.ts"
import { type HashError, isHashError } from "./hasher/HashError.ts"
import { type HashedInPieces, hashFile, hashInPieces } from "./hasher/hashFile.ts"
import { Workers } from "./Workers.ts"

export { HashError } from "./hasher/HashError.ts"

/** The digests of a file that is still being written. */
interface Following {
  /**
   * The first `bytes` bytes of the file are final and can be read from it now. Costs nothing; may be called as often as
   * there is something to say.
   */
  readonly advance: (bytes: number) => void
  /** How many bytes have been hashed so far, for whoever watches; undefined when all of it is hashed at the end. */
  readonly hashed: () => number | undefined
  /** All `size` bytes are written: the checksums, as {@link Hasher} `hash` gives them. To be called once. */
  readonly finish: (size: number) => Effect.Effect<Checksums, HashError>
}

/** Digests of files. */
export class Hasher extends Context.Tag("zipper/Hasher")<
  Hasher,
  {
    /** MD5 and SHA-256, side by side where there are threads, in constant memory. Does not follow a symlink. */
    readonly hash: (path: string) => Effect.Effect<Checksums, HashError>
    /**
     * The same, and the CRC-32 of each {@link checkedPiece} bytes: they tell whether a part of the file that is
     * read later is what went into the checksums.
     */
    readonly hashInPieces: (path: string) => Effect.Effect<HashedInPieces, HashError>
    /**
     * The same of a file that is about to be written: it is read on a thread of its own while it grows, and has
     * mostly been hashed when it is complete. Where there is no such thread it is read at the end. When the scope
     * closes nothing reads it any more, finished or not.
     */
    readonly follow: (path: string) => Effect.Effect<Following, never, Scope.Scope>
  }
>() {
  static readonly layer: Layer.Layer<Hasher> = Layer.effect(
    Hasher,
    Effect.map(Workers, (runner) => {
      const follower = makeFollowers(runner, inProcess)
      return {
        hash: Effect.fn("Hasher.hash")((path: string) =>
          abortable((signal) => hashFile(path, signal, runner), isHashError)
        ),
        hashInPieces: Effect.fn("Hasher.hashInPieces")((path: string) =>
          abortable((signal) => hashInPieces(path, signal, runner), isHashError)
        ),
        follow: Effect.fn("Hasher.follow")((path: string) =>
          Effect.acquireRelease(
            Effect.sync(() => follower(path)),
            ({ abandon }) => Effect.promise(abandon)
          ).pipe(
            Effect.map(({ advance, finish, hashed }) => ({
              advance,
              hashed,
              finish: (size: number) => abortable((signal) => finish(size, signal), isHashError)
            }))
          )
        )
      }
    })
  )

  /** Reads nothing; zeros. */
  static readonly layerDryRun: Layer.Layer<Hasher> = Layer.succeed(
    Hasher,
    hasherOf(() => Effect.succeed({ md5: "0".repeat(32), sha256: "0".repeat(64) }))
  )
}

/** A hasher that reads no file while it grows: `hash` gives the digests when it is complete. */
export function hasherOf(hash: (path: string) => Effect.Effect<Checksums, HashError>) {
  return {
    hash,
    hashInPieces: (path: string) =>
      Effect.map(hash(path), (checksums) => ({ checksums, pieces: new Uint32Array() })),
    follow: (path: string) =>
      Effect.succeed({
        hashed: () => undefined,
        advance: (_bytes: number) => undefined,
        finish: (_size: number) => hash(path)
      })
  }
}
