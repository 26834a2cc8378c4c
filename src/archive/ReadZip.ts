import { type BlockReader, openBlocks } from "./BlockReader.ts"
import { damaged, need } from "./Damage.ts"
import { endRecords } from "./EndRecord.ts"
import { readEntry, type ZipEntry } from "./ReadHeaders.ts"
import { type Extent, type Slice, slices } from "./Slices.ts"
import { parseRecords, readEnd, type ZipEnd } from "./Yauzl.ts"

/**
 * What the central directory says of the entries of a zip that this program wrote, in order and in batches: for
 * a zip that can be trusted, since neither local headers nor data are looked at. Fails with an ArchiveError on
 * anything that this program does not write, and unless entries lie one behind the other, with nothing between
 * them, before or after.
 */
export async function* readEntries(
  path: string,
  signal: AbortSignal
): AsyncGenerator<ReadonlyArray<ZipEntry>> {
  signal.throwIfAborted()
  const blocks = await openBlocks(path)
  try {
    yield* batches(blocks, path, signal)
  } finally {
    await blocks.close()
  }
}

async function* batches(
  blocks: BlockReader,
  path: string,
  signal: AbortSignal
): AsyncGenerator<ReadonlyArray<ZipEntry>> {
  const end = await readEnd(blocks).catch(damaged(path))
  let records: Buffer = Buffer.alloc(0)
  for await (const slice of allSlices(blocks, end, path)) {
    signal.throwIfAborted()
    const length = slice.records.end - slice.records.start
    if (records.length < length) records = Buffer.allocUnsafeSlow(length)
    await blocks.fill(records.subarray(0, length), slice.records.start)
    yield [...readRecords(records.subarray(0, length), slice, path)]
  }
}

/**
 * The slices of a zip, in order. Fails where its central directory cannot be followed any further, and behind the last of them
 * unless their data reach up to the central directory, and nothing but the right end records follow it.
 */
export async function* allSlices(blocks: BlockReader, end: ZipEnd, path: string): AsyncGenerator<Slice> {
  let last: Slice | undefined
  for await (const slice of slices(blocks, end)) {
    if ("broken" in slice) return damaged(path)(new Error(slice.broken))
    yield slice
    last = slice
  }
  await checkEnd(blocks, end, last, path)
}

/**
 * The entries of a slice, from the bytes of its records. Fails unless they lie one behind the other and fill
 * the slice's content.
 */
export function* readRecords(
  records: Buffer,
  slice: { readonly count: number; readonly content: Extent },
  path: string
): Generator<ZipEntry> {
  const parsed = parseRecords(records, slice.count)
  let record = 0
  let position = slice.content.start
  for (let index = 0; index < slice.count; index += 1) {
    const nameLength = records.readUInt16LE(record + 28)
    let entry: ZipEntry
    try {
      const next = parsed.next()
      need(next.done !== true, "it is missing")
      const central = next.value
      entry = readEntry(central, records.readUInt16LE(record + 34))
      need(entry.start === position, "it does not begin where the entry before it ends")
      record += 46 + nameLength + central.extraFieldLength
    } catch (cause) {
      return damaged(path, records.subarray(record + 46, record + 46 + nameLength))(cause)
    }
    yield entry
    position = entry.end
    if (index === slice.count - 1 && position !== slice.content.end) {
      return damaged(path, entry.name)(new Error("it does not end where its record says"))
    }
  }
}

const checkEnd = async (
  blocks: BlockReader,
  { directoryStart: start, entries }: ZipEnd,
  last: Slice | undefined,
  path: string
): Promise<void> => {
  const at = last?.records.end ?? start
  const expected = endRecords({ entries, start, size: at - start })
  const fits = (last?.content.end ?? 0) === start && blocks.size === at + expected.length
  const found = fits ? await blocks.bytes(at, expected.length) : undefined
  if (found?.equals(expected) !== true) damaged(path)(new Error("its end record does not fit its content"))
}
