/**
 * Checksum files as coreutils writes and reads them: `<hex>  <name>` and a newline, so that `sha256sum -c` and
 * `md5sum -c` pass in the folder where file and archive lie. Archive names hold nothing that needs escaping.
 */
export const encode = (digest: string, name: string): string => `${digest}  ${name}\n`

/** What a checksum file says. */
interface ChecksumLine {
  /** Lower-case hexadecimal. */
  readonly digest: string
  /** Undefined when the file holds a bare digest, as some tools write it. */
  readonly name: string | undefined
}

/** The first line of a checksum file, in text or binary (`*`) form; undefined when it is none. */
export const parse = (content: string): ChecksumLine | undefined => {
  const line = content.split("\n", 1)[0]?.trimEnd() ?? ""
  const match = /^([0-9a-fA-F]{32,128})(?: [ *](.+))?$/.exec(line)
  const digest = match?.[1]
  return digest === undefined ? undefined : { digest: digest.toLowerCase(), name: match?.[2] }
}
