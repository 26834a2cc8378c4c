/** What a thread sees of a file that is still being written. */
interface Grown {
  /** So many bytes from the beginning are final. */
  readonly bytes: number
  /** There will not be more. */
  readonly ended: boolean
}

/** Tells a thread how far a file has been written: through memory that both see, so it costs nothing to tell. */
interface Growth {
  /** Goes to the thread, which reads it with {@link waitForGrowth}. */
  readonly memory: SharedArrayBuffer
  readonly tell: (grown: Grown) => void
  /** How far the thread has read, see {@link noteRead}. */
  readonly read: () => number
}

// One number for both facts, so that they change together: twice the bytes, and one more at the end.
const valueOf = ({ bytes, ended }: Grown): bigint => 2n * BigInt(bytes) + (ended ? 1n : 0n)

/** A file of which nothing has been written. */
export const makeGrowth = (): Growth => {
  const memory = new SharedArrayBuffer(2 * BigInt64Array.BYTES_PER_ELEMENT)
  const cell = new BigInt64Array(memory)
  return {
    memory,
    tell: (grown) => {
      Atomics.store(cell, 0, valueOf(grown))
      Atomics.notify(cell, 0)
    },
    read: () => Number(Atomics.load(cell, 1))
  }
}

/** Says to whoever watches that this thread has read so many bytes from the beginning. */
export const noteRead = (memory: SharedArrayBuffer, bytes: number): void => {
  Atomics.store(new BigInt64Array(memory), 1, BigInt(bytes))
}

/** Stops this thread, which must not be the main one, until `wanted` bytes are final or the file has ended. */
export const waitForGrowth = (memory: SharedArrayBuffer, wanted: number): Grown => {
  const cell = new BigInt64Array(memory)
  for (;;) {
    const value = Atomics.load(cell, 0)
    const grown = { bytes: Number(value >> 1n), ended: (value & 1n) === 1n }
    if (grown.ended || grown.bytes >= wanted) return grown
    Atomics.wait(cell, 0, value)
  }
}
