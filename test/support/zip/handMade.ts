import { crc32, deflateRawSync } from "node:zlib"
import * as RawPath from "../../../src/text/RawPath.ts"
import {
  dosTime,
  endRecords,
  localLength,
  localVersion,
  rawNameField,
  timeField,
  versionMadeBy
} from "../../../src/zip/Headers.ts"

/** A zip as Python's zipfile makes it, of another version of the format. */
export const foreignZip = (files: Readonly<Record<string, string>>): Buffer =>
  handMade(Object.entries(files).map(([name, content]) => ({ name, content, madeBy: (3 << 8) | 20 })))

/** An entry as nobody would write it by accident. */
export interface HandMade {
  readonly name: string | Buffer
  /** Original name, a byte a character. */
  readonly raw?: string
  readonly content?: string | Buffer
  readonly deflated?: boolean
  readonly mode?: number
  /** What the headers say, if it is not true. */
  readonly size?: number
  readonly crc?: number
  /** Version of the format and system, of another program. */
  readonly madeBy?: number
  /** Offset of the local header, if it is not where it is. */
  readonly start?: number
}

const seconds = 1_700_000_000

/** A zip of exactly these entries, in this order, each with both headers as this program writes them. */
export const handMade = (entries: ReadonlyArray<HandMade>): Buffer => {
  const local: Array<Buffer> = []
  const central: Array<Buffer> = []
  let position = 0
  for (const entry of entries) {
    const name = Buffer.from(entry.name)
    const content = Buffer.from(entry.content ?? "")
    const data = entry.deflated === true ? deflateRawSync(content) : content
    const size = entry.size ?? content.length
    const mode = entry.mode ?? (name.at(-1) === 0x2f ? 0o40755 : 0o100644)
    const dos = dosTime(seconds)
    const fields = Buffer.alloc(26)
    fields.writeUInt16LE(1 << 11, 2)
    fields.writeUInt16LE(entry.deflated === true ? 8 : 0, 4)
    fields.writeUInt16LE(dos.time, 6)
    fields.writeUInt16LE(dos.date, 8)
    fields.writeUInt32LE(entry.crc ?? crc32(content), 10)
    fields.writeUInt32LE(data.length, 14)
    fields.writeUInt32LE(size, 18)
    fields.writeUInt16LE(name.length, 22)
    const time = timeField(seconds)

    const head = Buffer.from(fields)
    head.writeUInt16LE(localVersion(name, false), 0)
    head.writeUInt16LE(time.length, 24)
    const signature = Buffer.from([0x50, 0x4b, 3, 4])
    local.push(signature, head, name, time, data)

    const raw = entry.raw === undefined ? Buffer.alloc(0) : rawNameField(name, RawPath.fromLatin1(entry.raw))
    const record = Buffer.alloc(46)
    record.writeUInt32LE(0x02014b50, 0)
    record.writeUInt16LE(entry.madeBy ?? versionMadeBy, 4)
    fields.copy(record, 6)
    record.writeUInt16LE(20, 6)
    record.writeUInt16LE(time.length + raw.length, 30)
    record.writeUInt32LE((mode << 16) >>> 0, 38)
    record.writeUInt32LE(entry.start ?? position, 42)
    central.push(record, name, time, raw)
    position += localLength(name.length, size) + data.length
  }
  const directory = Buffer.concat(central)
  const end = endRecords({ entries: entries.length, start: position, size: directory.length })
  return Buffer.concat([...local, directory, end])
}
