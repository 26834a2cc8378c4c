import { codeOf, explain, isAboutUs } from "../system/Errno.ts"
import { isOutOfMemory, type Runner, type WorkerJob } from "../system/WorkerJob.ts"
import { checkForm, makePlaces, makeSlicePlaces, type SlicePlaces } from "./EntryRules.ts"
import { checkLocal, countOwn, type ZipEntry } from "./Headers.ts"
import { lookAhead } from "./LookAhead.ts"
import { type SliceSource, type SliceView, withSlice } from "./ReadSlice.ts"
import { allSlices, readRecords, type Slice } from "./ReadZip.ts"
import { checkEntry } from "./VerifyZip.ts"
import { endedAt } from "./WriteZip.ts"
import { type BlockReader, openBlocks, readEnd } from "./Yauzl.ts"
import { archiveFailures, damaged, type Flaw, isArchiveError, quoted } from "./ZipError.ts"

/** Part of a zip that is to be audited. */
interface AuditInput extends SliceSource {
  readonly count: number
  /** Whether content is read as well. */
  readonly inflate: boolean
  /** One 64-bit number, to which the bytes that have been read are added. */
  readonly progress: SharedArrayBuffer
}

/** What was found. */
export interface AuditOutput {
  readonly files: number
  /** Uncompressed. */
  readonly bytes: number
  /** Names of the files in their order, with a NUL between one and the next. */
  readonly names: Uint8Array
  /** Where they lie. */
  readonly places: SlicePlaces
  /** Entries with the marks of this program, see {@link countOwn}. */
  readonly own: number
  /** Every entry was come across. */
  readonly complete: boolean
  readonly flaws: ReadonlyArray<Flaw>
  /** Flaws that are not among them. */
  readonly more: number
}

/** One slice of a zip of which nothing is left would fill a screen. */
const sliceFlawsKept = 20

/**
 * Consecutive entries: both headers, that they lie one behind the other and fill the slice, that each can be put into a
 * folder, and, if asked for, sizes and CRC-32 of their data. What is wrong is in the result; memory does not depend on their sizes.
 */
export const auditSlice: WorkerJob<AuditInput, AuditOutput> = {
  name: "audit",
  kind: "brief",
  failures: archiveFailures,
  work: (input, files, signal) =>
    withSlice(input, files, signal, async (records, view) => {
      const names = makeNames(records.length)
      const places = makeSlicePlaces()
      const flaws: Array<Flaw> = []
      const counted = counting(view, new BigInt64Array(input.progress))
      let files = 0
      let bytes = 0
      let more = 0
      let complete = true

      const note = (cause: unknown, name?: Buffer): void => {
        signal.throwIfAborted()
        if (isOutOfMemory(cause)) throw cause
        if (flaws.length === sliceFlawsKept) more += 1
        else flaws.push(flawOf(cause, name))
      }

      try {
        for (const entry of readRecords(records, input, input.zip)) {
          if (entry.kind === "file") {
            files += 1
            bytes += entry.size
            names.add(entry.name)
          }
          try {
            await readOne(entry, counted.view, input.inflate)
            checkForm(entry)
            places.add(entry)
          } catch (cause) {
            note(cause, entry.name)
          }
          counted.passed(entry)
        }
      } catch (cause) {
        // A record that makes no sense: where the next entry lies is not known.
        complete = false
        note(cause)
      }
      return {
        files,
        bytes,
        names: names.end(),
        places: places.end(),
        own: countOwn(records, input.count),
        complete,
        flaws,
        more
      }
    })
}

const readOne = async (entry: ZipEntry, view: SliceView, inflate: boolean): Promise<void> => {
  if (inflate) return checkEntry(entry, view)
  const { dataStart, start } = entry
  checkLocal(entry, view.bytes(start, dataStart) ?? (await view.load(start, dataStart)))
}

/** A view of which is known how far it has been read: within a large entry piece by piece, otherwise entry by entry. */
const counting = (view: SliceView, counter: BigInt64Array) => {
  let pieces = 0
  async function* counted(all: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of all) {
      pieces += piece.length
      Atomics.add(counter, 0, BigInt(piece.length))
      yield piece
    }
  }
  return {
    view: { ...view, pieces: (start: number, end: number) => counted(view.pieces(start, end)) },
    passed: ({ end, start }: ZipEntry): void => {
      Atomics.add(counter, 0, BigInt(end - start - pieces))
      pieces = 0
    }
  }
}

/** What a failure says of the entry of this name, or of the one that it names itself. */
export const flawOf = (cause: unknown, name?: Buffer): Flaw => {
  const known = isArchiveError(cause) ? cause : undefined
  const entry = known?.entry ?? (name === undefined ? undefined : quoted(name))
  const problem = known?.problem ?? explain(cause)
  return entry === undefined ? { problem } : { entry, problem }
}

