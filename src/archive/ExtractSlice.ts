import { explain } from "../domain/Errno.ts"
import type { RawPath } from "../domain/RawPath.ts"
import * as RawPaths from "../domain/RawPath.ts"
import type { RestoreFailure } from "../domain/RestorePlan.ts"
import type { WorkerJob } from "../workers/Runner.ts"
import { archiveFailures } from "./ArchiveError.ts"
import { inflatePieces, inflateWhole, isSmall, makeSums, releasePiece, releaseWhole } from "./EntryData.ts"
import {
  createFile,
  isFileStill,
  isHopeless,
  Met,
  type NewFile,
  Unwritten,
  type Written
} from "./ExtractFile.ts"
import { type KnownFolder, makeOpener, type OpenFolder, split, syncFolder } from "./ExtractFolder.ts"
import { type Shared, shareOf } from "./ExtractShared.ts"
import { writtenOf } from "./ExtractWritten.ts"
import { checkLocal, type ZipEntry } from "./ReadHeaders.ts"
import { readRecords } from "./ReadZip.ts"
import { type SliceSource, type SliceView, windowSize, withSlice } from "./SliceReader.ts"

/** What is to be done with an entry. */
export const mark = {
  /** It is left out, or it is a folder. */
  none: 0,
  /** It is written where nothing is. */
  create: 1,
  /** It takes the place of a regular file. */
  replace: 2
} as const

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
        for (const entry of readRecords(records, input, input.zip)) {
          index += 1
          const wanted = input.marks[index] ?? mark.none
          if (wanted === mark.none) continue
          if (shared.stopped()) break
          const path = entry.rawPath ?? RawPaths.fromBuffer(entry.name)
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

  const small = (entry: ZipEntry, raw: Buffer, made: () => NewFile): void => {
    const content = entry.method === "store" ? raw : inflateWhole(raw, entry)
    const sums = makeSums(entry)
    sums.add(content)
    sums.check()
    const file = made()
    try {
      file.write(content)
      file.finish()
    } catch (cause) {
      throw file.discard(cause)
    }
    if (content !== raw) releaseWhole(content, entry)
  }

  const large = async (entry: ZipEntry, made: () => NewFile): Promise<void> => {
    const sums = makeSums(entry)
    const pieces = view.pieces(entry.dataStart, entry.end)
    const file = made()
    try {
      for await (const chunk of entry.method === "store" ? pieces : inflatePieces(pieces)) {
        if (shared.stopped()) throw new Stopped()
        sums.add(chunk)
        file.write(chunk)
        shared.wrote(chunk.length)
        if (entry.method === "deflate") releasePiece(chunk)
      }
      sums.check()
      file.finish()
    } catch (cause) {
      throw file.discard(cause)
    }
  }

  return async (
    entry: ZipEntry,
    path: RawPath,
    name: RawPath,
    folder: () => OpenFolder,
    replace: boolean
  ): Promise<void> => {
    const { dataStart, end, start } = entry
    const whole = end - start <= windowSize && isSmall(entry)
    const to = whole ? end : dataStart
    const bytes = view.bytes(start, to) ?? (await view.load(start, to))
    checkLocal(entry, bytes)
    const made = () => create(entry, path, name, folder, replace)
    if (whole) {
      small(entry, bytes.subarray(dataStart - start), made)
      shared.wrote(entry.size)
    } else await large(entry, made)
    shared.finished(entry.size, replace)
  }
}
