import * as fs from "node:fs/promises"
import { crc32 } from "node:zlib"
import type { Manifest, ManifestEntry } from "../source/Manifest.ts"
import { checkedPiece } from "../system/Digests.ts"
import { explain } from "../system/Errno.ts"
import { closeRead, fill, openRegular, waitingCalls } from "../system/FileCalls.ts"
import { type FileIdentity, isSameFile, type PreviousArchive } from "./ArchiveIndex.ts"
import { type EntryHead, headOf, sourcePath, type ZipEntry } from "./Headers.ts"
import { settleAll } from "./LookAhead.ts"
import type { Output } from "./Output.ts"
import { type Extent, entriesInTurn } from "./ReadZip.ts"
import type { Directory } from "./Yazl.ts"
import { ArchiveError, type ArchiveReport, type CopiedRange } from "./ZipError.ts"

/** Entries of files that have not changed are copied, in compressed form, from the archive before. */

/** Copied ranges of a zip that is read in slices, in order. `ranges`: in order of their offsets, none overlaps another. */
export const copiedParts = (ranges: ReadonlyArray<CopiedRange>) => {
  const combine = makeCombiner()
  let next = 0
  let current = 0
  let checksum = 0
  return {
    within: (content: Extent): ReadonlyArray<Extent> => {
      const parts: Array<Extent> = []
      for (let range = ranges[next]; range !== undefined && range.start < content.end; range = ranges[next]) {
        parts.push({ start: Math.max(range.start, content.start), end: Math.min(range.end, content.end) })
        if (range.end > content.end) break
        next += 1
      }
      return parts
    },
    /** Takes the CRC-32 of these parts, in their order. The first range that is complete now and is not what was copied. */
    add: (parts: ReadonlyArray<Extent>, sums: ReadonlyArray<number>): CopiedRange | undefined => {
      for (const [index, part] of parts.entries()) {
        const range = ranges[current]
        if (range === undefined) return undefined
        const sum = sums[index] ?? 0
        checksum = part.start === range.start ? sum : combine(checksum, sum, part.end - part.start)
        if (part.end < range.end) continue
        current += 1
        if (checksum !== range.crc32) return range
      }
      return undefined
    },
    incomplete: (): CopiedRange | undefined => ranges[current]
  }
}

export type OldEntry = Omit<ZipEntry, "dataStart">

interface CopiedPiece {
  readonly kind: "copied"
  readonly start: number
  readonly end: number
  readonly entries: ReadonlyArray<{ readonly head: EntryHead; readonly old: OldEntry }>
}

interface FreshPiece {
  readonly kind: "fresh"
  /** Which of the manifest's entries the first one is. */
  readonly from: number
  readonly entries: ReadonlyArray<ManifestEntry>
}

export type Piece = CopiedPiece | FreshPiece

/** Little enough to be garbage by the time at which the collector looks at it. */
const mostEntries = 256

/**
 * The manifest's entries in order, each to be compressed or copied. A file is copied where name, size, mode and time are as in
 * the archive before, and inode and ctime as noted: any change of the file changes one of these, sooner or later.
 */
export async function* pieces(
  manifest: Pick<Manifest, "entries" | "stamps">,
  noted: BigInt64Array,
  before: AsyncIterable<Iterable<OldEntry>>
): AsyncGenerator<Piece> {
  const { entries, stamps = new BigInt64Array(0) } = manifest
  const old = makeCursor(before)
  let fresh: Array<ManifestEntry> = []
  let copied: Array<CopiedPiece["entries"][number]> = []
  let start = 0
  let end = 0
  let index = -1

  try {
    for (const entry of entries) {
      index += 1
      while (!old.seek(entry.path)) await old.more()
      const candidate = old.entryAt(entry.path)
      const head = candidate === undefined ? undefined : headOf(entry)
      const same =
        candidate !== undefined &&
        head !== undefined &&
        isSame(head, candidate) &&
        (entry.kind === "directory" || hasSameStamp(stamps, index, noted, old.index()))

      if (copied.length > 0 && (!same || candidate.start !== end || copied.length === mostEntries)) {
        yield { kind: "copied", start, end, entries: copied }
        copied = []
      }
      if (fresh.length > 0 && (same || fresh.length === mostEntries)) {
        yield { kind: "fresh", from: index - fresh.length, entries: fresh }
        fresh = []
      }
      if (same) {
        if (copied.length === 0) start = candidate.start
        end = candidate.end
        copied.push({ head, old: candidate })
      } else fresh.push(entry)
    }
    if (copied.length > 0) yield { kind: "copied", start, end, entries: copied }
    if (fresh.length > 0) yield { kind: "fresh", from: entries.length - fresh.length, entries: fresh }
  } finally {
    await old.close()
  }
}

