import * as fs from "node:fs"
import { codeOf, explain } from "../system/Errno.ts"
import { syncNow } from "../system/FileCalls.ts"
import type { WorkerJob } from "../system/WorkerJob.ts"
import type { RawPath } from "../text/RawPath.ts"
import * as RawPaths from "../text/RawPath.ts"
import { fileMode, type KnownFolder, makeOpener, type OpenFolder, split, syncFolder } from "./ExtractFolders.ts"
import { type FileId, type FileSet, fileSetOf, mark, shareOf } from "./ExtractShared.ts"
import { type EntryHead, sourcePath, type ZipEntry } from "./Headers.ts"
import { contentOf, type SliceSource, withSlice } from "./ReadSlice.ts"
import { readRecords } from "./ReadZip.ts"
import type { RestoreFailure } from "./RestorePlan.ts"
import { archiveFailures } from "./ZipError.ts"

interface ExtractInput extends SliceSource {
  readonly count: number
  /** For each entry, see {@link mark}. */
  readonly marks: Uint8Array
  readonly root: RawPath
  /** The folders that the files go to. Those that could not be made are not among them. */
  readonly folders: ReadonlyArray<KnownFolder>
  /** Begins the names of temporary files: no other name in DIR begins so. */
  readonly temporary: string
  /** See {@link shareOf}. */
  readonly shared: SharedArrayBuffer
  /** See {@link fileSetOf}. */
  readonly written: SharedArrayBuffer
}

/** A file that is not as it should be in DIR. */
export interface FileFailure {
  /** Relative to DIR. */
  readonly path: RawPath
  readonly error: string
  readonly kind: RestoreFailure["kind"]
}

interface ExtractOutput {
  readonly failures: ReadonlyArray<FileFailure>
  /** Why no other file could be written either: then everything has been stopped. */
  readonly hopeless: string | undefined
}

class Stopped extends Error {}

/**
 * Writes the marked files of consecutive entries, each with CRC-32 and size checked: small ones before anything is written,
 * of the others what was written is removed when they are wrong. What took the place of another file is on the disk, with
 * its name, when this ends. A file that fails stops no other one. Memory does not depend on their sizes. Writing waits for
 * the disk on any thread: little at a time, between two reads.
 */
export const extractSlice: WorkerJob<ExtractInput, ExtractOutput> = {
  name: "extract",
  kind: "long",
  failures: archiveFailures,
  work: (input, calls, signal) =>
    withSlice(input, calls, signal, async (records, view) => {
      const shared = shareOf(input.shared)
      const files = fileSetOf(input.written)
      /** Of this slice alone: names are only for messages. */
      const names = new Map<bigint, RawPath>()
      const folders = new Map(input.folders.map((folder) => [folder.path, folder]))
      const opener = makeOpener(input.root)
      const failures: Array<FileFailure> = []
      const changed = new Set<KnownFolder>()

      const create = (entry: ZipEntry, path: RawPath, open: () => OpenFolder, replace: boolean): NewFile => {
        const through = replace ? RawPaths.fromLatin1(`${input.temporary}${entry.start}`) : undefined
        const written: Written = {
          ...files,
          nameOf: ({ ino }) => {
            const name = names.get(ino)
            return name === undefined ? undefined : RawPaths.display(name)
          },
          wrote: (file) => {
            files.add(file)
            names.set(file.ino, path)
          }
        }
        return createFile(open, split(path).name, through, entry, written, (error) =>
          failures.push({ path, error, kind: "attributes" })
        )
      }

      const write = async (entry: ZipEntry, make: () => NewFile): Promise<void> => {
        let file: NewFile | undefined
        try {
          for await (const piece of contentOf(entry, view)) {
            if (shared.stopped()) throw new Stopped()
            file ??= make()
            file.write(piece)
            shared.wrote(piece.length)
          }
          file ??= make()
          file.finish()
        } catch (cause) {
          throw file === undefined ? cause : file.discard(cause)
        }
      }

      let index = -1
      try {
        for (const entry of readRecords(records, input, input.path)) {
          index += 1
          const wanted = input.marks[index] ?? mark.none
          if (wanted === mark.none) continue
          if (shared.stopped()) break
          const replace = wanted === mark.replace
          const path = sourcePath(entry)
          const { name, parent } = split(path)
          const folder = folders.get(parent)
          const open = (): OpenFolder => {
            if (folder === undefined) throw new WriteFailure(new Error("its folder could not be made"))
            return opener.open(folder)
          }
          try {
            await write(entry, () => create(entry, path, open, replace))
            shared.finished(entry.size, replace)
            if (replace && folder !== undefined) changed.add(folder)
          } catch (cause) {
            if (cause instanceof Stopped) break
            const error = explain(cause)
            const kept = replace && !(cause instanceof AlreadyWritten) && isStillFile(open, name)
            failures.push({ path, error, kind: kept ? "kept" : "missing" })
            if (!isHopeless(cause)) continue
            shared.stop()
            return { failures, hopeless: error }
          }
        }
        return { failures, hopeless: undefined }
      } finally {
        try {
          for (const folder of changed) syncFolder(opener.open(folder))
        } finally {
          opener.close()
        }
      }
    })
}

