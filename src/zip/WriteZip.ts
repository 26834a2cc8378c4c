import type { Manifest, ManifestEntry } from "../source/Manifest.ts"
import type { SourceView } from "../source/SourceView.ts"
import { explain } from "../system/Errno.ts"
import { waitingFile } from "../system/FileCalls.ts"
import { isOutOfMemory, type Runner, WorkerEnded } from "../system/WorkerJob.ts"
import type { Compression, PreviousArchive } from "./ArchiveIndex.ts"
import {
  type Batch,
  type CompressedBlock,
  compressBlock,
  compressFiles,
  type FilesOutput,
  type Large,
  makeSlots,
  type Part,
  type Slot,
  sampleMethod,
  slotSize,
  units
} from "./Compress.ts"
import { makeCombiner } from "./Crc32.ts"
import { type EntrySums, headOf, type Method } from "./Headers.ts"
import { aheadPerThread, lookAhead } from "./LookAhead.ts"
import { createOutput, type Output } from "./Output.ts"
import {
  type Copied,
  copier,
  nothingCopied,
  openPrevious,
  type Piece,
  type Previous,
  pieces
} from "./Reuse.ts"
import { nameOthers, openSource, type SourceFile, wantedFrom, wantedOf } from "./SourceFile.ts"
import { type Headers, makeHeaders } from "./Yazl.ts"
import { ArchiveError, type ArchiveReport } from "./ZipError.ts"

const nothing: EntrySums = { method: "store", crc32: 0, size: 0, compressedSize: 0 }

const bytesOf = (slot: Slot, length: number): Buffer => Buffer.from(slot.buffer, slot.byteOffset, length)

/** What became of the `index`th of some small files. */
const sumsAt = (output: FilesOutput, index: number, size: number): EntrySums => ({
  method: output.deflated[index] === 1 ? "deflate" : "store",
  crc32: output.crc32[index] ?? 0,
  size,
  compressedSize: output.compressedSize[index] ?? 0
})

/** Writes entries behind each other as their data comes. */
export const writer = (headers: Headers, output: Output) => {
  const combine = makeCombiner()
  let current: { readonly at: number; readonly open: ReturnType<Headers["open"]> } | undefined
  let sums = nothing

  return {
    /** Bytes at the beginning of the zip that are in the file and will not change any more. */
    settled: (): number => Math.min(output.flushed(), current?.at ?? output.flushed()),

    /** Directories and small files, in one go or in several; `result` is of the files among all of them. */
    batch: (result: FilesOutput | undefined, slot: Slot) => {
      const data = bytesOf(slot, slot.byteLength)
      let file = 0
      let from = 0
      return async (entries: ReadonlyArray<ManifestEntry>): Promise<void> => {
        for (const entry of entries) {
          let own = nothing
          if (entry.kind === "file" && result !== undefined) own = sumsAt(result, file++, entry.size)
          const open = headers.open(headOf(entry), output.position())
          await output.write(open.localHeader(own))
          await output.write(data.subarray(from, from + own.compressedSize))
          from += own.compressedSize
          open.finish(own)
        }
      }
    },

    /** The next block of a large file; checks the file after the last one. */
    block: async (
      entry: ManifestEntry,
      file: SourceFile,
      method: Method,
      block: CompressedBlock,
      slot: Slot,
      part: { readonly last: boolean }
    ): Promise<void> => {
      if (current === undefined) {
        const at = output.position()
        current = { at, open: headers.open(headOf(entry), at) }
        sums = { ...nothing, method }
        await output.write(current.open.localHeader())
      }
      await output.write(bytesOf(slot, block.compressedSize))
      sums = {
        method,
        crc32: combine(sums.crc32, block.crc32, block.length),
        size: sums.size + block.length,
        compressedSize: sums.compressedSize + block.compressedSize
      }
      if (!part.last) return
      file.check(sums.size)
      await output.patch(current.at, current.open.localHeader(sums))
      current.open.finish(sums)
      current = undefined
    }
  }
}