/** All of them, to be compressed. */
export function* freshPieces({ entries }: Pick<Manifest, "entries">): Generator<FreshPiece> {
  for (let from = 0; from < entries.length; from += mostEntries) {
    yield { kind: "fresh", from, entries: entries.slice(from, from + mostEntries) }
  }
}

/** Walks forwards through the old entries, which come in batches in the order of their paths. */
const makeCursor = (before: AsyncIterable<Iterable<OldEntry>>) => {
  const batches = before[Symbol.asyncIterator]()
  let batch: Iterator<OldEntry> = [].values()
  let index = -1
  let ended = false
  let entry: OldEntry | undefined
  let path: string | undefined

  const step = (): void => {
    const next = batch.next()
    entry = next.done === true ? undefined : next.value
    path = entry === undefined ? undefined : sourcePath(entry)
    if (entry !== undefined) index += 1
  }

  return {
    /** Steps to the first entry that is not before `wanted`; false when the batch ended first, and there may be more. */
    seek: (wanted: string): boolean => {
      while (path !== undefined && path < wanted) step()
      return entry !== undefined || ended
    },
    more: async (): Promise<void> => {
      const next = await batches.next()
      ended = next.done === true
      if (next.done === true) return
      batch = next.value[Symbol.iterator]()
      step()
    },
    entryAt: (wanted: string): OldEntry | undefined => (path === wanted ? entry : undefined),
    index: (): number => index,
    close: async (): Promise<void> => {
      await batches.return?.()
    }
  }
}

const isSame = (head: EntryHead, old: OldEntry): boolean =>
  head.kind === old.kind &&
  head.size === old.size &&
  head.mode === old.mode &&
  head.seconds === old.seconds &&
  head.name.equals(old.name)

const hasSameStamp = (stamps: BigInt64Array, index: number, noted: BigInt64Array, notedIndex: number): boolean => {
  const ctime = stamps[2 * index + 1]
  if (ctime === undefined || ctime === 0n) return false
  return ctime === noted[2 * notedIndex + 1] && stamps[2 * index] === noted[2 * notedIndex]
}

export type Previous = Awaited<ReturnType<typeof openPrevious>>

/** Opens the archive before, which has to be the very file that was checked. All its failures have the reason `Previous`. */
export const openPrevious = async (previous: PreviousArchive) => {
  const { zip } = previous
  const failed = (cause: unknown): never => {
    if (cause instanceof ArchiveError && cause.reason === "Previous") throw cause
    const why = cause instanceof ArchiveError ? cause.message : `cannot read ${zip}: ${explain(cause)}`
    throw new ArchiveError({
      reason: "Previous",
      path: zip,
      message: `cannot copy unchanged files from the archive before: ${why}`,
      transient: false,
      cause
    })
  }
  const same = (found: FileIdentity): void => {
    if (!isSameFile(previous.file, found)) failed(new Error("it was replaced or changed since it was checked"))
  }

  const { file, stats } = await openRegular(zip).catch(failed)
  try {
    same(stats)
  } catch (cause) {
    await closeRead(file)
    throw cause
  }

  function* checked(batch: Iterable<OldEntry>): Generator<OldEntry> {
    try {
      yield* batch
    } catch (cause) {
      failed(cause)
    }
  }

  async function* entries(signal: AbortSignal): AsyncGenerator<Iterable<OldEntry>> {
    try {
      for await (const batch of entriesInTurn(zip, signal)) {
        // Its name was opened once more for these.
        same(await fs.lstat(zip))
        yield checked(batch)
      }
    } catch (cause) {
      if (signal.aborted) throw cause
      failed(cause)
    }
  }

  return {
    fd: file.fd,
    size: stats.size,
    stamps: previous.index.stamps,
    sums: previous.pieces,
    failed,
    entries,
    close: () => closeRead(file)
  }
}

