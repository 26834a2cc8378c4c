import { crc32 } from "node:zlib"
import type { Manifest } from "../source/Manifest.ts"
import { codeOf, explain, isAboutUs } from "../system/Errno.ts"
import { isOutOfMemory, type Runner, type WorkerJob } from "../system/WorkerJob.ts"
import { checkForm, flawsKept, makePlaces, makeSlicePlaces, type SlicePlaces } from "./EntryRules.ts"
import { countOwn, type EntryHead, headOf, makeDigest } from "./Headers.ts"
import { aheadPerThread, lookAhead } from "./LookAhead.ts"
import {
  checkEntry,
  countingReads,
  countRead,
  loadEntry,
  type ReadCounter,
  type SliceSource,
  sourceOf,
  windowSize,
  withSlice
} from "./ReadSlice.ts"
import { type Extent, type OpenZip, openZip, readEnd, readRecords, recordsOf, type Slice, slices } from "./ReadZip.ts"
import { copiedParts } from "./Reuse.ts"
import {
  ArchiveError,
  archiveFailures,
  type CopiedRange,
  damaged,
  endedAt,
  type Flaw,
  isArchiveError,
  quoted
} from "./ZipError.ts"

/**
 * Two ways to read all of a zip on the runner's threads, slice by slice: headers, that entries lie one behind the other, size
 * and CRC-32 of each, and the rules of EntryRules. Memory depends neither on the size nor on the number of entries.
 */

export interface VerifyOptions {
  readonly copied?: ReadonlyArray<CopiedRange> | undefined
  /** Gets from time to time the number of the zip's bytes that have been read back; up to all of them. */
  readonly progress?: ((bytes: number) => void) | undefined
}

/**
 * Verifies a zip, whose entries have to be those of the manifest, in its order; the first thing that is wrong is an ArchiveError.
 * Entries in a `copied` range come from a verified archive and are not inflated: their bytes have to be those copied.
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

  const verify = async (ranges: ReadonlyArray<CopiedRange>, counter?: ReadCounter) => {
    const parts = copiedParts(ranges)
    const places = makePlaces()
    const verifyOne = async (slice: Slice) => {
      const within = parts.within(slice.content)
      const found = runner.run(verifySlice, { ...sourceOf(zip, slice, counter), copied: within }, signal)
      // Made while the thread is at work.
      const wanted = wantedHeads(manifest, slice)
      return { slice, within, wanted, found: await found }
    }
    const end = await readEnd(zip)
    const verified = lookAhead(slices(zip, end), runner.width * aheadPerThread, verifyOne)
    for await (const { found, slice, wanted, within } of verified) {
      signal.throwIfAborted()
      if (found.heads !== wanted) await findDifference(zip, manifest, slice)
      places.add(found.places)
      const wrong = parts.add(within, found.copied)
      if (wrong !== undefined) return wrong
    }
    const missing = manifest.entries.at(end.entries)
    if (missing !== undefined) throw mismatch(path, `${quoted(headOf(missing).name)} is missing`)
    const [flaw] = places.end()
    if (flaw !== undefined) throw unrestorable(path, flaw)
    return parts.incomplete()
  }

  try {
    const wrong = await countingReads(zip.size, progress, (counter) => verify(copied, counter))
    if (wrong === undefined) return
    // Inflated, the entry that is damaged can be named.
    await verify([])
    const where = `bytes ${wrong.start} to ${wrong.end} are not those that were copied from the archive before`
    damaged(path)(new Error(where))
  } catch (cause) {
    throw endedAt(path, cause)
  } finally {
    await zip.close()
  }
}

const wantedHeads = (manifest: Manifest, { count, first }: Slice): string => {
  const digest = makeDigest()
  for (let index = first; index < first + count; index += 1) {
    const entry = manifest.entries.at(index)
    if (entry !== undefined) digest.wanted(entry)
  }
  return digest.end()
}

const findDifference = async (zip: OpenZip, manifest: Manifest, slice: Slice): Promise<never> => {
  const { path } = zip
  let index = slice.first
  for (const found of readRecords(await recordsOf(zip, slice), slice, path)) {
    const wanted = manifest.entries.at(index)
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
const unrestorable = (path: string, { entry, problem }: Flaw): ArchiveError => {
  const message = `${path} could not be restored: ${entry === undefined ? "it " : `${entry}: `}${problem}`
  return new ArchiveError({ reason: "Corrupt", path, message, transient: false })
}

const differs = (wanted: EntryHead, found: EntryHead): string | undefined => {
  const name = quoted(wanted.name)
  const { mode, rawPath, seconds, size } = wanted
  if (!found.name.equals(wanted.name)) return `${quoted(found.name)} stands where ${name} belongs`
  if (found.rawPath !== rawPath) return `${name} has another original name than in the snapshot`
  if (found.size !== size) return `${name} has ${found.size} bytes instead of ${size}`
  if (found.mode !== mode) return `${name} has mode ${found.mode.toString(8)} instead of ${mode.toString(8)}`
  return found.seconds === seconds
    ? undefined
    : `${name} has time ${found.seconds} instead of ${seconds} (seconds since 1970)`
}

interface SliceInput extends SliceSource {
  /** What was copied from a verified archive, in order: whole entries there are not inflated, but their bytes summed up. */
  readonly copied: ReadonlyArray<Extent>
}

interface SliceOutput {
  readonly heads: string
  readonly places: SlicePlaces
  /** CRC-32 of the whole entries in each copied part. */
  readonly copied: ReadonlyArray<number>
}

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

export interface AuditOptions {
  /** Whether each entry's content is read, its size and CRC-32 checked; otherwise headers and names alone. */
  readonly content: boolean
  readonly onFiles: (names: ReadonlyArray<string>) => void
  /** Gets estimates of how many bytes have been read: the largest so far counts. */
  readonly onRead: (bytes: number) => void
}

