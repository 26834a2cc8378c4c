import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import { notToWrite } from "../regularFile.ts"
import { syncOpen } from "./sync.ts"

/** How to open a file that must not exist. */
export const createOnly = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/** How to open a file for adding to it. Not blocking: a fifo in its place must not hang us. */
export const appending =
  constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** See Disk.append. */
export const appendLine = (line: string) => async (file: fs.FileHandle) => {
  const stats = await file.stat()
  const obstacle = notToWrite(stats)
  if (obstacle !== undefined) throw new Error(obstacle)
  const last = Buffer.alloc(1)
  if (stats.size > 0) await file.read(last, 0, 1, stats.size - 1)
  const torn = stats.size > 0 && last[0] !== newline
  await file.writeFile(`${torn ? "\n" : ""}${line}\n`, "utf8")
  return syncOpen(file)
}

const newline = 10

/** Opens a file, which is closed afterwards. */
export const withFile = async <A>(
  path: string,
  flags: number,
  use: (file: fs.FileHandle) => Promise<A>,
  mode = 0o666
): Promise<A> => {
  const file = await fs.open(path, flags, mode)
  try {
    return await use(file)
  } finally {
    await file.close()
  }
}
