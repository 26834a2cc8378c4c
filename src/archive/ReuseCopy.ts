import * as fs from "node:fs/promises"
import { crc32 } from "node:zlib"
import { checkedPiece, type FileIdentity, isSameFile, type PreviousArchive } from "../domain/ArchiveIndex.ts"
import { explain } from "../domain/Errno.ts"
import { closeRead, openRegular } from "../services/regularFile.ts"
import { fill, waiting } from "../workers/FileCalls.ts"
import { ArchiveError, type CopiedRange } from "./ArchiveError.ts"
import type { Output } from "./Output.ts"
import { readEntries } from "./ReadZip.ts"
import type { CopiedPiece, OldEntry } from "./Reuse.ts"
import type { Headers } from "./Yazl.ts"

/** The archive before, open. */
export interface Previous {
  readonly fd: number
  readonly size: number
  /** CRC-32 of its pieces. */
  readonly sums: Uint32Array
  /** Turns what reading it failed with into an error that says so. */
  readonly failed: (cause: unknown) => never
  /** In order. */
  readonly entries: (signal: AbortSignal) => AsyncIterable<ReadonlyArray<OldEntry>>
  readonly close: () => Promise<void>
}

/**
 * Opens the archive before, which has to be the very file that was checked. Whatever is wrong with it is an
 * ArchiveError with the reason `Previous`: the new archive can be made without it.
 */
export const openPrevious = async (previous: PreviousArchive): Promise<Previous> => {
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
    if (!isSameFile(previous.file, found))
      failed(new Error("it was replaced or changed since it was checked"))
  }

  const { file, stats } = await openRegular(zip).catch(failed)
  try {
    same(stats)
  } catch (cause) {
    await closeRead(file)
    throw cause
  }

  async function* entries(signal: AbortSignal): AsyncGenerator<ReadonlyArray<OldEntry>> {
    try {
      for await (const batch of readEntries(zip, signal)) {
        // Its name was opened once more for these.
        same(await fs.lstat(zip))
        yield batch
      }
    } catch (cause) {
      if (signal.aborted) throw cause
      failed(cause)
    }
  }

  return {
    fd: file.fd,
    size: stats.size,
    sums: previous.pieces,
    failed,
    entries,
    close: () => closeRead(file)
  }
}

/** What was copied from the archive before. */
export interface Copied {
  readonly ranges: ReadonlyArray<CopiedRange>
  /** Regular files among the entries. */
  readonly files: number
}

const nothing = Buffer.alloc(0)

export const nothingCopied: Copied = { ranges: [], files: 0 }

/** Copies pieces of the archive before into the new one; `passed` is told of the uncompressed bytes as they come. */
export const copier = (
  previous: Previous,
  headers: Headers,
  output: Output,
  passed: (bytes: number) => void,
  signal: AbortSignal
) => {
  const ranges: Array<CopiedRange> = []
  const buffers = [nothing, nothing]
  let turn = 0
  // What was read last: changed files may lie close to each other, with little to copy between them.
  let window = { start: 0, bytes: nothing }
  let files = 0

  /** Reads the piece around `at`, which has to be what it was when the whole archive was checked. */
  const read = async (at: number): Promise<void> => {
    const piece = Math.floor(at / checkedPiece)
    const start = piece * checkedPiece
    turn = 1 - turn
    let buffer = buffers[turn]
    if (buffer === undefined || buffer.length === 0) {
      buffer = Buffer.allocUnsafeSlow(checkedPiece)
      buffers[turn] = buffer
    }
    const wanted = buffer.subarray(0, Math.min(checkedPiece, previous.size - start))
    const length = await fill(waiting, previous.fd, wanted, start).catch(previous.failed)
    if (length < wanted.length) previous.failed(new Error("it is shorter than it was"))
    if (crc32(wanted) !== previous.sums[piece])
      previous.failed(new Error("it is not what it was when it was checked"))
    window = { start, bytes: wanted }
  }

  /** What is in memory of the bytes from `start` to `end`. */
  const present = (start: number, end: number): Buffer => {
    const from = start - window.start
    return from < 0 ? nothing : window.bytes.subarray(from, end - window.start)
  }

  /** Copies bytes, reading one buffer ahead; their CRC-32 behind that of the bytes before. Of each, `scale` bytes are told. */
  const copy = async (start: number, end: number, before: number, scale: number): Promise<number> => {
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
        passed(chunk.length * scale)
        return checksum
      }
      // Neither goes on when this returns, also where one fails.
      const [written, ahead] = await Promise.allSettled([output.write(chunk), read(position)])
      if (written.status === "rejected") throw written.reason
      if (ahead.status === "rejected") throw ahead.reason
      passed(chunk.length * scale)
    }
  }

  return {
    copied: (): Copied => ({ ranges, files }),

    /** Copies one piece, local headers and data, and adds its entries to the central directory. */
    piece: async ({ end, entries, start }: CopiedPiece): Promise<void> => {
      const at = output.position()
      let size = 0
      for (const { head, old } of entries) {
        headers.open(head, at + old.start - start).finish(sumsOf(old))
        if (head.kind === "file") files += 1
        size += old.size
      }
      const last = ranges.at(-1)
      const joined = last?.end === at ? ranges.pop() : undefined
      ranges.push({
        start: joined?.start ?? at,
        end: at + end - start,
        entries: (joined?.entries ?? 0) + entries.length,
        crc32: await copy(start, end, joined?.crc32 ?? 0, size / (end - start))
      })
    }
  }
}

const sumsOf = ({ compressedSize, crc32: checksum, method, size }: OldEntry) => ({
  method,
  crc32: checksum,
  size,
  compressedSize
})
