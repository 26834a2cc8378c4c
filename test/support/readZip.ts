import { checkLocal, type ZipEntry } from "../../src/zip/Headers.ts"
import { inflatePieces, inflateWhole, isSmall, makeSums } from "../../src/zip/ReadSlice.ts"
import { readEntries } from "../../src/zip/ReadZip.ts"
import { type BlockReader, openBlocks } from "../../src/zip/Yauzl.ts"
import { damaged, isArchiveError } from "../../src/zip/ZipError.ts"

/** An entry whose headers have been checked, with a way to its content. */
interface ReadEntry extends ZipEntry {
  /** The uncompressed data. Fails when CRC-32 or size are wrong, once all of it has been read. */
  readonly content: () => AsyncIterable<Buffer>
}

/**
 * All entries of a zip that this program wrote, in order, each checked as far as it can be without what it was
 * made from: both headers say the same, entries lie one behind the other with nothing between them, before
 * or after. The CRC-32 is checked by whoever reads an entry's `content` to its end. Every failure is an
 * ArchiveError that names the entry.
 */
export async function* readZip(path: string, signal: AbortSignal): AsyncGenerator<ReadEntry> {
  signal.throwIfAborted()
  const blocks = await openBlocks(path)
  try {
    for await (const batch of readEntries(path, signal)) {
      for (const entry of batch) {
        signal.throwIfAborted()
        const fail = damaged(path, entry.name)
        const header = await blocks.bytes(entry.start, entry.dataStart - entry.start).catch(fail)
        try {
          checkLocal(entry, header)
        } catch (cause) {
          fail(cause)
        }
        yield { ...entry, content: () => content(blocks, entry, signal, fail) }
      }
    }
  } finally {
    await blocks.close()
  }
}

async function* content(
  blocks: BlockReader,
  entry: ZipEntry,
  signal: AbortSignal,
  fail: (cause: unknown) => never
): AsyncGenerator<Buffer> {
  try {
    const sums = makeSums(entry)
    for await (const chunk of chunks(blocks, entry)) {
      sums.add(chunk)
      signal.throwIfAborted()
      yield chunk
    }
    sums.check()
  } catch (cause) {
    if (signal.aborted || isArchiveError(cause)) throw cause
    fail(cause)
  }
}

async function* chunks(blocks: BlockReader, entry: ZipEntry): AsyncGenerator<Buffer> {
  const stored = entry.method === "store"
  if (isSmall(entry)) {
    const raw = await blocks.bytes(entry.dataStart, entry.compressedSize)
    yield stored ? raw : inflateWhole(raw, entry)
  } else {
    const pieces = blocks.pieces(entry.dataStart, entry.end)
    yield* stored ? pieces : inflatePieces(pieces)
  }
}
