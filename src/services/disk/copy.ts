import { createHash } from "node:crypto"
import * as fs from "node:fs/promises"
import * as Effect from "effect/Effect"
import { closeRead, openRegular } from "../regularFile.ts"
import { attempt, DiskError } from "./DiskError.ts"
import { createOnly } from "./file.ts"
import { syncOpen } from "./sync.ts"

/** See Disk.copy. */
export const copyFile = (from: string, to: string, sha256?: string): Effect.Effect<void, DiskError> =>
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
      ),
      Effect.flatMap((digest) =>
        sha256 === undefined || sha256 === digest
          ? restore(readBack(from, to, digest))
          : different(
              from,
              to,
              `${from} was read with another SHA-256 (${digest}) than it has to have (${sha256})`
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

/** The SHA-256 of what was read. Interruptible between chunks: a copy can take an hour. */
const copyAll = (
  source: fs.FileHandle,
  target: fs.FileHandle,
  path: string
): Effect.Effect<string, DiskError> =>
  Effect.suspend(() => {
    const buffer = Buffer.allocUnsafe(chunk)
    const hash = createHash("sha256")
    const step = attempt("copy", path, async () => {
      const { bytesRead } = await source.read(buffer, 0, chunk, null)
      hash.update(buffer.subarray(0, bytesRead))
      for (let done = 0; done < bytesRead; ) {
        done += (await target.write(buffer, done, bytesRead - done, null)).bytesWritten
      }
      return bytesRead
    })
    return Effect.repeat(step, { until: (bytes) => bytes === 0 }).pipe(
      Effect.zipRight(attempt("sync", path, () => syncOpen(target))),
      Effect.map(() => hash.digest("hex"))
    )
  })

/** Fails unless what is at `to` has the SHA-256 `written`. */
const readBack = (from: string, to: string, written: string): Effect.Effect<void, DiskError> =>
  Effect.acquireUseRelease(
    attempt("read back", to, () => openRegular(to)),
    ({ file }) =>
      Effect.suspend(() => {
        const buffer = Buffer.allocUnsafe(chunk)
        const hash = createHash("sha256")
        const step = attempt("read back", to, async () => {
          const { bytesRead } = await file.read(buffer, 0, chunk, null)
          hash.update(buffer.subarray(0, bytesRead))
          return bytesRead
        })
        return Effect.repeat(step, { until: (bytes) => bytes === 0 }).pipe(
          Effect.flatMap(() => {
            const found = hash.digest("hex")
            return found === written
              ? Effect.void
              : different(
                  from,
                  to,
                  `${to} was read back with another SHA-256 (${found}) than was written (${written})`
                )
          })
        )
      }),
    ({ file }) => Effect.promise(() => closeRead(file))
  )

/** The copy is not what it was made from, or that is not what it should be. No retry: a disk or a memory garbles data. */
const different = (from: string, to: string, why: string) =>
  Effect.fail(
    new DiskError({
      operation: "copy",
      path: to,
      code: undefined,
      message: `cannot copy ${from} to ${to}: ${why}. The disk, its connection or the memory garbles data: have them checked`,
      transient: false
    })
  )