export type Copied = Pick<ArchiveReport, "copied" | "copiedFiles">

const noBytes = Buffer.alloc(0)

/** Copies pieces of the archive before into the new one; `advance` gets the number of uncompressed bytes of each step. */
export const makeCopier = (
  previous: Previous,
  directory: Directory,
  output: Output,
  advance: (bytes: number) => void,
  signal: AbortSignal
) => {
  const ranges: Array<CopiedRange> = []
  const buffers: Array<typeof noBytes> = []
  let turn = 0
  // What was read last: changed files may lie close to each other, with little to copy between them.
  let window = { start: 0, bytes: noBytes }
  let copiedFiles = 0

  const read = async (at: number): Promise<void> => {
    const piece = Math.floor(at / checkedPiece)
    const start = piece * checkedPiece
    turn = 1 - turn
    const buffer = buffers[turn] ?? Buffer.allocUnsafeSlow(checkedPiece)
    buffers[turn] = buffer
    const wanted = buffer.subarray(0, Math.min(checkedPiece, previous.size - start))
    const length = await fill(waitingCalls, previous.fd, wanted, start).catch(previous.failed)
    if (length < wanted.length) previous.failed(new Error("it is shorter than it was"))
    if (crc32(wanted) !== previous.sums[piece]) previous.failed(new Error("it is not what it was when it was checked"))
    window = { start, bytes: wanted }
  }

  const present = (start: number, end: number): Buffer => {
    const from = start - window.start
    return from < 0 ? noBytes : window.bytes.subarray(from, end - window.start)
  }

  /** Copies bytes, reading one buffer ahead; gives their CRC-32 behind `before`. Each counts as `scale` uncompressed bytes. */
  const copyBytes = async (start: number, end: number, before: number, scale: number): Promise<number> => {
    let checksum = before
    let position = start
    if (present(position, end).length === 0) await read(position)
    for (;;) {
      signal.throwIfAborted()
      const chunk = present(position, end)
      position += chunk.length
      checksum = crc32(chunk, checksum)
      if (position === end) {
        await output.write(chunk)
        advance(chunk.length * scale)
        return checksum
      }
      // Neither goes on when this returns, also where one fails.
      await settleAll([output.write(chunk), read(position)])
      advance(chunk.length * scale)
    }
  }

  return {
    copied: (): Copied => ({ copied: ranges, copiedFiles }),

    /** Copies one piece, local headers and data, and adds its entries to the central directory. */
    copy: async ({ end, entries, start }: CopiedPiece): Promise<void> => {
      const at = output.position()
      let size = 0
      for (const { head, old } of entries) {
        directory.add(head, old, at + old.start - start)
        if (head.kind === "file") copiedFiles += 1
        size += old.size
      }
      const last = ranges.at(-1)
      const joined = last?.end === at ? ranges.pop() : undefined
      ranges.push({
        start: joined?.start ?? at,
        end: at + end - start,
        entries: (joined?.entries ?? 0) + entries.length,
        crc32: await copyBytes(start, end, joined?.crc32 ?? 0, size / (end - start))
      })
    }
  }
}

/** CRC-32 of the zip format, as a polynomial over GF(2): bit 31 is x^0. */
const polynomial = 0xedb88320

const multiply = (a: number, b: number): number => {
  let product = 0
  let factor = b
  for (let bit = 31; bit >= 0; bit -= 1) {
    if ((a >>> bit) & 1) product ^= factor
    factor = factor & 1 ? (factor >>> 1) ^ polynomial : factor >>> 1
  }
  return product >>> 0
}

/** x to the power of 8 times `length`: what so many bytes do to the CRC before them. */
const shiftOf = (length: number): number => {
  let shift = 1 << 31
  let power = 1 << 23
  for (let left = length; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) shift = multiply(shift, power)
    power = multiply(power, power)
  }
  return shift
}

/** Joins the CRC-32 of parts that lie one behind the other, as zlib's crc32_combine does. */
export const makeCombiner = (): ((first: number, second: number, secondLength: number) => number) => {
  // All blocks of a file but the last have the same length.
  let known = 0
  let shift = shiftOf(0)
  return (first, second, secondLength) => {
    if (secondLength !== known) {
      known = secondLength
      shift = shiftOf(secondLength)
    }
    return (multiply(shift, first) ^ second) >>> 0
  }
}
