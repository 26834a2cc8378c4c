/** What threads that write files tell each other while they are at it. */
export interface Shared {
  /** Lets every thread end after what it is at, which is removed. */
  readonly stop: () => void
  readonly stopped: () => boolean
  /** Bytes went to a file, which may still turn out not to be wanted. */
  readonly wrote: (bytes: number) => void
  /** A file of so many bytes is complete, and has taken the place of another one if `replaced`. */
  readonly finished: (bytes: number, replaced: boolean) => void
  readonly figures: () => SharedFigures
}

interface SharedFigures {
  /** Bytes that went to files, whatever became of them: what a bar shows. */
  readonly written: number
  /** Files that are complete, their bytes, and how many of them took the place of others. */
  readonly files: number
  readonly bytes: number
  readonly replaced: number
}

const at = { written: 0, files: 1, bytes: 2, replaced: 3 } as const

/** Memory for {@link shareOf}. */
export const makeShared = (): SharedArrayBuffer => new SharedArrayBuffer(40)

/** The same on every thread that has the memory. */
export const shareOf = (memory: SharedArrayBuffer): Shared => {
  const counts = new BigInt64Array(memory, 0, 4)
  const flag = new Int32Array(memory, 32, 1)
  const add = (index: number, number: number): void => {
    Atomics.add(counts, index, BigInt(number))
  }
  const read = (index: number): number => Number(Atomics.load(counts, index))
  return {
    stop: () => {
      Atomics.store(flag, 0, 1)
    },
    stopped: () => Atomics.load(flag, 0) !== 0,
    wrote: (bytes) => add(at.written, bytes),
    finished: (bytes, replaced) => {
      add(at.files, 1)
      add(at.bytes, bytes)
      if (replaced) add(at.replaced, 1)
    },
    figures: () => ({
      written: read(at.written),
      files: read(at.files),
      bytes: read(at.bytes),
      replaced: read(at.replaced)
    })
  }
}
