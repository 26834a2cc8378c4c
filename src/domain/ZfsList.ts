import * as Either from "effect/Either"
import * as RawPath from "./RawPath.ts"

/** One mounted file system. */
export interface Mount {
  /** Dataset, device, or whatever the file system calls its source. */
  readonly device: string
  /** `zfs`, `tmpfs`, … */
  readonly type: string
  readonly mountpoint: RawPath.RawPath
  /** What of the file system is mounted there: `/`, or the folder of a bind mount. */
  readonly root: RawPath.RawPath
}

/**
 * Whether something is mounted there that stays until it is unmounted: not a place where autofs only waits for somebody to look, and not a
 * snapshot in `.zfs`, which the kernel mounts and unmounts as it likes.
 */
export const isLasting = ({ device, type }: Mount): boolean =>
  type !== "autofs" && !(type === "zfs" && device.includes("@"))

/** One file system as `zfs list` prints it. */
export interface Dataset {
  readonly name: string
  readonly canmount: string
  readonly keystatus: string
  /** The property: a path, `none` or `legacy`. */
  readonly mountpoint: RawPath.RawPath
}

/** The kernel writes space, tab, newline and backslash as `\` and three octal digits. */
const unescape = (text: string): string =>
  text.replace(/\\([0-3][0-7][0-7])/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))

/** Reads Linux's `/proc/self/mountinfo` (latin1), in its order: a later mount covers an earlier one. */
export const parseMountInfo = (text: string): ReadonlyArray<Mount> =>
  text.split("\n").flatMap((line) => {
    // 36 35 0:29 /ABCD /srv rw,relatime shared:1 - zfs tank/data rw,xattr
    const [before, after] = line.split(" - ", 2)
    const [, , , root, mountpoint] = before?.split(" ") ?? []
    const [type, device] = after?.split(" ") ?? []
    if (root === undefined || mountpoint === undefined || type === undefined || device === undefined)
      return []
    if (!mountpoint.startsWith("/")) return []
    return [
      {
        device: unescape(device),
        type,
        mountpoint: RawPath.fromLatin1(unescape(mountpoint)),
        root: RawPath.fromLatin1(unescape(root))
      }
    ]
  })

/** Reads what `mount` prints on FreeBSD and macOS (latin1): `tank/data on /mnt/tank/data (zfs, local, nfsv4acls)`. */
export const parseMountOutput = (text: string): ReadonlyArray<Mount> =>
  text.split("\n").flatMap((line) => {
    const [, device, mountpoint, type] = /^(.+?) on (\/.*) \(([a-z0-9_.]+)[,)][^(]*$/.exec(line) ?? []
    if (device === undefined || mountpoint === undefined || type === undefined) return []
    return [{ device, type, mountpoint: RawPath.fromLatin1(mountpoint), root: RawPath.fromLatin1("/") }]
  })

/** The columns that {@link parseDatasets} reads; the mount point comes last, since it may hold a tab. */
export const datasetColumns = "name,canmount,keystatus,mountpoint"

/** Reads `zfs list -H -p -t filesystem -o {@link datasetColumns}` (latin1). Left: what is no such list, as in {@link table}. */
export const parseDatasets = (text: string): Either.Either<ReadonlyArray<Dataset>, string> => {
  const datasets: Array<Dataset> = []
  for (const line of linesOf(text)) {
    const [name = "", canmount, keystatus, ...mountpoint] = line.split("\t")
    const before = datasets.pop()
    if (canmount !== undefined && keystatus !== undefined && mountpoint.length > 0) {
      if (before !== undefined) datasets.push(before)
      datasets.push({ name, canmount, keystatus, mountpoint: RawPath.fromLatin1(mountpoint.join("\t")) })
    } else if (before === undefined) {
      return Either.left(line)
    } else {
      // A mount point may hold newlines too.
      const whole = RawPath.fromLatin1(`${before.mountpoint}\n${line}`)
      datasets.push({ ...before, mountpoint: whole })
    }
  }
  return cutShort(text) ?? Either.right(datasets)
}

/**
 * Lines of `zfs list -H` or `zfs get -H` that have to have this many columns. Left: the first line that has not, for a
 * message: zfs never prints one, but something else may stand in its place, or have been cut short.
 */
export const table = (
  text: string,
  columns: number
): Either.Either<ReadonlyArray<ReadonlyArray<string>>, string> => {
  const all = rows(text)
  const wrong = all.find((row) => row.length !== columns)
  return wrong === undefined ? (cutShort(text) ?? Either.right(all)) : Either.left(wrong.join("\t"))
}

const linesOf = (text: string): ReadonlyArray<string> => text.split("\n").filter((line) => line !== "")

/** Every line ends; where the last one does not, there was more. */
const cutShort = (text: string): Either.Either<never, string> | undefined =>
  text === "" || text.endsWith("\n") ? undefined : Either.left(linesOf(text).at(-1) ?? "")

/** A number as zfs prints it with `-p`. */
export const isDecimal = (text: string): boolean => /^[0-9]{1,20}$/.test(text)

/** Lines of `zfs … -H`, each cut into its columns, whatever they hold: where a stranger's values may be in them. */
export const rows = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  text.split("\n").flatMap((line) => (line === "" ? [] : [line.split("\t")]))

/** `dataset` of `dataset@snapshot`. */
export const datasetOf = (snapshot: string): string => snapshot.split("@", 1)[0] ?? ""

/** `snapshot` of `dataset@snapshot`. */
export const shortName = (snapshot: string): string => snapshot.slice(snapshot.indexOf("@") + 1)
