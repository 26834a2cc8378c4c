type Settled<B> = { readonly ok: true; readonly value: B } | { readonly ok: false; readonly cause: unknown }

/**
 * `work` on every item, up to `width` at once, results in the order of the items. However the caller leaves
 * the loop, all work that was begun has ended by then.
 */
export async function* lookAhead<A, B>(
  items: Iterable<A>,
  width: number,
  work: (item: A) => Promise<B>
): AsyncGenerator<readonly [A, B]> {
  // Failures are kept until it is their turn: one that nobody awaits yet would end the process.
  const begin = (item: A): Promise<Settled<B>> =>
    work(item).then(
      (value) => ({ ok: true, value }),
      (cause: unknown) => ({ ok: false, cause })
    )
  const running: Array<{ readonly item: A; readonly result: Promise<Settled<B>> }> = []
  const take = async (): Promise<readonly [A, B] | undefined> => {
    const next = running.shift()
    if (next === undefined) return undefined
    const settled = await next.result
    if (!settled.ok) throw settled.cause
    return [next.item, settled.value]
  }
  try {
    for (const item of items) {
      running.push({ item, result: begin(item) })
      if (running.length < width) continue
      const result = await take()
      if (result !== undefined) yield result
    }
    for (let result = await take(); result !== undefined; result = await take()) yield result
  } finally {
    await Promise.all(running.map(({ result }) => result))
  }
}
