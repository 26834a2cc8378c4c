import type { BigIntStats } from "node:fs"
import * as fs from "node:fs/promises"
import { connect, createServer, type Server } from "node:net"
import { codeOf } from "./Errno.ts"

/**
 * A lock for Linux without the program flock: a listening socket in the abstract namespace, named by device and inode of
 * the lock file. One process at a time has the name, and the kernel frees it when that process ends, however it ends.
 *
 * It holds among the processes of one network namespace: not between a container and its host, not between two machines
 * that share the file. The name has no permissions: another user who takes it first keeps every run out, and can do no
 * other harm.
 */
export interface SocketLock {
  readonly release: () => Promise<void>
}

/** Undefined when another process has it. Rejects when the kernel refuses such a socket. */
export const takeSocket = (file: BigIntStats): Promise<SocketLock | undefined> =>
  new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once("error", (cause) => (codeOf(cause) === "EADDRINUSE" ? resolve(undefined) : reject(cause)))
    server.listen(nameOf(file), () => {
      // The lock of a run does not keep its process alive.
      server.unref()
      resolve({ release: () => closed(server) })
    })
  })

/** Whether a process has the socket. */
export const isSocketTaken = (file: BigIntStats): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(nameOf(file), () => {
      socket.destroy()
      resolve(true)
    })
    // EAGAIN: it is there, and does not keep up with those who ask.
    socket.once("error", (cause) => resolve(codeOf(cause) === "EAGAIN"))
  })

/** Whether a process has locked the file by flock(2), as far as `/proc/locks` (or another list) shows. */
export const isFlocked = async (file: BigIntStats, list = "/proc/locks"): Promise<boolean> => {
  const { dev, ino } = file
  const major = ((dev >> 8n) & 0xfffn).toString(16).padStart(2, "0")
  const minor = ((dev & 0xffn) | ((dev >> 12n) & 0xfff00n)).toString(16).padStart(2, "0")
  // 1: FLOCK  ADVISORY  WRITE 359 00:1b:1234 0 EOF
  const locked = new RegExp(`^\\d+: FLOCK +ADVISORY +\\S+ +-?\\d+ ${major}:${minor}:${ino} `, "m")
  return locked.test(await fs.readFile(list, "latin1").catch(() => ""))
}

/** As long as a name may be: a shorter one gets zeros from some versions of node and none from others. */
const nameOf = ({ dev, ino }: BigIntStats): string => `\0zipper-lock-${dev}-${ino}`.padEnd(108, "-")

const closed = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()))
