import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import * as EntryName from "../source/EntryName.ts"
import type { Manifest, ManifestEntry } from "../source/Manifest.ts"
import { isOutOfMemory, type Runner, type WorkerJob } from "../system/WorkerJob.ts"
import { checkForm, makePlaces, makeSlicePlaces, type SlicePlaces } from "./EntryRules.ts"
import { archiveSeconds, type EntryHead, headOf } from "./Headers.ts"
import { aheadPerThread, lookAhead } from "./LookAhead.ts"
import {
  checkEntry,
  countingReads,
  loadEntry,
  type ReadCounter,
  type SliceSource,
  windowSize,
  withSlice
} from "./ReadSlice.ts"
import { type Extent, readRecords, recordsOf, type Slice, slices } from "./ReadZip.ts"
import { copiedParts } from "./Reuse.ts"
import { type OpenZip, openZip, readEnd } from "./Yauzl.ts"
import { ArchiveError, archiveFailures, type CopiedRange, damaged, endedAt, type Flaw, quoted } from "./ZipError.ts"

export interface VerifyOptions {
  /** Of {@link ArchiveReport}: what was copied from the archive before. */
  readonly copied?: ReadonlyArray<CopiedRange> | undefined
  /** Gets from time to time the number of the zip's bytes that have been read back; up to all of them. */
  readonly progress?: ((bytes: number) => void) | undefined
}

/**
 * Reads all of the zip back on the runner's threads: that both headers of each entry say the same, that entries
 * lie one behind the other with nothing between them, before or after, each entry's CRC-32 and size, that
 * the entries can be put into a folder, by the rules of {@link auditZip}, and that they are those of the manifest, in its
 * order. Entries in a `copied` range, which come from an archive that was verified, are not inflated: instead the range's
 * bytes have to be those that were copied. Memory depends neither on the size of the zip nor on the number of entries.
 */
export const verifyZip = async (
  path: string,
  manifest: Manifest,
  signal: AbortSignal,
  runner: Runner,
  { copied = [], progress }: VerifyOptions = {}
): Promise<void> => {
  signal.throwIfAborted()
  const zip = await openZip(path)
  try {
    const wrong = await countingReads(zip.size, progress, (counter) =>
      verifySlices({ zip, manifest, runner, copied, counter }, signal)
    )
    if (wrong === undefined) return
    // Inflated, the entry that is damaged can be named.
    await verifySlices({ zip, manifest, runner, copied: [], counter: undefined }, signal)
    const where = `bytes ${wrong.start} to ${wrong.end} are not those that were copied from the archive before`
    damaged(path)(new Error(where))
  } catch (cause) {
    throw endedAt(path, cause)
  } finally {
    await zip.close()
  }
}

interface Verification {
  readonly zip: OpenZip
  readonly manifest: Manifest
  readonly runner: Runner
  readonly copied: ReadonlyArray<CopiedRange>
  readonly counter: ReadCounter | undefined
}

