type Settled<B> = { readonly ok: true; readonly value: B } | { readonly ok: false; readonly cause: unknown }

/**
 * `work` on every item, up to `width` at once, results in the order of the items. However the caller leaves
 * the loop, all work that was begun has ended by then.
 */
export async function* lookAhead<A, B>(
  items: Iterable<A> | AsyncIterable<A>,
  width: number,
  work: (item: A) => Promise<B>
): AsyncGenerator<B> {
  // Failures are kept until it is their turn: one that nobody awaits yet would end the process.
  const begin = (item: A): Promise<Settled<B>> =>
    work(item).then(
      (value) => ({ ok: true, value }),
      (cause: unknown) => ({ ok: false, cause })
    )
  const running: Array<Promise<Settled<B>>> = []
  const take = async (next: Promise<Settled<B>>): Promise<B> => {
    const settled = await next
    if (!settled.ok) throw settled.cause
    return settled.value
  }
  try {
    for await (const item of items) {
      running.push(begin(item))
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
