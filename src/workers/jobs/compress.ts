import {
  type Block,
  type CompressedBlock,
  compressBlock,
  compressWhole,
  sampleMethod,
  scratchSize
} from "../../archive/Compress.ts"
import type { Method } from "../../archive/Entry.ts"
import type { Slot } from "../../archive/Slots.ts"
import { openSource } from "../../archive/SourceFile.ts"
import type { Wanted, WantedFrom } from "../../archive/Wanted.ts"
import type { Compression } from "../../domain/ArchiveIndex.ts"
import type { FileCalls } from "../FileCalls.ts"

/** Compress small files. */
export interface FilesInput {
  readonly from: WantedFrom
  readonly files: ReadonlyArray<Wanted>
  readonly compression: Compression
  /** Takes the data of all of them, one behind the other: there is room for each. */
  readonly slot: Slot
}

/** In the order of the files. */
export interface FilesOutput {
  readonly crc32: Uint32Array
  readonly compressedSize: Uint32Array
  /** 1 where it is deflated. */
  readonly deflated: Uint8Array
}

/** Find out whether a large file shrinks. */
export interface SampleInput {
  readonly fd: number
  readonly size: number
}

/** Compressing on one thread, with the memory that it reads into. */
export const compressing = (calls: FileCalls) => {
  // More than one only in process, where work that waits for a disk overlaps.
  const free: Array<Buffer> = []

  const withScratch = async <A>(use: (scratch: Buffer) => Promise<A>): Promise<A> => {
    const scratch = free.pop() ?? Buffer.allocUnsafeSlow(scratchSize)
    try {
      return await use(scratch)
    } finally {
      free.push(scratch)
    }
  }

  const files = async (
    { files, from, compression, slot }: FilesInput,
    signal: AbortSignal
  ): Promise<FilesOutput> => {
    const output = {
      crc32: new Uint32Array(files.length),
      compressedSize: new Uint32Array(files.length),
      deflated: new Uint8Array(files.length)
    }
    let at = 0
    await withScratch(async (scratch) => {
      for (const [index, wanted] of files.entries()) {
        signal.throwIfAborted()
        const file = await openSource(from, wanted, calls)
        try {
          const sums = await compressWhole(file, wanted.size, compression, scratch, slot, at)
          output.crc32[index] = sums.crc32
          output.compressedSize[index] = sums.compressedSize
          output.deflated[index] = sums.method === "deflate" ? 1 : 0
          at += sums.compressedSize
        } finally {
          file.close()
        }
      }
    })
    return output
  }

  return {
    files,
    sample: ({ fd, size }: SampleInput): Promise<Method> =>
      withScratch((scratch) => sampleMethod(fd, size, calls, scratch)),
    block: (input: Block): Promise<CompressedBlock> =>
      withScratch((scratch) => compressBlock(input, calls, scratch))
  }
}
