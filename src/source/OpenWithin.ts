import * as fs from "node:fs"
import * as RawPath from "../text/RawPath.ts"
import type { Identity } from "./Manifest.ts"

/**
 * What is opened in a source that others may change must be what was listed: between the two, a folder on the way can be swapped for
 * a symlink that leads elsewhere. The device and inode of what is open tell. File systems that give a file another inode
 * number now and then (FUSE, some shares) are the exception: there it is reached again through no symlink, and has to be of the
 * listing's device and times.
 */
export const isListed = (listed: Identity, { dev, ino }: Pick<fs.BigIntStats, "dev" | "ino">): boolean =>
  dev === listed.dev && BigInt.asIntN(64, ino) === listed.ino

/** Whether it can be what was listed, by all but its inode number. No program can set the time of the last change (ctime). */
export const mayBeListed = (
  listed: Identity,
  { ctimeNs, dev, mtimeNs }: Pick<fs.BigIntStats, "ctimeNs" | "dev" | "mtimeNs">
): boolean => dev === listed.dev && mtimeNs === listed.mtimeNs && BigInt.asIntN(64, ctimeNs) === listed.ctimeNs

/** `open`, on this thread or on node's. */
type Open = (path: Buffer, flags: number) => Promise<number>

/** How a folder is opened to be listed. Not blocking: a fifo may have come to its place. */
export const folderOnly =
  fs.constants.O_RDONLY | fs.constants.O_DIRECTORY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK

const isThere = (path: string): boolean => {
  try {
    return fs.statSync(path).isDirectory()
  } catch {
    return false
  }
}

const throughProc = process.platform === "linux" && isThere("/proc/self/fd")

/** Linux: a path that leads to an open folder itself, even if its own path leads elsewhere by now. Undefined on other systems. */
export const pathOfOpen = (fd: number): RawPath.RawPath | undefined =>
  throughProc ? RawPath.fromLatin1(`/proc/self/fd/${fd}`) : undefined

/** Closes what was only read: what close reports is about writing. */
export const closeRead = (fd: number): void => {
  try {
    fs.closeSync(fd)
  } catch {
    // The descriptor is gone either way.
  }
}

/**
 * Opens `path`, which is relative to the folder `root` (empty: that one), folder by folder and through no symlink: ELOOP or ENOTDIR
 * where there is one. Without /proc each folder is looked at right before instead.
 */
export const openWithin = async (
  open: Open,
  root: RawPath.RawPath,
  path: RawPath.RawPath,
  flags: number
): Promise<number> => {
  // The folder itself is open by then: its path in /proc is a symlink, which these flags refuse.
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
