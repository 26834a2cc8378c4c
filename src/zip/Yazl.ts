import { type StandIn, ZipFile } from "yazl"
import {
  dosTime,
  type EntryHead,
  type EntrySums,
  localVersion,
  rawNameField,
  timeField,
  zip64Field,
  zip64From
} from "./Headers.ts"

/**
 * The only module that uses yazl, whose version is pinned: yazl has no public call for data that is already compressed, so
 * entries are made by its public calls and changed before it has written them. It makes the bytes of every header.
 *
 * What is relied on beyond its documentation: `entries` and `outputStreamCursor` of a ZipFile; it pumps nothing while the first
 * of `entries` is in state 0; the fields of an entry below; an entry's `getLocalFileHeader()` (without extra fields) and
 * `getCentralDirectoryRecord()` (extra fields last, no comment); `end()` goes through `entries` by index for `state` and by
 * `forEach` for the records.
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
    /** 0 stores, anything else deflates. */
    compressionLevel: number
    forceZip64Format: boolean
    crcAndFileSizeKnown: boolean
    crc32: number
    uncompressedSize: number
    compressedSize: number
    relativeOffsetOfLocalHeader: number
    getLocalFileHeader(): Buffer
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

export type Headers = ReturnType<typeof makeHeaders>

export type OpenEntry = ReturnType<Headers["open"]>

/** Headers of a new zip. Finished entries are kept as bytes: yazl looks at all its (large) entries at each step. */
export const makeHeaders = () => {
  const zip = new ZipFile()
  const slabs: Array<Buffer> = []
  let slab = Buffer.alloc(0)
  let used = 0
  let count = 0

  const keep = (record: Buffer): void => {
    if (used + record.length > slab.length) {
      if (used > 0) slabs.push(slab.subarray(0, used))
      slab = Buffer.allocUnsafe(Math.max(slabSize, record.length))
      used = 0
    }
    used += record.copy(slab, used)
    count += 1
  }

  /** An entry whose local header will lie at `offset`. */
  const open = (head: EntryHead, offset: number) => {
    const entry = makeEntry(zip, head)
    const zip64 = head.size >= zip64From
    const time = timeField(head.seconds)
    const centralExtra =
      head.rawPath === undefined ? time : Buffer.concat([time, rawNameField(head.name, head.rawPath)])
    entry.relativeOffsetOfLocalHeader = offset
    entry.forceZip64Format = zip64
    entry.crcAndFileSizeKnown = true
    return {
      localHeader: (sums = noSums): Buffer => {
        apply(entry, sums)
        // yazl has no zip64 form of this header: its 32-bit fields then say "see the extra field".
        if (zip64) entry.uncompressedSize = entry.compressedSize = 0xffff_ffff
        const header = entry.getLocalFileHeader()
        header.writeUInt16LE(localVersion(head.name, zip64), 4)
        const sizes = zip64 ? [zip64Field(sums.size, sums.compressedSize)] : []
        return appendExtra(header, 28, Buffer.concat([...sizes, time]))
      },
      finish: (sums: EntrySums): void => {
        apply(entry, sums)
        keep(appendExtra(entry.getCentralDirectoryRecord(), 30, centralExtra))
      }
    }
  }

  async function* end(offset: number): AsyncGenerator<Buffer> {
    if (used > 0) slabs.push(slab.subarray(0, used))
    zip.entries = new Finished(count, slabs)
    zip.outputStreamCursor = offset
    zip.end()
    for await (const chunk of zip.outputStream) {
      yield typeof chunk === "string" ? Buffer.from(chunk, "latin1") : chunk
    }
  }

  return { open, end }
}

export const noSums: EntrySums = { method: "store", crc32: 0, size: 0, compressedSize: 0 }

const makeEntry = (zip: ZipFile, head: EntryHead) => {
  zip.entries = [gate]
  // The UT field is ours, since yazl writes it to one header only: "forceDosTimestamp" leaves it out.
  const options = { mtime: anyTime, mode: head.mode & 0xffff, forceDosTimestamp: true }
  if (head.kind === "directory") zip.addEmptyDirectory("placeholder/", options)
  else zip.addReadStreamLazy("placeholder", options, neverAsked)
  const entry = zip.entries.pop()
  if (entry === undefined || !("utf8FileName" in entry)) {
    throw new Error("yazl is not the version that this program was made for")
  }
  const dos = dosTime(head.seconds)
  entry.utf8FileName = head.name
  entry.lastModFileDate = dos.date
  entry.lastModFileTime = dos.time
  return entry
}

const anyTime = new Date(0)

const neverAsked = (): void => {
  throw new Error("yazl asked for data that it is never to write")
}

const apply = (entry: ReturnType<typeof makeEntry>, sums: EntrySums): void => {
  entry.compressionLevel = sums.method === "store" ? 0 : 6
  entry.crc32 = sums.crc32
  entry.uncompressedSize = sums.size
  entry.compressedSize = sums.compressedSize
}

/** `extra` behind a header that ends with its extra fields, whose length stands at `lengthAt`. */
const appendExtra = (header: Buffer, lengthAt: number, extra: Buffer): Buffer => {
  header.writeUInt16LE(header.readUInt16LE(lengthAt) + extra.length, lengthAt)
  return Buffer.concat([header, extra])
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
