/** Pieces of work for each thread that are begun before their turn. */
export const aheadPerThread = 2

/**
 * `work` on every item, up to `width` at once, results in the order of the items; where the items themselves fail, that comes
 * behind the results of those before. However the caller leaves the loop, all work that was begun has ended by then.
 */
export async function* lookAhead<A, B>(
  items: Iterable<A> | AsyncIterable<A>,
  width: number,
  work: (item: A) => Promise<B>
): AsyncGenerator<B> {
  const running: Array<Promise<B>> = []
  try {
    for await (const { result } of begin(items, work)) {
      running.push(result)
      const [next] = running
      if (running.length < width || next === undefined) continue
      running.shift()
      yield await next
    }
    for (let next = running.shift(); next !== undefined; next = running.shift()) yield await next
  } finally {
    await Promise.allSettled(running)
  }
}

/** Begins the work on each item; a failure to get the next item takes the place of its result, which is the last. */
async function* begin<A, B>(
  items: Iterable<A> | AsyncIterable<A>,
  work: (item: A) => Promise<B>
): AsyncGenerator<{ readonly result: Promise<B> }> {
  try {
    for await (const item of items) yield { result: heldBack(work(item)) }
  } catch (cause) {
    yield { result: heldBack(Promise.reject(cause)) }
  }
}

/** The same promise, whose failure may wait to be handled: a rejection that nothing handles yet would end the process. */
export const heldBack = <B>(result: Promise<B>): Promise<B> => {
  result.catch(() => undefined)
  return result
}

/** The results in the order of the work, once all of it has ended; fails with the first failure in that order. */
export const settleAll = async <A>(work: Iterable<A>): Promise<Array<Awaited<A>>> =>
  (await Promise.allSettled(work)).map((ended) => {
    if (ended.status === "rejected") throw ended.reason
    return ended.value
  })
