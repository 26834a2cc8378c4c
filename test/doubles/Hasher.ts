import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type HashError, Hasher, hasherOf } from "../../src/system/Hasher.ts"

/** Reads nothing: digests of the path instead. `failures` by path, each call takes the next; then it works. */
export const memoryHasher = (
  failures: Record<string, Array<HashError>> = {},
  contents: ReadonlyMap<string, string> = new Map()
): Layer.Layer<Hasher> =>
  Layer.succeed(
    Hasher,
    hasherOf(
      Effect.fnUntraced(function* (path) {
        const failure = failures[path]?.shift()
        if (failure !== undefined) return yield* failure
        const content = `${path}\0${contents.get(path) ?? ""}`
        return {
          md5: createHash("md5").update(content).digest("hex"),
          sha256: createHash("sha256").update(content).digest("hex")
        }
      })
    )
  )
