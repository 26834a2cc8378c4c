import * as RawPath from "../text/RawPath.ts"

export interface Mount {
  readonly device: string
  readonly type: string
  readonly mountpoint: RawPath.RawPath
  /** The part of the file system that is mounted: `/`, or the folder of a bind mount. */
  readonly root: RawPath.RawPath
}

/** Whether it stays until it is unmounted, which a place of autofs and a snapshot in `.zfs` do not. */
export const isLasting = ({ device, type }: Mount): boolean =>
  type !== "autofs" && !(type === "zfs" && device.includes("@"))

/** The mount that a path lies in: the longest mount point, and of several there the last one. `path` has no symlinks. */
export const mountOf = (mounts: ReadonlyArray<Mount>, path: RawPath.RawPath): Mount | undefined => {
  let best: Mount | undefined
  for (const mount of mounts) {
    if (RawPath.relativeTo(mount.mountpoint, path) === undefined) continue
    if (best === undefined || mount.mountpoint.length >= best.mountpoint.length) best = mount
  }
  return best
}

/** The kernel writes space, tab, newline and backslash as `\` and three octal digits. */
const unescape = (text: string): string =>
  text.replace(/\\([0-3][0-7][0-7])/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))

/**
 * Reads Linux's `/proc/self/mountinfo` (latin1), in its order: a later mount covers an earlier one. A folder that is bound to its
 * own place is left out, as systemd does it for ReadWritePaths: it holds the same with and without that mount.
 */
export const parseMountInfo = (text: string): ReadonlyArray<Mount> => {
  const entries = text.split("\n").flatMap((line) => entryOf(line) ?? [])
  const byId = new Map(entries.map((entry) => [entry.id, entry]))
  return entries.filter((entry) => !isBoundInPlace(entry, byId.get(entry.parent))).map(({ mount }) => mount)
}

interface Entry {
  readonly id: string
  readonly parent: string
  /** Major and minor number of the file system's device. */
  readonly fileSystem: string
  readonly mount: Mount
}

const entryOf = (line: string): Entry | undefined => {
  // 36 35 0:29 /ABCD /srv rw,relatime shared:1 - zfs tank/data rw,xattr
  const [before, after] = line.split(" - ", 2)
  const [id = "", parent = "", fileSystem = "", root, mountpoint] = before?.split(" ") ?? []
  const [type, device] = after?.split(" ") ?? []
  if (root === undefined || !mountpoint?.startsWith("/") || type === undefined || device === undefined) return undefined
  const mount = {
    device: unescape(device),
    type,
    mountpoint: RawPath.fromLatin1(unescape(mountpoint)),
    root: RawPath.fromLatin1(unescape(root))
  }
  return { id, parent, fileSystem, mount }
}

const isBoundInPlace = ({ fileSystem, id, mount }: Entry, parent: Entry | undefined): boolean => {
  // The first mount of all is its own parent.
  if (parent === undefined || parent.id === id || parent.fileSystem !== fileSystem) return false
  const place = RawPath.relativeTo(parent.mount.mountpoint, mount.mountpoint)
  return place !== undefined && mount.root === RawPath.join(parent.mount.root, place)
}

/** Reads what `mount` prints on FreeBSD and macOS (latin1): `tank/data on /mnt/tank/data (zfs, local, nfsv4acls)`. */
export const parseMountOutput = (text: string): ReadonlyArray<Mount> =>
  text.split("\n").flatMap((line) => {
    const [, device, mountpoint, type] = /^(.+?) on (\/.*) \(([a-z0-9_.]+)[,)][^(]*$/.exec(line) ?? []
    if (device === undefined || mountpoint === undefined || type === undefined) return []
    return [{ device, type, mountpoint: RawPath.fromLatin1(mountpoint), root: RawPath.fromLatin1("/") }]
  })
