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
  const running: Array<Promise<Settled<B>>> = []
  const take = async (next: Promise<Settled<B>>): Promise<B> => {
    const settled = await next
    if (!settled.ok) throw settled.cause
    return settled.value
  }
  try {
    for await (const item of untilFailure(items)) {
      // A failure is kept until its turn: a rejection that is not awaited yet would end the process.
      running.push(item.ok ? settle(work(item.value)) : Promise.resolve(item))
      const [next] = running
      if (running.length < width || next === undefined) continue
      running.shift()
      yield await take(next)
    }
    for (let next = running.shift(); next !== undefined; next = running.shift()) yield await take(next)
  } finally {
    await Promise.all(running)
  }
}

type Settled<B> = { readonly ok: true; readonly value: B } | { readonly ok: false; readonly cause: unknown }

const settle = <B>(work: Promise<B>): Promise<Settled<B>> =>
  work.then(
    (value) => ({ ok: true, value }),
    (cause: unknown) => ({ ok: false, cause })
  )

/** All items; a failure to get the next one is the last. */
async function* untilFailure<A>(items: Iterable<A> | AsyncIterable<A>): AsyncGenerator<Settled<A>> {
  try {
    for await (const value of items) yield { ok: true, value }
  } catch (cause) {
    yield { ok: false, cause }
  }
}
