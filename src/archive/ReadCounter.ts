/** Counts the bytes that all threads read: one large entry is a single piece of work, and takes minutes. */
export type ReadCounter = BigUint64Array

/** As often as anybody looks at figures. */
const interval = 200

/** Adds to the counter, from any thread. */
export const countRead = (counter: ReadCounter | undefined, bytes: number): void => {
  if (counter !== undefined) Atomics.add(counter, 0, BigInt(bytes))
}

/**
 * Runs `work` with a counter for what it reads of a file of `size` bytes, and tells `progress` now and then: never more than `size`,
 * though some bytes are read twice, and exactly that when the work is done. Without `progress` nothing is counted.
 */
export const countingReads = async <A>(
  size: number,
  progress: ((bytes: number) => void) | undefined,
  work: (counter: ReadCounter | undefined) => Promise<A>
): Promise<A> => {
  if (progress === undefined) return work(undefined)
  const counter = new BigUint64Array(new SharedArrayBuffer(8))
  const timer = setInterval(() => progress(Math.min(Number(Atomics.load(counter, 0)), size)), interval)
  try {
    const result = await work(counter)
    progress(size)
    return result
  } finally {
    clearInterval(timer)
  }
}
