/**
 * The files that a restore has written, and those that it has replaced, known to all its threads: a set of inodes in shared
 * memory. Two entries that meet in one file are found by it, whatever makes their names one.
 */
export interface WrittenFiles {
  /** Adds a file; false when it is known already. */
  readonly add: (file: { readonly dev: bigint; readonly ino: bigint }) => boolean
  readonly has: (file: { readonly dev: bigint; readonly ino: bigint }) => boolean
}

/** Memory for so many files. */
export const makeWritten = (files: number): SharedArrayBuffer =>
  new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT * 2 ** Math.ceil(Math.log2(2 * files + 16)))

/** The same on every thread that has the memory. */
export const writtenOf = (memory: SharedArrayBuffer): WrittenFiles => {
  const table = new BigInt64Array(memory)
  const mask = BigInt(table.length - 1)

  /** Where the key is, or the first free place where it belongs; `take` puts it there. */
  const find = (key: bigint, take: boolean): bigint => {
    for (let at = BigInt.asUintN(64, key * scatter) >> 20n; ; at += 1n) {
      const index = Number(at & mask)
      const there = take ? Atomics.compareExchange(table, index, free, key) : Atomics.load(table, index)
      if (there === free || there === key) return there
    }
  }

  return {
    add: (file) => find(keyOf(file), true) === free,
    has: (file) => find(keyOf(file), false) !== free
  }
}

const free = 0n

/** 2^64 divided by the golden ratio: spreads numbers that follow each other. */
const scatter = 0x9e3779b97f4a7c15n

/** Never 0. */
const keyOf = ({ dev, ino }: { readonly dev: bigint; readonly ino: bigint }): bigint =>
  BigInt.asIntN(64, (dev << 44n) ^ ino) || 1n