/** Gathers names, and gives them in memory of their own, so that it can go to another thread. */
const makeNames = (room: number) => {
  const all = Buffer.allocUnsafeSlow(room)
  let used = 0
  return {
    add: (name: Buffer): void => {
      if (used > 0) used = all.writeUInt8(0, used)
      used += name.copy(all, used)
    },
    end: (): Uint8Array => new Uint8Array(all.subarray(0, used))
  }
}

/** What is looked at, and who is told on the way. */
export interface AuditOptions {
  /** Whether each entry's content is read, its size and CRC-32 checked; otherwise headers and names alone. */
  readonly content: boolean
  /** The names of files in their order, a batch at a time. */
  readonly onFiles: (names: ReadonlyArray<string>) => void
  /** So many bytes have been looked at, give or take those that are under way. */
  readonly onRead: (bytes: number) => void
}

/** What is in a zip, and what is wrong with it. */
export interface Audit {
  readonly files: number
  /** Uncompressed. */
  readonly bytes: number
  /** All entries were come across: without that, names and sums are those of a part. */
  readonly complete: boolean
  /** It has entries, and not one with the marks of this program: another one made it, and flaws say little of it. */
  readonly foreign?: true
  readonly flaws: ReadonlyArray<Flaw>
}

/** Slices for each thread that are begun before their turn. */
const aheadPerThread = 2

/** More would help nobody; that there were more is said. */
const flawsKept = 20

/**
 * Reads a zip of which nothing is known, on the runner's threads: that it is such as this program writes them, down to
 * every bit of headers and end records, that entries lie one behind the other with nothing between them, before or after, that
 * they can be put into a folder (files and folders only, each once and in a folder that stands before it),
 * and (`content`) each entry's size and CRC-32. Goes on behind an entry whose content is damaged; where headers are, what
 * can still be followed. Memory depends neither on the size of the zip nor on the number of entries.
 */
export const auditZip = async (
  zip: string,
  options: AuditOptions,
  signal: AbortSignal,
  runner: Runner
): Promise<Audit> => {
  signal.throwIfAborted()
  const found = makeFindings()
  try {
    const blocks = await openBlocks(zip)
    try {
      await auditAll({ zip, blocks, runner, found, ...options }, signal)
    } finally {
      await blocks.close()
    }
  } catch (cause) {
    const error = endedAt(zip, cause)
    if (signal.aborted || !isArchiveError(error) || error.problem === undefined) throw error
    // The zip may be as good as ever.
    if (isAboutUs(codeOf(error.cause))) throw error
    found.broken(flawOf(error))
  }
  return found.end()
}

interface Auditing extends AuditOptions {
  readonly zip: string
  readonly blocks: BlockReader
  readonly runner: Runner
  readonly found: ReturnType<typeof makeFindings>
}

/** A single entry can take minutes. */
const tellEveryMillis = 200

const auditAll = async ({ found, ...auditing }: Auditing, signal: AbortSignal): Promise<void> => {
  const { blocks, content, onFiles, onRead, runner, zip } = auditing
  const end = await readEnd(blocks).catch(damaged(zip))

  const progress = new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT)
  const counter = new BigInt64Array(progress)

  const audit = async (slice: Slice) => {
    const { content: extent, count, records } = slice
    const input = { zip, fd: blocks.fd, count, records, content: extent, inflate: content, progress }
    return { slice, output: await runner.run(auditSlice, input, signal) }
  }

  const width = runner.width * aheadPerThread
  const telling = setInterval(() => onRead(Number(Atomics.load(counter, 0))), tellEveryMillis)
  try {
    for await (const { output, slice } of lookAhead(allSlices(blocks, end, zip), width, audit)) {
      signal.throwIfAborted()
      found.add(slice, output)
      if (output.names.length > 0) onFiles(textOf(output.names).split("\0"))
      onRead(slice.content.end)
      if (slice.first + slice.count === end.entries) found.followed()
    }
  } finally {
    clearInterval(telling)
  }
}

const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8")

const makeFindings = () => {
  const flaws: Array<Flaw> = []
  let files = 0
  let bytes = 0
  let beyond = 0
  let complete = true
  let entries = 0
  let own = 0
  let foreign = false
  const places = makePlaces()
  const note = (flaw: Flaw): void => {
    if (flaws.length < flawsKept) flaws.push(flaw)
    else beyond += 1
  }
  return {
    add: (slice: Slice, output: AuditOutput): void => {
      entries += slice.count
      own += output.own
      places.add(output.places)
      files += output.files
      bytes += output.bytes
      complete &&= output.complete
      output.flaws.forEach(note)
      beyond += output.more
    },
    broken: (flaw: Flaw): void => {
      complete = false
      note(flaw)
    },
    /** All entries were come across. */
    followed: (): void => {
      foreign = entries > 0 && own === 0
    },
    end: (): Audit => {
      // Where headers are damaged, names are not what they were: their places say something only when nothing else is wrong.
      if (flaws.length === 0) places.end().forEach(note)
      return {
        files,
        bytes,
        complete,
        ...(foreign ? { foreign } : {}),
        flaws: beyond === 0 ? flaws : [...flaws, { problem: `and ${beyond} more of its entries are damaged` }]
      }
    }
  }
}
