import * as fs from "node:fs"
import { promisify } from "node:util"

/** How a thread opens and reads files. */
export interface FileCalls {
  readonly open: (path: Buffer, flags: number) => Promise<number>
  readonly read: (
    fd: number,
    buffer: Buffer,
    offset: number,
    length: number,
    position: number
  ) => Promise<{ readonly bytesRead: number }>
}

/**
 * For the main thread, which must not wait for a disk. Not through a FileHandle: a call through node's threads
 * costs ten times the call itself, which shows with 100,000 small files. Pure, so that the worker's program goes without it.
 */
export const waiting: FileCalls = {
  open: /* @__PURE__ */ promisify(fs.open),
  read: /* @__PURE__ */ promisify(fs.read)
}

/** For a worker thread, which has nothing else to do. */
export const blocking: FileCalls = {
  open: async (path, flags) => fs.openSync(path, flags),
  read: async (fd, buffer, offset, length, position) => ({
    bytesRead: fs.readSync(fd, buffer, offset, length, position)
  })
}

/** Fills `buffer` from `position` of the file, as far as the file goes; how many bytes. */
export const fill = async (
  calls: FileCalls,
  fd: number,
  buffer: Buffer,
  position: number
): Promise<number> => {
  let done = 0
  while (done < buffer.length) {
    const { bytesRead } = await calls.read(fd, buffer, done, buffer.length - done, position + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done
}