export class WriteFailure extends Error {
  constructor(cause: unknown, message = explain(cause)) {
    super(message, { cause })
  }
}

/** It is one file in DIR with another one of the archive, which was written there. */
export class AlreadyWritten extends WriteFailure {}

/** What no other file would fare better with. */
const hopeless: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EROFS"])

const isHopeless = (cause: unknown): boolean => cause instanceof WriteFailure && hopeless.has(codeOf(cause.cause) ?? "")

export type NewFile = ReturnType<typeof createFile>

/** Whether a file of that name is there, as far as that can be seen. */
const isStillFile = (open: () => OpenFolder, name: RawPath): boolean => {
  try {
    return fs.lstatSync(open().at(name)).isFile()
  } catch {
    // A file that cannot be looked at is not reported as kept.
    return false
  }
}

/** Never what is there already, and never through a symlink. */
const createOnly = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_NOFOLLOW

/** For its owner alone, until all of it is there. */
const unfinishedFileMode = 0o600

/** What the files of a restore have to know of each other. */
export interface Written extends FileSet {
  /** The entry that was written to a file, for people, where that is known. */
  readonly nameOf: (file: FileId) => string | undefined
  readonly wrote: (file: FileId) => void
}

/**
 * Makes a file; failures are {@link WriteFailure}, and {@link AlreadyWritten} where another entry was written to the same. With `through`, a
 * name that no other file has, it gets that first, and takes the place of a regular file called `name` in the end. A failure
 * to set its mode or time goes to `onAttributes`.
 */
export const createFile = (
  open: () => OpenFolder,
  name: RawPath,
  through: RawPath | undefined,
  head: Pick<EntryHead, "mode" | "seconds">,
  written: Written,
  onAttributes: (error: string) => void
) => {
  const folder = attempt(open)
  const path = attempt(() => folder.at(through ?? name))
  const fd = attempt(() => {
    try {
      return fs.openSync(path, createOnly, unfinishedFileMode)
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
    /** Appends. Whole blocks of zeros become holes. */
    write: (bytes: Buffer): void => attempt(() => content.append(bytes)),
    /** Gives it its size, mode, time and name. One that takes the place of another is on the disk before it does. */
    finish: (): void => {
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
        const occupant = fs.lstatSync(target, asBigInts)
        if (!occupant.isFile()) throw new Error("it is no regular file any more")
        refuseWritten(occupant, written)
        // Of two entries that are at it at the same time, one is the first. A file with other names may be replaced at each.
        if (occupant.nlink === 1n && !written.add(occupant)) throw alreadyWritten(occupant, written)
        written.wrote(made)
        fs.renameSync(path, target)
      })
    },
    /** Removes it; gives the failure to report, which says so when that failed too. */
    discard: (cause: unknown): unknown => {
      try {
        close()
      } catch {
        // What it reports is about content that is thrown away.
      }
      try {
        fs.unlinkSync(path)
        return cause
      } catch (left) {
        const message = explain(cause)
        return new WriteFailure(
          cause instanceof WriteFailure ? cause.cause : cause,
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
    for (let done = 0; done < bytes.length; ) done += fs.writeSync(fd, bytes, done, bytes.length - done, at + done)
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

const alreadyWritten = (file: FileId, { nameOf }: Written): AlreadyWritten => {
  const other = nameOf(file)
  return new AlreadyWritten(
    undefined,
    `it is one file there with ${other === undefined ? "another one" : `"${other}"`} of the archive, which was written to it`
  )
}

const refuseWritten = (file: FileId, written: Written): void => {
  if (written.has(file)) throw alreadyWritten(file, written)
}

const attempt = <A>(call: () => A): A => {
  try {
    return call()
  } catch (cause) {
    if (cause instanceof WriteFailure) throw cause
    throw new WriteFailure(
      cause,
      codeOf(cause) === "EEXIST" ? "a file of that name has appeared, and is left as it is" : explain(cause)
    )
  }
}
