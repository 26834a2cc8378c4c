import * as fs from "node:fs"
import { codeOf, explain } from "../system/Errno.ts"
import { createOnly, syncNow } from "../system/FileCalls.ts"
import type { WorkerJob } from "../system/WorkerJob.ts"
import * as RawPath from "../text/RawPath.ts"
import {
  type FileId,
  type KnownFolder,
  makeOpener,
  type OpenFolder,
  setAttributes,
  split,
  whyNotMade
} from "./ExtractFolders.ts"
import { type EntryHead, sourcePath, type ZipEntry } from "./Headers.ts"
import { type SliceSource, takeContent, withSlice } from "./ReadSlice.ts"
import { readRecords } from "./ReadZip.ts"
import type { RestoreFailure } from "./RestorePlan.ts"
import { archiveFailures } from "./ZipError.ts"

/** What to do with an entry: nothing (also with a folder), write it where nothing is, or in place of a regular file. */
export const mark = { none: 0, create: 1, replace: 2 } as const

interface ExtractInput extends SliceSource {
  readonly marks: Uint8Array
  readonly root: RawPath.RawPath
  /** Those that could not be made are not among them. With `attributes`: those that no other slice puts anything into. */
  readonly folders: ReadonlyArray<KnownFolder>
  /** Begins the names of temporary files: no other name in DIR begins so. */
  readonly temporary: string
  /** Each file is synced when it is written. */
  readonly sync: boolean
  readonly shared: SharedArrayBuffer
  /** As makeFileSet gives it, where two entries may meet in one file. */
  readonly written: SharedArrayBuffer | undefined
}

export interface FileFailure extends Omit<RestoreFailure, "path"> {
  readonly path: RawPath.RawPath
}

interface ExtractOutput {
  readonly failures: ReadonlyArray<FileFailure>
  /** Why no other file could be written either: then everything has been stopped. */
  readonly hopeless: string | undefined
  /** Folders that have their attributes, or are among the failures. */
  readonly folders: ReadonlyArray<RawPath.RawPath>
}

class Stopped extends Error {}

/**
 * Writes the marked files of a slice, each with CRC-32 and size checked; what was written of a wrong one is removed, and the
 * others go on. What took the place of another file is on the disk, with its name, when this ends.
 */
export const extractSlice: WorkerJob<ExtractInput, ExtractOutput> = {
  name: "extract",
  kind: "long",
  failures: archiveFailures,
  work: (input, calls, signal) =>
    withSlice(input, calls, signal, async (records, view) => {
      const shared = shareOf(input.shared)
      const files = input.written === undefined ? undefined : fileSetOf(input.written)
      const names = new Map<bigint, RawPath.RawPath>()
      const folders = new Map(input.folders.map((folder) => [folder.path, folder]))
      const failures: Array<FileFailure> = []
      const withoutAttributes = new Set(input.folders.filter(({ attributes }) => attributes !== undefined))
      const ended: Array<RawPath.RawPath> = []
      const setFolder = (known: KnownFolder, open: () => OpenFolder): void => {
        if (!withoutAttributes.delete(known)) return
        const { path } = known
        ended.push(path)
        try {
          setAttributes(open(), known)
        } catch (cause) {
          failures.push({ path, error: explain(cause), kind: "attributes", cannot: "set mode and time of" })
        }
      }
      const opener = makeOpener(input.root, (known, folder) => setFolder(known, () => folder))
      const changed = new Set<KnownFolder>()

      const nameOf = ({ ino }: FileId): string | undefined => {
        const name = names.get(ino)
        return name === undefined ? undefined : RawPath.display(name)
      }

      const create = (entry: ZipEntry, path: RawPath.RawPath, open: () => OpenFolder, replace: boolean): NewFile => {
        const through = replace ? RawPath.fromLatin1(`${input.temporary}${entry.start}`) : undefined
        const wrote = (file: FileId): void => {
          files?.add(file)
          names.set(file.ino, path)
        }
        const written = files === undefined ? undefined : { ...files, nameOf, wrote }
        const onAttributes = (error: string) =>
          failures.push({ path, error, kind: "attributes", cannot: "set mode and time of" })
        return createFile(open, split(path).name, through, entry, written, onAttributes, input.sync)
      }

      const write = async (entry: ZipEntry, make: () => NewFile): Promise<void> => {
        let file: NewFile | undefined
        try {
          await takeContent(entry, view, (piece) => {
            if (shared.stopped()) throw new Stopped()
            file ??= make()
            file.write(piece)
            shared.wrote(piece.length)
          })
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
            const error = whyNotMade(cause, input.root, codeOf(cause instanceof WriteFailure ? cause.cause : cause))
            const kept = replace && !(cause instanceof AlreadyWritten) && isStillFile(open, name)
            const cannot = cause instanceof WriteFailure ? (replace ? "replace" : "write") : undefined
            failures.push({ path, error, kind: kept ? "kept" : "missing", cannot })
            if (!isHopeless(cause)) continue
            shared.stop()
            return { failures, hopeless: error, folders: ended }
          }
        }
        if (!shared.stopped()) for (const known of withoutAttributes) setFolder(known, () => opener.open(known))
        return { failures, hopeless: undefined, folders: ended }
      } finally {
        try {
          // A file system that cannot sync folders is no failure.
          for (const folder of changed) syncNow(opener.open(folder).fd)
        } finally {
          opener.close()
        }
      }
    })
}

