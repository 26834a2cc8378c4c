/** What the threads of a restore share: what to do with each entry, how far they are, and which files they have written. */

/** What tells a file or folder from any other one, for as long as it is there. */
export interface FileId {
  readonly dev: bigint
  readonly ino: bigint
}

/** What is to be done with an entry. */
export const mark = {
  /** It is left out, or it is a folder. */
  none: 0,
  /** It is written where nothing is. */
  create: 1,
  /** It takes the place of a regular file. */
  replace: 2
} as const

export const makeShared = (): SharedArrayBuffer => new SharedArrayBuffer(40)

const at = { written: 0, files: 1, bytes: 2, replaced: 3 } as const

/** Figures and a flag, the same on every thread that has the memory. */
export const shareOf = (memory: SharedArrayBuffer) => {
  const counts = new BigInt64Array(memory, 0, 4)
  const flag = new Int32Array(memory, 32, 1)
  const add = (index: number, number: number): void => {
    Atomics.add(counts, index, BigInt(number))
  }
  const read = (index: number): number => Number(Atomics.load(counts, index))
  return {
    /** Lets every thread end after the file that it is writing, which is removed. */
    stop: (): void => {
      Atomics.store(flag, 0, 1)
    },
    stopped: (): boolean => Atomics.load(flag, 0) !== 0,
    /** Bytes went to a file, which may still fail. */
    wrote: (bytes: number): void => add(at.written, bytes),
    /** A file of so many bytes is complete, and has taken the place of another one if `replaced`. */
    finished: (bytes: number, replaced: boolean): void => {
      add(at.files, 1)
      add(at.bytes, bytes)
      if (replaced) add(at.replaced, 1)
    },
    figures: () => ({
      /** Bytes that went to files, also to those that failed. */
      written: read(at.written),
      /** Files that are complete, their bytes, and how many of them took the place of others. */
      files: read(at.files),
      bytes: read(at.bytes),
      replaced: read(at.replaced)
    })
  }
}

/** A set of files in shared memory. */
export type FileSet = ReturnType<typeof fileSetOf>

/** Memory for {@link fileSetOf} and so many files. */
export const makeFileSet = (files: number): SharedArrayBuffer =>
  new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT * 2 ** Math.ceil(Math.log2(2 * files + 16)))

/**
 * The files that a restore has written, and those that it has replaced, known to all its threads by their inodes. Two
 * entries that meet in one file are found by it, for any reason that makes their names one.
 */
export const fileSetOf = (memory: SharedArrayBuffer) => {
  const table = new BigInt64Array(memory)
  const mask = BigInt(table.length - 1)

  /** What is where the key belongs: the key itself, or a free place, which `take` fills with it. */
  const find = (key: bigint, take: boolean): bigint => {
    for (let from = BigInt.asUintN(64, key * scatter) >> 20n; ; from += 1n) {
      const index = Number(from & mask)
      const found = take ? Atomics.compareExchange(table, index, free, key) : Atomics.load(table, index)
      if (found === free || found === key) return found
    }
  }

  return {
    /** False when the file is known already. */
    add: (file: FileId): boolean => find(keyOf(file), true) === free,
    has: (file: FileId): boolean => find(keyOf(file), false) !== free
  }
}

const free = 0n

/** 2^64 divided by the golden ratio: spreads numbers that follow each other. */
const scatter = 0x9e3779b97f4a7c15n

/** Never 0. */
const keyOf = ({ dev, ino }: FileId): bigint => BigInt.asIntN(64, (dev << 44n) ^ ino) || 1n
