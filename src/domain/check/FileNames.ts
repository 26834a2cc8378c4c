import { quoted } from "../Text.ts"
import { count } from "../Units.ts"

/** Compares the files that an archive turns out to hold with a list of them. */
export interface FileNames {
  /** The next names of the archive, in its order. */
  readonly add: (names: ReadonlyArray<string>) => void
  /** All that differs, a sentence each. To be called once, when the archive has no more. */
  readonly end: () => ReadonlyArray<string>
}

/** Of each kind of difference so many are named. */
const named = 3

/**
 * `listed` is the list in metadata.json: sorted by the bytes of the names, as the archive is by the bytes of the paths. The
 * two orders differ for names that stand for a path that is not UTF-8 alone. All of those have a `%` in them (see
 * EntryName), so names with one are kept until the end, and the others compared as they come.
 */
export const makeFileNames = (listed: ReadonlyArray<string>): FileNames => {
  const missing = makeSome("is in the list of files and not in the archive")
  const extra = makeSome("is in the archive and not in the list of files")
  const compare = (names: ReadonlyArray<string>, wanted: Cursor): void => {
    for (const name of names) {
      for (;;) {
        const next = wanted.peek()
        const order = next === undefined ? 1 : byUtf8(next, name)
        if (next !== undefined && order <= 0) wanted.take()
        if (next !== undefined && order < 0) {
          missing.add(next)
          continue
        }
        if (order > 0) extra.add(name)
        break
      }
    }
  }
  const rest = (wanted: Cursor): void => {
    for (let next = wanted.peek(); next !== undefined; next = wanted.peek()) {
      missing.add(next)
      wanted.take()
    }
  }
  const plain = cursorOf(listed, (name) => !name.includes("%"))
  const aside: Array<string> = []
  return {
    add: (names) => {
      const kept = names.filter((name) => name.includes("%"))
      for (const name of kept) aside.push(name)
      compare(kept.length === 0 ? names : names.filter((name) => !name.includes("%")), plain)
    },
    end: () => {
      const withPercent = cursorOf(listed, (name) => name.includes("%"))
      compare(aside.sort(byUtf8), withPercent)
      rest(plain)
      rest(withPercent)
      const unsorted = listed.findIndex(
        (name, index) => index > 0 && byUtf8(listed[index - 1] ?? "", name) >= 0
      )
      return [
        ...missing.told(),
        ...extra.told(),
        ...(unsorted === -1
          ? []
          : [`${quoted(listed[unsorted] ?? "")} is not in its place in the list of files`])
      ]
    }
  }
}

interface Cursor {
  readonly peek: () => string | undefined
  readonly take: () => void
}

const cursorOf = (names: ReadonlyArray<string>, wanted: (name: string) => boolean): Cursor => {
  let at = 0
  const peek = (): string | undefined => {
    for (let name = names[at]; name !== undefined; name = names[at]) {
      if (wanted(name)) return name
      at += 1
    }
    return undefined
  }
  return {
    peek,
    take: () => {
      at += 1
    }
  }
}

const makeSome = (what: string) => {
  const first: Array<string> = []
  let beyond = 0
  return {
    add: (name: string): void => {
      if (first.length < named) first.push(name)
      else beyond += 1
    },
    told: (): ReadonlyArray<string> => {
      const all = first.map((name) => `${quoted(name)} ${what}`)
      return beyond === 0 ? all : [...all, `${count(beyond, "more file", "more files")}: each ${what}`]
    }
  }
}

/**
 * The order of the bytes in UTF-8. That of UTF-16 units is the same but for surrogates, which come before
 * U+E000 to U+FFFF and stand for characters behind them.
 */
const byUtf8 = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at += 1) {
    const x = a.charCodeAt(at)
    const y = b.charCodeAt(at)
    if (x === y) continue
    const surrogates = Number(isSurrogate(x)) - Number(isSurrogate(y))
    return surrogates !== 0 && x >= 0xd800 && y >= 0xd800 ? surrogates : x - y
  }
  return a.length - b.length
}

const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff
