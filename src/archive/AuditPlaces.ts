import { explain } from "../domain/Errno.ts"
import * as RawPath from "../domain/RawPath.ts"
import type { Flaw } from "./AuditZip.ts"
import { quoted } from "./Damage.ts"
import { checkOddNames, checkOrder, noFolder, type OddName, oddName, pathOf } from "./EntryRules.ts"
import { split } from "./ExtractFolder.ts"
import type { ZipEntry } from "./ReadHeaders.ts"

/**
 * Each name once, in order, and in a folder that stands before it: found slice by slice, in no more memory than names take
 * that are as deep as they can be. In the order of bytes whatever a folder holds comes before the first path that does not
 * begin with the folder's own: of the folders so far, those that a path begins with are all that matter.
 */

/** An entry's place, and its name for messages. */
interface Place {
  readonly path: RawPath.RawPath
  readonly entry: string
}

/** What a slice says of the places of its entries. */
export interface SlicePlaces {
  readonly first: Place | undefined
  readonly last: RawPath.RawPath | undefined
  /** Its folders that the last path begins with, in order. */
  readonly open: ReadonlyArray<RawPath.RawPath>
  /** Folders that have to stand before it, each with the first entry that lies in it. */
  readonly wanted: ReadonlyArray<Place>
  readonly odd: ReadonlyArray<OddName>
  readonly flaws: ReadonlyArray<Flaw>
}

/** More would help nobody. */
const flawsKept = 20

/** Looks at the entries of a slice, one after the other. */
export const makeSlicePlaces = () => {
  const open: Array<RawPath.RawPath> = []
  const wanted = new Map<RawPath.RawPath, string>()
  const odd: Array<OddName> = []
  const flaws: Array<Flaw> = []
  let first: Place | undefined
  let last: RawPath.RawPath | undefined
  return {
    /** Throws when the entry has no place at all. */
    add: (entry: ZipEntry): void => {
      const path = pathOf(entry)
      const strange = oddName(entry, path)
      if (strange !== undefined) odd.push(strange)
      if (first === undefined) first = { path, entry: quoted(entry.name) }
      if (flaws.length < flawsKept) flaws.push(...outOfOrder(last, path, entry.name))
      last = path
      keepOpen(open, path)
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

const outOfOrder = (
  before: RawPath.RawPath | undefined,
  path: RawPath.RawPath,
  name: Buffer | string
): ReadonlyArray<Flaw> => {
  try {
    checkOrder(before, path)
    return []
  } catch (cause) {
    return [{ entry: typeof name === "string" ? name : quoted(name), problem: explain(cause) }]
  }
}

/** Leaves the folders that this path begins with. */
const keepOpen = (open: Array<RawPath.RawPath>, path: RawPath.RawPath): void => {
  for (let top = open.at(-1); top !== undefined && !path.startsWith(top); top = open.at(-1)) open.pop()
}

/** Puts slices together, in their order. */
export const makePlaces = () => {
  const odd: Array<OddName> = []
  const flaws: Array<Flaw> = []
  let open: ReadonlyArray<RawPath.RawPath> = []
  let last: RawPath.RawPath | undefined
  const note = (flaw: Flaw): void => {
    if (flaws.length < flawsKept) flaws.push(flaw)
  }
  return {
    add: (slice: SlicePlaces): void => {
      if (slice.first === undefined || slice.last === undefined) return
      const end = slice.last
      for (const flaw of [...outOfOrder(last, slice.first.path, slice.first.entry), ...slice.flaws])
        note(flaw)
      for (const { entry, path } of slice.wanted) {
        if (!open.includes(path)) note({ entry, problem: noFolder })
      }
      for (const name of slice.odd) odd.push(name)
      open = [...open.filter((folder) => end.startsWith(folder)), ...slice.open]
      last = end
    },
    /** What is wrong, the first of it, once there are no more slices. */
    end: (): ReadonlyArray<Flaw> => {
      try {
        checkOddNames(odd)
        return flaws
      } catch (cause) {
        return [...flaws, { problem: `is damaged: ${explain(cause)}` }]
      }
    }
  }
}
