import { codeOf, explain, isAboutUs } from "../system/Errno.ts"
import { isOutOfMemory, type Runner, type WorkerJob } from "../system/WorkerJob.ts"
import { checkForm, makePlaces, makeSlicePlaces, type SlicePlaces } from "./EntryRules.ts"
import { countOwn } from "./Headers.ts"
import { aheadPerThread, lookAhead } from "./LookAhead.ts"
import {
  checkEntry,
  countingReads,
  countRead,
  loadEntry,
  type ReadCounter,
  type SliceSource,
  withSlice
} from "./ReadSlice.ts"
import { readRecords, type Slice, slices } from "./ReadZip.ts"
import { type OpenZip, openZip, readEnd } from "./Yauzl.ts"
import { archiveFailures, endedAt, type Flaw, isArchiveError, quoted } from "./ZipError.ts"

/** What is audited, and what the caller gets on the way. */
export interface AuditOptions {
  /** Whether each entry's content is read, its size and CRC-32 checked; otherwise headers and names alone. */
  readonly content: boolean
  /** Gets the names of files in their order, a batch at a time. */
  readonly onFiles: (names: ReadonlyArray<string>) => void
  /** Gets estimates of how many bytes have been looked at: the largest so far counts. */
  readonly onRead: (bytes: number) => void
}

/** What is in a zip, and what is wrong with it. */
export interface Audit {
  readonly files: number
  /** Uncompressed. */
  readonly bytes: number
  /** Every entry was found: otherwise names and sums are those of a part. */
  readonly complete: boolean
  /** It has entries, and none with the marks of this program: another one made it, and flaws say little of it. */
  readonly foreign?: true
  readonly flaws: ReadonlyArray<Flaw>
}

/** Of a slice and of the whole zip: further flaws are only counted. */
const flawsKept = 20

/**
 * Reads a zip of which nothing is known, on the runner's threads: that it is such as this program writes them, down to
 * every bit of headers and end records, that entries lie one behind the other with nothing between them, before or after, that
 * they can be put into a folder (files and folders only, each once and in a folder that stands before it),
 * and (`content`) each entry's size and CRC-32. Goes on behind an entry whose content is damaged; where headers are, with what
 * can still be followed. Memory depends neither on the size of the zip nor on the number of entries.
 */
export const auditZip = async (
  path: string,
  options: AuditOptions,
  signal: AbortSignal,
  runner: Runner
): Promise<Audit> => {
  signal.throwIfAborted()
  const findings = makeFindings()
  try {
    const zip = await openZip(path)
    try {
      await countingReads(zip.size, options.onRead, (counter) =>
        auditSlices({ zip, counter, options, runner, findings }, signal)
      )
    } finally {
      await zip.close()
    }
  } catch (cause) {
    const error = endedAt(path, cause)
    if (signal.aborted || !isArchiveError(error) || error.problem === undefined) throw error
    // The zip may be as good as ever.
    if (isAboutUs(codeOf(error.cause))) throw error
    findings.broken(flawOf(error))
  }
  return findings.end()
}

interface Auditing {
  readonly zip: OpenZip
  readonly counter: ReadCounter | undefined
  readonly options: AuditOptions
  readonly runner: Runner
  readonly findings: ReturnType<typeof makeFindings>
}

const auditSlices = async (
  { counter, findings, options, runner, zip }: Auditing,
  signal: AbortSignal
): Promise<void> => {
  const end = await readEnd(zip)
  const audit = async (slice: Slice) => {
    const { content, count, records } = slice
    const input = { path: zip.path, fd: zip.fd, count, records, content, inflate: options.content, counter }
    return { slice, output: await runner.run(auditSlice, input, signal) }
  }
  for await (const { output, slice } of lookAhead(slices(zip, end), runner.width * aheadPerThread, audit)) {
    signal.throwIfAborted()
    options.onRead(slice.content.end)
    findings.add(output, slice.first + slice.count === end.entries)
    const { buffer, byteLength, byteOffset } = output.names
    if (byteLength > 0) {
      options.onFiles(Buffer.from(buffer, byteOffset, byteLength).toString("utf8").split("\0"))
    }
  }
}

const makeFindings = () => {
  const flaws: Array<Flaw> = []
  const places = makePlaces()
  let files = 0
  let bytes = 0
  let more = 0
  let own = 0
  let complete = true
  let foreign = false
  const note = (flaw: Flaw): void => {
    if (flaws.length < flawsKept) flaws.push(flaw)
    else more += 1
  }
  return {
    add: (slice: AuditOutput, isLast: boolean): void => {
      places.add(slice.places)
      files += slice.files
      bytes += slice.bytes
      own += slice.own
      complete &&= slice.complete
      slice.flaws.forEach(note)
      more += slice.more
      foreign = isLast && own === 0
    },
    broken: (flaw: Flaw): void => {
      complete = false
      note(flaw)
    },
    end: (): Audit => {
      // Where headers are damaged, names are not what they were: their places say something only when nothing else is wrong.
      if (flaws.length === 0) places.end().forEach(note)
      return {
        files,
        bytes,
        complete,
        ...(foreign ? { foreign } : {}),
        flaws: more === 0 ? flaws : [...flaws, { problem: `and ${more} more of its entries are damaged` }]
      }
    }
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
  readonly count: number
  readonly inflate: boolean
}

interface AuditOutput {
  readonly files: number
  /** Uncompressed. */
  readonly bytes: number
  /** Names of the files in their order, with a NUL between one and the next. */
  readonly names: Uint8Array
  readonly places: SlicePlaces
  /** Entries with the marks of this program, see {@link countOwn}. */
  readonly own: number
  readonly complete: boolean
  readonly flaws: ReadonlyArray<Flaw>
  /** Flaws that are not among them. */
  readonly more: number
}

/**
 * Consecutive entries: both headers, that they lie one behind the other and fill the slice, that each can be put into a
 * folder, and, if asked for, sizes and CRC-32 of their data. What is wrong is in the result; memory does not depend on their sizes.
 */
export const auditSlice: WorkerJob<AuditInput, AuditOutput> = {
  name: "audit",
  kind: "brief",
  failures: archiveFailures,
  work: ({ counter, inflate, ...input }, calls, signal) =>
    withSlice({ ...input, counter: inflate ? counter : undefined }, calls, signal, async (records, view) => {
      const names = Buffer.allocUnsafeSlow(records.length)
      let namesLength = 0
      const places = makeSlicePlaces()
      const flaws: Array<Flaw> = []
      let files = 0
      let bytes = 0
      let more = 0
      let complete = true

      const note = (cause: unknown, name?: Buffer): void => {
        signal.throwIfAborted()
        if (isOutOfMemory(cause)) throw cause
        if (flaws.length === flawsKept) more += 1
        else flaws.push(flawOf(cause, name))
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
        flaws,
        more
      }
    })
}
