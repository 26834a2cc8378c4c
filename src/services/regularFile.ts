import { constants, type Stats } from "node:fs"
import * as fs from "node:fs/promises"

/** How to open what is only read: not through a symlink, and without waiting for a fifo's writer. */
export const readOnly = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/**
 * Why a file that was opened by name is not one to write to; undefined when it is. Whoever may make names in its folder may have
 * made this one for a fifo, a device, or a file of ours that lies elsewhere.
 */
export const notToWrite = (stats: Pick<Stats, "isFile" | "nlink">): string | undefined => {
  if (!stats.isFile()) return "is not a regular file"
  return stats.nlink > 1 ? "is a file with another name elsewhere (a hard link); remove this name" : undefined
}

/** Opens a regular file for reading. A fifo or a device in its place would block, or never end. */
export const openRegular = async (
  path: string
): Promise<{ readonly file: fs.FileHandle; readonly stats: Stats }> => {
  const file = await fs.open(path, readOnly)
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw new Error("is not a regular file")
    return { file, stats }
  } catch (cause) {
    await closeRead(file)
    throw cause
  }
}

/**
 * Closes a file that was only read. What close reports is about writing: everything that was asked of this file
 * has been answered, and the descriptor is gone either way.
 */
export const closeRead = async (file: fs.FileHandle): Promise<void> => {
  await Promise.allSettled([file.close()])
}

/** Reads from a regular file, which is closed afterwards. */
export const withRegular = async <A>(path: string, use: (file: fs.FileHandle) => Promise<A>): Promise<A> => {
  const { file } = await openRegular(path)
  try {
    return await use(file)
  } finally {
    await closeRead(file)
  }
}
