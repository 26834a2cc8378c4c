import type { Manifest } from "../domain/Manifest.ts"
import type { Runner } from "../workers/Runner.ts"
import { ArchiveError, type CopiedRange } from "./ArchiveError.ts"
import { makePlaces } from "./AuditPlaces.ts"
import type { Flaw } from "./AuditZip.ts"
import { type BlockReader, openBlocks } from "./BlockReader.ts"
import { copiedParts } from "./CopiedParts.ts"
import { damaged, quoted } from "./Damage.ts"
import { type EntryHead, headOf } from "./Entry.ts"
import { makeDigest } from "./HeadDigest.ts"
import { lookAhead } from "./LookAhead.ts"
import { countingReads, type ReadCounter } from "./ReadCounter.ts"
import { allSlices, readRecords } from "./ReadZip.ts"
import type { Slice } from "./Slices.ts"
import { verifySlice } from "./VerifySlice.ts"
import { endedAt } from "./WriteZip.ts"
import { readEnd } from "./Yauzl.ts"

/** Slices for each thread that are begun before their turn. */
const aheadPerThread = 2

/**
 * Reads all of the zip back on the runner's threads: that both headers of each entry say the same, that entries
 * lie one behind the other with nothing between them, before or after, each entry's CRC-32 and size, that
 * the entries can be put into a folder, by the rules of {@link auditZip}, and that they are those of the manifest, in its order. Entries in a `copied` range, which come from an archive
 * that was verified, are not inflated: instead the range's bytes have to be those that were copied. Memory
 * depends neither on the size of the zip nor on the number of entries.
 */
export const verifyZip = async (
  zip: string,
  manifest: Manifest,
  signal: AbortSignal,
  runner: Runner,
  options: {
    readonly copied?: ReadonlyArray<CopiedRange> | undefined
    /** Told now and then how many bytes of the zip have been read. */
    readonly progress?: ((bytes: number) => void) | undefined
  } = {}
): Promise<void> => {
  const { copied = [], progress } = options
  signal.throwIfAborted()
  const blocks = await openBlocks(zip)
  try {
    const differs = await countingReads(blocks.size, progress, (counter) =>
      verifyAll({ zip, blocks, manifest, runner, copied, counter }, signal)
    )
    if (differs === undefined) return
    // Inflated, the entry that is damaged can be named.
    await verifyAll({ zip, blocks, manifest, runner, copied: [], counter: undefined }, signal)
    const where = `bytes ${differs.start} to ${differs.end} are not those that were copied from the archive before`
    damaged(zip)(new Error(where))
  } catch (cause) {
    throw endedAt(zip, cause)
  } finally {
    await blocks.close()
  }
}

interface Verification {
  readonly zip: string
  readonly blocks: BlockReader
  readonly manifest: Manifest
  readonly runner: Runner
  readonly copied: ReadonlyArray<CopiedRange>
  readonly counter: ReadCounter | undefined
}

/** The first copied range that is not what was copied. */
const verifyAll = async (
  { blocks, copied, counter, manifest, runner, zip }: Verification,
  signal: AbortSignal
): Promise<CopiedRange | undefined> => {
  const ranges = copiedParts(copied)
  const places = makePlaces()

  const check = async (slice: Slice) => {
    const { content, count, records } = slice
    const parts = ranges.within(content)
    const input = { zip, fd: blocks.fd, count, records, content, copied: parts, counter }
    const found = runner.run(verifySlice, input, signal)
    const wanted = wantedHeads(manifest, slice)
    return { slice, parts, wanted, found: await found }
  }

  const end = await readEnd(blocks).catch(damaged(zip))
  for await (const { found, parts, slice, wanted } of lookAhead(
    allSlices(blocks, end, zip),
    runner.width * aheadPerThread,
    check
  )) {
    signal.throwIfAborted()
    if (found.heads !== wanted) await findDifference(zip, blocks, manifest, slice)
    places.add(found.places)
    const wrong = ranges.add(parts, found.copied)
    if (wrong !== undefined) return wrong
  }
  const missing = manifest.entries[end.entries]
  if (missing !== undefined) throw mismatch(zip, `${quoted(headOf(missing).name)} is missing`)
  const [flaw] = places.end()
  if (flaw !== undefined) throw unrestorable(zip, flaw)
  return ranges.incomplete()
}

/** The digest of the heads that the manifest wants in the place of the slice. */
const wantedHeads = (manifest: Manifest, { count, first }: Slice): string => {
  const digest = makeDigest()
  for (let index = first; index < first + count; index += 1) {
    const entry = manifest.entries[index]
    if (entry !== undefined) digest.wanted(entry)
  }
  return digest.end()
}

/** Says what in this slice is not as in the manifest. */
const findDifference = async (
  zip: string,
  blocks: BlockReader,
  manifest: Manifest,
  slice: Slice
): Promise<never> => {
  const { end, start } = slice.records
  const records = await blocks.fill(Buffer.allocUnsafe(end - start), start)
  let index = slice.first
  for (const found of readRecords(records, slice, zip)) {
    const wanted = manifest.entries[index]
    if (wanted === undefined) throw mismatch(zip, `${quoted(found.name)} is no entry of the snapshot`)
    const difference = differs(headOf(wanted), found)
    if (difference !== undefined) throw mismatch(zip, difference)
    index += 1
  }
  throw mismatch(zip, `entries ${slice.first + 1} to ${index} are not those of the snapshot`)
}

const mismatch = (zip: string, message: string): ArchiveError =>
  new ArchiveError({ reason: "Mismatch", path: zip, message: `${zip}: ${message}`, transient: false })

/** The manifest is wrong as well: it wants what no folder can hold. */
const unrestorable = (zip: string, { entry, problem }: Flaw): ArchiveError =>
  new ArchiveError({
    reason: "Corrupt",
    path: zip,
    message: `${zip} could not be restored: ${entry === undefined ? `it ${problem}` : `${entry}: ${problem}`}`,
    transient: false
  })

const differs = (wanted: EntryHead, found: EntryHead): string | undefined => {
  const name = quoted(wanted.name)
  if (!found.name.equals(wanted.name)) return `${quoted(found.name)} stands where ${name} belongs`
  if (found.rawPath !== wanted.rawPath) return `${name} has another original name than in the snapshot`
  if (found.size !== wanted.size) return `${name} has ${found.size} bytes instead of ${wanted.size}`
  if (found.mode !== wanted.mode) {
    return `${name} has mode ${found.mode.toString(8)} instead of ${wanted.mode.toString(8)}`
  }
  if (found.seconds !== wanted.seconds) {
    return `${name} has time ${found.seconds} instead of ${wanted.seconds} (seconds since 1970)`
  }
  return undefined
}
