import { constants } from "node:fs"
import * as EntryName from "../domain/EntryName.ts"
import * as RawPath from "../domain/RawPath.ts"
import { need } from "./Damage.ts"
import type { ZipEntry } from "./ReadHeaders.ts"

/** What a zip of this program keeps to beyond its headers, so that it can be put into a folder. Each throws what is wrong. */

/** The original path of an entry. */
export const pathOf = ({ kind, name, rawPath }: ZipEntry): RawPath.RawPath => {
  if (rawPath === undefined) return plainPath(kind, name)
  need(isPath(rawPath), "its original name is not one that names a place below the archive")
  need(RawPath.toText(rawPath) === undefined, "it has an original name, and needs none")
  return rawPath
}

const plainPath = (kind: ZipEntry["kind"], name: Buffer): RawPath.RawPath =>
  RawPath.fromBuffer(kind === "directory" ? name.subarray(0, -1) : name)

/** Parts between slashes, none of them empty, `.` or `..`, with no NUL. */
const isPath = (path: RawPath.RawPath): boolean =>
  !path.includes("\0") && path.split("/").every((part) => part !== "" && part !== "." && part !== "..")

/** DEFLATE makes at most so many bytes of one: 258 of two bits. */
const mostInflated = 1032

/** Nothing but files and folders, of sizes that can be. */
export const checkForm = ({ compressedSize, kind, method, mode, size }: ZipEntry): void => {
  const type = mode & constants.S_IFMT
  need(
    type === (kind === "file" ? constants.S_IFREG : constants.S_IFDIR),
    type === constants.S_IFLNK ? "it is a symlink" : "it is no regular file and no folder"
  )
  need(
    method === "store" ? size === compressedSize : size <= compressedSize * mostInflated,
    `its ${compressedSize} bytes can never become ${size}`
  )
}

/** Entries stand in the order of their original names: this finds what stands there twice, also under two names. */
export const checkOrder = (before: RawPath.RawPath | undefined, path: RawPath.RawPath): void => {
  if (before === undefined) return
  need(path !== before, "it is there twice")
  need(path > before, "it is there twice, or not in its place in the order of names")
}

/** An entry lies in something else than a folder that stands before it. */
export const noFolder = "it lies in something that is no folder of the archive"

/** An entry whose name may stand for another path. */
export interface OddName {
  readonly path: RawPath.RawPath
  /** In the zip, a byte a character, without the slash of a folder. */
  readonly name: RawPath.RawPath
}

/** The names that matter to {@link checkOddNames}: few, as a rule. */
export const oddName = (entry: ZipEntry, path: RawPath.RawPath): OddName | undefined => {
  if (entry.rawPath === undefined && !path.includes("%")) return undefined
  return { path, name: plainPath(entry.kind, entry.name) }
}

/** The odd names of all entries, in their order, are those that this program gives; otherwise throws which one is not. */
export const checkOddNames = (odd: ReadonlyArray<OddName>): void => {
  const { names } = EntryName.assign(odd.map(({ path }) => path))
  const wrong = odd.find(({ name }, index) => RawPath.fromText(names[index] ?? "") !== name)
  if (wrong === undefined) return
  need(false, `"${RawPath.display(wrong.name)}" is not what stands for "${RawPath.display(wrong.path)}"`)
}
