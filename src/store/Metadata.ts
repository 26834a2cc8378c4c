import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Manifest } from "../source/Manifest.ts"
import type { Checksums } from "../system/Hasher.ts"
import { byUtf8 } from "../text/Text.ts"
import { utcSeconds } from "../text/Time.ts"

/** A checksum file as coreutils writes and reads it: where a name holds a backslash, the line begins with one. */
export const encodeChecksums = (digest: string, name: string): string =>
  `${name.includes("\\") ? "\\" : ""}${digest}  ${name.replaceAll("\\", "\\\\")}\n`

interface ChecksumLine {
  readonly digest: string
  /** Undefined when the file holds a bare digest, as some tools write it. */
  readonly name: string | undefined
}

/** The first line of a checksum file, in text or binary (`*`) form; undefined when it is none. */
export const parseChecksums = (content: string): ChecksumLine | undefined => {
  const line = content.split("\n", 1)[0]?.trimEnd() ?? ""
  const match = /^(\\?)([0-9a-fA-F]{32,128})(?: [ *](.+))?$/.exec(line)
  const [, escaped, digest, name] = match ?? []
  if (digest === undefined) return undefined
  return { digest: digest.toLowerCase(), name: escaped ? name?.replaceAll("\\\\", "\\") : name }
}

/** `metadata.json` beside an archive: exactly these keys, in this order. */
export const Metadata = Schema.Struct({
  zip_name: Schema.String,
  /** Regular files as named in the archive, sorted by the bytes of their UTF-8 names. */
  files: Schema.Array(Schema.String),
  zip_md5: Schema.String,
  zip_sha256: Schema.String,
  total_files: Schema.Number,
  total_bytes: Schema.Number,
  created_at_utc: Schema.String,
  /** Source.snapshotName; of archives that older versions made the dataset and an @ stand before it. */
  snapshot: Schema.String
})
export type Metadata = typeof Metadata.Type

/** Undefined for text that is no metadata of ours. */
export const parse = (text: string | undefined): Metadata | undefined => Option.getOrUndefined(decode(text))

const decode = Schema.decodeUnknownOption(Schema.parseJson(Metadata))

/** To be written: the names may be made when they are asked for, each time anew. */
export interface NewMetadata extends Omit<Metadata, "files"> {
  readonly files: Iterable<string>
}

/** The metadata of an archive made from `manifest`. `createdAt` is in milliseconds since 1970. */
export const make = (options: {
  readonly manifest: Manifest
  readonly checksums: Checksums
  readonly createdAt: number
  readonly snapshot: string
}): NewMetadata => ({
  zip_name: `${options.manifest.folder}.zip`,
  files: filesOf(options.manifest),
  zip_md5: options.checksums.md5,
  zip_sha256: options.checksums.sha256,
  total_files: options.manifest.files,
  total_bytes: options.manifest.bytes,
  created_at_utc: utcSeconds(options.createdAt),
  snapshot: options.snapshot
})

const filesOf = ({ entries, escaped }: Manifest): Iterable<string> => {
  const files = {
    *[Symbol.iterator]() {
      for (const { kind, name } of entries) if (kind === "file") yield name
    }
  }
  // The order of the paths is that of the names unless some are escaped.
  return escaped?.length === 0 ? files : [...files].sort(byUtf8)
}

/** The first line with a key, and the text before the names: they stand there in the metadata of each archive. */
export const headOf = (zipName: string): string => `{\n  "zip_name": ${JSON.stringify(zipName)},\n  "files": [`

const chunkLength = 64 * 1024

/** As JSON.stringify gives it with two spaces, in UTF-8, in pieces: a million names are many bytes. */
export const encode = ({ files, zip_name, ...rest }: NewMetadata): ReadonlyArray<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  let text = headOf(zip_name)
  let before = "\n    "
  for (const name of files) {
    text += before + JSON.stringify(name)
    before = ",\n    "
    if (text.length < chunkLength) continue
    chunks.push(Buffer.from(text))
    text = ""
  }
  const end = JSON.stringify(rest, keys, 2).slice(1)
  chunks.push(Buffer.from(`${text}${before === "\n    " ? "" : "\n  "}],${end}\n`))
  return chunks
}

const keys = Object.keys(Metadata.fields)
