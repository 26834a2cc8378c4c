import * as Effect from "effect/Effect"
import { type FolderName, topFolder } from "../source/FolderName.ts"
import type { SnapshotRef } from "../source/SourceView.ts"
import * as RawPath from "../text/RawPath.ts"
import { decodeMark, markProperty } from "./SnapshotPrune.ts"
import { fingerprint, type Layout } from "./SourceLayout.ts"
import { archiveGrant, type Commands } from "./ZfsCommand.ts"
import { datasetOf, listing, rows } from "./ZfsList.ts"

/** What is known of a folder since the cursor: `unknown` means that its manifest has to be compared. */
export type Verdict = "changed" | "unchanged" | "unknown"

/** What `zfs diff` shows of changes since the cursor's snapshot. */
export interface Evidence {
  /** For every folder that `folders` does not name. */
  readonly otherwise: Verdict
  readonly folders: ReadonlyMap<FolderName, Verdict>
  /** Why it is no better than it is ("no previous snapshot"), for the log. */
  readonly reason: string
}

export const noEvidence = (reason: string): Evidence => ({ otherwise: "unknown", folders: new Map(), reason })

export const verdictFor = (evidence: Evidence, folder: FolderName): Verdict =>
  evidence.folders.get(folder) ?? evidence.otherwise

export const changesSince = Effect.fn("Zfs.changesSince")(
  function* (commands: Commands, layout: Layout, now: SnapshotRef, base: SnapshotRef | undefined) {
    if (base === undefined) return noEvidence("there is no previous snapshot to compare with")
    const marks = yield* findBase(commands, base)
    if (!marks.has(layout.dataset)) return noEvidence(`the previous snapshot ${layout.dataset}@${base.name} is gone`)
    const diff = (dataset: string, onLine: (line: string) => void) =>
      runDiff(commands, dataset, [`${dataset}@${base.name}`, `${dataset}@${now.name}`], onLine)
    const findings: Array<Finding> = []
    // A child dataset that came, went or moved shows in no diff.
    if (decodeMark(marks.get(layout.dataset) ?? "")?.layout !== fingerprint(layout)) {
      const reason = "other child datasets are mounted in the source than at the previous snapshot"
      findings.push({ ...silent, verdict: "unknown", reason })
    }

    const own = new Changed(layout.diffTop, RawPath.join(layout.diffTop, layout.within))
    const outcome = yield* diff(layout.dataset, own.add)
    if (outcome === undefined && own.everything) {
      findings.push({ ...silent, verdict: "changed", reason: "the source folder itself was renamed or replaced" })
    } else findings.push({ ...silent, changed: own.folders, ...outcome })

    for (const { at, dataset } of layout.children) {
      const folder = topFolder(at)
      if (folder === undefined) continue
      let lines = 0
      const failed = marks.has(dataset)
        ? yield* diff(dataset, () => {
            lines++
          })
        : unknown(`${dataset} has no previous snapshot`)
      findings.push({ ...silent, folder, verdict: lines > 0 ? "changed" : "unchanged", ...failed })
    }
    return combine(findings, `compared with ${layout.dataset}@${base.name}`)
  },
  Effect.catchAll((error) => Effect.succeed(noEvidence(error.message)))
)

const silent: Finding = { folder: undefined, verdict: "unchanged", changed: new Set(), reason: undefined }

const unknown = (reason: string) => ({ verdict: "unknown" as const, reason })

/** The marks of the base's snapshots that still have the guid we know, by dataset. */
const findBase = Effect.fnUntraced(function* (commands: Commands, base: SnapshotRef) {
  const names = Object.keys(base.guids).map((dataset) => `${dataset}@${base.name}`)
  // Missing ones make the exit status 1; the others are listed all the same.
  const listed = yield* commands.attempt(listing("snapshot", `name,guid,${markProperty}`, names))
  const found = new Map<string, string>()
  for (const [name = "", guid = "", mark = ""] of rows(listed.stdout)) {
    if (base.guids[datasetOf(name)] === guid) found.set(datasetOf(name), mark)
  }
  return found
})

const runDiff = Effect.fnUntraced(
  function* (
    commands: Commands,
    dataset: string,
    snapshots: readonly [base: string, now: string],
    onLine: (line: string) => void
  ) {
    const completed = yield* commands.lines(["diff", "-FH", ...snapshots], onLine)
    if (completed.exitCode === 0) return undefined
    const error = commands.failure(`compare ${dataset} with its previous snapshot`, dataset, completed)
    return unknown(
      error.reason === "PermissionDenied"
        ? `zfs diff is not permitted, so every file has to be looked at; root can grant it: ${archiveGrant(dataset)}`
        : `${error.message}; so every file has to be looked at`
    )
  },
  Effect.catchAll((error) => Effect.succeed(unknown(error.message)))
)