class WriteFailure extends Error {
  constructor(cause: unknown, message = explain(cause)) {
    super(message, { cause })
  }
}

/** It is one file in DIR with another one of the archive, which was written there. */
export class AlreadyWritten extends WriteFailure {}

/** Errors that every other file would meet as well. */
const hopeless: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EROFS"])

const isHopeless = (cause: unknown): boolean => cause instanceof WriteFailure && hopeless.has(codeOf(cause.cause) ?? "")

const isStillFile = (open: () => OpenFolder, name: RawPath.RawPath): boolean => {
  try {
    return fs.lstatSync(open().at(name)).isFile()
  } catch {
    // A file that cannot be looked at is not reported as kept.
    return false
  }
}

const unfinishedFileMode = 0o600

/** Permissions. Never setuid or setgid: a stranger's content would run with the rights of the user who restores. */
const fileModeBits = 0o777

const asBigInts = { bigint: true } as const

export interface Written extends FileSet {
  /** The entry that was written to a file, for people, where that is known. */
  readonly nameOf: (file: FileId) => string | undefined
  readonly wrote: (file: FileId) => void
}

type NewFile = ReturnType<typeof createFile>

/**
 * Makes a file, which with `through`, a name that no other file has, takes the place of the file `name` in the end. Fails with
 * {@link WriteFailure}, of which {@link AlreadyWritten} is one; a failure to set mode or time goes to `onAttributes`.
 * `written` is undefined where no other entry can meet this one in a file.
 */
