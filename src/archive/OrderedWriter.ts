import type { ManifestEntry } from "../domain/Manifest.ts"
import type { CompressedBlock, FilesOutput } from "./Compress.ts"
import { makeCombiner } from "./Crc32.ts"
import { type EntrySums, headOf, type Method } from "./Entry.ts"
import type { Output } from "./Output.ts"
import type { Slot } from "./Slots.ts"
import type { SourceFile } from "./SourceFile.ts"
import type { Headers } from "./Yazl.ts"

const nothing: EntrySums = { method: "store", crc32: 0, size: 0, compressedSize: 0 }

const bytesOf = (slot: Slot, length: number): Buffer => Buffer.from(slot.buffer, slot.byteOffset, length)

/** What became of the `index`th of some small files. */
const sumsAt = (output: FilesOutput, index: number, size: number): EntrySums => ({
  method: output.deflated[index] === 1 ? "deflate" : "store",
  crc32: output.crc32[index] ?? 0,
  size,
  compressedSize: output.compressedSize[index] ?? 0
})

/** Writes entries behind each other as their data comes. */
export const writer = (headers: Headers, output: Output) => {
  const combine = makeCombiner()
  let current: { readonly at: number; readonly open: ReturnType<Headers["open"]> } | undefined
  let sums = nothing

  return {
    /** Bytes at the beginning of the zip that are in the file and will not change any more. */
    settled: (): number => Math.min(output.flushed(), current?.at ?? output.flushed()),

    /** Directories and small files, in one go or in several; `result` is of the files among all of them. */
    batch: (result: FilesOutput | undefined, slot: Slot) => {
      const data = bytesOf(slot, slot.byteLength)
      let file = 0
      let from = 0
      return async (entries: ReadonlyArray<ManifestEntry>): Promise<void> => {
        for (const entry of entries) {
          let own = nothing
          if (entry.kind === "file" && result !== undefined) own = sumsAt(result, file++, entry.size)
          const open = headers.open(headOf(entry), output.position())
          await output.write(open.localHeader(own))
          await output.write(data.subarray(from, from + own.compressedSize))
          from += own.compressedSize
          open.finish(own)
        }
      }
    },

    /** The next block of a large file; checks the file after the last one. */
    block: async (
      entry: ManifestEntry,
      file: SourceFile,
      method: Method,
      block: CompressedBlock,
      slot: Slot,
      part: { readonly last: boolean }
    ): Promise<void> => {
      if (current === undefined) {
        const at = output.position()
        current = { at, open: headers.open(headOf(entry), at) }
        sums = { ...nothing, method }
        await output.write(current.open.localHeader())
      }
      await output.write(bytesOf(slot, block.compressedSize))
      sums = {
        method,
        crc32: combine(sums.crc32, block.crc32, block.length),
        size: sums.size + block.length,
        compressedSize: sums.compressedSize + block.compressedSize
      }
      if (!part.last) return
      file.check(sums.size)
      await output.patch(current.at, current.open.localHeader(sums))
      current.open.finish(sums)
      current = undefined
    }
  }
}
