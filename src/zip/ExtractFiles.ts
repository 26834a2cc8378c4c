import * as fs from "node:fs"
import { codeOf, explain } from "../system/Errno.ts"
import { syncNow } from "../system/FileCalls.ts"
import type { WorkerJob } from "../system/WorkerJob.ts"
import type { RawPath } from "../text/RawPath.ts"
import * as RawPaths from "../text/RawPath.ts"
import {
  type FolderId,
  fileMode,
  type KnownFolder,
  makeOpener,
  mark,
  type OpenFolder,
  type Shared,
  shareOf,
  split,
  syncFolder
} from "./ExtractFolders.ts"
import { type WrittenFiles, writtenOf } from "./ExtractTarget.ts"
import { type EntryHead, sourcePath, type ZipEntry } from "./Headers.ts"
import { contentOf, type SliceSource, type SliceView, withSlice } from "./ReadSlice.ts"
import { readRecords } from "./ReadZip.ts"
import type { RestoreFailure } from "./RestorePlan.ts"
import { archiveFailures } from "./ZipError.ts"

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
const unfinishedFileMode = 0o600

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

/** Part of a zip whose files are to be written. */
interface ExtractInput extends SliceSource {
  readonly count: number
  /** For each entry, see {@link mark}. */
  readonly marks: Uint8Array
  /** DIR. */
  readonly root: RawPath
  /** The folders that the files go to. Those that could not be made are not among them. */
  readonly folders: ReadonlyArray<KnownFolder>
  /** Begins the names of temporary files: no other name in DIR begins so. */
  readonly temporary: string
  /** See {@link shareOf}. */
  readonly shared: SharedArrayBuffer
  /** See {@link writtenOf}. */
  readonly written: SharedArrayBuffer
}

/** A file that is not as it should be in DIR. */
export interface FileFailure {
  /** Relative to DIR. */
  readonly path: RawPath
  readonly error: string
  /** As in domain/RestorePlan.ts. */
  readonly kind: RestoreFailure["kind"]
}

interface ExtractOutput {
  readonly failures: ReadonlyArray<FileFailure>
  /** Why no other file could be written either: then everything has been stopped. */
  readonly hopeless: string | undefined
}

/** Not wanted any more. */
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
  work: (input, files, signal) =>
    withSlice(input, files, signal, async (records, view) => {
      const shared = shareOf(input.shared)
      const folders = new Map(input.folders.map((folder) => [folder.path, folder]))
      const opener = makeOpener(input.root)
      const failures: Array<FileFailure> = []
      const changed = new Set<KnownFolder>()
      const write = makeWriter(input, view, shared, (path, error) =>
        failures.push({ path, error, kind: "attributes" })
      )
      let index = -1
      try {
        for (const entry of readRecords(records, input, input.path)) {
          index += 1
          const wanted = input.marks[index] ?? mark.none
          if (wanted === mark.none) continue
          if (shared.stopped()) break
          const path = sourcePath(entry)
          const replace = wanted === mark.replace
          const { name, parent } = split(path)
          const open = (): OpenFolder => {
            const folder = folders.get(parent)
            if (folder === undefined) throw new Unwritten(new Error("its folder could not be made"))
            return opener.open(folder)
          }
          try {
            await write(entry, path, name, open, replace)
            const folder = folders.get(parent)
            if (replace && folder !== undefined) changed.add(folder)
          } catch (cause) {
            if (cause instanceof Stopped) break
            const error = explain(cause)
            const kept = replace && !(cause instanceof Met) && isFileStill(open, name)
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

const makeWriter = (
  { temporary, written: memory }: ExtractInput,
  view: SliceView,
  shared: Shared,
  onAttributes: (path: RawPath, error: string) => void
) => {
  const files = writtenOf(memory)
  /** Of this slice alone: names are only for messages. */
  const names = new Map<bigint, RawPath>()
  const writtenAs = (path: RawPath): Written => ({
    ...files,
    nameOf: ({ ino }) => {
      const name = names.get(ino)
      return name === undefined ? undefined : RawPaths.display(name)
    },
    wrote: (file) => {
      files.add(file)
      names.set(file.ino, path)
    }
  })

  const create = (
    entry: ZipEntry,
    path: RawPath,
    name: RawPath,
    folder: () => OpenFolder,
    replace: boolean
  ): NewFile => {
    const through = replace ? RawPaths.fromLatin1(`${temporary}${entry.start}`) : undefined
    return createFile(folder, name, through, entry, writtenAs(path), (error) => onAttributes(path, error))
  }

  return async (
    entry: ZipEntry,
    path: RawPath,
    name: RawPath,
    folder: () => OpenFolder,
    replace: boolean
  ): Promise<void> => {
    let file: NewFile | undefined
    try {
      for await (const piece of contentOf(entry, view)) {
        if (shared.stopped()) throw new Stopped()
        file ??= create(entry, path, name, folder, replace)
        file.write(piece)
        shared.wrote(piece.length)
      }
      file ??= create(entry, path, name, folder, replace)
      file.finish()
    } catch (cause) {
      throw file === undefined ? cause : file.discard(cause)
    }
    shared.finished(entry.size, replace)
  }
}
