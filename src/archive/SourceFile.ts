import * as fs from "node:fs"
import { promisify } from "node:util"
import { codeOf, explain, isTransientCode } from "../domain/Errno.ts"
import type { FolderName } from "../domain/FolderName.ts"
import type { ManifestEntry } from "../domain/Manifest.ts"
import * as RawPath from "../domain/RawPath.ts"
import * as Source from "../domain/Source.ts"
import { readOnly } from "../services/regularFile.ts"
import { ArchiveError } from "./ArchiveError.ts"

// Only what may wait for the disk is asynchronous, and not through a FileHandle: a call through node's threads
// costs ten times the call itself, which shows with 100,000 small files.
const open = promisify(fs.open)
const read = promisify(fs.read)

/** One file of the source, open for reading. */
export interface SourceFile {
  /** Fills `buffer` from `position`, as far as the file goes; how many bytes. */
  readonly read: (buffer: Buffer, position: number) => Promise<number>
  /** Throws unless the content is what the manifest promised: called when everything has been read. */
  readonly check: (bytesRead: number) => void
  readonly close: () => Promise<void>
}

/**
 * Opens a file of the manifest. It has to be a regular file of the manifest's size and, where the source may
 * change under our hands, of its time, before and after it is read.
 */
export const openSource = async (
  view: Source.SourceView,
  folder: FolderName,
  entry: ManifestEntry
): Promise<SourceFile> => {
  const name = RawPath.display(RawPath.join(RawPath.fromText(folder), entry.path))
  const path = Source.resolveEntry(view, folder, entry.path)

  const changed = (what: string, cause?: unknown) =>
    view.frozen
      ? new ArchiveError({
          reason: "Unreadable",
          path: RawPath.display(path),
          message: `cannot read ${name}: it ${what} in ${view.label}`,
          transient: false,
          cause
        })
      : new ArchiveError({
          reason: "Changed",
          path: RawPath.display(path),
          message: `${name} changed while it was read: it ${what}`,
          transient: true,
          cause
        })

  const failed = (cause: unknown): never => {
    const code = codeOf(cause)
    if (!view.frozen && code !== undefined && gone.has(code)) throw changed("is gone", cause)
    throw new ArchiveError({
      reason: "Unreadable",
      path: RawPath.display(path),
      message: `cannot read ${name}: ${explain(cause)}`,
      transient: isTransientCode(code),
      cause
    })
  }

  const fd = await open(RawPath.toBuffer(path), readOnly).catch(failed)
  let reading: Promise<unknown> | undefined
  let closed = false

  const fstat = (): fs.BigIntStats => {
    try {
      return fs.fstatSync(fd, { bigint: true })
    } catch (cause) {
      return failed(cause)
    }
  }

  const compare = (): fs.BigIntStats => {
    const stats = fstat()
    if (!stats.isFile()) throw changed("is no regular file any more")
    if (stats.size !== BigInt(entry.size)) {
      throw changed(`has ${stats.size} bytes where ${entry.size} were listed`)
    }
    if (!view.frozen && stats.mtimeNs !== entry.mtimeNs) throw changed("was modified")
    return stats
  }

  const file = {
    read: async (buffer: Buffer, position: number) => {
      let done = 0
      while (done < buffer.length) {
        // By then the descriptor may be another file's.
        if (closed) throw new Error(`${name} is closed`)
        const step = read(fd, buffer, done, buffer.length - done, position + done)
        reading = step
        const { bytesRead } = await step.catch(failed)
        if (bytesRead === 0) break
        done += bytesRead
      }
      return done
    },
    close: async () => {
      closed = true
      await Promise.allSettled([reading])
      try {
        fs.closeSync(fd)
      } catch {
        // What close reports is about writing, and nothing was written: what was read has been checked.
      }
    }
  }

  try {
    const before = compare()
    return {
      ...file,
      check: (bytesRead) => {
        if (bytesRead !== entry.size) {
          throw changed(`gave ${bytesRead} bytes where ${entry.size} were listed`)
        }
        if (view.frozen) return
        // ctime as well: a program can set the time of change back, and its clock is coarse.
        const after = compare()
        if (after.ctimeNs !== before.ctimeNs) throw changed("was modified")
      }
    }
  } catch (cause) {
    await file.close()
    throw cause
  }
}

/** What says that another thing, or nothing, is at the path by now. */
const gone: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EMLINK", "ESTALE", "ENXIO"])
