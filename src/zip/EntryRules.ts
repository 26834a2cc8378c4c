import { constants } from "node:fs"
import * as EntryName from "../source/EntryName.ts"
import * as RawPath from "../text/RawPath.ts"
import { split } from "./ExtractFolders.ts"
import { sourcePath, type ZipEntry } from "./Headers.ts"
import { type Flaw, need, quoted } from "./ZipError.ts"

/** What a zip of this program keeps to beyond its headers, so that it can be put into a folder. */

/** The original path of an entry; throws what is wrong with it. */
export const pathOf = (entry: ZipEntry): RawPath.RawPath => {
  const { rawPath } = entry
  if (rawPath === undefined) return sourcePath(entry)
  need(isPath(rawPath), "its original name is not one that names a place below the archive")
  need(RawPath.toText(rawPath) === undefined, "it has an original name, and needs none")
  return rawPath
}

const isPath = (path: RawPath.RawPath): boolean =>
  !path.includes("\0") && path.split("/").every((part) => part !== "" && part !== "." && part !== "..")

/** DEFLATE makes at most so many bytes of one: 258 of two bits. */
const mostInflated = 1032

/** Throws unless it is a file or a folder, of a size that can be. */
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
export const orderProblem = (before: RawPath.RawPath | undefined, path: RawPath.RawPath): string | undefined => {
  if (before === undefined || path > before) return undefined
  return path === before ? "it is there twice" : "it is there twice, or not in its place in the order of names"
}

export const noFolder = "it lies in something that is no folder of the archive"

export interface OddName {
  readonly path: RawPath.RawPath
  readonly name: RawPath.RawPath
}

export const oddNames = (entry: ZipEntry, path: RawPath.RawPath): ReadonlyArray<OddName> =>
  entry.rawPath === undefined && !path.includes("%")
    ? []
    : [{ path, name: sourcePath({ ...entry, rawPath: undefined }) }]

/** Which of the odd names of all entries, in their order, is not the one that this program gives. */
export const oddNameProblem = (odd: ReadonlyArray<OddName>): string | undefined => {
  const { nameOf } = EntryName.assign(odd.map(({ path }) => path))
  const wrong = odd.find(({ name, path }) => RawPath.fromText(nameOf(path)) !== name)
  return wrong && `"${RawPath.display(wrong.name)}" is not what stands for "${RawPath.display(wrong.path)}"`
}

/**
 * In the order of bytes all that a folder holds comes before the first path that does not begin with the folder's own: of the
 * folders so far, those that a path begins with are all that matter. So places are checked slice by slice, in little memory.
 */

interface NamedPath {
  readonly path: RawPath.RawPath
  readonly entry: string
}

export interface SlicePlaces {
  readonly first: NamedPath | undefined
  readonly last: RawPath.RawPath | undefined
  readonly open: ReadonlyArray<RawPath.RawPath>
  /** Folders that have to stand before it, each with the first entry that lies in it. */
  readonly wanted: ReadonlyArray<NamedPath>
  readonly odd: ReadonlyArray<OddName>
  readonly flaws: ReadonlyArray<Flaw>
}

/** Flaws that are kept of a slice and of a zip; of further ones only the number matters. */
export const flawsKept = 20

export const makeSlicePlaces = () => {
  const open: Array<RawPath.RawPath> = []
  const wanted = new Map<RawPath.RawPath, string>()
  const odd: Array<OddName> = []
  const flaws: Array<Flaw> = []
  let first: NamedPath | undefined
  let last: RawPath.RawPath | undefined
  return {
    add: (entry: ZipEntry): void => {
      const path = pathOf(entry)
      odd.push(...oddNames(entry, path))
      first ??= { path, entry: quoted(entry.name) }
      const problem = orderProblem(last, path)
      if (problem !== undefined && flaws.length < flawsKept) flaws.push({ entry: quoted(entry.name), problem })
      last = path
      for (let top = open.at(-1); top !== undefined && !path.startsWith(top); top = open.at(-1)) open.pop()
      const { parent } = split(path)
      if (parent !== RawPath.here && !open.includes(parent) && !wanted.has(parent)) {
        wanted.set(parent, quoted(entry.name))
      }
      if (entry.kind === "directory") open.push(path)
    },
    end: (): SlicePlaces => ({
      first,
      last,
      open,
      wanted: [...wanted].map(([path, entry]) => ({ path, entry })),
      odd,
      flaws
    })
  }
}

/** Joins the results of slices, in their order. */
export const makePlaces = () => {
  const odd: Array<OddName> = []
  const flaws: Array<Flaw> = []
  let open: ReadonlyArray<RawPath.RawPath> = []
  let last: RawPath.RawPath | undefined
  return {
    add: (slice: SlicePlaces): void => {
      if (slice.first === undefined || slice.last === undefined) return
      const end = slice.last
      const problem = orderProblem(last, slice.first.path)
      if (problem !== undefined) flaws.push({ entry: slice.first.entry, problem })
      flaws.push(...slice.flaws)
      for (const { entry, path } of slice.wanted) {
        if (!open.includes(path)) flaws.push({ entry, problem: noFolder })
      }
      flaws.splice(flawsKept)
      odd.push(...slice.odd)
      open = [...open.filter((folder) => end.startsWith(folder)), ...slice.open]
      last = end
    },
    end: (): ReadonlyArray<Flaw> => {
      const problem = oddNameProblem(odd)
      return problem === undefined ? flaws : [...flaws, { problem: `is damaged: ${problem}` }]
    }
  }
}
