import * as fs from "node:fs/promises"
import { adviceOnWriting, codeOf, explain, isTransientCode } from "../system/Errno.ts"
import { createOnly } from "../system/FileCalls.ts"
import { ArchiveError } from "./ZipError.ts"

const bufferSize = 1 << 20

export type Output = Awaited<ReturnType<typeof createOutput>>

/** Creates the file at `path`, where nothing may be yet, not even a symlink. */
export const createOutput = async (path: string) => {
  const file = await fs.open(path, createOnly, 0o666).catch(failed("create", path))
  const pending = Buffer.allocUnsafe(bufferSize)
  let used = 0
  let flushed = 0
  let open = true

  const writeAt = async (bytes: Buffer, position: number): Promise<void> => {
    let done = 0
    while (done < bytes.length) {
      const { bytesWritten } = await file
        .write(bytes, done, bytes.length - done, position + done)
        .catch(failed("write", path))
      done += bytesWritten
    }
  }

  const flush = async (): Promise<void> => {
    if (used === 0) return
    await writeAt(pending.subarray(0, used), flushed)
    flushed += used
    used = 0
  }

  const writeNow = async (bytes: Buffer): Promise<void> => {
    await flush()
    if (bytes.length < pending.length) {
      used += bytes.copy(pending, used)
      return
    }
    await writeAt(bytes, flushed)
    flushed += bytes.length
  }

  return {
    position: (): number => flushed + used,
    flushed: (): number => flushed,
    /** A promise only where it has to wait: most small entries need not. */
    write: (bytes: Buffer): Promise<void> | undefined => {
      if (used + bytes.length > pending.length) return writeNow(bytes)
      used += bytes.copy(pending, used)
      return undefined
    },
    patch: async (position: number, bytes: Buffer): Promise<void> => {
      if (position >= flushed) {
        bytes.copy(pending, position - flushed)
        return
      }
      await flush()
      await writeAt(bytes, position)
    },
    /** Writes what is left and closes. It does not sync: publication does. */
    finish: async (): Promise<void> => {
      await flush()
      await file.close().catch(failed("close", path))
      open = false
    },
    discard: async (): Promise<void> => {
      if (!open) return
      open = false
      // An error of close says nothing new about a file that is thrown away.
      await Promise.allSettled([file.close()])
      await fs.unlink(path).catch(failed("remove", path))
    }
  }
}

const failed =
  (verb: string, path: string) =>
  (cause: unknown): never => {
    throw new ArchiveError({
      reason: "Write",
      path,
      message: `cannot ${verb} ${path}: ${explain(cause)}${adviceOnWriting(codeOf(cause))}`,
      transient: isTransientCode(codeOf(cause)),
      cause
    })
  }
