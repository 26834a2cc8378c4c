import type { ZipEntry } from "./ReadHeaders.ts"

/** zlib makes at least one byte of so many zeros. */
const zerosPerByte = 1000

/**
 * Bytes that an entry takes on the disk in any case. Whole blocks of zeros take none, and only the data tell how many there are:
 * what is not zeros takes at least as much as it is compressed to. What is stored did not shrink.
 */
export const leastOf = ({
  compressedSize,
  method,
  size
}: Pick<ZipEntry, "compressedSize" | "method" | "size">): number =>
  method === "store"
    ? size
    : Math.min(size, Math.max(0, compressedSize - Math.ceil(size / zerosPerByte) - overhead))

/** Bytes of a DEFLATE stream that holds nothing. */
const overhead = 16

/**
 * Adds up the room that a restore needs, in the order in which files are written: what takes the place of another file frees
 * that one's room only once it is complete, and `writers` of them are at work at the same time.
 */
export const makeSpace = (writers: number) => {
  /** The largest of those that replace others, largest first. */
  const largest: Array<number> = []
  let bytes = 0
  let freed = 0
  let removed = 0
  let peak = 0
  return {
    /** A file is written: its size. */
    writes: (size: number): void => {
      bytes += size
    },
    /** One that was counted so takes the place of another one, which has `free` bytes for itself. */
    replaces: (size: number, free: number): void => {
      freed += free
      if (largest.length === writers && size <= (largest.at(-1) ?? 0)) return
      const index = largest.findIndex((each) => each < size)
      largest.splice(index === -1 ? largest.length : index, 0, size)
      if (largest.length > writers) largest.pop()
    },
    /** Something else is removed before anything is written. */
    removes: (size: number): void => {
      removed += size
    },
    /** Everything that was counted so far has been looked at. */
    settle: (): void => {
      peak = Math.max(peak, bytes - freed)
    },
    /** Of all files. */
    bytes: (): number => bytes,
    /** More than is free already. */
    needed: (): number => {
      const atOnce = largest.reduce((sum, size) => sum + size, 0)
      return Math.max(0, peak - removed + atOnce)
    }
  }
}
