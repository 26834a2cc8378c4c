import { explain } from "../domain/Errno.ts"
import type { Manifest, ManifestEntry } from "../domain/Manifest.ts"
import type { SourceView } from "../domain/Source.ts"
import { ArchiveError, type ArchiveReport } from "./ArchiveError.ts"
import { type Compressed, type Compression, compressBlocks, compressWhole, wholeLimit } from "./Compress.ts"
import { headOf } from "./Entry.ts"
import { lookAhead } from "./LookAhead.ts"
import { createOutput, type Output } from "./Output.ts"
import { openSource } from "./SourceFile.ts"
import { makeHeaders } from "./Yazl.ts"

/** Small files that are read and compressed ahead of the one that is written. */
const filesAhead = 16

/** A zip to be written. */
interface WriteOptions {
  readonly view: SourceView
  readonly manifest: Manifest
  readonly destination: string
  readonly compression: Compression
}

/**
 * Writes the zip and syncs it. On failure, and when `signal` is aborted, nothing is left at the destination.
 * Sizes and CRC stand in the local headers (those of large files are filled in afterwards), so there are no
 * data descriptors and the zip can be read from a pipe.
 */
export const writeZip = async (options: WriteOptions, signal: AbortSignal): Promise<ArchiveReport> => {
  signal.throwIfAborted()
  const output = await createOutput(options.destination)
  try {
    await writeEntries(options, output, signal)
    const zipSize = output.position()
    await output.finish()
    return { zipSize, entries: options.manifest.entries.length, bytes: options.manifest.bytes }
  } catch (cause) {
    throw await discard(output, cause)
  }
}

const writeEntries = async (options: WriteOptions, output: Output, signal: AbortSignal): Promise<void> => {
  const headers = makeHeaders()
  for await (const [entry, small] of lookAhead(
    options.manifest.entries,
    filesAhead,
    smallFile(options, signal)
  )) {
    signal.throwIfAborted()
    const at = output.position()
    const open = headers.open(headOf(entry), at)
    if (small !== undefined) {
      await output.write(open.localHeader(small.sums))
      await output.write(small.data)
      open.finish(small.sums)
      continue
    }
    const file = await openSource(options.view, options.manifest.folder, entry)
    try {
      await output.write(open.localHeader())
      const { chunks, sums } = await compressBlocks(file, entry.size, options.compression, signal)
      for await (const chunk of chunks) await output.write(chunk)
      await output.patch(at, open.localHeader(sums()))
      open.finish(sums())
    } finally {
      await file.close()
    }
  }
  for await (const chunk of headers.end(output.position())) {
    signal.throwIfAborted()
    await output.write(chunk)
  }
}

/** What can be done ahead: directories and small files; a large file is left to its turn. */
const smallFile =
  (options: WriteOptions, signal: AbortSignal) =>
  async (entry: ManifestEntry): Promise<Compressed | undefined> => {
    if (entry.kind === "directory") return nothing
    if (entry.size > wholeLimit) return undefined
    signal.throwIfAborted()
    const file = await openSource(options.view, options.manifest.folder, entry)
    try {
      return await compressWhole(file, entry.size, options.compression)
    } finally {
      await file.close()
    }
  }

const nothing: Compressed = {
  sums: { method: "store", crc32: 0, size: 0, compressedSize: 0 },
  data: Buffer.alloc(0)
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
