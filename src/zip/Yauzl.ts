import * as yauzl from "yauzl"
import { closeRead, fill, openRegular, waitingCalls } from "../system/FileCalls.ts"
import type { FileIdentity } from "./ArchiveIndex.ts"
import { damaged, truncated, unreadable } from "./ZipError.ts"

export type OpenZip = Awaited<ReturnType<typeof openZip>>

/** Opens the file at `path`; not through a symlink. */
export const openZip = async (path: string) => {
  const failed = unreadable(path)
  const { file, stats } = await openRegular(path).catch(failed)
  return {
    path,
    size: stats.size,
    identity: stats satisfies FileIdentity,
    /** For other threads of the process; valid until the file is closed. */
    fd: file.fd,
    /** Fills the buffer; reading beyond the end is an error. */
    fill: async (buffer: Buffer, position: number): Promise<Buffer> => {
      if (position < 0 || position + buffer.length > stats.size) truncated(path)
      const length = await fill(waitingCalls, file.fd, buffer, position).catch(failed)
      if (length < buffer.length) truncated(path)
      return buffer
    },
    close: () => closeRead(file)
  }
}

/**
 * Every byte that follows a zip's central directory (APPNOTE 4.3.14 to 4.3.16): no comment, one disk, the zip64
 * records only where a number does not fit. Since nothing is left open, a reader can compare it as a whole.
 */
export const endRecords = ({
  entries,
  size,
  start
}: {
  readonly entries: number
  readonly start: number
  readonly size: number
}): Buffer => {
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(Math.min(entries, 0xffff), 8)
  end.writeUInt16LE(Math.min(entries, 0xffff), 10)
  end.writeUInt32LE(Math.min(size, 0xffff_ffff), 12)
  end.writeUInt32LE(Math.min(start, 0xffff_ffff), 16)
  const fits = entries < 0xffff && size < 0xffff_ffff && start < 0xffff_ffff
  if (fits) return end

  const zip64 = Buffer.alloc(76)
  zip64.writeUInt32LE(0x06064b50, 0)
  zip64.writeBigUInt64LE(44n, 4)
  zip64.writeUInt16LE(versionMadeBy, 12)
  zip64.writeUInt16LE(45, 14)
  zip64.writeBigUInt64LE(BigInt(entries), 24)
  zip64.writeBigUInt64LE(BigInt(entries), 32)
  zip64.writeBigUInt64LE(BigInt(size), 40)
  zip64.writeBigUInt64LE(BigInt(start), 48)
  zip64.writeUInt32LE(0x07064b50, 56)
  zip64.writeBigUInt64LE(BigInt(start + size), 64)
  zip64.writeUInt32LE(1, 72)
  return Buffer.concat([zip64, end])
}

/** Unix, version 6.3 of the specification: what the entries say as well. */
export const versionMadeBy = (3 << 8) | 63

/** The only module that knows yauzl, whose version is pinned: it finds and parses the headers. */

export type CentralEntry = yauzl.Entry

/** What the end records say, not yet compared with anything. */
export interface ZipEnd {
  readonly directoryStart: number
  readonly entries: number
}

const options: yauzl.Options = {
  lazyEntries: true,
  // Names stay bytes: yauzl refuses legal ones (`C:x`) and changes others (backslash).
  decodeStrings: false,
  validateEntrySizes: true,
  autoClose: false
}

export const readEnd = (zip: OpenZip): Promise<ZipEnd> =>
  yauzl.fromRandomAccessReaderPromise(new FileReader(zip), zip.size, options).then(
    // The types call this number a boolean.
    (opened) => ({ directoryStart: Number(opened.readEntryCursor), entries: opened.entryCount }),
    damaged(zip.path)
  )

/** yauzl looks for a zip64 locator before the end record, where the last record could look like one. */
const gap = Buffer.alloc(20)

/**
 * The entries of `count` (at most 65,534) central directory records. In memory, where yauzl's callbacks are called
 * at once: reading from a file it takes five times as long. Throws at the first record that cannot be parsed.
 */
export function* parseRecords(records: Buffer, count: number): Generator<CentralEntry> {
  const found: Array<CentralEntry> = []
  const failures: Array<unknown> = []
  const zips: Array<yauzl.ZipFile> = []
  const bytes = Buffer.concat([records, gap, endRecords({ entries: count, start: 0, size: 0 })])
  yauzl.fromRandomAccessReader(new MemoryReader(bytes), bytes.length, options, (error, opened) => {
    if (error === null || error === undefined) zips.push(opened)
    else failures.push(error)
  })
  const [zip] = zips
  if (zip === undefined) throw failures[0]
  zip.on("entry", (entry: CentralEntry) => found.push(entry))
  zip.on("error", (error: unknown) => failures.push(error))
  for (let index = 0; index < count; index += 1) {
    zip.readEntry()
    if (failures.length > 0) throw failures[0]
    const entry = found.pop()
    // The only thing that yauzl answers later is a record that consists of the fixed fields alone.
    if (entry === undefined) throw new Error("it has no name")
    yield entry
  }
}

class FileReader extends yauzl.RandomAccessReader {
  readonly zip: OpenZip

  constructor(zip: OpenZip) {
    super()
    this.zip = zip
  }

  override read(target: Buffer, offset: number, length: number, position: number, callback: ReadCallback): void {
    this.zip.fill(target.subarray(offset, offset + length), position).then(
      () => callback(null),
      (cause: unknown) => callback(cause instanceof Error ? cause : new Error(String(cause)))
    )
  }

  // The file is its opener's to close.
  override close(callback: ReadCallback): void {
    setImmediate(callback, null)
  }
}

type ReadCallback = (error: Error | null) => void

class MemoryReader extends yauzl.RandomAccessReader {
  readonly bytes: Buffer

  constructor(bytes: Buffer) {
    super()
    this.bytes = bytes
  }

  override read(target: Buffer, offset: number, length: number, position: number, callback: ReadCallback): void {
    const copied = this.bytes.copy(target, offset, position, position + length)
    callback(copied < length ? new Error("its record is cut off") : null)
  }
}
