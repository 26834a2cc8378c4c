import { endRecords } from "../../../src/zip/Headers.ts"
import type { Random } from "../../fuzz/mutate.ts"

/** Where the parts of a zip lie. */
interface Parts {
  readonly entries: ReadonlyArray<{ readonly local: number; readonly central: number; readonly end: number }>
  readonly directory: number
  readonly end: number
}

const partsOf = (zip: Buffer): Parts => {
  const end = zip.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]))
  const directory = zip.readUInt32LE(end + 16)
  const entries: Array<{ local: number; central: number; end: number }> = []
  for (let at = directory; at < end && zip.readUInt32LE(at) === 0x02014b50; ) {
    const next = at + 46 + zip.readUInt16LE(at + 28) + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32)
    entries.push({ local: zip.readUInt32LE(at + 42), central: at, end: next })
    at = next
  }
  return { entries, directory, end }
}

/** Where numbers stand in a central record, with their sizes, and where the same one stands in the local header. */
const fields: ReadonlyArray<readonly [central: number, size: 2 | 4, local?: number]> = [
  [4, 2],
  [6, 2, 4],
  [8, 2, 6],
  [10, 2, 8],
  [12, 2, 10],
  [14, 2, 12],
  [16, 4, 14],
  [20, 4, 18],
  [24, 4, 22],
  [28, 2, 26],
  [30, 2, 28],
  [32, 2],
  [34, 2],
  [36, 2],
  [38, 4],
  [42, 4]
]

const numbers = [0, 1, 7, 8, 45, 0x7f, 0xff, 0x7fff, 0xffff, 0x10000, 0x7fff_ffff, 0xffff_fffe, 0xffff_ffff]
const modes = [0o120777, 0o060644, 0o010644, 0o040755, 0o100644, 0o104755, 0o140777, 0]

const names = [
  "../../evil",
  "/evil",
  "a\\..\\..\\evil",
  "..",
  ".",
  "C:/evil",
  "a\0b",
  "\x1b[2Ja",
  "con",
  "~/.ssh/x",
  "a//b"
]

/** A zip that is whole, as another one that is not, or no more; each number of the random gives another one. */
export const spoil = (whole: Buffer, random: Random): Buffer => {
  let zip: Buffer = Buffer.from(whole)
  for (let left = 1 + random(3); left > 0; left -= 1) zip = change(zip, random)
  return zip
}

const change = (zip: Buffer, random: Random): Buffer => {
  const { directory, end, entries } = partsOf(zip)
  const entry = entries[random(entries.length)]
  if (end < 0 || entry === undefined || directory > zip.length) return zip
  switch (random(12)) {
    // A number in one header or in both.
    case 0:
    case 1:
    case 2: {
      const [central, size, local] = fields[random(fields.length)] ?? [4, 2]
      const value = random(2) === 0 ? (numbers[random(numbers.length)] ?? 0) : random(2 ** 16)
      put(zip, entry.central + central, size, value)
      if (local !== undefined && random(2) === 0) put(zip, entry.local + local, size, value)
      return zip
    }
    case 3:
      put(zip, entry.central + 38, 4, ((modes[random(modes.length)] ?? 0) << 16) >>> 0)
      return zip
    // Another name of the same length, in both headers.
    case 4: {
      const length = zip.readUInt16LE(entry.central + 28)
      const other = Buffer.from((names[random(names.length)] ?? "").padEnd(length, "x")).subarray(0, length)
      other.copy(zip, entry.central + 46)
      if (random(4) > 0 && entry.local + 30 + length <= zip.length) other.copy(zip, entry.local + 30)
      return zip
    }
    // Two entries in one place, and entries that come twice or in another order.
    case 5: {
      const other = entries[random(entries.length)] ?? entry
      put(zip, entry.central + 42, 4, other.local)
      return zip
    }
    case 6: {
      const records = entries.map((each) => zip.subarray(each.central, each.end))
      const moved = records.splice(random(records.length), random(2))
      records.splice(random(records.length + 1), 0, ...moved, ...(random(2) === 0 ? moved : []))
      const central = Buffer.concat(records)
      const tail = endRecords({ entries: records.length, start: directory, size: central.length })
      return Buffer.concat([zip.subarray(0, directory), central, tail])
    }
    // What the end records say.
    case 7:
      put(zip, end + 8 + 2 * random(2), 2, numbers[random(numbers.length)] ?? 0)
      return zip
    case 8:
      put(zip, end + (random(2) === 0 ? 12 : 16), 4, random(2) === 0 ? 0xffff_ffff : random(zip.length * 2))
      return zip
    // zip64 records with whatever numbers before the end record.
    case 9: {
      const records = endRecords({
        entries: random(2) === 0 ? 2 ** 40 : 0xffff + random(2),
        start: random(2) === 0 ? directory : 2 ** 52,
        size: random(2) === 0 ? end - directory : 2 ** 50
      })
      return Buffer.concat([zip.subarray(0, end), records])
    }
    // Cut, with something between or behind, or changed somewhere.
    case 10: {
      const at = random(zip.length)
      const added = Buffer.alloc(random(64), random(256))
      return Buffer.concat([zip.subarray(0, at), added, zip.subarray(at + random(2) * random(64))])
    }
    default:
      zip[random(zip.length)] = random(256)
      return zip
  }
}

const put = (zip: Buffer, at: number, size: 2 | 4, value: number): void => {
  if (at < 0 || at + size > zip.length) return
  if (size === 2) zip.writeUInt16LE(value & 0xffff, at)
  else zip.writeUInt32LE(value >>> 0, at)
}
