import type { RawPath } from "../domain/RawPath.ts"
import { versionMadeBy } from "./EndRecord.ts"
import { type EntryHead, type EntrySums, localVersion } from "./Entry.ts"
import { rawNameId, readRawName, readTime, timeField, timeId, zip64Field, zip64Id } from "./Extra.ts"
import { dosTime } from "./Times.ts"
import { type CentralEntry, extraFields, type LocalEntry } from "./Yauzl.ts"

/** Both headers of an entry, and what they say. */
export interface Headers {
  readonly head: EntryHead
  readonly sums: EntrySums
  readonly central: CentralEntry
  readonly local: LocalEntry
  /** Length of its record in the central directory. */
  readonly recordLength: number
}

const utf8Names = 1 << 11

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/**
 * What a central directory record says of an entry. Throws when it is not such as this program writes: that
 * is stricter than the format, and finds a damaged bit in fields that no reader cares about.
 */
export const readHead = (central: CentralEntry): EntryHead => {
  const name = central.fileNameRaw
  need(isName(name), "its name is no UTF-8 text that names a place below the archive")
  need(central.versionMadeBy === versionMadeBy, "it was not made by this program (version made by)")
  need(central.generalPurposeBitFlag === utf8Names, "it has unknown flags")
  need(central.fileCommentLength === 0, "it has a comment")
  need(central.internalFileAttributes === 0, "it has internal attributes")
  need((central.externalFileAttributes & 0xffff) === 0, "it has DOS attributes")
  need(
    central.compressionMethod === 0 || central.compressionMethod === 8,
    "its compression method is unknown"
  )

  let seconds: number | undefined
  let rawPath: RawPath | undefined
  let version = 20
  let length = 0
  for (const { id, data } of extraFields(central.extraFieldRaw)) {
    length += 4 + data.length
    if (id === zip64Id) version = 45
    else if (id === timeId) seconds = readTime(data)
    else {
      need(id === rawNameId, "it has an unknown extra field")
      rawPath = readRawName(name, data)
      need(rawPath !== undefined, "the record of its original name does not belong to it")
    }
  }
  need(length === central.extraFieldLength, "its extra fields are cut off")
  need(version === central.versionNeededToExtract, "its version is wrong")
  if (seconds === undefined) throw new Error("it has no time")
  const dos = dosTime(seconds)
  need(dos.date === central.lastModFileDate && dos.time === central.lastModFileTime, "its two times differ")

  const kind = name[name.length - 1] === 0x2f ? "directory" : "file"
  const mode = central.externalFileAttributes >>> 16
  need(kind === "file" || central.uncompressedSize === 0, "it is a directory with content")
  return { name, rawPath, kind, size: central.uncompressedSize, seconds, mode }
}

/** Throws unless the local header says the same as the central record, byte for byte. */
export const compareHeaders = (head: EntryHead, central: CentralEntry, local: LocalEntry): Headers => {
  // Sizes of large entries stand in an extra field of the local header.
  const zip64 = (local.versionNeededToExtract & 0xff) === 45
  const size = zip64 ? 0xffff_ffff : central.uncompressedSize
  const compressedSize = zip64 ? 0xffff_ffff : central.compressedSize
  const time = timeField(head.seconds)
  const extra = zip64
    ? Buffer.concat([zip64Field(central.uncompressedSize, central.compressedSize), time])
    : time
  need(
    local.versionNeededToExtract === localVersion(head.name, zip64) &&
      local.fileName.equals(head.name) &&
      local.generalPurposeBitFlag === central.generalPurposeBitFlag &&
      local.compressionMethod === central.compressionMethod &&
      local.lastModFileDate === central.lastModFileDate &&
      local.lastModFileTime === central.lastModFileTime &&
      local.crc32 === central.crc32 &&
      local.uncompressedSize === size &&
      local.compressedSize === compressedSize &&
      local.extraField.equals(extra),
    "its local header and the central directory differ"
  )
  return {
    head,
    sums: {
      method: central.compressionMethod === 0 ? "store" : "deflate",
      crc32: central.crc32,
      size: central.uncompressedSize,
      compressedSize: central.compressedSize
    },
    central,
    local,
    recordLength: 46 + central.fileNameLength + central.extraFieldLength
  }
}

/** Text of at least one part, none of them empty, `.` or `..`, with no NUL. */
const isName = (bytes: Buffer): boolean => {
  try {
    const name = utf8.decode(bytes)
    const parts = (name.endsWith("/") ? name.slice(0, -1) : name).split("/")
    return !name.includes("\0") && parts.every((part) => part !== "" && part !== "." && part !== "..")
  } catch {
    return false
  }
}

function need(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise)
}