/** What is written, from where and how. */
export interface WriteOptions {
  readonly view: SourceView
  readonly manifest: Manifest
  readonly compression: Compression
  readonly runner: Runner
  /** The archive before: what of it is unchanged is copied. */
  readonly previous?: PreviousArchive | undefined
  /** Told from time to time how many bytes at the beginning of the zip are in the file and final. */
  readonly settled?: ((bytes: number) => void) | undefined
  /** Told after each piece of work how many uncompressed bytes of the entries are in the zip, read or copied. */
  readonly progress?: ((bytes: number) => void) | undefined
}

/** The manifest's entries in order: all of them to be compressed, or what is unchanged to be copied. */
const planOf = (
  manifest: Manifest,
  before: Before | undefined,
  signal: AbortSignal
): Iterable<Piece> | AsyncIterable<Piece> =>
  before === undefined
    ? [{ kind: "fresh", from: 0, entries: manifest.entries }]
    : pieces(manifest, before.archive.index.stamps, before.open.entries(signal))

const sizeOf = (entries: ReadonlyArray<ManifestEntry>): number =>
  entries.reduce((sum, { kind, size }) => (kind === "file" ? sum + size : sum), 0)

/** The archive before, open. */
interface Before {
  readonly archive: PreviousArchive
  readonly open: Previous
}

/** A unit that can be written: what was compressed lies in a slot. */
type BegunBatch = Batch & { readonly slot: Slot; readonly result: FilesOutput | undefined }

type Begun =
  | BegunBatch
  | (Part & {
      readonly file: SourceFile
      readonly method: Method
      readonly slot: Slot
      readonly result: CompressedBlock
    })

/**
 * Compresses on the runner's threads, a bounded way ahead, copies what is unchanged, and writes everything in
 * order. Gives what was copied.
 */
export const writeEntries = async (
  options: WriteOptions,
  output: Output,
  signal: AbortSignal
): Promise<Copied> => {
  const { previous } = options
  if (previous === undefined) return writeAll(options, undefined, output, signal)
  const open = await openPrevious(previous)
  try {
    return await writeAll(options, { archive: previous, open }, output, signal)
  } finally {
    await open.close()
  }
}