/** What one dataset's diff shows: of one folder (a child dataset in it), or of all of them (the source's own). */
export interface Finding {
  readonly folder: FolderName | undefined
  readonly verdict: Verdict
  readonly changed: ReadonlySet<FolderName>
  readonly reason: string | undefined
}

export const combine = (findings: ReadonlyArray<Finding>, whenAllIsWell: string): Evidence => {
  const otherwise = findings
    .filter(({ folder }) => folder === undefined)
    .reduce<Verdict>((worst, { verdict }) => worse(worst, verdict), "unchanged")
  const folders = new Map<FolderName, Verdict>()
  const add = (folder: FolderName, verdict: Verdict) =>
    folders.set(folder, worse(folders.get(folder) ?? otherwise, verdict))
  for (const { changed, folder, verdict } of findings) {
    if (folder !== undefined) add(folder, verdict)
    for (const name of changed) add(name, "changed")
  }
  const reasons = findings.flatMap(({ reason }) => (reason === undefined ? [] : [reason]))
  return { otherwise, folders, reason: reasons.length === 0 ? whenAllIsWell : reasons.join("; ") }
}

export const worse = (a: Verdict, b: Verdict): Verdict => (rank[a] >= rank[b] ? a : b)

const rank: Readonly<Record<Verdict, number>> = { unchanged: 0, unknown: 1, changed: 2 }

/** Collects the changed folders of any number of lines, in memory that depends only on the number of folders. */
export class Changed {
  readonly folders = new Set<FolderName>()
  everything = false
  readonly #top: RawPath.RawPath
  readonly #source: RawPath.RawPath

  constructor(top: RawPath.RawPath, source: RawPath.RawPath) {
    this.#top = top
    this.#source = source
  }

  readonly add = (line: string): void => {
    if (line === "" || this.everything) return
    const parsed = parseLine(line)
    if (parsed === undefined) {
      this.everything = true
      return
    }
    for (const path of parsed.to === undefined ? [parsed.path] : [parsed.path, parsed.to]) {
      const what = impactOf(this.#top, this.#source, parsed.change, path)
      if (what._tag === "Everything") this.everything = true
      else if (what._tag === "Folder") this.folders.add(what.folder)
    }
  }
}

type Impact = { readonly _tag: "Folder"; readonly folder: FolderName } | { readonly _tag: "Everything" | "Nothing" }

/** `source` lies in the dataset mounted at `top`. All is touched where it, or a folder above it, is replaced. */
export const impactOf = (
  top: RawPath.RawPath,
  source: RawPath.RawPath,
  change: DiffLine["change"],
  path: RawPath.RawPath
): Impact => {
  // Files that were open when they were removed. The folder that lost them has a line of its own.
  if (path === `${top}(on_delete_queue)`) return nothing
  // The dataset's top is printed with a slash at the end, and with two at the start where it is mounted at `/`.
  const clean = RawPath.fromLatin1(path.replace(/^\/+/, "/").replace(/(.)\/$/s, "$1"))
  if (RawPath.relativeTo(top, clean) === undefined) return everything
  if (RawPath.relativeTo(clean, source) !== undefined) return change === "M" ? nothing : everything
  const below = RawPath.relativeTo(source, clean)
  if (below === undefined) return nothing
  const folder = topFolder(below)
  return folder === undefined ? nothing : { _tag: "Folder", folder }
}

const everything: Impact = { _tag: "Everything" }
const nothing: Impact = { _tag: "Nothing" }

/** `M` modified, `+` new, `-` gone, `R` renamed (then `to` is the new path). */
interface DiffLine {
  readonly change: "M" | "+" | "-" | "R"
  readonly path: RawPath.RawPath
  readonly to: RawPath.RawPath | undefined
}

/** Undefined when it is no line of zfs diff. What `(+1)` says of a hard link, the line of its folder says too. */
export const parseLine = (line: string): DiffLine | undefined => {
  const [change, , path, to] = line.split("\t")
  if (path === undefined || !path.startsWith("/")) return undefined
  const first = RawPath.fromLatin1(unescape(path))
  if (change === "R") {
    return to?.startsWith("/") ? { change, path: first, to: RawPath.fromLatin1(unescape(to)) } : undefined
  }
  return change === "M" || change === "+" || change === "-" ? { change, path: first, to: undefined } : undefined
}

/** The bytes behind zfs diff's escapes: `\0` and three octal digits ("\0040" is a space). */
export const unescape = (text: string): string =>
  text.replace(/\\0([0-3][0-7][0-7])/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
