import { codeOf, isAboutUs } from "../domain/Errno.ts"
import type { Runner } from "../workers/Runner.ts"
import { isArchiveError } from "./ArchiveError.ts"
import { makePlaces } from "./AuditPlaces.ts"
import { type AuditOutput, auditSlice, flawOf } from "./AuditSlice.ts"
import { type BlockReader, openBlocks } from "./BlockReader.ts"
import { damaged } from "./Damage.ts"
import { lookAhead } from "./LookAhead.ts"
import { allSlices } from "./ReadZip.ts"
import type { Slice } from "./Slices.ts"
import { endedAt } from "./WriteZip.ts"
import { readEnd } from "./Yauzl.ts"

/** What is looked at, and who is told on the way. */
export interface AuditOptions {
  /** Whether each entry's content is read, its size and CRC-32 checked; otherwise headers and names alone. */
  readonly content: boolean
  /** The names of files in their order, a batch at a time. */
  readonly onFiles: (names: ReadonlyArray<string>) => void
  /** So many bytes have been looked at, give or take those that are under way. */
  readonly onRead: (bytes: number) => void
}

/** Something that is wrong with a zip. */
export interface Flaw {
  /** The entry it is about, in quotes and harmless. */
  readonly entry?: string
  /** To be read after "ABCD.zip" or the entry: "its CRC-32 is wrong". */
  readonly problem: string
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
