import { once } from "node:events"
import { type Entry, type StandIn, ZipFile } from "yazl"
import { release } from "../system/WorkerJob.ts"
import { dosOf, type EntryHead, type EntrySums, rawNameField, timeField, zip64From } from "./Headers.ts"

/**
 * The only module that uses yazl, whose version is pinned: it makes the central directory and the end records. yazl has no public
 * call for data that is already compressed, so entries are made by its public calls and changed before it has written them.
 *
 * What is relied on beyond its documentation: `entries` and `outputStreamCursor` of a ZipFile; it pumps nothing while the first
 * of `entries` is in state 0; the fields of an entry below; an entry's `getCentralDirectoryRecord()` (extra fields last, no
 * comment); `end()` goes through `entries` by index for `state` and by `forEach` for the records.
 */
declare module "yazl" {
  interface StandIn {
    readonly state: number
    getCentralDirectoryRecord(): Buffer
  }
  interface Entry extends StandIn {
    utf8FileName: Buffer
    lastModFileTime: number
    lastModFileDate: number
    compressionLevel: number
    forceZip64Format: boolean
    crcAndFileSizeKnown: boolean
    crc32: number
    uncompressedSize: number
    compressedSize: number
    relativeOffsetOfLocalHeader: number
  }
  interface ZipFile {
    entries: Array<Entry | StandIn>
    outputStreamCursor: number
  }
}

const waiting = 0
const done = 3

/** Holds yazl back: an entry that waits for its metadata, and everything behind it waits for it. */
const gate: StandIn = { state: waiting, getCentralDirectoryRecord: () => Buffer.alloc(0) }

const slabSize = 1 << 20

export type Directory = ReturnType<typeof makeDirectory>

/** The central directory of a new zip. Entries are kept as bytes: yazl looks at all its (large) entries at each step. */
export const makeDirectory = () => {
  const zip = new ZipFile()
  const slabs: Array<Buffer> = []
  let slab = Buffer.alloc(0)
  let used = 0
  let count = 0

  /** By kind and mode, all that yazl makes of an entry here: to make one takes longer than the rest of its record. */
  const made = new Map<string, Entry>()

  const entryOf = (head: EntryHead): Entry => {
    const key = `${head.kind} ${head.mode}`
    const known = made.get(key)
    if (known !== undefined) return known
    const entry = makeEntry(zip, head)
    made.set(key, entry)
    return entry
  }

  const add = (head: EntryHead, sums: EntrySums, offset: number): void => {
    const record = recordOf(entryOf(head), head, sums, offset)
    const time = timeField(head.seconds)
    const extra = head.rawPath === undefined ? [time] : [time, rawNameField(head.name, head.rawPath)]
    const length = extra.reduce((sum, field) => sum + field.length, record.length)
    // yazl knows nothing of these extra fields: their length is added to that of its own.
    record.writeUInt16LE(record.readUInt16LE(30) + length - record.length, 30)
    if (used + length > slab.length) {
      if (used > 0) slabs.push(slab.subarray(0, used))
      slab = Buffer.allocUnsafeSlow(Math.max(slabSize, length))
      used = 0
    }
    for (const bytes of [record, ...extra]) used += bytes.copy(slab, used)
    count += 1
  }

  /** The directory and the end records, for a zip in which they begin at `offset`. Each piece is freed when the next is taken. */
  async function* end(offset: number): AsyncGenerator<Buffer> {
    if (used > 0) slabs.push(slab.subarray(0, used))
    zip.entries = new Finished(count, slabs)
    zip.outputStreamCursor = offset
    // To iterate over the stream would join all that is in it.
    const chunks: Array<Buffer> = []
    zip.outputStream.on("data", (chunk: Buffer) => chunks.push(chunk))
    zip.end()
    await once(zip.outputStream, "end")
    for (const chunk of chunks) {
      yield chunk
      if (slabs.includes(chunk)) release(chunk, slabSize)
    }
  }

  return { add, end }
}

const makeEntry = (zip: ZipFile, { kind, mode }: EntryHead): Entry => {
  zip.entries = [gate]
  // The UT field is ours, since yazl writes it to one header only: "forceDosTimestamp" leaves it out.
  const options = { mtime: anyTime, mode: mode & 0xffff, forceDosTimestamp: true }
  if (kind === "directory") zip.addEmptyDirectory("placeholder/", options)
  else zip.addReadStreamLazy("placeholder", options, neverAsked)
  const entry = zip.entries.pop()
  if (entry === undefined || !("utf8FileName" in entry)) {
    throw new Error("yazl is not the version that this program was made for")
  }
  return entry
}

const recordOf = (entry: Entry, head: EntryHead, sums: EntrySums, offset: number): Buffer => {
  const dos = dosOf(head.seconds)
  entry.utf8FileName = head.name
  entry.lastModFileDate = dos.date
  entry.lastModFileTime = dos.time
  entry.compressionLevel = sums.method === "store" ? 0 : 6
  entry.forceZip64Format = head.size >= zip64From
  entry.crcAndFileSizeKnown = true
  entry.crc32 = sums.crc32
  entry.uncompressedSize = sums.size
  entry.compressedSize = sums.compressedSize
  entry.relativeOffsetOfLocalHeader = offset
  return entry.getCentralDirectoryRecord()
}

const anyTime = new Date(0)

const neverAsked = (): void => {
  throw new Error("yazl asked for data that it is never to write")
}

/** Stands in for all entries at the end: as many as there are, and their records by the slab. */
class Finished extends Array<StandIn> {
  readonly slabs: ReadonlyArray<Buffer>

  constructor(count: number, slabs: ReadonlyArray<Buffer>) {
    super(count)
    this.slabs = slabs
    this.fill({ state: done, getCentralDirectoryRecord: gate.getCentralDirectoryRecord })
  }

  override forEach(visit: (record: StandIn, index: number, all: Array<StandIn>) => void): void {
    for (const [index, slab] of this.slabs.entries()) {
      visit({ state: done, getCentralDirectoryRecord: () => slab }, index, this)
    }
  }
}
