import type * as RawPath from "../domain/RawPath.ts"
import { need } from "./Damage.ts"
import {
  checkForm,
  checkOddNames,
  checkOrder,
  noFolder,
  type OddName,
  oddName,
  pathOf
} from "./EntryRules.ts"
import type { FolderId } from "./ExtractFolder.ts"
import { split } from "./ExtractFolder.ts"
import type { ZipEntry } from "./ReadHeaders.ts"

/** A folder of the archive; DIR itself is the first of them. */
export interface Folder {
  readonly path: RawPath.RawPath
  readonly parent: Folder | undefined
  readonly mode: number
  readonly seconds: number
  /** It was asked for, and everything below it. */
  readonly chosen: boolean
  /** Something that was asked for is in it, or it was itself: it has been looked for in DIR. */
  needed: boolean
  /** What is at its place in DIR: nothing, that folder, or something that is in the way. */
  state: "absent" | "present" | "blocked"
  /** Which folder it is, once that is known. */
  id: FolderId | undefined
}

/** An entry's place. */
export interface Place {
  readonly path: RawPath.RawPath
  /** The folder that it lies in. */
  readonly parent: Folder
}

/** What the archive has to come to. */
interface Totals {
  readonly files: number
  readonly bytes: number
}

/**
 * Checks, entry by entry, that a zip is one that can be written to a folder: names as this program gives them, each once, below
 * folders that stand before them; nothing but files and folders; sizes that can be, and together are `totals`.
 * Throws what is wrong with the entry at hand.
 */
export const entryChecker = (root: Folder, totals: Totals) => {
  const folders = new Map<RawPath.RawPath, Folder>([[root.path, root]])
  const odd: Array<OddName> = []
  let previous: RawPath.RawPath | undefined
  let files = 0
  let bytes = 0

  const place = (entry: ZipEntry): Place => {
    const { kind, size } = entry
    const path = pathOf(entry)
    const strange = oddName(entry, path)
    if (strange !== undefined) odd.push(strange)
    checkOrder(previous, path)
    previous = path
    checkForm(entry)
    const parent = folders.get(split(path).parent)
    need(parent !== undefined, noFolder)
    if (kind === "file") files += 1
    bytes += size
    need(files <= totals.files, `the archive should have ${totals.files} files, and this is one more`)
    need(
      bytes <= totals.bytes,
      `the archive should have ${totals.bytes} bytes, and with this it has ${bytes}`
    )
    return { path, parent }
  }

  return {
    place,
    add: (folder: Folder): void => {
      folders.set(folder.path, folder)
    },
    /** Says what is wrong with the archive as a whole. */
    end: (): void => {
      need(
        files === totals.files && bytes === totals.bytes,
        `it has ${files} files and ${bytes} bytes, and should have ${totals.files} and ${totals.bytes}`
      )
      checkOddNames(odd)
    },
    folders: (): Iterable<Folder> => folders.values()
  }
}