export interface Audit {
  readonly files: number
  readonly bytes: number
  /** Every entry was found: otherwise names and sums are those of a part. */
  readonly complete: boolean
  /** It has entries, and none with the marks of this program: another one made it, and flaws say little of it. */
  readonly foreign?: true
  readonly flaws: ReadonlyArray<Flaw>
}

/** Audits a zip of which nothing is known, behind damage as far as it can be followed. Fails for want of threads, memory or rights. */
export const auditZip = async (
  path: string,
  { content, onFiles, onRead }: AuditOptions,
  signal: AbortSignal,
  runner: Runner
): Promise<Audit> => {
  signal.throwIfAborted()
  const places = makePlaces()
  const flaws = makeFlaws()
  let files = 0
  let bytes = 0
  let own = 0
  let complete = true
  let foreign = false

  const audit = async (zip: OpenZip, counter: ReadCounter | undefined): Promise<void> => {
    const end = await readEnd(zip)
    const auditOne = async (slice: Slice) => {
      const input = { ...sourceOf(zip, slice, counter), inflate: content }
      return { slice, found: await runner.run(auditSlice, input, signal) }
    }
    for await (const { found, slice } of lookAhead(slices(zip, end), runner.width * aheadPerThread, auditOne)) {
      signal.throwIfAborted()
      onRead(slice.content.end)
      places.add(found.places)
      flaws.join(found)
      files += found.files
      bytes += found.bytes
      own += found.own
      complete &&= found.complete
      foreign = slice.first + slice.count === end.entries && own === 0
      const names = Buffer.from(found.names.buffer, found.names.byteOffset, found.names.byteLength)
      if (names.length > 0) onFiles(names.toString("utf8").split("\0"))
    }
  }

  try {
    const zip = await openZip(path)
    await countingReads(zip.size, onRead, (counter) => audit(zip, counter)).finally(zip.close)
  } catch (cause) {
    const error = endedAt(path, cause)
    if (signal.aborted || !isArchiveError(error) || error.problem === undefined) throw error
    // The zip may be as good as ever.
    if (isAboutUs(codeOf(error.cause))) throw error
    complete = false
    flaws.add(flawOf(error))
  }
  // Where headers are damaged, names are not what they were: their places matter only when nothing else is wrong.
  if (flaws.end().flaws.length === 0) places.end().forEach(flaws.add)
  const { flaws: first, more } = flaws.end()
  return {
    files,
    bytes,
    complete,
    ...(foreign ? { foreign } : {}),
    flaws: more === 0 ? first : [...first, { problem: `and ${more} more of its entries are damaged` }]
  }
}

interface Flaws {
  readonly flaws: ReadonlyArray<Flaw>
  readonly more: number
}

const makeFlaws = () => {
  const flaws: Array<Flaw> = []
  let more = 0
  const add = (flaw: Flaw): void => {
    if (flaws.length < flawsKept) flaws.push(flaw)
    else more += 1
  }
  return {
    add,
    join: (others: Flaws): void => {
      others.flaws.forEach(add)
      more += others.more
    },
    end: (): Flaws => ({ flaws, more })
  }
}

/** What a failure says of the entry of this name, or of the one that it names itself. */
const flawOf = (cause: unknown, name?: Buffer): Flaw => {
  const known = isArchiveError(cause) ? cause : undefined
  const entry = known?.entry ?? (name === undefined ? undefined : quoted(name))
  const problem = known?.problem ?? explain(cause)
  return entry === undefined ? { problem } : { entry, problem }
}

interface AuditInput extends SliceSource {
  readonly inflate: boolean
}

interface AuditOutput extends Flaws, Pick<Audit, "files" | "bytes" | "complete"> {
  readonly names: Uint8Array
  readonly places: SlicePlaces
  /** Entries with the marks of this program, see {@link countOwn}. */
  readonly own: number
}

export const auditSlice: WorkerJob<AuditInput, AuditOutput> = {
  name: "audit",
  kind: "brief",
  failures: archiveFailures,
  work: ({ counter, inflate, ...input }, calls, signal) =>
    withSlice({ ...input, counter: inflate ? counter : undefined }, calls, signal, async (records, view) => {
      const names = Buffer.allocUnsafeSlow(records.length)
      let namesLength = 0
      const places = makeSlicePlaces()
      const flaws = makeFlaws()
      let files = 0
      let bytes = 0
      let complete = true

      const note = (cause: unknown, name?: Buffer): void => {
        signal.throwIfAborted()
        if (isOutOfMemory(cause)) throw cause
        flaws.add(flawOf(cause, name))
      }

      try {
        for (const entry of readRecords(records, input, input.path)) {
          if (entry.kind === "file") {
            files += 1
            bytes += entry.size
            if (namesLength > 0) namesLength = names.writeUInt8(0, namesLength)
            namesLength += entry.name.copy(names, namesLength)
          }
          try {
            if (inflate) await checkEntry(entry, view)
            else await loadEntry(entry, view, entry.dataStart)
            checkForm(entry)
            places.add(entry)
          } catch (cause) {
            note(cause, entry.name)
          }
          if (!inflate) countRead(counter, entry.end - entry.start)
        }
      } catch (cause) {
        // A record that makes no sense: where the next entry lies is not known.
        complete = false
        note(cause)
      }
      return {
        files,
        bytes,
        // In memory of its own, which can go to another thread.
        names: new Uint8Array(names.subarray(0, namesLength)),
        places: places.end(),
        own: countOwn(records, input.count),
        complete,
        ...flaws.end()
      }
    })
}
