/** Numbers from 0 to below `n`, the same ones for each seed (mulberry32). */
export type Random = (n: number) => number

export const makeRandom = (seed: number): Random => {
  let state = seed >>> 0
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * n)
  }
}

const interesting = [
  ..."\t\n\r\0 @#/\\,-+'\"{}[]:%!$`;*?~=.01689",
  "\x1b[2J",
  "\x9b",
  "\xff",
  "\xc3\xbc",
  "\xe2\x80\xae",
  "\\0011",
  "\\u0000",
  "\\ud800",
  "../",
  "--",
  "null",
  "true",
  "{}",
  "[]",
  '""',
  "-1",
  "1e999",
  "1e308",
  "0.1",
  "9007199254740993",
  "18446744073709551616",
  "99999999999999999999",
  "0x",
  "__proto__",
  "constructor",
  "<script>",
  "9999-12-31T23:59:59Z",
  "0000-01-01T00:00:00Z"
]

const longest = 4096

/** The text, changed in one to eight places; `others` are what pieces are taken over from. */
export const mutate = (text: string, others: ReadonlyArray<string>, random: Random): string => {
  let changed = text
  for (let left = 1 + random(random(8) + 1); left > 0; left -= 1) changed = edit(changed, others, random)
  return changed.slice(0, longest)
}

const edit = (text: string, others: ReadonlyArray<string>, random: Random): string => {
  const at = random(text.length + 1)
  const to = Math.min(text.length, at + 1 + random(1 + random(32)))
  const head = text.slice(0, at)
  switch (random(10)) {
    case 0:
      return head + String.fromCharCode(random(256)) + text.slice(at + 1)
    case 1:
      return head + pick(interesting, random) + text.slice(at)
    case 2:
      return head + pick(interesting, random) + text.slice(to)
    case 3:
      return head + text.slice(to)
    case 4:
      return head + text.slice(at, to).repeat(1 + random(4)) + text.slice(to)
    case 5: {
      const other = pick(others, random)
      const from = random(other.length + 1)
      return head + other.slice(from, from + 1 + random(64)) + text.slice(to)
    }
    case 6:
      return withToken(text, random, () => pick(interesting, random))
    case 7:
      return withToken(text, random, () => tokenOf(pick(others, random), random))
    case 8:
      return withLine(text, random)
    default:
      return head + String.fromCharCode((text.charCodeAt(at) ^ (1 << random(8))) & 0xff) + text.slice(at + 1)
  }
}

const pick = (all: ReadonlyArray<string>, random: Random): string => all[random(all.length)] ?? ""

const tokens = /[A-Za-z0-9_.]+|"[^"\n]*"/g

const tokenOf = (text: string, random: Random): string => pick(text.match(tokens) ?? [], random)

/** A word, a number or a text in quotes becomes another one. */
const withToken = (text: string, random: Random, other: () => string): string => {
  const all = [...text.matchAll(tokens)]
  const found = all[random(all.length)]
  return found === undefined ? text : text.slice(0, found.index) + other() + text.slice(found.index + found[0].length)
}

/** A line goes, comes twice, or goes elsewhere. */
const withLine = (text: string, random: Random): string => {
  const lines = text.split("\n")
  const line = lines[random(lines.length)] ?? ""
  const how = random(3)
  const from = lines.indexOf(line)
  if (how !== 0) lines.splice(from, 1)
  if (how !== 1) lines.splice(random(lines.length + 1), 0, line)
  return lines.join("\n")
}
