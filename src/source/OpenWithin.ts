import * as fs from "node:fs"
import { valueOr } from "../system/Errno.ts"
import { platform } from "../system/Platform.ts"
import * as RawPath from "../text/RawPath.ts"
import type { Identity } from "./Manifest.ts"

/**
 * A file that is opened in a live source must be the listed one, by device and inode: a folder on the way can become a symlink.
 * Where inode numbers change (FUSE, some shares), it is opened again through no symlink, and device and times decide.
 */
export const isListed = (listed: Identity, { dev, ino }: Pick<fs.BigIntStats, "dev" | "ino">): boolean =>
  dev === listed.dev && BigInt.asIntN(64, ino) === listed.ino

/** The same by all but the inode number. No program can set a ctime. */
export const mayBeListed = (
  listed: Identity,
  { ctimeNs, dev, mtimeNs }: Pick<fs.BigIntStats, "ctimeNs" | "dev" | "mtimeNs">
): boolean => dev === listed.dev && mtimeNs === listed.mtimeNs && BigInt.asIntN(64, ctimeNs) === listed.ctimeNs

type Open = (path: Buffer, flags: number) => Promise<number>

/** Not blocking: a fifo may be in the place of the folder. */
export const folderOnly =
  fs.constants.O_RDONLY | fs.constants.O_DIRECTORY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK

const { openFiles } = platform
const hasOpenFiles = openFiles !== undefined && valueOr(() => fs.statSync(openFiles).isDirectory(), false)

/** A path of the open folder itself, wherever its own path leads by now. Undefined where the system has none. */
export const pathOfOpen = (fd: number): RawPath.RawPath | undefined =>
  hasOpenFiles ? RawPath.fromLatin1(`${openFiles}/${fd}`) : undefined

export const closeRead = (fd: number): void => {
  try {
    fs.closeSync(fd)
  } catch {
    // The file was only read: errors of close are about writing.
  }
}

/** Opens `path`, relative to the folder `root`, folder by folder. Rejects with ELOOP or ENOTDIR at a symlink. */
export const openWithin = async (
  open: Open,
  root: RawPath.RawPath,
  path: RawPath.RawPath,
  flags: number
): Promise<number> => {
  // Not `root` by its path in /proc, which is a symlink that these flags refuse.
  const names = path === RawPath.here ? [] : path.split("/").map(RawPath.fromLatin1)
  let at = root
  let fd = await open(RawPath.toBuffer(root), folderOnly)
  try {
    for (const [index, name] of names.entries()) {
      at = RawPath.join(pathOfOpen(fd) ?? at, name)
      const next = await open(RawPath.toBuffer(at), index === names.length - 1 ? flags : folderOnly)
      closeRead(fd)
      fd = next
    }
    return fd
  } catch (cause) {
    closeRead(fd)
    throw cause
  }
}
