/** xorshift32: fast, and good enough for sizes, words and bytes that do not compress. */
export const random = (seed: number) => {
  let state = seed >>> 0 || 1
  const next = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state
  }
  return { next, below: (limit: number): number => next() % limit }
}
export type Random = ReturnType<typeof random>

export const noise = (source: Random, length: number): Buffer => {
  const words = new Uint32Array(Math.ceil(length / 4))
  for (let i = 0; i < words.length; i++) words[i] = source.next()
  return Buffer.from(words.buffer, 0, length)
}

export const vocabulary = (source: Random, count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, () =>
    Array.from({ length: 2 + source.below(9) }, () => String.fromCharCode(97 + source.below(26))).join("")
  )

export const pick = <A>(source: Random, items: ReadonlyArray<A>): A => {
  const item = items[source.below(items.length)]
  if (item === undefined) throw new Error("nothing to pick from")
  return item
}
