import type { Compression, PreviousArchive } from "../domain/ArchiveIndex.ts"
import type { Manifest, ManifestEntry } from "../domain/Manifest.ts"
import type { SourceView } from "../domain/Source.ts"
import { waiting } from "../workers/FileCalls.ts"
import { type Runner, WorkerEnded } from "../workers/Runner.ts"
import { isOutOfMemory } from "../workers/Wire.ts"
import {
  type CompressedBlock,
  compressBlock,
  compressFiles,
  type FilesOutput,
  sampleMethod
} from "./Compress.ts"
import type { Method } from "./Entry.ts"
import { lookAhead } from "./LookAhead.ts"
import { writer } from "./OrderedWriter.ts"
import type { Output } from "./Output.ts"
import { type Piece, pieces } from "./Reuse.ts"
import { type Copied, copier, nothingCopied, openPrevious, type Previous } from "./ReuseCopy.ts"
import { makeSlots, type Slot } from "./Slots.ts"
import { openSource, type SourceFile } from "./SourceFile.ts"
import { type Batch, type Large, type Part, slotSize, units } from "./Units.ts"
import { wantedFrom, wantedOf } from "./Wanted.ts"
import { makeHeaders } from "./Yazl.ts"

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

/** Pieces of work for each thread that are begun before their turn to be written. */
const aheadPerThread = 2

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
    const file = await openSource(from, wantedOf(view, manifest, entry, index), waiting)
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