const writeAll = async (
  options: WriteOptions,
  before: Before | undefined,
  output: Output,
  signal: AbortSignal
): Promise<Copied> => {
  const { compression, manifest, runner, view } = options
  const headers = makeHeaders()
  const from = wantedFrom(view, manifest.folder)
  const slots = makeSlots(slotSize)
  const open = new Set<Large>()

  const openLarge = async ({ entry, index }: Large) => {
    const file = await openSource(from, wantedOf(view, manifest, entry, index), waitingFile)
    try {
      if (compression.level === 0) return { file, method: "store" } as const
      if (compression.method === "deflate") return { file, method: "deflate" } as const
      const sampled = runner.run(sampleMethod, { fd: file.fd, size: entry.size }, signal)
      return { file, method: await sampled.catch(unlessOurs(file)) }
    } catch (cause) {
      file.close()
      throw cause
    }
  }

  const unlessOurs = (file: SourceFile) => (cause: unknown) => {
    if (signal.aborted || cause instanceof WorkerEnded || isOutOfMemory(cause)) throw cause
    return file.failed(cause)
  }

  const compressed = async (unit: Batch, slot: Slot): Promise<FilesOutput | undefined> => {
    const files = unit.pieces.flatMap((piece) =>
      piece.kind === "fresh"
        ? piece.entries.flatMap((entry, offset) =>
            entry.kind === "file" ? [wantedOf(view, manifest, entry, piece.from + offset)] : []
          )
        : []
    )
    if (files.length === 0) return undefined
    return runner.run(compressFiles, { from, files, compression, slot }, signal)
  }

  const begin = async (unit: Batch | Part): Promise<Begun> => {
    signal.throwIfAborted()
    const slot = slots.take()
    if (unit.kind === "batch") return { ...unit, slot, result: await compressed(unit, slot) }
    const { large, last, length, start } = unit
    open.add(large)
    large.opened ??= openLarge(large)
    const { file, method } = await large.opened
    const block = { fd: file.fd, start, length, last, method, level: compression.level, slot }
    return {
      ...unit,
      file,
      method,
      slot,
      result: await runner.run(compressBlock, block, signal).catch(unlessOurs(file))
    }
  }

  const written = writer(headers, output)
  let through = 0
  const passed = (bytes: number): void => {
    through += bytes
    options.progress?.(through)
  }
  const copies = before === undefined ? undefined : copier(before.open, headers, output, passed, signal)
  const writeBatch = async ({ pieces, result, slot }: BegunBatch): Promise<void> => {
    const fresh = written.batch(result, slot)
    for (const piece of pieces) {
      signal.throwIfAborted()
      if (piece.kind === "copied") await copies?.piece(piece)
      else {
        await fresh(piece.entries)
        passed(sizeOf(piece.entries))
      }
    }
  }

  try {
    const plan = units(planOf(manifest, before, signal))
    for await (const done of lookAhead(plan, runner.width * aheadPerThread + 2, begin)) {
      signal.throwIfAborted()
      if (done.kind === "batch") await writeBatch(done)
      else {
        const { file, large, method, result, slot } = done
        await written.block(large.entry, file, method, result, slot, done)
        passed(done.length)
        if (done.last) {
          open.delete(large)
          file.close()
        }
      }
      slots.give(done.slot)
      options.settled?.(written.settled())
    }
  } finally {
    // By now no thread reads from them.
    for (const { opened } of open) {
      const [result] = await Promise.allSettled([opened])
      if (result.status === "fulfilled") result.value?.file.close()
    }
  }
  for await (const chunk of headers.end(output.position())) {
    signal.throwIfAborted()
    await output.write(chunk)
  }
  return copies?.copied() ?? nothingCopied
}

/** A zip to be written. */
interface ZipOptions extends WriteOptions {
  readonly destination: string
}

/**
 * Writes the zip; it is not synced. On failure, and when `signal` is aborted, nothing is left at the destination.
 * Sizes and CRC stand in the local headers (those of large files are filled in afterwards), so there are no
 * data descriptors and the zip can be read from a pipe.
 */
export const writeZip = async (options: ZipOptions, signal: AbortSignal): Promise<ArchiveReport> => {
  signal.throwIfAborted()
  const output = await createOutput(options.destination)
  try {
    const copied = await writeEntries(options, output, signal)
    const zipSize = output.position()
    await output.finish()
    return {
      zipSize,
      entries: options.manifest.entries.length,
      bytes: options.manifest.bytes,
      madeWith: options.compression,
      copiedFiles: copied.files,
      copied: copied.ranges
    }
  } catch (cause) {
    throw await nameOthers(await discard(output, endedAt(options.destination, cause)), options, signal)
  }
}

/** Removes the partial zip; the failure to report, which says so if that failed too. */
const discard = async (output: Output, cause: unknown): Promise<unknown> => {
  try {
    await output.discard()
    return cause
  } catch (left) {
    if (!(cause instanceof ArchiveError)) return left
    const { reason, path, transient } = cause
    const message = `${cause.message}; the partial zip is left: ${left instanceof ArchiveError ? left.message : explain(left)}`
    return new ArchiveError({ reason, path, transient, message, cause })
  }
}

/** A thread that ended, or memory that was missing on this one, is the failure of what it worked for. */
export const endedAt = (path: string, cause: unknown): unknown => {
  const why =
    cause instanceof WorkerEnded
      ? cause.message
      : isOutOfMemory(cause)
        ? `there is no memory left: ${explain(cause)}`
        : undefined
  return why === undefined
    ? cause
    : new ArchiveError({
        reason: "Worker",
        path,
        message: `cannot work on ${path}: ${why}`,
        transient: true,
        cause
      })
}
