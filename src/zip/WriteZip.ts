import type { Manifest, ManifestEntry } from "../source/Manifest.ts"
import type { SourceView } from "../source/SourceView.ts"
import { explain } from "../system/Errno.ts"
import { waitingCalls } from "../system/FileCalls.ts"
import { isOutOfMemory, type Runner, WorkerEnded } from "../system/WorkerJob.ts"
import type { Compression, PreviousArchive } from "./ArchiveIndex.ts"
import {
  type Batch,
  compressBlock,
  compressFiles,
  type FilesOutput,
  type LargeFile,
  makeSlot,
  type Part,
  type Slot,
  sampleMethod,
  units
} from "./Compress.ts"
import { type EntryHead, type EntrySums, headOf, localHeader, noSums } from "./Headers.ts"
import { aheadPerThread, lookAhead } from "./LookAhead.ts"
import { createOutput, type Output } from "./Output.ts"
import { type Copied, freshPieces, makeCombiner, makeCopier, openPrevious, type Previous, pieces } from "./Reuse.ts"
import { nameOthers, openSource, requestOf, type SourceFile, sourceFolder } from "./SourceFile.ts"
import { makeDirectory } from "./Yazl.ts"
import { type ArchiveReport, endedAt, isArchiveError, withMessage } from "./ZipError.ts"

interface WriteInput {
  readonly view: SourceView
  readonly manifest: Manifest
  readonly destination: string
  readonly compression: Compression
  readonly runner: Runner
}

export interface ArchiveOptions {
  /** To copy unchanged entries from, if made with the same compression; a failure to read it has the reason `Previous`. */
  readonly previous?: PreviousArchive | undefined
  /** Gets from time to time how many bytes at the beginning of the zip are in the file and final. */
  readonly settled?: ((bytes: number) => void) | undefined
  /** Gets from time to time how many of the manifest's bytes are in the zip; up to all of them. */
  readonly progress?: ((bytes: number) => void) | undefined
}

/**
 * Writes the zip, not synced; on failure, and when `signal` is aborted, nothing is left. Sizes and CRC stand in the local
 * headers (of large files, filled in afterwards): there are no data descriptors, and the zip can be read from a pipe.
 */
export const writeZip = async (
  input: WriteInput,
  options: ArchiveOptions,
  signal: AbortSignal
): Promise<ArchiveReport> => {
  signal.throwIfAborted()
  const { compression, destination, manifest } = input
  const output = await createOutput(destination)
  try {
    const previous = options.previous === undefined ? undefined : await openPrevious(options.previous)
    const copied = await writeEntries(input, { ...options, previous }, output, signal).finally(previous?.close)
    const zipSize = output.position()
    await output.finish()
    return { zipSize, entries: manifest.entries.length, bytes: manifest.bytes, madeWith: compression, ...copied }
  } catch (cause) {
    throw await nameOthers(await discard(output, endedAt(destination, cause)), input, signal)
  }
}