export const createFile = (
  open: () => OpenFolder,
  name: RawPath.RawPath,
  through: RawPath.RawPath | undefined,
  head: Pick<EntryHead, "mode" | "seconds">,
  written: Written | undefined,
  onAttributes: (error: string) => void,
  sync = false
) => {
  const refuse = (file: FileId): never => {
    const other = written?.nameOf(file)
    const which = other === undefined ? "another one" : `"${other}"`
    throw new AlreadyWritten(
      undefined,
      `it is one file there with ${which} of the archive, which was written to it, unless another restore is at work there`
    )
  }

  const folder = attempt(open)
  const path = attempt(() => folder.at(through ?? name))
  const fd = attempt(() => {
    try {
      return fs.openSync(path, createOnly, unfinishedFileMode)
    } catch (cause) {
      const occupant = codeOf(cause) === "EEXIST" ? fs.lstatSync(path, asBigInts) : undefined
      if (occupant !== undefined && written?.has(occupant)) refuse(occupant)
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
        // Also where it has that mode: on ZFS this takes away what others got by the folder's inherited ACL.
        fs.fchmodSync(fd, head.mode & fileModeBits)
      } catch (cause) {
        onAttributes(explain(cause))
      }
      attempt(() => {
        // After a power cut the name must lead to the one content or the other, never to an empty file.
        if (sync || through !== undefined) syncNow(fd)
        const made = written === undefined ? undefined : fs.fstatSync(fd, asBigInts)
        const note = (): void => {
          if (made !== undefined) written?.wrote(made)
        }
        close()
        if (through === undefined) return note()
        const target = folder.at(name)
        const occupant = fs.lstatSync(target, asBigInts)
        if (!occupant.isFile()) throw new Error("it is no regular file any more")
        // Of two entries that are at it at the same time, one is the first. A file with other names may be replaced at each.
        if (written?.has(occupant) || (occupant.nlink === 1n && written?.add(occupant) === false)) refuse(occupant)
        note()
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
        return new WriteFailure(
          cause instanceof WriteFailure ? cause.cause : cause,
          `${explain(cause)}; what was written of it is left: ${explain(left)}`
        )
      }
    }
  }
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

/** Block that may be left out: no file system has smaller ones to save. */
const holeSize = 4096
const zeros = Buffer.alloc(holeSize)

const isZero = (bytes: Buffer): boolean => bytes.equals(zeros.subarray(0, bytes.length))

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
        // Most blocks are told by their first byte alone.
        if (bytes[at] === 0 && isZero(bytes.subarray(at, to))) {
          if (at > from) put(bytes.subarray(from, at), size + from)
          from = to
        }
        at = to
      }
      if (bytes.length > from) put(bytes.subarray(from), size + from)
      size += bytes.length
    },
    end: (): void => {
      if (size > written) fs.ftruncateSync(fd, size)
    }
  }
}

export const makeShared = (): SharedArrayBuffer => new SharedArrayBuffer(40)

/** How far the threads of a restore are, and a flag that stops them: the same on every thread that has the memory. */
export const shareOf = (memory: SharedArrayBuffer) => {
  const counts = new BigInt64Array(memory, 0, 4)
  const flag = new Int32Array(memory, 32, 1)
  const add = (index: number, number: number): void => {
    Atomics.add(counts, index, BigInt(number))
  }
  const read = (index: number): number => Number(Atomics.load(counts, index))
  return {
    /** Lets every thread end after the file that it is writing, which is removed. */
    stop: (): void => {
      Atomics.store(flag, 0, 1)
    },
    stopped: (): boolean => Atomics.load(flag, 0) !== 0,
    wrote: (bytes: number): void => add(0, bytes),
    /** A file of so many bytes is complete, and has taken the place of another one if `replaced`. */
    finished: (bytes: number, replaced: boolean): void => {
      add(1, 1)
      add(2, bytes)
      if (replaced) add(3, 1)
    },
    written: (): number => read(0),
    complete: () => ({ files: read(1), bytes: read(2), replaced: read(3) })
  }
}

type FileSet = ReturnType<typeof fileSetOf>

/** Memory for {@link fileSetOf} and so many files. */
export const makeFileSet = (files: number): SharedArrayBuffer =>
  new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT * 2 ** Math.ceil(Math.log2(2 * files + 16)))

const free = 0n

/** 2^64 divided by the golden ratio: spreads numbers that follow each other. */
const scatter = 0x9e3779b97f4a7c15n

/** Never 0. */
const keyOf = ({ dev, ino }: FileId): bigint => BigInt.asIntN(64, (dev << 44n) ^ ino) || 1n

/** The files that a restore has written or replaced, by inode: all its threads find two entries that meet in one file. */
export const fileSetOf = (memory: SharedArrayBuffer) => {
  const table = new BigInt64Array(memory)
  const mask = BigInt(table.length - 1)

  const find = (key: bigint, take: boolean): bigint => {
    for (let from = BigInt.asUintN(64, key * scatter) >> 20n; ; from += 1n) {
      const index = Number(from & mask)
      const found = take ? Atomics.compareExchange(table, index, free, key) : Atomics.load(table, index)
      if (found === free || found === key) return found
    }
  }

  return {
    add: (file: FileId): boolean => find(keyOf(file), true) === free,
    has: (file: FileId): boolean => find(keyOf(file), false) !== free
  }
}
