import type { Evidence, Verdict } from "./Changes.ts"
import * as FolderName from "./FolderName.ts"
import * as RawPath from "./RawPath.ts"
import { topSegment } from "./Source.ts"

/** One line of `zfs diff -FH`. */
interface DiffLine {
  /** `M` modified, `+` new, `-` gone, `R` renamed (then `to` is the new path). */
  readonly change: "M" | "+" | "-" | "R"
  readonly path: RawPath.RawPath
  readonly to: RawPath.RawPath | undefined
}

/** The bytes behind zfs diff's escapes: `\0` and three octal digits ("\0040" is a space). */
export const unescape = (text: string): string =>
  text.replace(/\\0([0-3][0-7][0-7])/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8))
  )

/**
 * Reads one line (latin1, without newline); undefined when it is none. A change in the number of hard links
 * has a third column, "(+1)", which says nothing new: the folder that gained or lost the name has its own line.
 */
export const parseLine = (line: string): DiffLine | undefined => {
  const [change, , path, to] = line.split("\t")
  if (path === undefined || !path.startsWith("/")) return undefined
  const first = RawPath.fromLatin1(unescape(path))
  if (change === "R") {
    return to?.startsWith("/") ? { change, path: first, to: RawPath.fromLatin1(unescape(to)) } : undefined
  }
  return change === "M" || change === "+" || change === "-"
    ? { change, path: first, to: undefined }
    : undefined
}

/** What a diff line means for the folders of a source. */
type Touched =
  | { readonly _tag: "Folder"; readonly folder: FolderName.FolderName }
  | { readonly _tag: "Everything" }
  | { readonly _tag: "Nothing" }

const everything: Touched = { _tag: "Everything" }
const nothing: Touched = { _tag: "Nothing" }

/**
 * What a change at `path` touches. `top` is where the dataset is mounted, `source` the absolute path of the
 * source folder in it. A source folder that was renamed, made or removed (or an ancestor of it) touches
 * everything, as does a path that cannot be placed.
 */
export const touched = (
  top: RawPath.RawPath,
  source: RawPath.RawPath,
  change: DiffLine["change"],
  path: RawPath.RawPath
): Touched => {
  // Files that were open when they were removed. The folder that lost them has a line of its own.
  if (path === `${top}(on_delete_queue)`) return nothing
  // The dataset's top is printed with a slash at the end, and with two at the start where it is mounted at `/`.
  const clean = RawPath.fromLatin1(path.replace(/^\/+/, "/").replace(/(.)\/$/s, "$1"))
  if (RawPath.relativeTo(top, clean) === undefined) return everything
  if (RawPath.relativeTo(clean, source) !== undefined) return change === "M" ? nothing : everything
  const below = RawPath.relativeTo(source, clean)
  if (below === undefined) return nothing
  const folder = FolderName.parse(topSegment(below))
  return folder === undefined ? nothing : { _tag: "Folder", folder }
}

/** Gathers the changed folders from any number of lines, in memory that depends only on the number of folders. */
export class Changed {
  readonly folders = new Set<FolderName.FolderName>()
  everything = false
  readonly #top: RawPath.RawPath
  readonly #source: RawPath.RawPath

  /** See {@link touched}. */
  constructor(top: RawPath.RawPath, source: RawPath.RawPath) {
    this.#top = top
    this.#source = source
  }

  /** Takes one line of `zfs diff -FH`; a line that cannot be understood may mean anything. */
  readonly add = (line: string): void => {
    if (line === "" || this.everything) return
    const parsed = parseLine(line)
    if (parsed === undefined) {
      this.everything = true
      return
    }
    this.#note(touched(this.#top, this.#source, parsed.change, parsed.path))
    if (parsed.to !== undefined) this.#note(touched(this.#top, this.#source, parsed.change, parsed.to))
  }

  #note(what: Touched) {
    if (what._tag === "Everything") this.everything = true
    else if (what._tag === "Folder") this.folders.add(what.folder)
  }
}

const rank: Readonly<Record<Verdict, number>> = { unchanged: 0, unknown: 1, changed: 2 }

/** The worse of two verdicts. */
export const worse = (a: Verdict, b: Verdict): Verdict => (rank[a] >= rank[b] ? a : b)

/** What one dataset has to say: on one folder (a child dataset in it), or on all of them (the source's own). */
export interface Finding {
  readonly folder: FolderName.FolderName | undefined
  readonly verdict: Verdict
  /** Folders that changed for certain. */
  readonly changed: ReadonlySet<FolderName.FolderName>
  readonly reason: string | undefined
}

/** Puts the findings on all datasets together: a folder gets the worst that any of them says of it. */
export const combine = (findings: ReadonlyArray<Finding>, whenAllIsWell: string): Evidence => {
  const otherwise = findings.reduce<Verdict>(
    (verdict, finding) => (finding.folder === undefined ? worse(verdict, finding.verdict) : verdict),
    "unchanged"
  )
  const folders = new Map<FolderName.FolderName, Verdict>()
  const note = (folder: FolderName.FolderName, verdict: Verdict) =>
    folders.set(folder, worse(folders.get(folder) ?? otherwise, verdict))
  for (const { changed, folder, verdict } of findings) {
    if (folder !== undefined) note(folder, verdict)
    for (const name of changed) note(name, "changed")
  }
  const reasons = findings.flatMap(({ reason }) => (reason === undefined ? [] : [reason]))
  return { otherwise, folders, reason: reasons.length === 0 ? whenAllIsWell : reasons.join("; ") }
}
