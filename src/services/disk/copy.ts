import * as fs from "node:fs/promises"
import * as Effect from "effect/Effect"
import { closeRead, openRegular } from "../regularFile.ts"
import { attempt, type DiskError } from "./DiskError.ts"
import { createOnly } from "./file.ts"
import { syncOpen } from "./sync.ts"

/** See Disk.copy. */
export const copyFile = (from: string, to: string): Effect.Effect<void, DiskError> =>
  Effect.uninterruptibleMask((restore) =>
    attempt("copy", `${from} to ${to}`, () => openBoth(from, to)).pipe(
      Effect.flatMap((files) =>
        restore(copyAll(files.source, files.target, `${from} to ${to}`)).pipe(
          Effect.ensuring(
            attempt("close", to, () => Promise.all([closeRead(files.source), files.target.close()])).pipe(
              Effect.ignoreLogged
            )
          )
        )
      )
    )
  )

const openBoth = async (from: string, to: string) => {
  const { file: source } = await openRegular(from)
  try {
    return { source, target: await fs.open(to, createOnly) }
  } catch (error) {
    await closeRead(source)
    throw error
  }
}

const chunk = 4 * 1024 * 1024

// Interruptible between chunks: a copy can take an hour.
const copyAll = (
  source: fs.FileHandle,
  target: fs.FileHandle,
  path: string
): Effect.Effect<void, DiskError> =>
  Effect.suspend(() => {
    const buffer = Buffer.allocUnsafe(chunk)
    const step = attempt("copy", path, async () => {
      const { bytesRead } = await source.read(buffer, 0, chunk, null)
      for (let done = 0; done < bytesRead; ) {
        done += (await target.write(buffer, done, bytesRead - done, null)).bytesWritten
      }
      return bytesRead
    })
    return Effect.repeat(step, { until: (bytes) => bytes === 0 }).pipe(
      Effect.zipRight(attempt("sync", path, () => syncOpen(target)).pipe(Effect.asVoid))
    )
  })
