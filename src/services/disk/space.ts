import * as fs from "node:fs/promises"
import { codeOf } from "../../domain/Errno.ts"

/** What an unprivileged user may still use of a file system; undefined where it does not tell. */
interface Space {
  readonly bytes: number | undefined
  readonly inodes: number | undefined
}

const unknown: Space = { bytes: undefined, inodes: undefined }

/**
 * `statfs`. A file system without blocks, or without a limit of inodes, reports 0 in all (FUSE, some network shares), and one that
 * cannot be asked reports nothing: neither is a full one. Rejects only where there is no such path.
 */
export const spaceAt = async (path: string | Buffer): Promise<Space> => {
  const stats = await fs.statfs(path).catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT" || codeOf(cause) === "ENOTDIR") throw cause
    return undefined
  })
  if (stats === undefined) return unknown
  const { bavail, blocks, bsize, ffree, files } = stats
  return {
    // Below 0, which FreeBSD reports when what is kept for root is used, comes as a number larger than all.
    bytes: blocks === 0 ? undefined : bavail > blocks ? 0 : bavail * bsize,
    inodes: files === 0 ? undefined : ffree > files ? 0 : ffree
  }
}
