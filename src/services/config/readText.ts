import { open } from "node:fs/promises"
import * as Effect from "effect/Effect"
import { explain } from "../../domain/Errno.ts"

/** A small text file that a person wrote. */
export interface FoundText {
  readonly path: string
  readonly text: string
  /** Permission bits; undefined for a pipe or a device, where they say nothing. */
  readonly mode: number | undefined
}

const maxBytes = 1024 * 1024

/** Reads UTF-8 text, with or without a byte order mark. Fails with what is wrong, in words. */
export const readText = (path: string): Effect.Effect<FoundText, string> =>
  Effect.acquireUseRelease(
    Effect.tryPromise({ try: () => open(path, "r"), catch: (cause) => `cannot be read: ${explain(cause)}` }),
    (file) =>
      Effect.gen(function* () {
        const fails = (cause: unknown) => `cannot be read: ${explain(cause)}`
        const stat = yield* Effect.tryPromise({ try: () => file.stat(), catch: fails })
        if (stat.isDirectory()) return yield* Effect.fail("is a folder; expected a file")
        const content = Buffer.alloc(maxBytes + 1)
        let length = 0
        for (;;) {
          const { bytesRead } = yield* Effect.tryPromise({
            try: () => file.read(content, length, content.length - length, null),
            catch: fails
          })
          if (bytesRead === 0) break
          length += bytesRead
          if (length > maxBytes) return yield* Effect.fail("is larger than 1 MiB; expected a small text file")
        }
        const text = yield* Effect.try({
          try: () => new TextDecoder("utf-8", { fatal: true }).decode(content.subarray(0, length)),
          catch: () => "is not UTF-8 text"
        })
        return { path, text, mode: stat.isFile() ? stat.mode & 0o7777 : undefined }
      }),
    // Nothing was written, so nothing can be lost when closing fails.
    (file) => Effect.ignore(Effect.tryPromise(() => file.close()))
  )
