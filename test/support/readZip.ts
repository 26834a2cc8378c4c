import { checkLocal, type ZipEntry } from "../../src/zip/Headers.ts"
import { takeContent } from "../../src/zip/ReadSlice.ts"
import { type OpenZip, openZip, readEntries } from "../../src/zip/ReadZip.ts"
import { damaged, isArchiveError } from "../../src/zip/ZipError.ts"

/** An entry whose headers have been checked, with a way to its content. */
interface ReadEntry extends ZipEntry {
  /** The uncompressed data. Fails when CRC-32 or size are wrong, once all of it has been read. */
  readonly content: () => AsyncIterable<Buffer>
}

/**
 * All entries of a zip that this program wrote, in order, each checked as far as it can be without what it was
 * made from: both headers say the same, entries lie one behind the other with nothing between them, before
 * or after. The CRC-32 is checked when an entry's `content` is read to its end. Every failure is an
 * ArchiveError that names the entry.
 */
export async function* readZip(path: string, signal: AbortSignal): AsyncGenerator<ReadEntry> {
  signal.throwIfAborted()
  const zip = await openZip(path)
  try {
    for await (const batch of readEntries(path, signal)) {
      for (const entry of batch) {
        signal.throwIfAborted()
        const fail = damaged(path, entry.name)
        const header = await zip.fill(Buffer.allocUnsafe(entry.dataStart - entry.start), entry.start).catch(fail)
        try {
          checkLocal(entry, header)
        } catch (cause) {
          fail(cause)
        }
        yield { ...entry, content: () => content(zip, entry, signal, fail) }
      }
    }
  } finally {
    await zip.close()
  }
}

/** What a zip that this program wrote holds, by name and in order. */
export const contentsOf = async (path: string): Promise<ReadonlyMap<string, Buffer>> => {
  const contents = new Map<string, Buffer>()
  for await (const { content, name } of readZip(path, AbortSignal.timeout(60_000))) {
    const chunks: Array<Buffer> = []
    for await (const chunk of content()) chunks.push(Buffer.from(chunk))
    contents.set(String(name), Buffer.concat(chunks))
  }
  return contents
}

async function* content(
  zip: OpenZip,
  entry: ZipEntry,
  signal: AbortSignal,
  fail: (cause: unknown) => never
): AsyncGenerator<Buffer> {
  const load = (start: number, end: number) => zip.fill(Buffer.allocUnsafe(end - start), start)
  async function* pieces(start: number, end: number) {
    for (let at = start; at < end; at += pieceSize) yield await load(at, Math.min(end, at + pieceSize))
  }
  try {
    const chunks: Array<Buffer> = []
    await takeContent(entry, { bytes: () => undefined, load, pieces, inflated: () => undefined }, (chunk) => {
      signal.throwIfAborted()
      chunks.push(Buffer.from(chunk))
    })
    yield* chunks
  } catch (cause) {
    if (signal.aborted || isArchiveError(cause)) throw cause
    fail(cause)
  }
}

const pieceSize = 256 * 1024
