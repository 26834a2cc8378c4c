import { drop, type Input, inputsOf, keep, wasFound } from "./Corpus.ts"
import type { Coverage } from "./Coverage.ts"
import { makeRandom, mutate } from "./mutate.ts"
import type { Target } from "./Target.ts"

/** One target for a time. */
export interface Round {
  readonly corpus: string
  readonly target: Target
  readonly coverage: Coverage
  readonly seed: number
  readonly seconds: number
  /** Told of each input before it is tried: the last one that is told of may never end. */
  readonly trying: (bytes: string) => void
}

/** What came of it. */
export interface Explored {
  readonly tries: number
  readonly places: number
  readonly inputs: number
  /** Of inputs for which something did not hold, each kind once. */
  readonly failures: ReadonlyArray<{ readonly path: string; readonly message: string }>
}

const batch = 256
/** A text of 4 KiB takes no reader that long, however slow the machine. */
const slowMillis = 1000
/** So many inputs at most are kept of a target, small ones first. */
const mostKept = 12

/** Looks for inputs that make more of the reader run, from those that are known, and for those on which it breaks. */
export const explore = ({ corpus, coverage, seconds, seed, target, trying }: Round): Explored => {
  const random = makeRandom(seed)
  const failures = new Map<string, string>()
  const known = new Set<string>()
  const pool: Array<string> = []

  const fails = (bytes: string): string | undefined => {
    trying(bytes)
    const began = performance.now()
    try {
      target.check(bytes)
    } catch (cause) {
      return cause instanceof Error ? `${cause.message}\n${cause.stack}` : String(cause)
    }
    return performance.now() - began > slowMillis ? "it takes too long" : undefined
  }
  const note = (bytes: string): void => {
    const message = fails(bytes)
    // Two that fail in one place are one failure.
    const kind =
      message
        ?.split("\n")
        .filter((line) => /^ +at |^\S.{0,20}/.test(line))[1]
        ?.trim() ?? message
    if (message === undefined || kind === undefined || failures.has(kind)) return
    failures.set(kind, `${keep(corpus, target, smaller(bytes, fails), "broken-")}\n${message.slice(0, 600)}`)
  }
  /** Places that were not reached before, by one of these. */
  const news = (tried: ReadonlyArray<string>): ReadonlyArray<string> => {
    coverage.take()
    for (const bytes of tried) fails(bytes)
    return [...coverage.take()].filter((place) => !known.has(place))
  }
  /** Takes in those that reach something new. To ask what was reached takes far longer than a try. */
  const take = (tried: ReadonlyArray<string>): void => {
    const fresh = news(tried)
    if (fresh.length === 0) return
    const [first] = tried
    if (tried.length === 1 && first !== undefined) {
      for (const place of fresh) known.add(place)
      if (fails(first) === undefined) pool.push(first)
      return
    }
    const middle = tried.length >> 1
    take(tried.slice(0, middle))
    take(tried.slice(middle))
  }

  const inputs = inputsOf(corpus, target)
  for (const { bytes } of inputs) {
    note(bytes)
    for (const place of news([bytes])) known.add(place)
    pool.push(bytes)
  }
  const end = Date.now() + seconds * 1000
  let tries = 0
  while (Date.now() < end && failures.size < 10) {
    const tried = Array.from({ length: batch }, () => mutate(pool[random(pool.length)] ?? "", pool, random))
    for (const bytes of tried) note(bytes)
    tries += batch
    take(tried)
  }
  const kept = tidy(corpus, target, coverage, pool, fails)
  return {
    tries,
    places: known.size,
    inputs: kept,
    failures: [...failures.values()].map((text) => {
      const [path = "", ...message] = text.split("\n")
      return { path, message: message.join("\n") }
    })
  }
}

/** Without what it needs not to fail in the same way. */
const smaller = (bytes: string, fails: (bytes: string) => string | undefined): string => {
  const first = (text: string | undefined) => text?.split("\n")[0]
  const message = first(fails(bytes))
  let small = bytes
  for (let size = small.length >> 1; size > 0; size >>= 1) {
    for (let at = 0; at < small.length; ) {
      const without = small.slice(0, at) + small.slice(at + size)
      if (first(fails(without)) === message) small = without
      else at += size
    }
  }
  return small
}

/** Keeps the few smallest inputs that together reach what all of them reach; how many there are then. */
const tidy = (
  corpus: string,
  target: Target,
  coverage: Coverage,
  pool: ReadonlyArray<string>,
  fails: (bytes: string) => string | undefined
): number => {
  const placesOf = (bytes: string): ReadonlySet<string> => {
    coverage.take()
    fails(bytes)
    return coverage.take()
  }
  const there = inputsOf(corpus, target)
  const reached = new Set<string>()
  for (const { bytes } of there.filter((input) => !wasFound(input))) {
    for (const place of placesOf(bytes)) reached.add(place)
  }
  let left = [...new Set(pool)].map((bytes) => ({ bytes, places: placesOf(bytes) }))
  const chosen: Array<string> = []
  while (chosen.length < mostKept && left.length > 0) {
    const worth = left.map((each) => ({
      ...each,
      fresh: [...each.places].filter((place) => !reached.has(place)).length
    }))
    const best = worth
      .filter(({ fresh }) => fresh > 0)
      .sort((a, b) => b.fresh / (b.bytes.length + 200) - a.fresh / (a.bytes.length + 200))[0]
    if (best === undefined) break
    chosen.push(best.bytes)
    for (const place of best.places) reached.add(place)
    left = worth.filter(({ bytes, fresh }) => fresh > 0 && bytes !== best.bytes)
  }
  const stays = new Set(chosen)
  for (const input of there.filter((each: Input) => wasFound(each) && !stays.has(each.bytes)))
    drop(corpus, target, input)
  for (const bytes of chosen) keep(corpus, target, bytes)
  return inputsOf(corpus, target).length
}