/** The first copied range that is not what was copied. */
const verifySlices = async (
  { copied, counter, manifest, runner, zip }: Verification,
  signal: AbortSignal
): Promise<CopiedRange | undefined> => {
  const { fd, path } = zip
  const ranges = copiedParts(copied)
  const places = makePlaces()

  const verify = async (slice: Slice) => {
    const { content, count, records } = slice
    const parts = ranges.within(content)
    const found = runner.run(verifySlice, { path, fd, count, records, content, copied: parts, counter }, signal)
    // Made while the thread is at work.
    const wanted = wantedHeads(manifest, slice)
    return { slice, parts, wanted, found: await found }
  }

  const end = await readEnd(zip)
  const verified = lookAhead(slices(zip, end), runner.width * aheadPerThread, verify)
  for await (const { found, parts, slice, wanted } of verified) {
    signal.throwIfAborted()
    if (found.heads !== wanted) await findDifference(zip, manifest, slice)
    places.add(found.places)
    const wrong = ranges.add(parts, found.copied)
    if (wrong !== undefined) return wrong
  }
  const missing = manifest.entries[end.entries]
  if (missing !== undefined) throw mismatch(path, `${quoted(headOf(missing).name)} is missing`)
  const [flaw] = places.end()
  if (flaw !== undefined) throw unrestorable(path, flaw)
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
const findDifference = async (zip: OpenZip, manifest: Manifest, slice: Slice): Promise<never> => {
  const { path } = zip
  let index = slice.first
  for (const found of readRecords(await recordsOf(zip, slice), slice, path)) {
    const wanted = manifest.entries[index]
    if (wanted === undefined) throw mismatch(path, `${quoted(found.name)} is no entry of the snapshot`)
    const difference = differs(headOf(wanted), found)
    if (difference !== undefined) throw mismatch(path, difference)
    index += 1
  }
  throw mismatch(path, `entries ${slice.first + 1} to ${index} are not those of the snapshot`)
}

const mismatch = (path: string, message: string): ArchiveError =>
  new ArchiveError({ reason: "Mismatch", path, message: `${path}: ${message}`, transient: false })

/** The manifest is wrong as well: it wants what no folder can hold. */
const unrestorable = (path: string, { entry, problem }: Flaw): ArchiveError =>
  new ArchiveError({
    reason: "Corrupt",
    path,
    message: `${path} could not be restored: ${entry === undefined ? `it ${problem}` : `${entry}: ${problem}`}`,
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
  work: (input, calls, signal) =>
    withSlice(input, calls, signal, async (records, view) => {
      const digest = makeDigest()
      const copied = input.copied.map((part) => ({ ...part, sum: 0 }))
      const places = makeSlicePlaces()
      let current = 0
      for (const entry of readRecords(records, input, input.path)) {
        const { dataStart, end, start } = entry
        while ((copied[current]?.end ?? end) <= start) current += 1
        const part = copied[current]
        try {
          // An entry that lies only partly in a copied part is not copied, but read as all others.
          if (part === undefined || start < part.start || end > part.end) await checkEntry(entry, view)
          else {
            const whole = end - start <= windowSize
            const bytes = await loadEntry(entry, view, whole ? end : dataStart)
            if (whole) part.sum = crc32(bytes, part.sum)
            else for await (const piece of view.pieces(start, end)) part.sum = crc32(piece, part.sum)
          }
          checkForm(entry)
          places.add(entry)
        } catch (cause) {
          signal.throwIfAborted()
          if (isOutOfMemory(cause)) throw cause
          damaged(input.path, entry.name)(cause)
        }
        digest.head(entry)
      }
      return { heads: digest.end(), places: places.end(), copied: copied.map(({ sum }) => sum) }
    })
}

const bufferSize = 64 * 1024

const fixedLength = 24

/**
 * SHA-256 over heads in their order: equal for entries of a zip and of a manifest only if each of them has the
 * same name, kind, original path, size, time and mode. So a thread reports what it found without sending it.
 */
export const makeDigest = () => {
  const hash = createHash("sha256")
  let buffer = scratch.pop() ?? Buffer.allocUnsafeSlow(bufferSize)
  let used = 0

  const room = (length: number): void => {
    if (used + length <= buffer.length) return
    hash.update(buffer.subarray(0, used))
    used = 0
    if (length > buffer.length) buffer = Buffer.allocUnsafeSlow(length)
  }

  // Lengths stand before what they belong to, so no two lists of heads have the same bytes.
  const rest = (at: number, rawPath: string | undefined, size: number, seconds: number, mode: number) => {
    buffer.writeUInt32LE(used - at - 4, at)
    used = buffer.writeDoubleLE(size, used)
    used = buffer.writeUInt32LE(seconds >>> 0, used)
    used = buffer.writeUInt16LE(mode, used)
    used = buffer.writeInt32LE(rawPath === undefined ? -1 : rawPath.length, used)
    if (rawPath !== undefined) used += buffer.write(rawPath, used, "latin1")
  }

  return {
    head: ({ mode, name, rawPath, seconds, size }: EntryHead): void => {
      room(fixedLength + name.length + (rawPath?.length ?? 0))
      const at = used
      used += 4
      used += name.copy(buffer, used)
      rest(at, rawPath, size, seconds, mode)
    },
    /** The same for a manifest's entry, without making a head of it. */
    wanted: (entry: ManifestEntry): void => {
      const { kind, mode, mtimeNs, name, path, size } = entry
      const rawPath = EntryName.isEscaped(entry) ? path : undefined
      room(fixedLength + 1 + name.length * 3 + (rawPath?.length ?? 0))
      const at = used
      used += 4
      used += buffer.write(name, used, "utf8")
      if (kind === "directory") used = buffer.writeUInt8(slash, used)
      rest(at, rawPath, size, archiveSeconds(mtimeNs), mode & 0xffff)
    },
    /** In hexadecimal. To be called once. */
    end: (): string => {
      hash.update(buffer.subarray(0, used))
      scratch.push(buffer)
      return hash.digest("hex")
    }
  }
}

const slash = 0x2f

/** Buffers that no digest uses at the moment. */
const scratch: Array<Buffer> = []
