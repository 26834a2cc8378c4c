import type { BigIntStats } from "node:fs"
import { codeOf, explain, isTransientCode } from "../../domain/Errno.ts"
import type * as LeftOut from "../../domain/LeftOut.ts"
import * as RawPath from "../../domain/RawPath.ts"
import type { SourceView } from "../../domain/Source.ts"
import { TreeError } from "./TreeError.ts"

/** Something that is no file and no directory. */
export interface Skipped {
  readonly path: RawPath.RawPath
  readonly type: string
}

/** Of what is passed over, so many are named in the log; the rest is counted. */
export const namesLogged = 100

/** What it is that is passed over, for the log. */
export const typeOf = (stats: BigIntStats): string =>
  stats.isSymbolicLink()
    ? "symbolic link"
    : stats.isFIFO()
      ? "fifo"
      : stats.isSocket()
        ? "socket"
        : stats.isFile()
          ? "file"
          : stats.isDirectory()
            ? "directory"
            : "device"

/** The same, counted. A directory is passed over only where it shows snapshots, whose files are not left out. */
export const kindLeftOut = (stats: BigIntStats): LeftOut.LeftOut => ({
  symlinks: stats.isSymbolicLink() ? 1 : 0,
  fifos: stats.isFIFO() ? 1 : 0,
  sockets: stats.isSocket() ? 1 : 0,
  devices: stats.isBlockDevice() || stats.isCharacterDevice() ? 1 : 0
})

/** Why a name that a folder gives twice cannot be archived. */
export const twiceText = (shown: RawPath.RawPath): string =>
  `${RawPath.display(shown)} is there twice: the file system lists that name two times, and only one of them can be read. Look for it in each branch of the file system (mergerfs, FUSE), and rename or remove one`

/** Another directory has come to the place of the one that was listed. */
export const replaced = (shown: RawPath.RawPath, path: RawPath.RawPath): TreeError =>
  new TreeError({
    path: RawPath.display(path),
    message: `${RawPath.display(shown)} was replaced by another directory while it was listed`,
    transient: true
  })

const gone: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EMLINK"])

/** `action` failed on `shown` (for people), which lies at `path`. */
export const failed = (
  view: Pick<SourceView, "frozen">,
  action: string,
  shown: RawPath.RawPath,
  path: RawPath.RawPath,
  cause: unknown
): TreeError => {
  const code = codeOf(cause)
  // ENOTDIR, ELOOP and EMLINK: a file or a symlink has come to the place of a directory.
  const vanished = !view.frozen && code !== undefined && gone.has(code)
  return new TreeError({
    path: RawPath.display(path),
    message: vanished
      ? `${RawPath.display(shown)} vanished while it was listed`
      : `cannot ${action} ${shown === "" ? RawPath.display(path) : RawPath.display(shown)}: ${explain(cause)}`,
    transient: vanished || isTransientCode(code),
    cause
  })
}
