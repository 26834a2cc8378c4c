import * as fs from "node:fs"
import { codeOf, explain, isTransientCode } from "../domain/Errno.ts"
import * as RawPath from "../domain/RawPath.ts"
import { readOnly } from "../services/regularFile.ts"
import { closeRead, isListed, mayBeListed, openWithin } from "../services/tree/OpenWithin.ts"
import { type FileCalls, fill } from "../workers/FileCalls.ts"
import { ArchiveError } from "./ArchiveError.ts"
import { shownName, type Wanted, type WantedFrom } from "./Wanted.ts"

/** One file of the source, open for reading. */
export interface SourceFile {
  /** For reading on another thread: all threads of a process share it. Not to be used after {@link close}. */
  readonly fd: number
  /** Turns what reading failed with into an error that names the file. */
  readonly failed: (cause: unknown) => never
  /** Fills `buffer` from its beginning, as far as the file goes; how many bytes. */
  readonly read: (buffer: Buffer) => Promise<number>
  /** Throws unless the content is what the manifest promised: called when everything has been read. */
  readonly check: (bytesRead: number) => void
  readonly close: () => void
}

/**
 * Opens a file of the manifest. It has to be a regular file of the manifest's size and, where the source may
 * change under our hands, the very file that was listed and of its time, before and after it is read.
 */
export const openSource = async (from: WantedFrom, wanted: Wanted, calls: FileCalls): Promise<SourceFile> => {
  const { real, size } = wanted

  const changed = (what: string, cause?: unknown) =>
    from.frozen
      ? new ArchiveError({
          reason: "Unreadable",
          path: RawPath.display(real),
          message: `cannot read ${shownName(from, wanted)}: it ${what} in ${from.label}`,
          transient: false,
          cause
        })
      : new ArchiveError({
          reason: "Changed",
          path: RawPath.display(real),
          message: `${shownName(from, wanted)} changed while it was read: it ${what}`,
          transient: true,
          cause
        })

  const failed = (cause: unknown): never => {
    const code = codeOf(cause)
    if (!from.frozen && code !== undefined && gone.has(code)) throw changed("is gone", cause)
    throw new ArchiveError({
      reason: "Unreadable",
      path: RawPath.display(real),
      message: `cannot read ${shownName(from, wanted)}: ${explain(cause)}`,
      transient: isTransientCode(code),
      cause
    })
  }

  const fstatOf = (open: number): fs.BigIntStats => {
    try {
      return fs.fstatSync(open, { bigint: true })
    } catch (cause) {
      return failed(cause)
    }
  }

  const openListed = async (): Promise<number> => {
    const direct = await calls.open(RawPath.toBuffer(real), readOnly).catch(failed)
    try {
      if (wanted.listed === undefined || isListed(wanted.listed, fstatOf(direct))) return direct
    } catch (cause) {
      closeRead(direct)
      throw cause
    }
    closeRead(direct)
    const again = await openWithin(calls.open, from.root, wanted.path, readOnly).catch(failed)
    try {
      if (mayBeListed(wanted.listed, fstatOf(again))) return again
      throw changed("is not the file any more that was listed")
    } catch (cause) {
      closeRead(again)
      throw cause
    }
  }

  const fd = await openListed()
  const fstat = () => fstatOf(fd)

  const compare = (): fs.BigIntStats => {
    const stats = fstat()
    if (!stats.isFile()) throw changed("is no regular file any more")
    if (stats.size !== BigInt(size)) {
      throw changed(`has ${stats.size} bytes where ${size} were listed`)
    }
    if (!from.frozen && stats.mtimeNs !== wanted.mtimeNs) throw changed("was modified")
    return stats
  }

  const close = () => closeRead(fd)

  try {
    const before = compare()
    return {
      fd,
      failed,
      read: (buffer) => fill(calls, fd, buffer, 0).catch(failed),
      close,
      check: (bytesRead) => {
        if (bytesRead !== size) {
          throw changed(`gave ${bytesRead} bytes where ${size} were listed`)
        }
        if (from.frozen) return
        // ctime as well: a program can set the time of change back, and its clock is coarse.
        const after = compare()
        if (after.ctimeNs !== before.ctimeNs) throw changed("was modified")
      }
    }
  } catch (cause) {
    close()
    throw cause
  }
}

/** What says that another thing, or nothing, is at the path by now. */
const gone: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EMLINK", "ENXIO"])
