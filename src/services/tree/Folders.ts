import * as FolderName from "../../domain/FolderName.ts"
import * as RawPath from "../../domain/RawPath.ts"
import * as Source from "../../domain/Source.ts"
import { waiting } from "../../workers/DirectoryCalls.ts"
import { failed, namesLogged, type Skipped, twiceText, typeOf } from "./Reading.ts"

/** A folder that cannot be looked at. */
export interface Unreadable {
  readonly folder: FolderName.FolderName
  readonly reason: string
}

/** A name of a folder that something else has: a symbolic link, a file, a device. */
export interface Replaced {
  readonly folder: FolderName.FolderName
  /** What it is, for a person: "symbolic link". */
  readonly type: string
}

/** The folders of a source, and the rest. */
interface Folders {
  readonly folders: ReadonlyArray<FolderName.FolderName>
  /** Those of them that cannot be looked at, and why. */
  readonly unreadable: ReadonlyArray<Unreadable>
  readonly replaced: ReadonlyArray<Replaced>
  readonly skipped: number
  /** The first of the skipped. */
  readonly skippedNames: ReadonlyArray<Skipped>
}

/** Lists the source folder. A folder that is, or holds, a child dataset is listed even if the view does not show it. */
export const listFolders = async (view: Source.SourceView, signal: AbortSignal): Promise<Folders> => {
  const found = await waiting.names(RawPath.toBuffer(view.root)).catch((cause: unknown) => {
    throw failed(view, "list", RawPath.here, view.root, cause)
  })
  const folders = new Set<FolderName.FolderName>()
  for (const { at } of [...view.grafts, ...view.blocked]) {
    const folder = FolderName.parse(Source.topSegment(at))
    if (folder !== undefined) folders.add(folder)
  }
  const unreadable: Array<Unreadable> = []
  const replaced: Array<Replaced> = []
  const skippedNames: Array<Skipped> = []
  let skipped = 0
  const skip = (path: RawPath.RawPath, type: string) => {
    skipped += 1
    if (skippedNames.length < namesLogged) skippedNames.push({ path, type })
  }
  const listed = new Set<string>()
  for (const name of found.map(RawPath.fromLatin1)) {
    signal.throwIfAborted()
    const folder = FolderName.parse(name)
    if (folder === undefined) {
      skip(name, "not a name of four upper-case letters or digits")
      continue
    }
    if (listed.has(name) && !unreadable.some((known) => known.folder === folder)) {
      unreadable.push({ folder, reason: twiceText(name) })
    }
    listed.add(name)
    if (folders.has(folder)) continue
    const path = RawPath.join(view.root, name)
    const stats = await waiting.lstat(RawPath.toBuffer(path)).catch((cause: unknown) => {
      // It is there: the others are archived, and it fails by its name.
      folders.add(folder)
      unreadable.push({ folder, reason: failed(view, "read", name, path, cause).message })
    })
    if (stats === undefined) continue
    if (stats.isDirectory()) folders.add(folder)
    else {
      replaced.push({ folder, type: typeOf(stats) })
      skip(name, typeOf(stats))
    }
  }
  return { folders: [...folders].sort(), unreadable, replaced, skipped, skippedNames }
}

/** Fails when the folder cannot be listed. */
export const canList = async (view: Source.SourceView, folder: FolderName.FolderName): Promise<void> => {
  const at = RawPath.fromText(folder)
  const path = Source.resolve(view, at)
  await waiting.names(RawPath.toBuffer(path)).catch((cause: unknown) => {
    throw failed(view, "list", at, path, cause)
  })
}

/** The place, if there is one, that makes the folder unreadable as a whole. */
export const blockedFor = (
  view: Source.SourceView,
  folder: FolderName.FolderName
): Source.Blocked | undefined => {
  const top = RawPath.fromText(folder)
  return view.blocked.find(
    ({ at }) => RawPath.relativeTo(top, at) !== undefined || RawPath.relativeTo(at, top) !== undefined
  )
}
