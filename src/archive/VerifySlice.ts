import { crc32 } from "node:zlib"
import type { WorkerJob } from "../workers/Runner.ts"
import { isOutOfMemory } from "../workers/Wire.ts"
import { archiveFailures } from "./ArchiveError.ts"
import { makeSlicePlaces, type SlicePlaces } from "./AuditPlaces.ts"
import { damaged } from "./Damage.ts"
import { inflatePieces, inflateWhole, isSmall, makeSums, releasePiece, releaseWhole } from "./EntryData.ts"
import { checkForm } from "./EntryRules.ts"
import { makeDigest } from "./HeadDigest.ts"
import { checkLocal, type ZipEntry } from "./ReadHeaders.ts"
import { readRecords } from "./ReadZip.ts"
import { type SliceSource, type SliceView, windowSize, withSlice } from "./SliceReader.ts"
import type { Extent } from "./Slices.ts"

/** Part of a zip that is to be verified. */
interface SliceInput extends SliceSource {
  readonly count: number
  /**
   * What of it was copied from an archive that has been verified, in order. Entries in there are not inflated;
   * instead the bytes are summed up, to be compared with what was copied.
   */
  readonly copied: ReadonlyArray<Extent>
}

/** What was found; damage is an ArchiveError instead. */
interface SliceOutput {
  /** Of all heads, see {@link makeDigest}. */
  readonly heads: string
  /** Where the entries lie. */
  readonly places: SlicePlaces
  /** CRC-32 of the whole entries in each copied part. */
  readonly copied: ReadonlyArray<number>
}

/**
 * Verifies consecutive entries: both headers, that they lie one behind the other and fill the slice, that each can be put
 * into a folder, and sizes and CRC-32 of their data. Memory does not depend on their sizes.
 */
export const verifySlice: WorkerJob<SliceInput, SliceOutput> = {
  name: "verify",
  kind: "brief",
  failures: archiveFailures,
  work: (input, files, signal) =>
    withSlice(input, files, signal, (records, view) => verifyEntries(input, records, view, signal))
}

const verifyEntries = async (
  input: SliceInput,
  records: Buffer,
  view: SliceView,
  signal: AbortSignal
): Promise<SliceOutput> => {
  const digest = makeDigest()
  const copied = input.copied.map(makePart)
  const places = makeSlicePlaces()
  let current = 0
  for (const entry of readRecords(records, input, input.zip)) {
    const { end, start } = entry
    while ((copied[current]?.end ?? end) <= start) current += 1
    const part = copied[current]
    try {
      if (part?.has(entry) !== true) await checkEntry(entry, view)
      else {
        const { bytes, whole } = await loadEntry(entry, view)
        if (whole) part.add(bytes)
        else for await (const piece of view.pieces(start, end)) part.add(piece)
      }
      checkForm(entry)
      places.add(entry)
    } catch (cause) {
      signal.throwIfAborted()
      if (isOutOfMemory(cause)) throw cause
      damaged(input.zip, entry.name)(cause)
    }
    digest.head(entry)
  }
  return { heads: digest.end(), places: places.end(), copied: copied.map((part) => part.sum()) }
}

/** The entry from its local header on, which is checked: all of it, unless it is too large for that. */
const loadEntry = async (entry: ZipEntry, view: SliceView) => {
  const { dataStart, end, start } = entry
  const whole = end - start <= windowSize
  const to = whole ? end : dataStart
  const bytes = view.bytes(start, to) ?? (await view.load(start, to))
  checkLocal(entry, bytes)
  return { bytes, whole }
}

/** Checks an entry's local header, and size and CRC-32 of its data; throws what is wrong with it. */
export const checkEntry = async (entry: ZipEntry, view: SliceView): Promise<void> => {
  const { bytes, whole } = await loadEntry(entry, view)
  if (whole && isSmall(entry)) checkSmall(entry, bytes.subarray(entry.dataStart - entry.start))
  else await checkLarge(entry, view.pieces(entry.dataStart, entry.end))
}

const checkSmall = (entry: ZipEntry, raw: Buffer): void => {
  const sums = makeSums(entry)
  if (entry.method === "store") sums.add(raw)
  else {
    const content = inflateWhole(raw, entry)
    sums.add(content)
    releaseWhole(content, entry)
  }
  sums.check()
}

const checkLarge = async (entry: ZipEntry, pieces: AsyncIterable<Buffer>): Promise<void> => {
  const sums = makeSums(entry)
  if (entry.method === "store") for await (const piece of pieces) sums.add(piece)
  else {
    for await (const chunk of inflatePieces(pieces)) {
      sums.add(chunk)
      releasePiece(chunk)
    }
  }
  sums.check()
}

/** Sums up the entries of a copied part. An entry that lies only partly in it is not copied, but read as all others. */
const makePart = ({ end, start }: Extent) => {
  let sum = 0
  return {
    end,
    has: (entry: Extent): boolean => entry.start >= start && entry.end <= end,
    add: (bytes: Buffer): void => {
      sum = crc32(bytes, sum)
    },
    sum: (): number => sum
  }
}
