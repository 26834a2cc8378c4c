import * as Brand from "effect/Brand"

/**
 * A file-system path, or a part of one, as bytes from the kernel, one character a byte (latin1): it compares and sorts in byte
 * order, is a key, and costs less than a Buffer. For messages see {@link display}, for node:fs {@link toBuffer}.
 */
export type RawPath = string & Brand.Brand<"RawPath">

const brand = Brand.nominal<RawPath>()

/** The empty path: the folder itself that paths are relative to. */
export const here: RawPath = brand("")

/** From the bytes that node:fs gives with `encoding: "buffer"`. */
export const fromBuffer = (bytes: Uint8Array): RawPath =>
  brand(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1"))

/** From text, which becomes its bytes in UTF-8. */
export const fromText = (text: string): RawPath => brand(Buffer.from(text, "utf8").toString("latin1"))

/** From text that has one character a byte already, which is not checked. */
export const fromLatin1 = (bytes: string): RawPath => brand(bytes)

export const toBuffer = (path: RawPath): Buffer => Buffer.from(path, "latin1")

/** `parent/child`; an empty side gives the other one. */
export const join = (parent: RawPath, child: RawPath): RawPath =>
  parent === "" || child === ""
    ? brand(parent + child)
    : brand(parent.endsWith("/") ? parent + child : `${parent}/${child}`)

/** The part of `path` below `ancestor` (empty when they are equal), or undefined when it is not below it. */
export const relativeTo = (ancestor: RawPath, path: RawPath): RawPath | undefined => {
  if (path === ancestor || ancestor === "") return brand(path === ancestor ? "" : path)
  const prefix = ancestor.endsWith("/") ? ancestor : `${ancestor}/`
  return path.startsWith(prefix) ? brand(path.slice(prefix.length)) : undefined
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

export const isAscii = (path: string): boolean => /^[\x00-\x7f]*$/.test(path)

/** The text, or undefined where the bytes are not valid UTF-8. */
export const toText = (path: RawPath): string | undefined => {
  if (isAscii(path)) return path
  try {
    return utf8.decode(toBuffer(path))
  } catch {
    return undefined
  }
}

/** For messages and logs: invalid UTF-8 and control characters as `\xNN`. */
export const display = (path: RawPath): string =>
  (toText(path) ?? path.replace(/[\x80-\xff]/g, hexEscape)).replace(/[\x00-\x1f\x7f-\x9f]/g, hexEscape)

const hexEscape = (char: string): string => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`