const writeEntries = async (
  { compression, manifest, runner, view }: WriteInput,
  { previous, progress, settled }: Omit<ArchiveOptions, "previous"> & { readonly previous: Previous | undefined },
  output: Output,
  signal: AbortSignal
): Promise<Copied> => {
  const { level } = compression
  const directory = makeDirectory()
  const folder = sourceFolder(view, manifest.folder)
  /** Used again and again: fresh memory costs more than what is done in it. */
  const idleSlots: Array<Slot> = []
  const open = new Set<LargeFile>()

  const unlessOurs = (file: SourceFile) => (cause: unknown) => {
    if (signal.aborted || cause instanceof WorkerEnded || isOutOfMemory(cause)) throw cause
    return file.failed(cause)
  }

  const openLarge = async ({ entry, index }: LargeFile) => {
    const file = await openSource(folder, requestOf(view, manifest, entry, index), waitingCalls)
    try {
      if (level === 0) return { file, method: "store" } as const
      if (compression.method === "deflate") return { file, method: "deflate" } as const
      const sampled = runner.run(sampleMethod, { fd: file.fd, size: entry.size }, signal)
      return { file, method: await sampled.catch(unlessOurs(file)) }
    } catch (cause) {
      file.close()
      throw cause
    }
  }

  const compressBatch = async (batch: Batch, slot: Slot): Promise<FilesOutput | undefined> => {
    const fresh = batch.pieces.filter((piece) => piece.kind === "fresh")
    const files = fresh.flatMap(({ entries, from }) =>
      entries.flatMap((entry, offset) =>
        entry.kind === "file" ? [requestOf(view, manifest, entry, from + offset)] : []
      )
    )
    return files.length === 0 ? undefined : runner.run(compressFiles, { folder, files, compression, slot }, signal)
  }

  const compressPart = async ({ large, last, length, start }: Part, slot: Slot) => {
    open.add(large)
    large.opened ??= openLarge(large)
    const { file, method } = await large.opened
    const block = { fd: file.fd, start, length, last, method, level, slot }
    const result = await runner.run(compressBlock, block, signal).catch(unlessOurs(file))
    return { file, method, result }
  }

  const compress = async (unit: Batch | Part) => {
    signal.throwIfAborted()
    const slot = idleSlots.pop() ?? makeSlot()
    return unit.kind === "batch"
      ? { ...unit, slot, result: await compressBatch(unit, slot) }
      : { ...unit, slot, ...(await compressPart(unit, slot)) }
  }
  type Compressed<Kind> = Extract<Awaited<ReturnType<typeof compress>>, { readonly kind: Kind }>

  let done = 0
  const advance = (bytes: number): void => {
    done += bytes
    progress?.(done)
  }
  const copier = previous === undefined ? undefined : makeCopier(previous, directory, output, advance, signal)

  const writeBatch = async (batch: Compressed<"batch">): Promise<void> => {
    const data = bytesOf(batch.slot)
    let file = 0
    let from = 0
    for (const piece of batch.pieces) {
      signal.throwIfAborted()
      if (piece.kind === "copied") {
        await copier?.copy(piece)
        continue
      }
      for (const entry of piece.entries) {
        let sums = noSums
        if (entry.kind === "file" && batch.result !== undefined) sums = sumsAt(batch.result, file++, entry.size)
        const head = headOf(entry)
        directory.add(head, sums, output.position())
        for (const bytes of [localHeader(head, sums), data.subarray(from, from + sums.compressedSize)]) {
          const written = output.write(bytes)
          if (written !== undefined) await written
        }
        from += sums.compressedSize
      }
      advance(sizeOf(piece.entries))
    }
  }

  const combine = makeCombiner()
  let current: { readonly at: number; readonly head: EntryHead; readonly sums: EntrySums } | undefined

  const writePart = async (part: Compressed<"part">): Promise<void> => {
    const { file, large, method, result, slot } = part
    if (current === undefined) {
      current = { at: output.position(), head: headOf(large.entry), sums: noSums }
      // Overwritten once the sums are known.
      await output.write(localHeader(current.head))
    }
    const { at, head, sums: before } = current
    await output.write(bytesOf(slot, result.compressedSize))
    const sums = {
      method,
      crc32: combine(before.crc32, result.crc32, result.length),
      size: before.size + result.length,
      compressedSize: before.compressedSize + result.compressedSize
    }
    current = { at, head, sums }
    if (part.last) {
      file.check(sums.size)
      await output.patch(at, localHeader(head, sums))
      directory.add(head, sums, at)
      current = undefined
      open.delete(large)
      file.close()
    }
    advance(part.length)
  }

  try {
    const plan: Parameters<typeof units>[0] =
      previous === undefined ? freshPieces(manifest) : pieces(manifest, previous.stamps, previous.entries(signal))
    for await (const unit of lookAhead(units(plan), runner.width * aheadPerThread + 2, compress)) {
      signal.throwIfAborted()
      await (unit.kind === "batch" ? writeBatch(unit) : writePart(unit))
      idleSlots.push(unit.slot)
      settled?.(Math.min(output.flushed(), current?.at ?? output.flushed()))
    }
  } finally {
    // No thread reads from them any more.
    for (const { opened } of open) {
      const [result] = await Promise.allSettled([opened])
      if (result.status === "fulfilled") result.value?.file.close()
    }
  }
  for await (const chunk of directory.end(output.position())) {
    signal.throwIfAborted()
    await output.write(chunk)
  }
  return copier?.copied() ?? { copiedFiles: 0, copied: [] }
}

const bytesOf = (slot: Slot, length = slot.byteLength): Buffer => Buffer.from(slot.buffer, slot.byteOffset, length)

const sumsAt = (output: FilesOutput, index: number, size: number): EntrySums => ({
  method: output.deflated[index] === 1 ? "deflate" : "store",
  crc32: output.crc32[index] ?? 0,
  size,
  compressedSize: output.compressedSize[index] ?? 0
})

const sizeOf = (entries: ReadonlyArray<ManifestEntry>): number =>
  entries.reduce((sum, { kind, size }) => (kind === "file" ? sum + size : sum), 0)

/** Removes the partial zip; the failure to report, which says so if that failed too. */
const discard = async (output: Output, cause: unknown): Promise<unknown> => {
  try {
    await output.discard()
    return cause
  } catch (left) {
    if (!isArchiveError(cause)) return left
    const why = isArchiveError(left) ? left.message : explain(left)
    return withMessage(cause, `${cause.message}; the partial zip is left: ${why}`)
  }
}
