import { constants } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"
import * as Effect from "effect/Effect"
import { codeOf, explain } from "../../domain/Errno.ts"

/** A small text file that a person wrote. */
export interface FoundText {
  readonly path: string
  readonly text: string
  /** Permission bits; undefined for a pipe or a device, where they say nothing. */
  readonly mode: number | undefined
}

const maxBytes = 1024 * 1024

/** Without waiting for a fifo's writer: whoever waits there cannot be stopped by a signal. */
const flags = constants.O_RDONLY | constants.O_NONBLOCK

/** How long a pipe is asked again, and how often: its writer may open it later than we. */
const patienceMillis = 10_000
const pauseMillis = 50

/**
 * Reads UTF-8 text, with or without a byte order mark, from a file or a pipe (a shell's `<(…)`). Fails with what is wrong, in
 * words.
 */
export const readText = (path: string): Effect.Effect<FoundText, string> =>
  Effect.acquireUseRelease(
    Effect.tryPromise({
      try: () => open(path, flags),
      catch: (cause) => `cannot be read: ${explain(cause)}`
    }),
    (file) =>
      Effect.gen(function* () {
        const fails = (cause: unknown) => `cannot be read: ${explain(cause)}`
        const stat = yield* Effect.tryPromise({ try: () => file.stat(), catch: fails })
        if (stat.isDirectory()) return yield* Effect.fail("is a folder; expected a file")
        const content = Buffer.alloc(maxBytes + 1)
        let length = 0
        let waited = 0
        for (;;) {
          const bytesRead = yield* Effect.tryPromise({
            try: () => readSome(file, content, length),
            catch: fails
          })
          if (bytesRead === undefined) {
            yield* Effect.sleep(pauseMillis)
            continue
          }
          if (bytesRead === 0) {
            if (length > 0 || !stat.isFIFO()) break
            if (waited >= patienceMillis) return yield* Effect.fail("is a fifo to which nobody writes")
            yield* Effect.sleep(pauseMillis)
            waited += pauseMillis
            continue
          }
          length += bytesRead
          if (length > maxBytes) return yield* Effect.fail("is larger than 1 MiB; expected a small text file")
        }
        const bytes = content.subarray(0, length)
        const other = otherEncoding(bytes)
        if (other !== undefined) return yield* Effect.fail(`is written in ${other}; save it as UTF-8`)
        const text = yield* Effect.try({
          try: () => new TextDecoder("utf-8", { fatal: true }).decode(bytes),
          catch: () => "is not UTF-8 text"
        })
        return { path, text, mode: stat.isFile() ? stat.mode & 0o7777 : undefined }
      }),
    // Nothing was written, so nothing can be lost when closing fails.
    (file) => Effect.ignore(Effect.tryPromise(() => file.close()))
  )

/** UTF-16 or UTF-32, by its byte order mark, or by the zeros beside the first character, which is ASCII in what is read here. */
const otherEncoding = (bytes: Uint8Array): string | undefined => {
  const [first, second, third, fourth] = bytes
  if (first === undefined || second === undefined) return undefined
  if ((first === 0xff && second === 0xfe) || (first !== 0 && second === 0)) {
    return third === 0 && fourth === 0 ? "UTF-32" : "UTF-16"
  }
  if (first === 0xfe && second === 0xff) return "UTF-16"
  if (first === 0) return second === 0 ? "UTF-32" : "UTF-16"
  return undefined
}

/** How many bytes were read; undefined when its writer has not written them yet. */
const readSome = async (file: FileHandle, content: Buffer, length: number): Promise<number | undefined> => {
  try {
    return (await file.read(content, length, content.length - length, null)).bytesRead
  } catch (cause) {
    if (codeOf(cause) === "EAGAIN") return
    throw cause
  }
}
