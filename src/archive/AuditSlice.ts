import { explain } from "../domain/Errno.ts"
import type { WorkerJob } from "../workers/Runner.ts"
import { isOutOfMemory } from "../workers/Wire.ts"
import { archiveFailures, isArchiveError } from "./ArchiveError.ts"
import { makeSlicePlaces, type SlicePlaces } from "./AuditPlaces.ts"
import type { Flaw } from "./AuditZip.ts"
import { quoted } from "./Damage.ts"
import { checkForm } from "./EntryRules.ts"
import { checkLocal, countOwn, type ZipEntry } from "./ReadHeaders.ts"
import { readRecords } from "./ReadZip.ts"
import { type SliceSource, type SliceView, withSlice } from "./SliceReader.ts"
import { checkEntry } from "./VerifySlice.ts"

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
const flawsKept = 20

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
        if (flaws.length === flawsKept) more += 1
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
