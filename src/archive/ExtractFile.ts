import * as fs from "node:fs"
import { codeOf, explain } from "../domain/Errno.ts"
import type { RawPath } from "../domain/RawPath.ts"
import { syncNow } from "../services/disk/sync.ts"
import type { EntryHead } from "./Entry.ts"
import { type FolderId, fileMode, type OpenFolder } from "./ExtractFolder.ts"
import type { WrittenFiles } from "./ExtractWritten.ts"

/** A file in DIR could not be written. */
export class Unwritten extends Error {
  constructor(cause: unknown, message = explain(cause)) {
    super(message, { cause })
  }
}

/** It is one file in DIR with another one of the archive, which was written there. */
export class Met extends Unwritten {}

/** What no other file would fare better with. */
const hopeless: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EROFS"])

export const isHopeless = (cause: unknown): boolean =>
  cause instanceof Unwritten && hopeless.has(codeOf(cause.cause) ?? "")

/** A file that is being made. */
export interface NewFile {
  /** Appends. Whole blocks of zeros become holes. */
  readonly write: (bytes: Buffer) => void
  /** Gives it its size, mode, time and name. One that takes the place of another is on the disk before it does. */
  readonly finish: () => void
  /** Removes it; gives the failure to report, which says so when that failed too. */
  readonly discard: (cause: unknown) => unknown
}

/** Whether a file of that name is there, as far as that can be seen. */
export const isFileStill = (open: () => OpenFolder, name: RawPath): boolean => {
  try {
    return fs.lstatSync(open().at(name)).isFile()
  } catch {
    // What cannot be looked at is not promised to anybody.
    return false
  }
}

/** Never what is there already, and never through a symlink. */
const createOnly =
  fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_NOFOLLOW

/** For its owner alone, until all of it is there. */
const unfinished = 0o600

/** What the files of a restore have to know of each other. */
export interface Written extends WrittenFiles {
  /** The entry that was written to a file, for people, where that is known. */
  readonly nameOf: (file: FolderId) => string | undefined
  readonly wrote: (file: FolderId) => void
}

/**
 * Makes a file; failures are {@link Unwritten}, and {@link Met} where another entry was written to the same. With `through`, a name that nobody else has, it gets that first, and takes the place
 * of a regular file called `name` in the end. A mode or time that it cannot get is told, and does not fail it.
 */
export const createFile = (
  open: () => OpenFolder,
  name: RawPath,
  through: RawPath | undefined,
  head: Pick<EntryHead, "mode" | "seconds">,
  written: Written,
  onAttributes: (error: string) => void
): NewFile => {
  const folder = attempt(open)
  const path = attempt(() => folder.at(through ?? name))
  const fd = attempt(() => {
    try {
      return fs.openSync(path, createOnly, unfinished)
    } catch (cause) {
      if (codeOf(cause) === "EEXIST") refuseWritten(fs.lstatSync(path, asBigInts), written)
      throw cause
    }
  })
  const content = sparseWriter(fd)
  let isOpen = true

  const close = (): void => {
    if (!isOpen) return
    isOpen = false
    fs.closeSync(fd)
  }

  return {
    write: (bytes) => attempt(() => content.append(bytes)),
    finish: () => {
      attempt(content.end)
      try {
        // Writing afterwards would change the time again.
        fs.futimesSync(fd, Date.now() / 1000, head.seconds)
        fs.fchmodSync(fd, fileMode(head.mode))
      } catch (cause) {
        onAttributes(explain(cause))
      }
      attempt(() => {
        // After a power cut the name must lead to the one content or the other, never to an empty file.
        if (through !== undefined) syncNow(fd)
        const made = fs.fstatSync(fd, asBigInts)
        close()
        if (through === undefined) return written.wrote(made)
        const target = folder.at(name)
        const standing = fs.lstatSync(target, asBigInts)
        if (!standing.isFile()) throw new Error("it is no regular file any more")
        refuseWritten(standing, written)
        // Of two entries that are at it at the same time, one is the first. A file with other names may be replaced at each.
        if (standing.nlink === 1n && !written.add(standing)) throw metWith(standing, written)
        written.wrote(made)
        fs.renameSync(path, target)
      })
    },
    discard: (cause) => {
      try {
        close()
      } catch {
        // What it reports is about content that nobody wants any more.
      }
      try {
        fs.unlinkSync(path)
        return cause
      } catch (left) {
        const message = explain(cause)
        return new Unwritten(
          cause instanceof Unwritten ? cause.cause : cause,
          `${message}; what was written of it is left: ${explain(left)}`
        )
      }
    }
  }
}

/** Writes to a new file, and leaves out whole blocks of zeros. */
const sparseWriter = (fd: number) => {
  let size = 0
  let written = 0
  const put = (bytes: Buffer, at: number): void => {
    for (let done = 0; done < bytes.length; )
      done += fs.writeSync(fd, bytes, done, bytes.length - done, at + done)
    written = at + bytes.length
  }
  return {
    append: (bytes: Buffer): void => {
      let from = 0
      for (let at = 0; at < bytes.length; ) {
        const to = Math.min(bytes.length, at + holeSize - ((size + at) % holeSize))
        if (isZero(bytes.subarray(at, to))) {
          if (at > from) put(bytes.subarray(from, at), size + from)
          from = to
        }
        at = to
      }
      if (bytes.length > from) put(bytes.subarray(from), size + from)
      size += bytes.length
    },
    /** What ends with zeros gets its size. */
    end: (): void => {
      if (size > written) fs.ftruncateSync(fd, size)
    }
  }
}

/** Block that may be left out: no file system has smaller ones to save. */
const holeSize = 4096
const zeros = Buffer.alloc(holeSize)

const isZero = (bytes: Buffer): boolean => bytes.equals(zeros.subarray(0, bytes.length))

const asBigInts = { bigint: true } as const

const metWith = (file: FolderId, { nameOf }: Written): Met => {
  const other = nameOf(file)
  return new Met(
    undefined,
    `it is one file there with ${other === undefined ? "another one" : `"${other}"`} of the archive, which was written to it`
  )
}

const refuseWritten = (file: FolderId, written: Written): void => {
  if (written.has(file)) throw metWith(file, written)
}

const attempt = <A>(call: () => A): A => {
  try {
    return call()
  } catch (cause) {
    if (cause instanceof Unwritten) throw cause
    throw new Unwritten(
      cause,
      codeOf(cause) === "EEXIST" ? "a file of that name has appeared, and is left as it is" : explain(cause)
    )
  }
}
