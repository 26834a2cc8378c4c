import * as fs from "node:fs"
import { codeOf, explain, isTransientCode } from "../../domain/Errno.ts"
import * as RawPath from "../../domain/RawPath.ts"
import type { SourceView } from "../../domain/Source.ts"
import { TreeError } from "./TreeError.ts"

/** Of what is passed over, so many are named in the log; the rest is counted. */
export const namesLogged = 100

/** The names in a directory, in no order. */
export const names = (path: RawPath.RawPath): Promise<ReadonlyArray<RawPath.RawPath>> =>
  new Promise((resolve, reject) => {
    // latin1 gives one character a byte, which is what a RawPath is: a Buffer a name costs ten times the memory.
    fs.readdir(RawPath.toBuffer(path), { encoding: "latin1" }, (error, found) =>
      error === null ? resolve(found.map(RawPath.fromLatin1)) : reject(error)
    )
  })

/** `lstat`, times in nanoseconds. Asked for every name: what readdir says of types may be "unknown". */
export const lstat = (path: RawPath.RawPath): Promise<fs.BigIntStats> =>
  new Promise((resolve, reject) => {
    fs.lstat(RawPath.toBuffer(path), { bigint: true }, (error, stats) =>
      error === null ? resolve(stats) : reject(error)
    )
  })

/** What it is that is passed over, for the log. */
export const typeOf = (stats: fs.BigIntStats): string =>
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

/** `action` failed on `shown` (for people), which lies at `path`. */
export const failed = (
  view: SourceView,
  action: string,
  shown: RawPath.RawPath,
  path: RawPath.RawPath,
  cause: unknown
): TreeError => {
  const code = codeOf(cause)
  const vanished = !view.frozen && (code === "ENOENT" || code === "ENOTDIR")
  return new TreeError({
    path: RawPath.display(path),
    message: vanished
      ? `${RawPath.display(shown)} vanished while it was listed`
      : `cannot ${action} ${shown === "" ? RawPath.display(path) : RawPath.display(shown)}: ${explain(cause)}`,
    transient: vanished || isTransientCode(code),
    cause
  })
}
