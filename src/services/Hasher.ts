import { createHash } from "node:crypto"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { codeOf, explain, isTransientCode } from "../domain/Errno.ts"
import type { Checksums } from "../domain/FolderState.ts"
import { abortable } from "./abortable.ts"
import { closeRead, openRegular } from "./regularFile.ts"

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
>() {
  static readonly layer: Layer.Layer<Hasher> = Layer.succeed(Hasher, {
    hash: Effect.fn("Hasher.hash")((path) => abortable((signal) => hashFile(path, signal), isHashError))
  })

  /** Reads nothing; zeros. */
  static readonly layerDryRun: Layer.Layer<Hasher> = Layer.succeed(Hasher, {
    hash: () => Effect.succeed({ md5: "0".repeat(32), sha256: "0".repeat(64) })
  })

  /** Reads nothing: digests of the path instead. `failures` by path, each call takes the next; then it works. */
  static readonly layerMemory = (failures: Record<string, Array<HashError>> = {}): Layer.Layer<Hasher> =>
    Layer.succeed(Hasher, {
      hash: Effect.fnUntraced(function* (path) {
        const failure = failures[path]?.shift()
        if (failure !== undefined) return yield* failure
        return {
          md5: createHash("md5").update(path).digest("hex"),
          sha256: createHash("sha256").update(path).digest("hex")
        }
      })
    })
}

const isHashError = (cause: unknown): cause is HashError => cause instanceof HashError

const blockSize = 1 << 20

const hashFile = async (path: string, signal: AbortSignal): Promise<Checksums> => {
  const failed = (cause: unknown): never => {
    throw new HashError({
      path,
      message: `cannot read ${path} for its checksums: ${explain(cause)}`,
      transient: isTransientCode(codeOf(cause)),
      cause
    })
  }
  const { file } = await openRegular(path).catch(failed)
  try {
    const md5 = createHash("md5")
    const sha256 = createHash("sha256")
    const buffer = Buffer.allocUnsafe(blockSize)
    let position = 0
    for (;;) {
      signal.throwIfAborted()
      const { bytesRead } = await file.read(buffer, 0, blockSize, position).catch(failed)
      if (bytesRead === 0) return { md5: md5.digest("hex"), sha256: sha256.digest("hex") }
      const filled = buffer.subarray(0, bytesRead)
      md5.update(filled)
      sha256.update(filled)
      position += bytesRead
    }
  } finally {
    await closeRead(file)
  }
}
