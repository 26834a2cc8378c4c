import { crc32 } from "node:zlib"
import * as RawPath from "../domain/RawPath.ts"
import { ArchiveError, isArchiveError } from "./ArchiveError.ts"
import { type BlockReader, openBlocks } from "./BlockReader.ts"
import { type Directory, endRecords } from "./EndRecord.ts"
import type { EntryHead, EntrySums } from "./Entry.ts"
import { compareHeaders, type Headers, readHead } from "./ReadHeaders.ts"
import { type CentralEntry, openZip, type ZipReader } from "./Yauzl.ts"

/** An entry whose headers have been checked, with a way to its content. */
interface ReadEntry extends EntryHead, EntrySums {
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
    const zip = await openZip(blocks).catch(damaged(path))
    let end = 0
    let entries = 0
    let record = zip.directoryStart
    try {
      for await (const central of zip.entries()) {
        signal.throwIfAborted()
        const name = `"${RawPath.display(RawPath.fromBuffer(central.fileNameRaw))}"`
        const headers = await readHeaders(zip, blocks, central, record, end).catch(damaged(path, name))
        yield {
          ...headers.head,
          ...headers.sums,
          content: () => content(zip, headers, signal, damaged(path, name))
        }
        end = headers.local.fileDataStart + central.compressedSize
        record += headers.recordLength
        entries += 1
      }
    } catch (cause) {
      if (signal.aborted || isArchiveError(cause)) throw cause
      damaged(path)(cause)
    }
    await checkEnd(blocks, { entries, start: end, size: record - zip.directoryStart }, path)
  } finally {
    await blocks.close()
  }
}

const readHeaders = async (
  zip: ZipReader,
  blocks: BlockReader,
  central: CentralEntry,
  record: number,
  expectedOffset: number
): Promise<Headers> => {
  const head = readHead(central)
  if (central.relativeOffsetOfLocalHeader !== expectedOffset) {
    throw new Error("it does not begin where the entry before it ends")
  }
  // The one field of the record that yauzl does not give: the disk's number.
  if ((await blocks.bytes(record + 34, 2)).readUInt16LE(0) !== 0) throw new Error("its disk number is not 0")
  return compareHeaders(head, central, await zip.local(central))
}

async function* content(
  zip: ZipReader,
  headers: Headers,
  signal: AbortSignal,
  fail: (cause: unknown) => never
): AsyncGenerator<Buffer> {
  let checksum = 0
  try {
    for await (const chunk of zip.data(headers.central, headers.local)) {
      signal.throwIfAborted()
      checksum = crc32(chunk, checksum)
      yield chunk
    }
  } catch (cause) {
    if (signal.aborted) throw cause
    fail(cause)
  }
  if (checksum !== headers.sums.crc32) fail(new Error("its CRC-32 is wrong"))
}

const checkEnd = async (blocks: BlockReader, directory: Directory, path: string): Promise<void> => {
  const expected = endRecords(directory)
  const at = directory.start + directory.size
  const found = blocks.size === at + expected.length ? await blocks.bytes(at, expected.length) : undefined
  if (found?.equals(expected) !== true) damaged(path)(new Error("its end record does not fit its content"))
}

const damaged =
  (path: string, entry?: string) =>
  (cause: unknown): never => {
    if (isArchiveError(cause)) throw cause
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new ArchiveError({
      reason: "Corrupt",
      path,
      message: `${path} is damaged${entry === undefined ? "" : ` at ${entry}`}: ${why}`,
      transient: false,
      cause
    })
  }
